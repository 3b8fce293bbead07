#include "tools/text.h"

#include <stdio.h>
#include <string.h>
#include <wchar.h>

#define REPLACEMENT "\xef\xbf\xbd"
enum { NAME_BYTES = 200, TAB = 8 };

/* Bytes of the UTF-8 character at `p`: 0 if there is none. RFC 3629, section 4. */
static size_t character(const uint8_t *p, size_t left)
{
    size_t length;

    if (p[0] < 0x80)
        return 1;
    if (p[0] < 0xc2 || p[0] > 0xf4)
        return 0;
    length = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    if (left < length)
        return 0;
    for (size_t i = 1; i < length; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf0 && p[1] < 0x90) ||
        (p[0] == 0xf4 && p[1] > 0x8f))
        return 0;
    return length;
}

static uint32_t code_point(const uint8_t *p, size_t length)
{
    uint32_t value = length == 1 ? p[0] : p[0] & (0x7fu >> length);

    for (size_t i = 1; i < length; i++)
        value = value << 6 | (p[i] & 0x3fu);
    return value;
}

void text_utf8(const void *bytes, size_t length, struct tn_buf *out)
{
    const uint8_t *p = bytes;
    size_t at = 0;

    while (at < length) {
        size_t begin = at;
        size_t one = 1;

        while (at < length && p[at] != 0 && (one = character(p + at, length - at)) != 0)
            at += one;
        tn_buf_add(out, p + begin, at - begin);
        if (at < length) {
            tn_buf_adds(out, REPLACEMENT);
            at++;
        }
    }
}

size_t text_incomplete(const void *bytes, size_t length)
{
    const uint8_t *p = bytes;

    for (size_t back = 1; back <= 3 && back <= length; back++) {
        uint8_t c = p[length - back];
        size_t wanted = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc2 ? 2 : 1;

        if ((c & 0xc0) != 0x80)
            return wanted > back && c <= 0xf4 ? back : 0;
    }
    return 0;
}

/* Bytes of the escape sequence at `p` (ECMA-48, sections 5.3 to 5.6); `*is_colour` for "CSI … m". */
static size_t escape(const char *p, size_t left, bool *is_colour)
{
    size_t at = 2;

    *is_colour = false;
    if (left < 2)
        return 1;
    if (p[1] == '[') {
        while (at < left && (unsigned char)p[at] >= 0x20 && (unsigned char)p[at] <= 0x3f)
            at++;
        /* Private and intermediate bytes make other functions of it: "CSI > 4 ; 2 m" changes what keys send. */
        *is_colour = at < left && p[at] == 'm' && strspn(p + 2, "0123456789;:") == at - 2;
        return at < left ? at + 1 : left;
    }
    if (p[1] == ']' || p[1] == 'P' || p[1] == 'X' || p[1] == '^' || p[1] == '_') { /* up to BEL or ESC \ */
        while (at < left && p[at] != '\a' && p[at] != 0x1b)
            at++;
        if (at < left && p[at] == 0x1b && at + 1 < left && p[at + 1] == '\\')
            at++;
        return at < left ? at + 1 : left;
    }
    while (at < left && (unsigned char)p[at - 1] >= 0x20 && (unsigned char)p[at - 1] <= 0x2f)
        at++;
    return at;
}

/* Where that part of a line begins that a terminal would show at the end. */
static size_t visible_part(const char *line, size_t length)
{
    const char *cr = length > 0 ? memrchr(line, '\r', length) : NULL;

    return cr != NULL ? (size_t)(cr - line) + 1 : 0;
}

size_t text_overwritten(const char *line, size_t length)
{
    /* The last may belong to the line's end. */
    return length > 0 ? visible_part(line, length - 1) : 0;
}

void text_clean(const char *line, size_t length, unsigned keep, struct tn_buf *out)
{
    const uint8_t *p = (const uint8_t *)line;
    size_t column = 0;
    bool coloured = false;
    size_t at;

    while (length > 0 && (line[length - 1] == '\r' || line[length - 1] == '\n'))
        length--;
    at = visible_part(line, length);
    while (at < length) {
        size_t one = character(p + at, length - at);
        bool is_colour;

        if (p[at] == 0x1b) {
            one = escape(line + at, length - at, &is_colour);
            if (is_colour && (keep & TEXT_COLOUR) != 0) {
                tn_buf_add(out, line + at, one);
                coloured = true;
            }
        } else if (p[at] == '\t' && (keep & TEXT_TABS) == 0) {
            size_t blanks = TAB - column % TAB;

            tn_buf_add(out, "        ", blanks);
            column += blanks;
        } else if (one == 0 || p[at] == 0x7f || (p[at] == 0xc2 && p[at + 1] < 0xa0)) {
            tn_buf_adds(out, REPLACEMENT);
            one = one == 0 ? 1 : one;
            column++;
        } else if (p[at] >= 0x20 || p[at] == '\t') {
            tn_buf_add(out, line + at, one);
            column++;
        }
        at += one;
    }
    if (coloured)
        tn_buf_adds(out, "\033[0m");
    tn_buf_adds(out, "");
}

/* Columns of the character of `one` bytes (0: a byte that is none). */
static unsigned columns_of(const uint8_t *p, size_t one)
{
    int width = one > 1 ? wcwidth((wchar_t)code_point(p, one)) : 1;

    return width < 0 ? 1 : (unsigned)width;
}

unsigned text_columns(const char *line)
{
    const uint8_t *p = (const uint8_t *)line;
    size_t length = strcspn(line, "\n");
    unsigned columns = 0;
    size_t at = 0;

    while (at < length) {
        size_t one = character(p + at, length - at);
        bool is_colour;

        if (p[at] == 0x1b) {
            at += escape(line + at, length - at, &is_colour);
            continue;
        }
        columns += columns_of(p + at, one);
        at += one == 0 ? 1 : one;
    }
    return columns;
}

unsigned text_cut(const char *text, unsigned columns, bool unicode, struct tn_buf *out)
{
    const uint8_t *p = (const uint8_t *)text;
    size_t length = strlen(text);
    size_t at = 0;
    size_t fits = 0; /* bytes that leave a column for the mark */
    unsigned used = 0;
    unsigned used_fits = 0;

    if (columns == 0)
        return 0;
    while (at < length) {
        size_t one = character(p + at, length - at);
        unsigned wide = columns_of(p + at, one);

        if (used + wide > columns) {
            tn_buf_add(out, text, fits);
            tn_buf_adds(out, unicode ? "\xe2\x80\xa6" : ".");
            return used_fits + 1;
        }
        used += wide;
        at += one == 0 ? 1 : one;
        if (used < columns) {
            fits = at;
            used_fits = used;
        }
    }
    tn_buf_add(out, text, length);
    return used;
}

void text_name(const char *name, struct tn_buf *out)
{
    size_t length = strcspn(name, "\r\n");
    bool cut = name[length] != '\0';

    if (length > NAME_BYTES) {
        length = NAME_BYTES - text_incomplete(name, NAME_BYTES);
        cut = true;
    }
    text_clean(name, length, 0, out);
    if (cut)
        tn_buf_adds(out, " ...");
}

const char *text_duration(uint64_t ms, char out[24])
{
    unsigned long long seconds = ms / 1000;

    if (seconds < 10)
        snprintf(out, 24, "%llu.%llus", seconds, (unsigned long long)(ms % 1000 / 100));
    else if (seconds < 60)
        snprintf(out, 24, "%llus", seconds);
    else if (seconds < 3600)
        snprintf(out, 24, "%llum%02llus", seconds / 60, seconds % 60);
    else
        snprintf(out, 24, "%lluh%02llum", seconds / 3600, seconds % 3600 / 60);
    return out;
}
