#include "tools/store_usage.h"

#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/log.h"
#include "core/output/cache.h"
#include "tools/prune.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { DEPTH_MAX = 200 };

struct row {
    char *project; /* owned */
    const char *kind;
    uint64_t count;
    uint64_t bytes;
    uint64_t oldest; /* ms since 1970 */
};

struct inode {
    dev_t device;
    ino_t inode;
};

struct usage {
    struct tn_buf rows;
    struct tn_buf shared; /* struct inode of the files with several names that were counted */
    uint64_t disk;
};

static struct row *row_of(struct usage *usage, const char *project, const char *kind)
{
    struct row *rows = (struct row *)(void *)usage->rows.data;
    size_t count = usage->rows.len / sizeof(*rows);
    struct row fresh = {.kind = kind};

    for (size_t i = 0; i < count; i++)
        if (strcmp(rows[i].kind, kind) == 0 && strcmp(rows[i].project, project) == 0)
            return &rows[i];
    fresh.project = tn_fs_path("%s", project);
    tn_buf_add(&usage->rows, &fresh, sizeof(fresh));
    return &((struct row *)(void *)usage->rows.data)[count];
}

/* A file with several names takes the disk once. */
static void add_disk(struct usage *usage, const struct stat *status)
{
    const struct inode *known = (const struct inode *)(const void *)usage->shared.data;
    struct inode fresh = {status->st_dev, status->st_ino};

    if (status->st_nlink > 1) {
        for (size_t i = 0; i < usage->shared.len / sizeof(fresh); i++)
            if (known[i].inode == fresh.inode && known[i].device == fresh.device)
                return;
        tn_buf_add(&usage->shared, &fresh, sizeof(fresh));
    }
    usage->disk += (uint64_t)status->st_size;
}

static void add(struct usage *usage, const char *project, const char *kind, const struct stat *status, uint64_t made_ms)
{
    struct row *row = row_of(usage, project, kind);

    row->count++;
    row->bytes += (uint64_t)status->st_size;
    if (row->oldest == 0 || made_ms < row->oldest)
        row->oldest = made_ms;
    add_disk(usage, status);
}

static uint64_t changed_ms(const struct stat *status)
{
    return (uint64_t)status->st_mtim.tv_sec * 1000u + (uint64_t)status->st_mtim.tv_nsec / 1000000u;
}

/* All files below a folder, but lists of layers, which belong to them. */
static void add_below(struct usage *usage, const char *project, const char *kind, const char *folder, uint64_t made_ms,
                      unsigned depth)
{
    auto_dir DIR *dir = opendir(folder);
    const struct dirent *entry;

    while (dir != NULL && depth < DEPTH_MAX && (entry = readdir(dir)) != NULL) {
        auto_free char *path = tn_fs_path("%s/%s", folder, entry->d_name);
        size_t length = strlen(entry->d_name);
        struct stat status;

        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 || lstat(path, &status) != 0)
            continue;
        if (S_ISDIR(status.st_mode))
            add_below(usage, project, kind, path, made_ms, depth + 1);
        else if (S_ISREG(status.st_mode) &&
                 (strcmp(kind, "workspaces") != 0 || length < 6 || strcmp(entry->d_name + length - 6, ".files") != 0))
            add(usage, project, kind, &status, made_ms != 0 ? made_ms : changed_ms(&status));
    }
}

struct scope {
    struct usage *usage;
    const char *project;
};

static void add_cache(void *arg, const char *folder, const struct tn_cache *cache)
{
    struct scope *scope = arg;
    auto_free char *tar = tn_fs_path("%s/%s", folder, cache->file);
    struct stat status;

    if (lstat(tar, &status) == 0)
        add(scope->usage, scope->project, "caches", &status, cache->created / 1000000u);
}

static void add_scopes(struct usage *usage, const char *store)
{
    auto_free char *caches = tn_fs_path("%s/caches", store);
    auto_dir DIR *dir = opendir(caches);
    const struct dirent *entry;

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        auto_free char *folder = tn_fs_path("%s/%s", caches, entry->d_name);
        auto_free char *project = NULL;

        if (strncmp(entry->d_name, "scope-", 6) != 0)
            continue;
        project = tn_cache_project(folder);
        tn_cache_each(folder, add_cache, NULL, &(struct scope){usage, project});
    }
}

/* Times of tests lie in folders of the same names; a project may have times and no cache. */
static void add_timings(struct usage *usage, const char *store)
{
    auto_free char *timings = tn_fs_path("%s/timings", store);
    auto_dir DIR *dir = opendir(timings);
    const struct dirent *entry;

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        auto_free char *folder = tn_fs_path("%s/%s", timings, entry->d_name);
        auto_free char *scope = tn_fs_path("%s/caches/%s", store, entry->d_name);
        auto_free char *project = tn_cache_project(scope);

        if (strncmp(entry->d_name, "scope-", 6) == 0)
            add_below(usage, project, "timings", folder, 0, 0);
    }
}

static void add_run(void *arg, const char *state, uint64_t began, int lock)
{
    static const char *const kinds[][2] = {{"logs", "logs"},
                                           {"artifacts", "artifacts"},
                                           {"test-results", "test_results"},
                                           {"workspaces", "workspaces"},
                                           {"sources", "sources"},
                                           {"output/partial", "unfinished"}};
    auto_free char *path = tn_fs_path("%s/output/project", state);
    auto_buf struct tn_buf project = TN_BUF_INIT;

    if (tn_fs_read(path, 4096, &project, NULL) != 0 || project.len == 0)
        tn_buf_adds(&project, "-");
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        auto_free char *folder = tn_fs_path("%s/output/%s", state, kinds[i][0]);

        add_below(arg, project.data, kinds[i][1], folder, began * 1000, 0);
    }
}

static int by_project(const void *a, const void *b)
{
    const struct row *left = a;
    const struct row *right = b;
    int order = strcmp(left->project, right->project);

    return order != 0 ? order : strcmp(left->kind, right->kind);
}

static cJSON *describe(struct usage *usage)
{
    struct row *rows = (struct row *)(void *)usage->rows.data;
    size_t count = usage->rows.len / sizeof(*rows);
    cJSON *result = cJSON_CreateObject();
    cJSON *list = cJSON_AddArrayToObject(result, "rows");
    uint64_t bytes = 0;

    if (count > 0)
        qsort(rows, count, sizeof(*rows), by_project);
    for (size_t i = 0; i < count; i++) {
        cJSON *item = cJSON_CreateObject();

        cJSON_AddStringToObject(item, "project", rows[i].project);
        cJSON_AddStringToObject(item, "kind", rows[i].kind);
        cJSON_AddNumberToObject(item, "count", (double)rows[i].count);
        cJSON_AddNumberToObject(item, "bytes", (double)rows[i].bytes);
        cJSON_AddNumberToObject(item, "oldest", (double)rows[i].oldest);
        cJSON_AddItemToArray(list, item);
        bytes += rows[i].bytes;
        free(rows[i].project);
    }
    cJSON_AddNumberToObject(result, "bytes", (double)bytes);
    cJSON_AddNumberToObject(result, "disk", (double)usage->disk);
    return result;
}

cJSON *store_usage(const char *home)
{
    struct usage usage = {TN_BUF_INIT, TN_BUF_INIT, 0};
    auto_free char *store = tn_fs_path("%s/store/output", home);
    auto_free char *partial = tn_fs_path("%s/caches/partial", store);
    auto_free char *damaged = tn_fs_path("%s/damaged", store);
    cJSON *result;

    add_scopes(&usage, store);
    add_timings(&usage, store);
    prune_each_run(home, add_run, &usage);
    add_below(&usage, "-", "unfinished", partial, 0, 0);
    add_below(&usage, "-", "damaged", damaged, 0, 0);
    result = describe(&usage);
    tn_buf_free(&usage.rows);
    tn_buf_free(&usage.shared);
    return result;
}
