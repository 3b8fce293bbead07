/* Stand-ins for musl's printf family and strftime in the static agent: the originals bring floating point, positional
 * arguments and time zones, 20 KB that nothing here uses. They know %d %i %u %x %o %c %s %% with the flag 0, a width, a
 * precision (also by *), and l, ll, z; strftime knows what core/lib/log.c asks for. Whoever needs more gets an abort()
 * in the first test. Only the static build links this file. */
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LINE_BYTES 8192

struct sink {
    char *out;
    size_t size;
    size_t len;
};

struct spec {
    int zero;
    int width;
    int precision; /* -1: none */
    int longs;     /* 1: long or size_t, 2: long long */
};

static void put(struct sink *sink, char c)
{
    if (sink->len + 1 < sink->size)
        sink->out[sink->len] = c;
    sink->len++;
}

static void put_text(struct sink *sink, const char *text, size_t len, int width)
{
    for (int i = (int)len; i < width; i++)
        put(sink, ' ');
    while (len-- > 0)
        put(sink, *text++);
}

static void put_number(struct sink *sink, const struct spec *spec, uint64_t value, unsigned radix, int negative)
{
    char digits[24];
    int count = 0;
    int width = spec->width - negative;

    do
        digits[count++] = "0123456789abcdef"[value % radix];
    while ((value /= radix) != 0);
    for (int i = count; !spec->zero && i < width; i++)
        put(sink, ' ');
    if (negative)
        put(sink, '-');
    for (int i = count; spec->zero && i < width; i++)
        put(sink, '0');
    while (count-- > 0)
        put(sink, digits[count]);
}

static int64_t take_signed(va_list *ap, int longs)
{
    return longs == 2 ? va_arg(*ap, long long) : longs == 1 ? va_arg(*ap, long) : va_arg(*ap, int);
}

static uint64_t take_unsigned(va_list *ap, int longs)
{
    return longs == 2   ? va_arg(*ap, unsigned long long)
           : longs == 1 ? va_arg(*ap, unsigned long)
                        : va_arg(*ap, unsigned);
}

static int take_count(const char **fmt, va_list *ap)
{
    int value = 0;

    if (**fmt == '*') {
        (*fmt)++;
        return va_arg(*ap, int);
    }
    while (**fmt >= '0' && **fmt <= '9')
        value = value * 10 + *(*fmt)++ - '0';
    return value;
}

static void convert(struct sink *sink, const char **fmt, va_list *ap)
{
    struct spec spec = {.precision = -1};
    const char *text;
    int64_t number;

    spec.zero = **fmt == '0';
    spec.width = take_count(fmt, ap);
    if (**fmt == '.') {
        (*fmt)++;
        spec.precision = take_count(fmt, ap);
    }
    for (; **fmt == 'l' || **fmt == 'z'; (*fmt)++)
        spec.longs++;
    switch (*(*fmt)++) {
    case 'd':
    case 'i':
        number = take_signed(ap, spec.longs);
        put_number(sink, &spec, number < 0 ? 0 - (uint64_t)number : (uint64_t)number, 10, number < 0);
        return;
    case 'u':
        put_number(sink, &spec, take_unsigned(ap, spec.longs), 10, 0);
        return;
    case 'x':
        put_number(sink, &spec, take_unsigned(ap, spec.longs), 16, 0);
        return;
    case 'o':
        put_number(sink, &spec, take_unsigned(ap, spec.longs), 8, 0);
        return;
    case 'c':
        put(sink, (char)va_arg(*ap, int));
        return;
    case 's':
        text = va_arg(*ap, const char *);
        text = text != NULL ? text : "(null)";
        put_text(sink, text, spec.precision >= 0 ? strnlen(text, (size_t)spec.precision) : strlen(text), spec.width);
        return;
    case '%':
        put(sink, '%');
        return;
    default:
        abort();
    }
}

int vsnprintf(char *out, size_t size, const char *fmt, va_list args)
{
    struct sink sink = {out, size, 0};
    va_list ap;

    va_copy(ap, args);
    while (*fmt != '\0') {
        if (*fmt != '%') {
            put(&sink, *fmt++);
            continue;
        }
        fmt++;
        convert(&sink, &fmt, &ap);
    }
    va_end(ap);
    if (size > 0)
        out[sink.len < size ? sink.len : size - 1] = '\0';
    return (int)sink.len;
}

int snprintf(char *out, size_t size, const char *fmt, ...)
{
    va_list ap;
    int len;

    va_start(ap, fmt);
    len = vsnprintf(out, size, fmt, ap);
    va_end(ap);
    return len;
}

static int print(FILE *file, const char *fmt, va_list ap)
{
    char line[LINE_BYTES];
    int len = vsnprintf(line, sizeof(line), fmt, ap);

    if (len >= LINE_BYTES)
        len = LINE_BYTES - 1;
    return fwrite(line, 1, (size_t)len, file) == (size_t)len ? len : -1;
}

int fprintf(FILE *file, const char *fmt, ...)
{
    va_list ap;
    int len;

    va_start(ap, fmt);
    len = print(file, fmt, ap);
    va_end(ap);
    return len;
}

int printf(const char *fmt, ...)
{
    va_list ap;
    int len;

    va_start(ap, fmt);
    len = print(stdout, fmt, ap);
    va_end(ap);
    return len;
}

size_t strftime(char *out, size_t size, const char *fmt, const struct tm *tm)
{
    if (strcmp(fmt, "%Y-%m-%dT%H:%M:%S") != 0)
        abort();
    return (size_t)snprintf(out, size, "%04d-%02d-%02dT%02d:%02d:%02d", tm->tm_year + 1900, tm->tm_mon + 1, tm->tm_mday,
                            tm->tm_hour, tm->tm_min, tm->tm_sec);
}
