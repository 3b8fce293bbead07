#include "executors/sdk/environ.h"
#include "core/lib/fs.h"
#include "core/lib/log.h"

#include <stdlib.h>
#include <string.h>

void tn_environ_free(struct tn_environ *env)
{
    for (size_t i = 0; i < env->count; i++)
        free(env->entries[i]);
    free(env->entries);
    *env = (struct tn_environ)TN_ENVIRON_INIT;
}

static char **find(const struct tn_environ *env, const char *name)
{
    size_t len = strlen(name);

    for (size_t i = 0; i < env->count; i++)
        if (strncmp(env->entries[i], name, len) == 0 && env->entries[i][len] == '=')
            return &env->entries[i];
    return NULL;
}

void tn_environ_set(struct tn_environ *env, const char *name, const char *value)
{
    char **place;

    if (name[0] == '\0' || strchr(name, '=') != NULL)
        return;
    place = find(env, name);
    if (place == NULL) {
        if (env->count + 2 > env->size) {
            env->size = env->size != 0 ? env->size * 2 : 64;
            env->entries = realloc(env->entries, env->size * sizeof(*env->entries));
            if (env->entries == NULL)
                tn_fatal(3, "out of memory: an environment of %zu variables", env->size);
        }
        place = &env->entries[env->count++];
        env->entries[env->count] = NULL;
        *place = NULL;
    }
    free(*place);
    *place = tn_fs_path("%s=%s", name, value);
}

void tn_environ_set_pairs(struct tn_environ *env, const cJSON *pairs)
{
    const cJSON *pair;

    if (!cJSON_IsArray(pairs))
        return;
    cJSON_ArrayForEach (pair, pairs) {
        const cJSON *name = cJSON_GetArrayItem(pair, 0);
        const cJSON *value = cJSON_GetArrayItem(pair, 1);

        if (cJSON_IsString(name) && cJSON_IsString(value))
            tn_environ_set(env, name->valuestring, value->valuestring);
    }
}

void tn_environ_set_members(struct tn_environ *env, const cJSON *object)
{
    const cJSON *member;

    if (!cJSON_IsObject(object))
        return;
    cJSON_ArrayForEach (member, object)
        if (cJSON_IsString(member) && member->string != NULL)
            tn_environ_set(env, member->string, member->valuestring);
}

const char *tn_environ_get(const struct tn_environ *env, const char *name)
{
    char **place = find(env, name);

    return place != NULL ? *place + strlen(name) + 1 : NULL;
}
