#include "executors/agent/subst.h"
#include "core/lib/cleanup.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX 32

static int subst_text(const char *text, size_t len, struct tn_buf *out, int depth, struct tn_err *err);

static bool is_name(char c, bool first)
{
    return c == '_' || isalpha((unsigned char)c) || (!first && isdigit((unsigned char)c));
}

static size_t name_length(const char *text, size_t len)
{
    size_t at = 0;

    while (at < len && is_name(text[at], at == 0))
        at++;
    return at;
}

/* Length up to the '}' that closes the brace that is open before `text`; `len` if there is none. */
static size_t brace_length(const char *text, size_t len)
{
    int depth = 0;

    for (size_t at = 0; at < len; at++) {
        if (text[at] == '$' && at + 1 < len && text[at + 1] == '{')
            depth++;
        else if (text[at] == '}' && depth-- == 0)
            return at;
    }
    return len;
}

static const char *value_of(const char *name, size_t len)
{
    auto_free char *copy = strndup(name, len);

    return copy != NULL ? getenv(copy) : NULL;
}

/* What stands between the braces. */
static int subst_brace(const char *text, size_t len, struct tn_buf *out, int depth, struct tn_err *err)
{
    bool length = len > 1 && text[0] == '#';
    size_t name = name_length(text + length, len - length);
    const char *value = value_of(text + length, name);
    const char *rest = text + length + name;
    size_t rest_len = len - length - name;
    bool colon = rest_len > 0 && rest[0] == ':';
    bool there = value != NULL && !(colon && value[0] == '\0');

    if (name == 0)
        return tn_err_set(err, TN_ERR_USAGE, "bad substitution ${%.*s}: a variable's name is expected behind the brace",
                          (int)len, text);
    if (length && rest_len == 0) {
        tn_buf_addf(out, "%zu", value != NULL ? strlen(value) : 0);
        return 0;
    }
    if (rest_len == 0) {
        tn_buf_adds(out, value != NULL ? value : "");
        return 0;
    }
    rest += colon;
    rest_len -= colon;
    if (length || rest_len == 0 || strchr("-=+", rest[0]) == NULL)
        return tn_err_set(err, TN_ERR_USAGE, "bad substitution ${%.*s}: expected one of :- - := = :+ + behind the name",
                          (int)len, text);
    if (rest[0] == '+')
        return there ? subst_text(rest + 1, rest_len - 1, out, depth + 1, err) : 0;
    if (!there)
        return subst_text(rest + 1, rest_len - 1, out, depth + 1, err);
    tn_buf_adds(out, value);
    return 0;
}

/* What stands behind a '$'; sets how many bytes of it were used. */
static int subst_dollar(const char *text, size_t len, size_t *used, struct tn_buf *out, int depth, struct tn_err *err)
{
    size_t name = name_length(text, len);
    const char *value = value_of(text, name);

    if (len > 1 && text[0] == '$' && (text[1] == '{' || is_name(text[1], true))) {
        tn_buf_adds(out, "$");
        *used = 1;
    } else if (len > 0 && text[0] == '{') {
        size_t inner = brace_length(text + 1, len - 1);

        if (inner == len - 1)
            return tn_err_set(err, TN_ERR_USAGE, "closing brace expected: ${%.*s", len - 1 > 40 ? 40 : (int)(len - 1),
                              text + 1);
        *used = inner + 2;
        return subst_brace(text + 1, inner, out, depth, err);
    } else if (name > 0) {
        tn_buf_adds(out, value != NULL ? value : "");
        *used = name;
    } else {
        tn_buf_adds(out, "$");
        *used = 0;
    }
    return 0;
}

static int subst_text(const char *text, size_t len, struct tn_buf *out, int depth, struct tn_err *err)
{
    if (depth > DEPTH_MAX)
        return tn_err_set(err, TN_ERR_LIMIT, "substitutions are nested deeper than %d", DEPTH_MAX);
    while (len > 0) {
        const char *dollar = memchr(text, '$', len);
        size_t plain = dollar != NULL ? (size_t)(dollar - text) : len;
        size_t used = 0;

        tn_buf_add(out, text, plain);
        text += plain;
        len -= plain;
        if (len == 0)
            break;
        if (subst_dollar(text + 1, len - 1, &used, out, depth, err) != 0)
            return -1;
        text += used + 1;
        len -= used + 1;
    }
    return 0;
}

int tn_subst(const char *text, size_t len, struct tn_buf *out, struct tn_err *err)
{
    return subst_text(text, len, out, 0, err);
}
