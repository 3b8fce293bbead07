/* The environment variables of a step, put together in order: later sources win. Pure. */
#ifndef TN_ENVIRON_H
#define TN_ENVIRON_H

#include <cjson/cJSON.h>

#include <stdbool.h>
#include <stddef.h>

struct tn_environ {
    char **entries; /* owned "NAME=value" strings, then NULL */
    size_t count;
    size_t size;
};

#define TN_ENVIRON_INIT                                                                                                \
    {                                                                                                                  \
        NULL, 0, 0                                                                                                     \
    }

/* The list is empty and can be used again. */
void tn_environ_free(struct tn_environ *env);
/* Sets or replaces. Names that are empty or contain '=' are ignored. */
void tn_environ_set(struct tn_environ *env, const char *name, const char *value);
/* All pairs of [["NAME","value"], ...]; anything else in the array is ignored. */
void tn_environ_set_pairs(struct tn_environ *env, const cJSON *pairs);
/* All members of {"NAME": "value", ...}; those with other values are ignored. */
void tn_environ_set_members(struct tn_environ *env, const cJSON *object);
/* The value, borrowed, or NULL. */
const char *tn_environ_get(const struct tn_environ *env, const char *name);

#define auto_environ __attribute__((cleanup(tn_environ_free)))

#endif
