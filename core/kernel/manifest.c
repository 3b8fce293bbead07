#include "core/kernel/manifest.h"
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/json.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_MAX_BYTES = 32 };

static const char *const members[] = {"name", "program", "kinds", "environment", "files", "network", "programs"};

void tn_manifest_free(struct tn_manifest *manifest)
{
    if (manifest == NULL)
        return;
    free(manifest->name);
    free(manifest->program);
    cJSON_Delete(manifest->kinds);
    for (size_t i = 0; i < manifest->environment_count; i++)
        free(manifest->environment[i]);
    for (size_t i = 0; i < manifest->file_count; i++)
        free(manifest->files[i]);
    free(manifest->network);
    for (size_t i = 0; i < manifest->program_count; i++) {
        free(manifest->programs[i].name);
        free(manifest->programs[i].path);
        free(manifest->programs[i].settings);
        free(manifest->programs[i].user_option);
        free(manifest->programs[i].hide_option);
        free(manifest->programs[i].peer_option);
    }
    free(manifest);
}

const struct tn_manifest_program *tn_manifest_program(const struct tn_manifest *manifest, const char *name)
{
    for (size_t i = 0; i < manifest->program_count; i++)
        if (strcmp(manifest->programs[i].name, name) == 0)
            return &manifest->programs[i];
    return NULL;
}

/* Folders and a user are called by the name (places.h): these are others'. */
static bool is_taken(const char *name)
{
    static const char *const names[] = {"bus",       "data",     "programs", "settings", "control-groups",
                                        "scheduler", "compiler", "output",   "link",     "gateway",
                                        "lock",      "life",     "status",   "tenond"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

static bool good_name(const char *name)
{
    size_t length = strlen(name);

    return length > 0 && length <= NAME_MAX_BYTES && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == length;
}

static int wrong(struct tn_err *err, const char *file, const char *member, const char *expected)
{
    return tn_err_set(err, TN_ERR_CONFIG, "%s: \"%s\": expected %s", file, member, expected);
}

static char *beside(const char *folder, const char *path)
{
    return path[0] == '/' ? tn_fs_path("%s", path) : tn_fs_path("%s/%s", folder, path);
}

static int take_kinds(struct tn_manifest *manifest, const cJSON *json, const char *file, struct tn_err *err)
{
    const cJSON *kinds = cJSON_GetObjectItemCaseSensitive(json, "kinds");
    const cJSON *kind;

    if (!cJSON_IsArray(kinds) || cJSON_GetArraySize(kinds) == 0 || cJSON_GetArraySize(kinds) > TN_MANIFEST_ITEMS_MAX)
        return wrong(err, file, "kinds", "a list of one to 64 names");
    cJSON_ArrayForEach (kind, kinds)
        if (!cJSON_IsString(kind) || !good_name(kind->valuestring))
            return wrong(err, file, "kinds", "names of lower-case letters, digits and \"-\"");
    manifest->kinds = cJSON_Duplicate(kinds, true);
    return manifest->kinds != NULL ? 0 : tn_err_set(err, TN_ERR_SYSTEM, "out of memory for %s", file);
}

static int take_environment(struct tn_manifest *manifest, const cJSON *json, const char *file, struct tn_err *err)
{
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(json, "environment");
    const cJSON *item;

    if (list != NULL && (!cJSON_IsArray(list) || cJSON_GetArraySize(list) > TN_MANIFEST_ITEMS_MAX))
        return wrong(err, file, "environment", "a list of at most 64 names");
    cJSON_ArrayForEach (item, list) {
        if (!cJSON_IsString(item) || item->valuestring[0] == '\0' || strchr(item->valuestring, '=') != NULL)
            return wrong(err, file, "environment", "names of variables");
        manifest->environment[manifest->environment_count++] = tn_fs_path("%s", item->valuestring);
    }
    return 0;
}

static bool is_file(const cJSON *item)
{
    static const char socket[] = "unix:///";

    return cJSON_IsString(item) &&
           (item->valuestring[0] == '/' || strncmp(item->valuestring, socket, strlen(socket)) == 0);
}

static int take_files(struct tn_manifest *manifest, const cJSON *json, const char *file, struct tn_err *err)
{
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(json, "files");
    const cJSON *network = cJSON_GetObjectItemCaseSensitive(json, "network");
    const cJSON *item;

    if (list != NULL && (!cJSON_IsArray(list) || cJSON_GetArraySize(list) > TN_MANIFEST_ITEMS_MAX))
        return wrong(err, file, "files", "a list of at most 64 paths");
    cJSON_ArrayForEach (item, list) {
        if (!is_file(item))
            return wrong(err, file, "files", "absolute paths, unix:// before that of a socket");
        manifest->files[manifest->file_count++] = tn_fs_path("%s", item->valuestring);
    }
    if (network != NULL && (!cJSON_IsString(network) || network->valuestring[0] == '\0'))
        return wrong(err, file, "network", "a text: why it needs the host's network");
    manifest->network = network != NULL ? tn_fs_path("%s", network->valuestring) : NULL;
    return 0;
}

static int take_program(struct tn_manifest *manifest, const cJSON *item, const char *folder, const char *file,
                        struct tn_err *err)
{
    const char *path = tn_json_string(item, "program", "");
    const char *settings = tn_json_string(item, "settings", NULL);
    const char *option = tn_json_string(item, "user_option", NULL);
    const char *hide = tn_json_string(item, "hide_option", NULL);
    const char *peer = tn_json_string(item, "peer_option", NULL);
    const cJSON *named = cJSON_IsObject(item) ? item : NULL; /* the members of a list have no names */
    const cJSON *member;

    cJSON_ArrayForEach (member, named)
        if (strcmp(member->string, "program") != 0 && strcmp(member->string, "settings") != 0 &&
            strcmp(member->string, "user_option") != 0 && strcmp(member->string, "hide_option") != 0 &&
            strcmp(member->string, "peer_option") != 0)
            path = "";
    if (!good_name(item->string) || path[0] == '\0' || (settings == NULL && option != NULL))
        return wrong(err, file, "programs",
                     "{\"name\": {\"program\": \"path\"}}, besides \"hide_option\", \"peer_option\", "
                     "\"settings\" and with it \"user_option\"");
    manifest->programs[manifest->program_count++] = (struct tn_manifest_program){
        .name = tn_fs_path("%s", item->string),
        .path = beside(folder, path),
        .settings = settings != NULL ? tn_fs_path("%s", settings) : NULL,
        .user_option = option != NULL ? tn_fs_path("%s", option) : NULL,
        .hide_option = hide != NULL ? tn_fs_path("%s", hide) : NULL,
        .peer_option = peer != NULL ? tn_fs_path("%s", peer) : NULL,
    };
    return 0;
}

static int take_programs(struct tn_manifest *manifest, const cJSON *json, const char *folder, const char *file,
                         struct tn_err *err)
{
    const cJSON *programs = cJSON_GetObjectItemCaseSensitive(json, "programs");
    const cJSON *item;

    if (programs != NULL && (!cJSON_IsObject(programs) || cJSON_GetArraySize(programs) > TN_MANIFEST_ITEMS_MAX))
        return wrong(err, file, "programs", "an object of at most 64 programs");
    cJSON_ArrayForEach (item, programs)
        if (take_program(manifest, item, folder, file, err) != 0)
            return -1;
    return 0;
}

static int check_members(const cJSON *json, const char *file, struct tn_err *err)
{
    const cJSON *item;

    cJSON_ArrayForEach (item, json) {
        bool known = false;

        for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++)
            known = known || strcmp(members[i], item->string) == 0;
        if (!known)
            return tn_err_set(
                err, TN_ERR_CONFIG,
                "%s: \"%s\" is unknown: expected name, program, kinds, environment, files, network, programs", file,
                item->string);
    }
    return 0;
}

struct tn_manifest *tn_manifest_parse(const char *text, size_t length, const char *folder, const char *file,
                                      struct tn_err *err)
{
    auto_json cJSON *json = tn_json_parse(text, length, file, err);
    struct tn_manifest *manifest = json != NULL ? calloc(1, sizeof(*manifest)) : NULL;
    const char *name = tn_json_string(json, "name", "");
    const char *program = tn_json_string(json, "program", "");
    int failed = 0;

    if (manifest == NULL) {
        if (json != NULL)
            tn_err_set(err, TN_ERR_SYSTEM, "out of memory for %s", file);
        return NULL;
    }
    if (check_members(json, file, err) != 0)
        failed = -1; /* NOLINT(bugprone-branch-clone): one after the other, each with its error */
    else if (!good_name(name))
        failed = wrong(err, file, "name", "1 to 32 lower-case letters, digits and \"-\"");
    else if (is_taken(name))
        failed = wrong(err, file, "name", "one that is not a service's or a folder's of Tenon");
    else if (program[0] == '\0')
        failed = wrong(err, file, "program", "a path relative to the manifest's folder");
    else if (take_kinds(manifest, json, file, err) != 0 || take_environment(manifest, json, file, err) != 0 ||
             take_files(manifest, json, file, err) != 0 || take_programs(manifest, json, folder, file, err) != 0)
        failed = -1;
    if (failed != 0) {
        tn_manifest_free(manifest);
        return NULL;
    }
    manifest->name = tn_fs_path("%s", name);
    manifest->program = beside(folder, program);
    return manifest;
}

struct tn_manifest *tn_manifest_read(const char *file, struct tn_err *err)
{
    auto_buf struct tn_buf text = TN_BUF_INIT;
    auto_free char *folder = tn_fs_path("%s", file);
    char *slash = strrchr(folder, '/');

    if (tn_fs_read(file, TN_MANIFEST_BYTES_MAX, &text, err) != 0)
        return NULL;
    if (slash != NULL)
        *slash = '\0';
    return tn_manifest_parse(text.data, text.len, slash != NULL ? folder : ".", file, err);
}
