#include "core/kernel/strings.h"
#include "core/lib/fs.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

void tn_strings_free(char **strings)
{
    for (char **at = strings; at != NULL && *at != NULL; at++)
        free(*at);
    free(strings);
}

char **tn_strings_arguments(const char *first, const cJSON *list)
{
    int count = cJSON_GetArraySize(list);
    char **out = count <= TN_STRINGS_ARGUMENTS_MAX ? calloc((size_t)count + 2, sizeof(*out)) : NULL;
    const cJSON *item;
    size_t used = 0;

    if (out == NULL)
        return NULL;
    out[used++] = tn_fs_path("%s", first);
    cJSON_ArrayForEach (item, list) {
        if (!cJSON_IsString(item)) {
            tn_strings_free(out);
            return NULL;
        }
        out[used++] = tn_fs_path("%s", item->valuestring);
    }
    return out;
}

static bool has_name(char *const *strings, size_t count, const char *name)
{
    size_t length = strlen(name);

    for (size_t i = 0; i < count; i++)
        if (strncmp(strings[i], name, length) == 0 && strings[i][length] == '=')
            return true;
    return false;
}

char **tn_strings_environment(const cJSON *list)
{
    int count = cJSON_GetArraySize(list);
    char **out = count <= TN_STRINGS_ENVIRONMENT_MAX ? calloc((size_t)count + 1, sizeof(*out)) : NULL;
    size_t used = 0;

    for (int i = count - 1; out != NULL && i >= 0; i--) { /* from the end: the last of a name is met first */
        const cJSON *pair = cJSON_GetArrayItem(list, i);
        const cJSON *name = cJSON_GetArrayItem(pair, 0);
        const cJSON *value = cJSON_GetArrayItem(pair, 1);

        if (!cJSON_IsString(name) || !cJSON_IsString(value) || name->valuestring[0] == '\0' ||
            strchr(name->valuestring, '=') != NULL) {
            tn_strings_free(out);
            return NULL;
        }
        if (!has_name(out, used, name->valuestring))
            out[used++] = tn_fs_path("%s=%s", name->valuestring, value->valuestring);
    }
    return out;
}
