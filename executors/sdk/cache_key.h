/* Templates of cache keys: {{ .Branch }}, {{ .BuildNum }}, {{ .Revision }}, {{ .CheckoutKey }}, {{ .Environment.NAME
 * }},
 * {{ checksum "file" }}, {{ epoch }}, {{ arch }}. Pure: checksums come from a callback that may not know them yet.
 * Source: CircleCI configuration reference, "save_cache", templates. */
#ifndef TN_CACHE_KEY_H
#define TN_CACHE_KEY_H

#include "core/lib/err.h"

#include <stddef.h>

enum { TN_CACHE_KEY_MAX = 900 }; /* characters of a finished key */

struct tn_cache_key_source {
    /* The value of a variable such as ".Branch" or ".Environment.X", or of "epoch" and "arch"; NULL: no such name. */
    const char *(*value)(void *arg, const char *name);
    /* base64 of the file's SHA-256, or NULL: not known yet, ask for it and render again. */
    const char *(*checksum)(void *arg, const char *path);
    void *arg;
};

/* 1: `*out` is the key (the caller frees it); 0: a checksum is not known yet; -1: the template is wrong. */
int tn_cache_key_render(const char *template, const struct tn_cache_key_source *source, char **out,
                        struct tn_err *err) TN_MUST_CHECK;

#endif
