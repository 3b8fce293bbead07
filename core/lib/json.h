/* Reading and writing the JSON bodies of messages, on cJSON: typed access with a default, and bounded parsing. */
#ifndef TN_JSON_H
#define TN_JSON_H

#include "core/lib/err.h"

#include <cjson/cJSON.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline void tn_cleanup_json(cJSON **json)
{
    cJSON_Delete(*json);
}
#define auto_json __attribute__((cleanup(tn_cleanup_json)))

/* Parses an object; an empty text is an empty object. NULL and an error naming `what` for anything else.
 * cJSON bounds the nesting (1,000); the caller bounds `length`. The caller deletes the result. */
cJSON *tn_json_parse(const void *text, size_t length, const char *what, struct tn_err *err) TN_MUST_CHECK;

/* The member's value, or the default if it is missing or of another type. Strings are borrowed from the object. */
const char *tn_json_string(const cJSON *object, const char *key, const char *fallback);
double tn_json_number(const cJSON *object, const char *key, double fallback);
bool tn_json_bool(const cJSON *object, const char *key, bool fallback);
/* Clipped to what an int holds. */
int tn_json_int(const cJSON *object, const char *key, int fallback);
/* 64-bit values travel as decimal strings (a double holds 53 bits); a number is accepted too, if it is not negative and
 * a double holds it exactly. Use it for whole numbers: to cast what tn_json_number() gives is undefined for many. */
uint64_t tn_json_u64(const cJSON *object, const char *key, uint64_t fallback);
/* The same of an array's item. */
uint64_t tn_json_item_u64(const cJSON *item, uint64_t fallback);
void tn_json_add_u64(cJSON *object, const char *key, uint64_t value);
/* A member that is an object or array, else NULL. */
const cJSON *tn_json_get(const cJSON *object, const char *key);

/* Unformatted text that the caller frees; out of memory is fatal. */
char *tn_json_print(const cJSON *json);

#endif
