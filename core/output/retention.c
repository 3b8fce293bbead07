#include "core/output/retention.h"
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/log.h"
#include "core/output/cache.h"
#include "core/output/room.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

enum {
    DAY_S = 86400,
    ORPHAN_S = 3600,   /* a tar comes a moment before its entry */
    PARTIAL_S = DAY_S, /* a save takes less */
};

struct tn_keep tn_keep_read(const cJSON *settings)
{
    const cJSON *keep = tn_json_get(settings, "keep");

    return (struct tn_keep){.logs = tn_json_u64(keep, "logs", 30 * DAY_S),
                            .artifacts = tn_json_u64(keep, "artifacts", 30 * DAY_S),
                            .caches = tn_json_u64(keep, "caches", 15 * DAY_S),
                            .workspaces = tn_json_u64(keep, "workspaces", 15 * DAY_S),
                            .test_results = tn_json_u64(keep, "test_results", 30 * DAY_S)};
}

static void tell(const struct tn_retention *retention, const char *kind, const char *path, uint64_t bytes)
{
    if (retention->removed != NULL)
        retention->removed(retention->arg, kind, path, bytes);
    else
        tn_info("removed %s: %s", kind, path);
}

static bool is_past(const struct tn_retention *retention, uint64_t since, uint64_t keep)
{
    return since <= retention->now && retention->now - since > keep;
}

/* A file with one name; what shares its bytes frees none. */
static void remove_file(const struct tn_retention *retention, const char *kind, const char *path,
                        const struct stat *status)
{
    uint64_t freed = status->st_nlink == 1 ? (uint64_t)status->st_size : 0;
    struct tn_err err = TN_ERR_INIT;

    if (!retention->dry) {
        freed = 0;
        if (tn_cache_unlink(path, &freed, &err) != 0) {
            tn_warn("%s", err.text);
            return;
        }
    }
    tell(retention, kind, path, freed);
}

/* Calls `each` for the regular files of a folder. */
typedef void file_cb(const struct tn_retention *retention, const char *path, const char *name,
                     const struct stat *status, const void *arg);

static void each_file(const struct tn_retention *retention, const char *folder, file_cb *each, const void *arg)
{
    auto_dir DIR *dir = opendir(folder);
    struct dirent *entry;

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        auto_free char *path = tn_fs_path("%s/%s", folder, entry->d_name);
        struct stat status;

        if (lstat(path, &status) == 0 && S_ISREG(status.st_mode))
            each(retention, path, entry->d_name, &status, arg);
    }
}

/* ---- caches ---- */

struct sweep {
    const struct tn_retention *retention;
    const struct tn_layout *layout;
    cJSON *files; /* names of the tars that entries name */
};

static void look_at_cache(void *arg, const char *scope, const struct tn_cache *cache)
{
    struct sweep *sweep = arg;
    const struct tn_retention *retention = sweep->retention;
    auto_free char *tar = tn_fs_path("%s/%s", scope, cache->file);
    struct tn_err err = TN_ERR_INIT;
    struct stat status;
    uint64_t freed = 0;

    if (!is_past(retention, cache->created / 1000000000u, retention->keep.caches)) {
        cJSON_AddTrueToObject(sweep->files, cache->file);
        return;
    }
    if (retention->dry) { /* its other name is among the shared ones, and goes after it */
        freed = stat(tar, &status) == 0 && status.st_nlink <= 2 ? (uint64_t)status.st_size : 0;
        cJSON_AddTrueToObject(sweep->files, cache->file);
    } else if (tn_cache_remove(scope, cache, &freed, &err) != 0) {
        tn_warn("%s", err.text);
        return;
    }
    tell(retention, "cache", tar, freed);
}

/* An entry that cannot be read would keep its key from being saved for ever. */
static void look_at_damaged(void *arg, const char *path, const struct tn_err *err)
{
    struct sweep *sweep = arg;
    auto_free char *scope = tn_fs_path("%.*s", (int)(strrchr(path, '/') - path), path);
    struct tn_cache cache = {.entry = strrchr(path, '/') + 1, .file = strrchr(path, '/') + 1};

    if (sweep->retention->dry) {
        tell(sweep->retention, "damaged", path, 0);
        return;
    }
    tn_warn("%s", err->text);
    tn_cache_set_aside(sweep->layout, scope, &cache);
    tell(sweep->retention, "damaged", path, 0);
}

static void look_at_tar(const struct tn_retention *retention, const char *path, const char *name,
                        const struct stat *status, const void *arg)
{
    const cJSON *files = arg;
    size_t length = strlen(name);

    if (length > 8 && strcmp(name + length - 8, ".tar.zst") == 0 &&
        cJSON_GetObjectItemCaseSensitive(files, name) == NULL &&
        is_past(retention, (uint64_t)status->st_ctim.tv_sec, ORPHAN_S))
        remove_file(retention, "leftover", path, status);
}

static void sweep_scopes(const struct tn_retention *retention, const struct tn_layout *layout)
{
    auto_free char *caches = tn_fs_path("%s/caches", layout->store);
    auto_dir DIR *dir = opendir(caches);
    struct dirent *entry;

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        auto_free char *scope = tn_fs_path("%s/%s", caches, entry->d_name);
        auto_json cJSON *files = cJSON_CreateObject();
        struct sweep sweep = {retention, layout, files};

        if (strncmp(entry->d_name, "scope-", 6) != 0)
            continue;
        tn_cache_each(scope, look_at_cache, look_at_damaged, &sweep);
        each_file(retention, scope, look_at_tar, files);
    }
}

/* ---- the rest of the store ---- */

struct runs {
    tn_run_over_cb *over;
};

static void look_at_partial(const struct tn_retention *retention, const char *path, const char *name,
                            const struct stat *status, const void *arg)
{
    const struct runs *runs = arg;
    auto_free char *run = tn_fs_path("%.16s", name);

    if (is_past(retention, (uint64_t)status->st_mtim.tv_sec, PARTIAL_S) ||
        (runs->over != NULL && strlen(name) > 17 && name[16] == '-' && runs->over(retention->arg, run)))
        remove_file(retention, "leftover", path, status);
}

static void look_at_shared(const struct tn_retention *retention, const char *path, const char *name,
                           const struct stat *status, const void *arg)
{
    if (status->st_nlink == 1)
        remove_file(retention, "unused", path, status);
}

static void look_at_aside(const struct tn_retention *retention, const char *path, const char *name,
                          const struct stat *status, const void *arg)
{
    if (is_past(retention, (uint64_t)status->st_ctim.tv_sec, retention->keep.caches))
        remove_file(retention, "damaged", path, status);
}

/* Replaced at each run of their job; ".lock" is theirs too. */
static void look_at_times(const struct tn_retention *retention, const char *path, const char *name,
                          const struct stat *status, const void *arg)
{
    if (name[0] != '.' && is_past(retention, (uint64_t)status->st_mtim.tv_sec, retention->keep.test_results))
        remove_file(retention, "times of tests", path, status);
}

static void sweep_times(const struct tn_retention *retention, const struct tn_layout *layout)
{
    auto_free char *folder = tn_layout_timings_folder(layout);
    auto_dir DIR *dir = opendir(folder);
    struct dirent *entry;

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        auto_free char *scope = tn_fs_path("%s/%s", folder, entry->d_name);

        if (strncmp(entry->d_name, "scope-", 6) == 0)
            each_file(retention, scope, look_at_times, NULL);
    }
}

void tn_retention_store(const struct tn_retention *retention, const struct tn_layout *layout, tn_run_over_cb *over)
{
    auto_free char *partial = tn_layout_partial_folder(layout, true);
    auto_free char *shared = tn_fs_path("%s/blobs", layout->store);
    auto_free char *damaged = tn_layout_damaged(layout);
    struct runs runs = {over};

    sweep_scopes(retention, layout);
    sweep_times(retention, layout);
    each_file(retention, partial, look_at_partial, &runs);
    each_file(retention, damaged, look_at_aside, NULL);
    each_file(retention, shared, look_at_shared, NULL);
}

/* ---- runs ---- */

bool tn_retention_run(const struct tn_retention *retention, const char *state, uint64_t began)
{
    const struct {
        const char *folder;
        const char *kind;
        uint64_t keep;
    } kinds[] = {{"output/logs", "logs", retention->keep.logs},
                 {"output/artifacts", "artifacts", retention->keep.artifacts},
                 {"output/test-results", "test results", retention->keep.test_results},
                 {"output/workspaces", "workspaces", retention->keep.workspaces},
                 {"output/sources", "source tree", retention->keep.workspaces},
                 {"output/output/partial", "leftover", 0}, /* it is over: nobody finishes them, */
                 {"machine/jobs", "leftover", 0}};          /* nor removes these */
    bool all = true;

    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        auto_free char *folder = tn_fs_path("%s/%s", state, kinds[i].folder);
        struct tn_err err = TN_ERR_INIT;
        uint64_t bytes;

        if (!is_past(retention, began, kinds[i].keep)) {
            all = false;
            continue;
        }
        bytes = tn_room_used(folder);
        if (access(folder, F_OK) != 0 || (bytes == 0 && rmdir(folder) == 0))
            continue;
        if (!retention->dry && tn_fs_remove_tree(folder, &err) != 0) {
            tn_warn("%s", err.text);
            continue;
        }
        if (bytes > 0)
            tell(retention, kinds[i].kind, folder, bytes);
    }
    return all;
}
