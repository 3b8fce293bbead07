#include "core/lib/json.h"
#include "core/lib/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

cJSON *tn_json_parse(const void *text, size_t length, const char *what, struct tn_err *err)
{
    cJSON *json = length == 0 ? cJSON_CreateObject() : cJSON_ParseWithLength(text, length);

    if (json == NULL || !cJSON_IsObject(json)) {
        cJSON_Delete(json);
        tn_err_set(err, TN_ERR_PROTOCOL, "%s: expected a JSON object in %zu bytes of body", what, length);
        return NULL;
    }
    return json;
}

const char *tn_json_string(const cJSON *object, const char *key, const char *fallback)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);

    return cJSON_IsString(item) ? item->valuestring : fallback;
}

double tn_json_number(const cJSON *object, const char *key, double fallback)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);

    return cJSON_IsNumber(item) ? item->valuedouble : fallback;
}

bool tn_json_bool(const cJSON *object, const char *key, bool fallback)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);

    return cJSON_IsBool(item) ? cJSON_IsTrue(item) : fallback;
}

int tn_json_int(const cJSON *object, const char *key, int fallback)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);

    return cJSON_IsNumber(item) ? item->valueint : fallback; /* cJSON has clipped it */
}

uint64_t tn_json_u64(const cJSON *object, const char *key, uint64_t fallback)
{
    return tn_json_item_u64(cJSON_GetObjectItemCaseSensitive(object, key), fallback);
}

uint64_t tn_json_item_u64(const cJSON *item, uint64_t fallback)
{
    char *end;
    unsigned long long value;

    if (cJSON_IsNumber(item) && item->valuedouble >= 0 && item->valuedouble < 9007199254740992.0)
        return (uint64_t)item->valuedouble;
    if (!cJSON_IsString(item) || item->valuestring[0] < '0' || item->valuestring[0] > '9')
        return fallback;
    errno = 0;
    value = strtoull(item->valuestring, &end, 10);
    return errno == 0 && *end == '\0' ? value : fallback;
}

void tn_json_add_u64(cJSON *object, const char *key, uint64_t value)
{
    char text[24];

    snprintf(text, sizeof(text), "%" PRIu64, value);
    cJSON_AddStringToObject(object, key, text);
}

const cJSON *tn_json_get(const cJSON *object, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);

    return cJSON_IsObject(item) || cJSON_IsArray(item) ? item : NULL;
}

char *tn_json_print(const cJSON *json)
{
    char *text = cJSON_PrintUnformatted(json);

    if (text == NULL)
        tn_fatal(3, "out of memory: a JSON text");
    return text;
}
