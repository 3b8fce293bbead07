#include "core/compiler/source.h"

#include "core/compiler/diag.h"
#include "core/compiler/limits.h"

#include <string.h>

#define LINE_SHOWN 1000
#define FIND_DISTANCE 65536

/* Decodes one character at `p`. Returns its length in bytes, or 0 if it is not valid UTF-8 (RFC 3629). */
static size_t decode(const unsigned char *p, size_t left, uint32_t *out)
{
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t len = p[0] < 0x80             ? 1
                 : (p[0] & 0xe0) == 0xc0 ? 2
                 : (p[0] & 0xf0) == 0xe0 ? 3
                 : (p[0] & 0xf8) == 0xf0 ? 4
                                         : 0;
    uint32_t value;

    if (len == 0 || len > left)
        return 0;
    value = len == 1 ? p[0] : p[0] & (0x7fu >> len);
    for (size_t i = 1; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        value = value << 6 | (p[i] & 0x3f);
    }
    if (value < smallest[len] || (value >= 0xd800 && value <= 0xdfff) || value > 0x10ffff)
        return 0;
    *out = value;
    return len;
}

/* The characters that YAML 1.1 allows in a text (its section 5.1). */
static bool allowed(uint32_t c)
{
    return c == '\t' || c == '\n' || c == '\r' || c == 0x85 || (c >= 0x20 && c <= 0x7e) || (c >= 0xa0 && c <= 0xfffd) ||
           c >= 0x10000;
}

static bool is_break(uint32_t c)
{
    return c == '\n' || c == '\r' || c == 0x85 || c == 0x2028 || c == 0x2029;
}

static bool utf16(const char *text, size_t len)
{
    return len >= 2 && (memcmp(text, "\xff\xfe", 2) == 0 || memcmp(text, "\xfe\xff", 2) == 0 ||
                        (text[0] == '\0' && text[1] != '\0') || (text[0] != '\0' && text[1] == '\0'));
}

static bool refuse_character(struct diags *diags, uint32_t c, size_t valid, unsigned char byte, struct place at)
{
    struct report report = {.code = DIAG_YAML_CONTROL,
                            .at = at,
                            .hint = "remove it; in a double-quoted text it can be "
                                    "written as an escape such as \\e"};

    if (valid == 0) {
        report.code = DIAG_YAML_ENCODING;
        report.hint = "save the file as UTF-8";
        diag__add(diags, &report, "the byte 0x%02x is not valid UTF-8", byte);
    } else {
        diag__add(diags, &report, "the control character U+%04X is not allowed in YAML", c);
    }
    return false;
}

static size_t count_breaks(const char *text, size_t len)
{
    size_t count = 1;

    /* An upper bound is enough: every break character ends in one of these bytes. */
    for (size_t i = 0; i < len; i++)
        count += text[i] == '\n' || text[i] == '\r' || text[i] == '\x85' || text[i] == '\xa8' || text[i] == '\xa9';
    return count;
}

bool source__scan(struct source *source, struct arena *arena, struct diags *diags, const char *text, size_t len)
{
    struct report whole = {.code = DIAG_YAML_TOO_BIG, .at = {1, 1, 0}};
    struct place at = {1, 1, 0};
    uint32_t *lines;

    if (len > LIMIT_BYTES) {
        diag__add(diags, &whole, "the config is %zu bytes long; the limit is %u bytes", len, LIMIT_BYTES);
        return false;
    }
    if (utf16(text, len)) {
        whole.code = DIAG_YAML_ENCODING;
        whole.hint = "save the file as UTF-8";
        diag__add(diags, &whole, "the config is UTF-16 or binary, not UTF-8");
        return false;
    }
    if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
        text += 3;
        len -= 3;
    }
    *source = (struct source){.text = text, .len = len, .line_count = 1};
    lines = arena__alloc(arena, count_breaks(text, len) * sizeof(*lines));
    source->lines = lines;
    for (size_t i = 0; i < len;) {
        uint32_t c = 0;
        size_t size = decode((const unsigned char *)text + i, len - i, &c);

        if (size == 0 || !allowed(c))
            return refuse_character(diags, c, size, (unsigned char)text[i], at);
        i += size;
        at.column++;
        if (is_break(c) && !(c == '\r' && i < len && text[i] == '\n')) {
            lines[source->line_count++] = (uint32_t)i;
            at = (struct place){at.line + 1, 1, 0};
        }
    }
    return true;
}

const char *source__line(const struct source *source, struct arena *arena, size_t number)
{
    const char *start;
    size_t len = 0;
    size_t left;

    if (number == 0 || number > source->line_count)
        return "";
    start = source->text + source->lines[number - 1];
    left = source->len - source->lines[number - 1];
    while (len < left && len < LINE_SHOWN && start[len] != '\n' && start[len] != '\r')
        len++;
    /* A line that was cut must not end within a character. */
    while (len > 0 && len < left && ((unsigned char)start[len] & 0xc0) == 0x80)
        len--;
    return arena__text(arena, start, len);
}

bool source__find(const struct source *source, const char *needle, size_t len, uint32_t *line, uint32_t *column)
{
    const char *start;
    const char *found;
    size_t left;
    size_t at = *line;

    if (at == 0 || at > source->line_count || len == 0)
        return false;
    start = source->text + source->lines[at - 1];
    left = source->len - source->lines[at - 1];
    for (uint32_t i = 1; i < *column && left > 0;) {
        start++;
        left--;
        i += left > 0 && ((unsigned char)*start & 0xc0) != 0x80;
        if (left == 0)
            return false;
    }
    found = memmem(start, left < FIND_DISTANCE ? left : FIND_DISTANCE, needle, len);
    if (found == NULL)
        return false;
    while (at < source->line_count && source->lines[at] <= (size_t)(found - source->text))
        at++;
    *line = (uint32_t)at;
    *column = 1;
    for (start = source->text + source->lines[at - 1]; start < found; start++)
        *column += ((unsigned char)*start & 0xc0) != 0x80;
    return true;
}
