#include "core/output/mask_forms.h"
#include "core/lib/buf.h"

#include <ctype.h>
#include <string.h>

static const char alphanumeric[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

static bool is_one_of(const char *set, char c)
{
    return c != '\0' && strchr(set, c) != NULL;
}

/* ---- percent-encoding ---- */

struct percent {
    const char *safe; /* left alone besides letters and digits */
    bool lower;
    bool plus;
};

static void add_percent(struct tn_buf *out, const char *value, size_t length, const void *arg)
{
    const struct percent *how = arg;

    for (size_t i = 0; i < length; i++) {
        if (value[i] == ' ' && how->plus)
            tn_buf_adds(out, "+");
        else if (is_one_of(alphanumeric, value[i]) || is_one_of(how->safe, value[i]))
            tn_buf_add(out, &value[i], 1);
        else
            tn_buf_addf(out, how->lower ? "%%%02x" : "%%%02X", (unsigned)(uint8_t)value[i]);
    }
}

/* ---- JSON ---- */

struct json {
    bool slash;
    bool html;
    bool ascii;
};

/* The code point of the UTF-8 character at `p`; `*used` its bytes. What is none counts as Latin-1. */
static unsigned long code_point(const uint8_t *p, size_t left, size_t *used)
{
    size_t length = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : p[0] >= 0xc2 ? 2 : 1;
    unsigned long value = length == 1 ? p[0] : p[0] & (0x7fu >> length);

    *used = 1;
    if (length > left)
        return p[0];
    for (size_t i = 1; i < length; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return p[0];
        value = value << 6 | (p[i] & 0x3fu);
    }
    *used = length;
    return value;
}

static void add_unicode(struct tn_buf *out, unsigned long point)
{
    if (point >= 0x10000) {
        tn_buf_addf(out, "\\u%04lx", 0xd800 + ((point - 0x10000) >> 10 & 0x3ff));
        point = 0xdc00 + (point & 0x3ff);
    }
    tn_buf_addf(out, "\\u%04lx", point);
}

static void add_json(struct tn_buf *out, const char *value, size_t length, const void *arg)
{
    static const char controls[] = "\b\f\n\r\t";
    const struct json *how = arg;

    for (size_t i = 0; i < length; i++) {
        char c = value[i];
        size_t used = 1;

        if (c == '"' || c == '\\' || (c == '/' && how->slash))
            tn_buf_addf(out, "\\%c", c);
        else if (is_one_of(controls, c))
            tn_buf_addf(out, "\\%c", "bfnrt"[strchr(controls, c) - controls]);
        else if ((uint8_t)c < 0x20 || (how->html && is_one_of("<>&", c)) || (how->ascii && (uint8_t)c >= 0x80))
            add_unicode(out, code_point((const uint8_t *)value + i, length - i, &used));
        else
            tn_buf_add(out, &value[i], 1);
        i += used - 1;
    }
}

/* ---- shells ---- */

struct shell {
    const char *escaped; /* get a backslash before them */
    const char *quote;   /* in the place of "'", or NULL */
};

static void add_shell(struct tn_buf *out, const char *value, size_t length, const void *arg)
{
    const struct shell *how = arg;

    for (size_t i = 0; i < length; i++) {
        if (value[i] == '\'' && how->quote != NULL)
            tn_buf_adds(out, how->quote);
        else if (is_one_of(how->escaped, value[i]))
            tn_buf_addf(out, "\\%c", value[i]);
        else
            tn_buf_add(out, &value[i], 1);
    }
}

/* ---- all of them ---- */

typedef void add_form(struct tn_buf *out, const char *value, size_t length, const void *how);

static int tell(add_form *add, const void *how, const char *value, size_t length, tn_mask_form_cb *cb, void *arg)
{
    auto_buf struct tn_buf form = TN_BUF_INIT;

    add(&form, value, length, how);
    if (form.len == length && (length == 0 || memcmp(form.data, value, length) == 0))
        return 0;
    return cb(arg, form.data, form.len);
}

static int tell_percent(const char *value, size_t length, tn_mask_form_cb *cb, void *arg)
{
    /* Python's quote(), quote_plus() and curl; Java's URLEncoder; JavaScript's encodeURIComponent() and encodeURI();
     * the rest of RFC 3986. */
    static const char *const safe[] = {"-._~", "-._~/", "-._*", "-._", "-._~!'()*", "-._~!'()*;,/?:@&=+$#"};
    bool blank = memchr(value, ' ', length) != NULL;
    int result = 0;

    for (size_t i = 0; result == 0 && i < sizeof(safe) / sizeof(safe[0]); i++)
        for (unsigned way = 0; result == 0 && way < (blank ? 4u : 2u); way++) {
            struct percent how = {safe[i], (way & 1) != 0, (way & 2) != 0};

            result = tell(add_percent, &how, value, length, cb, arg);
        }
    return result;
}

int tn_mask_forms(const char *value, size_t length, tn_mask_form_cb *cb, void *arg)
{
    static const struct json json[] = {{0}, {.slash = true}, {.html = true}, {.ascii = true}, {true, false, true}};
    static const struct shell shell[] = {
        {"", "'\\''"}, {"", "'\"'\"'"}, {"\"$`\\", NULL}, {"'\\", NULL}, {" !\"$&'()*,;<>?[\\]^`{|}", NULL}};
    int result;

    /* Most secrets are the same in every form. */
    if (strspn(value, alphanumeric) >= length)
        return 0;
    result = tell_percent(value, length, cb, arg);
    for (size_t i = 0; result == 0 && i < sizeof(json) / sizeof(json[0]); i++)
        result = tell(add_json, &json[i], value, length, cb, arg);
    for (size_t i = 0; result == 0 && i < sizeof(shell) / sizeof(shell[0]); i++)
        result = tell(add_shell, &shell[i], value, length, cb, arg);
    return result;
}

/* ---- base64 ---- */

size_t tn_mask_base64(const char *value, size_t length, unsigned before, uint8_t *out, bool *open)
{
    static const unsigned skipped[] = {0, 4,
                                       2}; /* bits of the value in a digit that it shares with what stands before */
    size_t count = 0;
    unsigned bits = 8 - skipped[before];
    unsigned value_bits = (uint8_t)value[0] & (0xffu >> skipped[before]);

    for (size_t i = 1;; i++) {
        while (bits >= 6) {
            bits -= 6;
            out[count++] = (uint8_t)(value_bits >> bits & 0x3f);
        }
        if (i >= length)
            break;
        value_bits = (value_bits << 8 | (uint8_t)value[i]) & 0xffff;
        bits += 8;
    }
    *open = bits > 0;
    return count;
}

int tn_mask_base64_digit(uint8_t byte)
{
    if (byte >= 'A' && byte <= 'Z')
        return byte - 'A';
    if (byte >= 'a' && byte <= 'z')
        return byte - 'a' + 26;
    if (byte >= '0' && byte <= '9')
        return byte - '0' + 52;
    if (byte == '+' || byte == '-')
        return 62;
    return byte == '/' || byte == '_' ? 63 : -1;
}
