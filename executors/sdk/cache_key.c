#include "executors/sdk/cache_key.h"
#include "core/lib/buf.h"
#include "core/lib/cleanup.h"

#include <ctype.h>
#include <string.h>

/* The text between {{ and }} without the blanks around it, copied. */
static char *trimmed(const char *from, const char *to)
{
    while (from < to && isspace((unsigned char)*from))
        from++;
    while (to > from && isspace((unsigned char)to[-1]))
        to--;
    return strndup(from, (size_t)(to - from));
}

/* checksum "path": returns the path inside `expression`, cut in place, or NULL. */
static char *checksum_path(char *expression)
{
    char *at = expression + strlen("checksum");
    char *end;
    char quote;

    while (isspace((unsigned char)*at))
        at++;
    quote = *at;
    if (quote != '"' && quote != '`')
        return NULL;
    end = strchr(at + 1, quote);
    if (end == NULL || end[1] != '\0' || end == at + 1)
        return NULL;
    *end = '\0';
    return at + 1;
}

/* One {{ }}: 1 and the text in `*value`, 0 for a checksum that is not known yet, -1 for an error. */
static int evaluate(char *expression, const struct tn_cache_key_source *source, const char **value, struct tn_err *err)
{
    if (strncmp(expression, "checksum", 8) == 0 && (isspace((unsigned char)expression[8]) || expression[8] == '"')) {
        const char *path = checksum_path(expression);

        if (path == NULL)
            return tn_err_set(err, TN_ERR_CONFIG, "cache key: {{ %s }}: expected checksum \"file\"", expression);
        *value = source->checksum(source->arg, path);
        return *value != NULL;
    }
    *value = source->value(source->arg, expression);
    if (*value == NULL)
        return tn_err_set(err, TN_ERR_CONFIG,
                          "cache key: {{ %s }} is unknown; expected .Branch, .BuildNum, .Revision, .CheckoutKey, "
                          ".Environment.NAME, checksum \"file\", epoch or arch",
                          expression);
    return 1;
}

int tn_cache_key_render(const char *template, const struct tn_cache_key_source *source, char **out, struct tn_err *err)
{
    auto_buf struct tn_buf key = TN_BUF_INIT;
    const char *at = template;
    const char *open;

    while ((open = strstr(at, "{{")) != NULL) {
        const char *close = strstr(open, "}}");
        auto_free char *expression = NULL;
        const char *value = NULL;
        int known;

        if (close == NULL)
            return tn_err_set(err, TN_ERR_CONFIG, "cache key \"%s\": {{ without }}", template);
        expression = trimmed(open + 2, close);
        if (expression == NULL)
            return tn_err_set(err, TN_ERR_SYSTEM, "out of memory: a cache key");
        known = evaluate(expression, source, &value, err);
        if (known <= 0)
            return known;
        tn_buf_add(&key, at, (size_t)(open - at));
        tn_buf_adds(&key, value);
        at = close + 2;
    }
    tn_buf_adds(&key, at);
    if (key.len > TN_CACHE_KEY_MAX)
        return tn_err_set(err, TN_ERR_LIMIT, "cache key of %zu characters, at most %d are allowed", key.len,
                          TN_CACHE_KEY_MAX);
    *out = tn_buf_steal(&key);
    return 1;
}
