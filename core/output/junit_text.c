#include "core/output/junit_text.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { SAID_MAX = 2048, SAID_LINES = 5 };

/* ---- clipping ---- */

void tn_junit_clip(char *out, size_t size, const char *text, size_t length)
{
    if (length >= size) {
        length = size - 1;
        while (length > 0 && ((unsigned char)text[length] & 0xc0) == 0x80)
            length--;
    }
    memcpy(out, text, length);
    out[length] = '\0';
}

/* ---- why a test failed ---- */

void tn_junit_words_reset(struct tn_junit_words *words)
{
    tn_buf_reset(&words->heading);
    tn_buf_reset(&words->type);
    tn_buf_reset(&words->why);
    tn_buf_reset(&words->said);
}

void tn_junit_words_free(struct tn_junit_words *words)
{
    tn_buf_free(&words->heading);
    tn_buf_free(&words->type);
    tn_buf_free(&words->why);
    tn_buf_free(&words->said);
}

static void add_line(struct tn_buf *buf, const char *text)
{
    char clipped[TN_JUNIT_MESSAGE_MAX];

    if (buf->len + 1 >= TN_JUNIT_MESSAGE_MAX)
        return;
    tn_junit_clip(clipped, TN_JUNIT_MESSAGE_MAX - buf->len - 1, text, strlen(text));
    if (buf->len > 0)
        tn_buf_adds(buf, "\n");
    tn_buf_adds(buf, clipped);
}

void tn_junit_words_begin(struct tn_junit_words *words, enum tn_junit_word_kind kind, const char *message,
                          const char *type)
{
    words->kind = kind;
    if (kind != TN_JUNIT_WHY)
        return;
    if (message != NULL && message[0] != '\0')
        add_line(&words->heading, message);
    if (type != NULL && words->type.len == 0)
        add_line(&words->type, type);
    if (words->why.len > 0 && words->why.len < TN_JUNIT_MESSAGE_MAX)
        tn_buf_adds(&words->why, "\n");
}

void tn_junit_words_add(struct tn_junit_words *words, const char *text, size_t length)
{
    if (words->kind == TN_JUNIT_WHY) {
        size_t room = words->why.len < TN_JUNIT_MESSAGE_MAX ? TN_JUNIT_MESSAGE_MAX - words->why.len : 0;

        tn_buf_add(&words->why, text, length < room ? length : room);
        return;
    }
    if (length > SAID_MAX) {
        text += length - SAID_MAX;
        length = SAID_MAX;
    }
    if (words->said.len > SAID_MAX)
        tn_buf_consume(&words->said, words->said.len - SAID_MAX);
    tn_buf_add(&words->said, text, length);
}

/* Go's lines about the test itself, which its name says already. */
static bool is_noise(const char *line, size_t length)
{
    static const char *const heads[] = {"=== RUN", "=== PAUSE", "=== CONT", "=== NAME"};

    for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++)
        if (length >= strlen(heads[i]) && memcmp(line, heads[i], strlen(heads[i])) == 0)
            return true;
    return strspn(line, " \t\r\n") >= length;
}

/* Without blank and noisy lines in front and blanks at the end. */
static const char *trim(const struct tn_buf *buf, size_t *length)
{
    const char *text = buf->len > 0 ? buf->data : "";
    size_t left = buf->len;

    while (left > 0) {
        const char *newline = memchr(text, '\n', left);
        size_t line = newline != NULL ? (size_t)(newline - text) : left;

        if (!is_noise(text, line))
            break;
        line += newline != NULL;
        text += line;
        left -= line;
    }
    while (left > 0 && strchr(" \t\r\n", text[left - 1]) != NULL)
        left--;
    *length = left;
    return text;
}

/* The last lines. */
static const char *last_lines(const char *text, size_t *length)
{
    const char *at = text + *length;
    unsigned lines = 0;

    while (at > text) {
        if (at[-1] == '\n' && ++lines == SAID_LINES)
            break;
        at--;
    }
    while (at < text + *length && ((unsigned char)*at & 0xc0) == 0x80)
        at++;
    *length -= (size_t)(at - text);
    return at;
}

static size_t first_line(const char *text, size_t length)
{
    const char *newline = memchr(text, '\n', length);

    return newline != NULL ? (size_t)(newline - text) : length;
}

/* Says the heading nothing that the text, whose beginning most tools repeat in it, does not? Line ends in attributes
 * arrive as blanks. */
static bool repeats(const char *heading, size_t heading_length, const char *why, size_t why_length)
{
    static const char *const empty[] = {"failed", "failure", "skipped"};
    size_t line = first_line(why, why_length);
    size_t heading_line = first_line(heading, heading_length);

    for (size_t i = 0; i < sizeof(empty) / sizeof(empty[0]); i++)
        if (heading_length == strlen(empty[i]) && strncasecmp(heading, empty[i], heading_length) == 0)
            return true;
    return heading_length == 0 || memmem(why, line, heading, heading_line) != NULL ||
           (line > 0 && heading_length >= line && memcmp(heading, why, line) == 0);
}

void tn_junit_words_make(const struct tn_junit_words *words, bool said, char out[TN_JUNIT_MESSAGE_MAX])
{
    size_t heading_length, why_length, said_length, type_length;
    const char *heading = trim(&words->heading, &heading_length);
    const char *why = trim(&words->why, &why_length);
    const char *output = trim(&words->said, &said_length);
    const char *type = trim(&words->type, &type_length);
    bool repeated = repeats(heading, heading_length, why, why_length);
    struct tn_buf made = TN_BUF_INIT;

    if (repeated && why_length > 0) {
        tn_buf_add(&made, why, why_length);
    } else if (repeated && said && said_length > 0) {
        output = last_lines(output, &said_length);
        tn_buf_add(&made, output, said_length);
    } else if (heading_length > 0) {
        tn_buf_add(&made, heading, heading_length);
        tn_buf_adds(&made, why_length > 0 ? "\n" : "");
        tn_buf_add(&made, why, why_length);
    } else {
        tn_buf_add(&made, type, type_length);
    }
    tn_junit_clip(out, TN_JUNIT_MESSAGE_MAX, made.data != NULL ? made.data : "", made.len);
    tn_buf_free(&made);
}

/* ---- numbers ---- */

/* The place of the decimal mark among the digits, marks and blanks of `text`, or NULL. A comma and a dot: the last is
 * it. One kind of mark, several times: none is. One comma: it is, for seconds that are told with a comma are rarely
 * whole thousands. */
static const char *decimal_mark(const char *text, size_t length)
{
    const char *comma = memrchr(text, ',', length);
    const char *dot = memrchr(text, '.', length);
    const char *mark = comma == NULL || (dot != NULL && dot > comma) ? dot : comma;

    if (mark != NULL && (comma == NULL || dot == NULL) && memchr(text, *mark, (size_t)(mark - text)) != NULL)
        return NULL;
    return mark;
}

double tn_junit_seconds(const char *text)
{
    size_t length;
    const char *mark;
    char plain[64];
    size_t used = 0;
    char *end;
    double value;

    text += strspn(text, " \t\r\n");
    length = strspn(text, "0123456789.,");
    if (length == 0 || length >= sizeof(plain) - 16)
        return -1;
    mark = decimal_mark(text, length);
    for (size_t i = 0; i < length; i++)
        if (isdigit((unsigned char)text[i]))
            plain[used++] = text[i];
        else if (text + i == mark)
            plain[used++] = '.';
    if (text[length] == 'e' || text[length] == 'E') {
        size_t more = 1 + strspn(text + length + 1, "+-0123456789");

        if (more > 8)
            return -1;
        memcpy(plain + used, text + length, more);
        used += more;
        length += more;
    }
    plain[used] = '\0';
    length += text[length] == 's';
    if (text[length + strspn(text + length, " \t\r\n")] != '\0')
        return -1;
    value = strtod(plain, &end);
    return *end == '\0' && used > 0 && value >= 0 && value <= 1e8 ? value : -1;
}

/* ---- bytes ---- */

size_t tn_junit_clean(struct tn_junit_cleaner *cleaner, char *bytes, size_t length)
{
    size_t skip = 0;

    if (!cleaner->begun) {
        const unsigned char *first = (const unsigned char *)bytes;

        if (length >= 2 && (first[0] >= 0xfe || first[0] == 0 || first[1] == 0))
            cleaner->is_wide = true;
        else if (length >= 3 && memcmp(bytes, "\xef\xbb\xbf", 3) == 0)
            skip = 3;
        while (!cleaner->is_wide && skip < length && strchr(" \t\r\n", bytes[skip]) != NULL && bytes[skip] != '\0')
            skip++;
        cleaner->begun = skip < length;
    }
    for (size_t i = skip; i < length && !cleaner->is_wide; i++)
        if ((unsigned char)bytes[i] < ' ' && bytes[i] != '\t' && bytes[i] != '\n' && bytes[i] != '\r')
            bytes[i] = '?';
    return skip;
}

int tn_junit_encoding(void *arg, const XML_Char *name, XML_Encoding *encoding)
{
    /* What differs from ISO-8859-1: 0x80 to 0x9f. */
    static const unsigned short windows[32] = {0x20ac, 0xfffd, 0x201a, 0x0192, 0x201e, 0x2026, 0x2020, 0x2021,
                                               0x02c6, 0x2030, 0x0160, 0x2039, 0x0152, 0xfffd, 0x017d, 0xfffd,
                                               0xfffd, 0x2018, 0x2019, 0x201c, 0x201d, 0x2022, 0x2013, 0x2014,
                                               0x02dc, 0x2122, 0x0161, 0x203a, 0x0153, 0xfffd, 0x017e, 0x0178};
    bool is_windows = strcasecmp(name, "windows-1252") == 0 || strcasecmp(name, "cp1252") == 0;

    if (strncasecmp(name, "utf", 3) == 0 || strncasecmp(name, "ucs", 3) == 0 || strncasecmp(name, "ebcdic", 6) == 0 ||
        strncasecmp(name, "iso-10646", 9) == 0 || strncasecmp(name, "iso-2022", 8) == 0)
        return XML_STATUS_ERROR; /* ASCII is not where it is in others */
    for (int i = 0; i < 256; i++)
        encoding->map[i] = i < 0x80 ? i : !is_windows ? 0xfffd : i < 0xa0 ? windows[i - 0x80] : i;
    encoding->data = NULL;
    encoding->convert = NULL;
    encoding->release = NULL;
    return XML_STATUS_OK;
}
