#include "executors/agent/timings.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

double tn_parse_decimal(const char *text, char **end)
{
    double value = 0;
    double place = 1;
    const char *at = text;

    for (; *at >= '0' && *at <= '9' && value < 1e15; at++)
        value = value * 10 + (*at - '0');
    if (*at == '.' && at[1] >= '0' && at[1] <= '9')
        for (at++; *at >= '0' && *at <= '9'; at++)
            value += (place /= 10) * (*at - '0');
    if (at > text && (*at | 0x20) == 'e' && strchr("+-0123456789", at[1]) != NULL) {
        char *behind;
        long exponent = strtol(at + 1, &behind, 10);

        for (; exponent > 0 && value < 1e15 && value > 0; exponent--)
            value *= 10;
        for (; exponent < 0 && value > 1e-9; exponent++)
            value /= 10;
        at = behind;
    }
    *end = (char *)at;
    return value;
}

static void skip_blanks(char **at)
{
    *at += strspn(*at, " \t\r\n");
}

/* True, and behind it, if it is next. */
static bool take(char **at, char what)
{
    skip_blanks(at);
    if (**at != what)
        return false;
    ++*at;
    return true;
}

static char *put_utf8(char *to, unsigned code)
{
    if (code < 0x80) {
        *to++ = (char)code;
        return to;
    }
    if (code >= 0x800) {
        if (code >= 0x10000) {
            *to++ = (char)(0xf0 | code >> 18);
            *to++ = (char)(0x80 | (code >> 12 & 63));
        } else {
            *to++ = (char)(0xe0 | code >> 12);
        }
        *to++ = (char)(0x80 | (code >> 6 & 63));
    } else {
        *to++ = (char)(0xc0 | code >> 6);
    }
    *to++ = (char)(0x80 | (code & 63));
    return to;
}

/* Four hexadecimal digits, or 0x110000 if they are none. */
static unsigned take_hex(char **at)
{
    unsigned code = 0;

    for (int i = 0; i < 4; i++, ++*at) {
        unsigned char c = (unsigned char)**at;
        unsigned digit = c >= '0' && c <= '9' ? c - (unsigned)'0' : (c | 0x20u) - 'a' + 10;

        if (digit > 15)
            return 0x110000;
        code = code << 4 | digit;
    }
    return code;
}

/* A string, made plain where it stands; NULL if it is none. */
static char *take_string(char **at)
{
    static const char from[] = "bfnrt";
    static const char into[] = "\b\f\n\r\t";
    char *start;
    char *to;

    if (!take(at, '"'))
        return NULL;
    for (start = to = *at; **at != '"';) {
        unsigned code;
        const char *known;

        if (**at == '\0')
            return NULL;
        if (**at != '\\') {
            *to++ = *(*at)++;
            continue;
        }
        if (*++*at != 'u') {
            if (**at == '\0')
                return NULL;
            known = strchr(from, **at);
            *to++ = known != NULL ? into[known - from] : **at;
            ++*at;
            continue;
        }
        ++*at;
        code = take_hex(at);
        if (code >> 10 == 0x36 && (*at)[0] == '\\' && (*at)[1] == 'u') {
            *at += 2;
            code = 0x10000 + ((code & 0x3ff) << 10) + (take_hex(at) & 0x3ff);
        }
        if (code == 0 || code >= 0x110000)
            return NULL;
        to = put_utf8(to, code);
    }
    ++*at;
    *to = '\0';
    return start;
}

/* Any value, whatever is in it. False if it does not end. */
static bool skip_value(char **at)
{
    unsigned depth = 0;

    do {
        skip_blanks(at);
        if (**at == '"') {
            if (take_string(at) == NULL)
                return false;
            continue;
        }
        if (**at == '\0' || (depth == 0 && strchr(",]}", **at) != NULL))
            return false;
        if (strchr("{[", **at) != NULL)
            depth++;
        else if (strchr("}]", **at) != NULL)
            depth--;
        else
            *at += strcspn(*at + 1, ",:{}[]\" \t\r\n");
        ++*at;
    } while (depth > 0);
    return true;
}

static bool take_test(char **at, tn_timing_cb *cb, void *arg)
{
    static const char *const names[] = {"run_time", "file", "classname", "name"};
    char *fields[4] = {NULL, NULL, NULL, NULL};
    double seconds = -1;

    if (!take(at, '{'))
        return false;
    while (!take(at, '}')) {
        char *key = take_string(at);
        int which = 0;

        if (key == NULL || !take(at, ':'))
            return false;
        while (which < 4 && strcmp(key, names[which]) != 0)
            which++;
        skip_blanks(at);
        if (which == 0 && **at >= '0' && **at <= '9')
            seconds = tn_parse_decimal(*at, at);
        else if (which > 0 && which < 4 && **at == '"')
            fields[which] = take_string(at);
        else if (!skip_value(at))
            return false;
        take(at, ',');
    }
    if (seconds >= 0 && seconds < 1e9)
        cb(arg, seconds, fields);
    return true;
}

void tn_timings_read(char *text, tn_timing_cb *cb, void *arg)
{
    if (!take(&text, '{'))
        return;
    for (;;) {
        char *key = take_string(&text);

        if (key == NULL || !take(&text, ':'))
            return;
        if (strcmp(key, "tests") == 0 && take(&text, '[')) {
            while (take_test(&text, cb, arg))
                take(&text, ',');
            return;
        }
        if (!skip_value(&text) || !take(&text, ','))
            return;
    }
}
