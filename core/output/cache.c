#include "core/output/cache.h"
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/log.h"
#include "core/output/zfile.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

enum { ENTRY_BYTES = 16384, NAME_BYTES = 128 };

void tn_cache_clear(struct tn_cache *cache)
{
    free(cache->entry);
    free(cache->file);
    free(cache->key);
    free(cache->base);
    memset(cache, 0, sizeof(*cache));
}

bool tn_cache_exists(const struct tn_layout *layout, const char *project, const char *key)
{
    auto_free char *path = tn_layout_cache(layout, project, key);

    return access(path, F_OK) == 0;
}

int tn_cache_sync_folder(const char *path, struct tn_err *err)
{
    auto_free char *folder = tn_fs_path("%.*s", (int)(strrchr(path, '/') - path), path);
    auto_fd int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0 || fsync(fd) != 0)
        return tn_err_sys(err, errno, "cannot sync %s", folder);
    return 0;
}

int tn_cache_unlink(const char *path, uint64_t *freed, struct tn_err *err)
{
    struct stat status;

    if (lstat(path, &status) != 0)
        return errno == ENOENT ? 0 : tn_err_sys(err, errno, "cannot remove %s", path);
    if (unlink(path) != 0)
        return errno == ENOENT ? 0 : tn_err_sys(err, errno, "cannot remove %s", path);
    if (status.st_nlink == 1)
        *freed += (uint64_t)status.st_size;
    return 0;
}

/* ---- committing ---- */

static void name_project(const char *scope, const char *project)
{
    auto_free char *path = tn_fs_path("%s/.project", scope);
    struct tn_err err = TN_ERR_INIT;

    if (access(path, F_OK) != 0 && tn_fs_write_atomic(path, project, strlen(project), 0644, &err) != 0)
        tn_warn("%s", err.text);
}

/* The entry's text; NULL with the error set if the file is not a finished one. `*file` gets the tar's name. */
static char *describe(const char *partial, const char *key, const char *base, char **file, struct tn_err *err)
{
    struct tn_zreader *reader = tn_zreader_open(partial, err);
    auto_json cJSON *entry = NULL;
    struct timespec now = {0, 0};
    struct stat status = {0};
    char hash[65];
    char digest[17];

    if (reader == NULL)
        return NULL;
    clock_gettime(CLOCK_REALTIME, &now);
    if (stat(partial, &status) != 0)
        status.st_size = 0;
    tn_layout_hash(key, hash);
    tn_layout_hex(tn_zreader_digest(reader), 8, digest);
    *file = tn_fs_path("%s.%s.tar.zst", hash, digest);
    entry = cJSON_CreateObject();
    cJSON_AddStringToObject(entry, "key", key);
    cJSON_AddStringToObject(entry, "base", base);
    cJSON_AddStringToObject(entry, "file", *file);
    tn_json_add_u64(entry, "size", tn_zreader_size(reader));
    tn_json_add_u64(entry, "stored", (uint64_t)status.st_size);
    tn_json_add_u64(entry, "created", (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec);
    tn_zreader_close(reader);
    return tn_json_print(entry);
}

/* Of two that come here with the same key one gets the entry's name. */
static int place(const char *scope, const char *entry, const char *file, const char *partial, const char *text,
                 bool *kept, struct tn_err *err)
{
    auto_free char *tar = tn_fs_path("%s/%s", scope, file);
    auto_free char *aside = tn_fs_path("%s.json", partial);
    struct tn_cache winner = {0};
    uint64_t freed = 0;

    if (link(partial, tar) != 0 && errno != EEXIST)
        return tn_err_sys(err, errno, "cannot commit %s", tar);
    if (tn_cache_sync_folder(tar, err) != 0 || tn_fs_write_atomic(aside, text, strlen(text), 0644, err) != 0)
        return -1;
    *kept = link(aside, entry) == 0;
    if (!*kept && errno != EEXIST) {
        tn_err_sys(err, errno, "cannot commit %s", entry);
        unlink(aside);
        return -1;
    }
    unlink(aside);
    if (*kept)
        return tn_cache_sync_folder(entry, err);
    if (tn_cache_read(scope, strrchr(entry, '/') + 1, &winner, NULL) == 0 && strcmp(winner.file, file) != 0 &&
        tn_cache_unlink(tar, &freed, err) != 0)
        tn_warn("%s", err->text);
    tn_cache_clear(&winner);
    return 0;
}

int tn_cache_commit(const struct tn_layout *layout, const char *project, const char *key, const char *base,
                    const char *partial, bool *kept, struct tn_err *err)
{
    auto_free char *scope = tn_layout_scope(layout, project);
    auto_free char *entry = tn_layout_cache(layout, project, key);
    auto_free char *file = NULL;
    auto_free char *text = NULL;

    *kept = true;
    if (access(partial, F_OK) != 0)
        return access(entry, F_OK) == 0 ? 0 : tn_err_sys(err, ENOENT, "cannot commit %s", partial);
    if (tn_fs_make_dirs(scope, 0755, err) != 0)
        return -1;
    name_project(scope, project);
    text = describe(partial, key, base, &file, err);
    if (text == NULL || place(scope, entry, file, partial, text, kept, err) != 0)
        return -1;
    if (unlink(partial) != 0)
        tn_warn("cannot remove %s: %s", partial, strerror(errno));
    return 0;
}

/* ---- reading ---- */

/* A name that we gave: hexadecimal digits, dots and letters, nothing that leads elsewhere. */
static bool plain_name(const char *name)
{
    size_t length = strlen(name);

    return length > 0 && length < NAME_BYTES && name[0] != '.' && strchr(name, '/') == NULL;
}

int tn_cache_read(const char *scope, const char *entry, struct tn_cache *cache, struct tn_err *err)
{
    auto_free char *path = tn_fs_path("%s/%s", scope, entry);
    auto_buf struct tn_buf text = TN_BUF_INIT;
    struct tn_err own = TN_ERR_INIT;
    auto_json cJSON *body = NULL;
    const char *key;
    const char *file;

    memset(cache, 0, sizeof(*cache));
    if (tn_fs_read(path, ENTRY_BYTES, &text, &own) != 0)
        return tn_err_set(err, own.sys == ENOENT ? TN_ERR_NOT_FOUND : TN_ERR_PROTOCOL, "%s", own.text);
    body = tn_json_parse(text.data, text.len, path, &own);
    key = tn_json_string(body, "key", "");
    file = tn_json_string(body, "file", "");
    if (body == NULL || *key == '\0' || strlen(key) > TN_CACHE_KEY_MAX || !plain_name(file) ||
        strlen(tn_json_string(body, "base", "")) > TN_CACHE_BASE_MAX)
        return tn_err_set(err, TN_ERR_PROTOCOL, "%s is damaged: it is no entry of a cache", path);
    cache->entry = tn_fs_path("%s", entry);
    cache->file = tn_fs_path("%s", file);
    cache->key = tn_fs_path("%s", key);
    cache->base = tn_fs_path("%s", tn_json_string(body, "base", ""));
    cache->size = tn_json_u64(body, "size", 0);
    cache->stored = tn_json_u64(body, "stored", 0);
    cache->created = tn_json_u64(body, "created", 0);
    return 0;
}

static bool is_entry(const char *name)
{
    size_t length = strlen(name);

    return name[0] != '.' && length > 5 && strcmp(name + length - 5, ".json") == 0;
}

void tn_cache_each(const char *scope, tn_cache_each_cb *each, tn_cache_damaged_cb *damaged, void *arg)
{
    auto_dir DIR *dir = opendir(scope);
    struct dirent *found;

    while (dir != NULL && (found = readdir(dir)) != NULL) {
        struct tn_err err = TN_ERR_INIT;
        struct tn_cache cache;

        if (!is_entry(found->d_name))
            continue;
        if (tn_cache_read(scope, found->d_name, &cache, &err) == 0) {
            each(arg, scope, &cache);
        } else if (damaged != NULL && err.code != TN_ERR_NOT_FOUND) {
            auto_free char *path = tn_fs_path("%s/%s", scope, found->d_name);

            damaged(arg, path, &err);
        }
        tn_cache_clear(&cache);
    }
}

struct search {
    const char *prefix;
    const cJSON *without;
    struct tn_cache *best;
};

static bool names(const cJSON *list, const char *name)
{
    const cJSON *item;

    cJSON_ArrayForEach (item, list)
        if (cJSON_IsString(item) && strcmp(item->valuestring, name) == 0)
            return true;
    return false;
}

static void consider(void *arg, const char *scope, const struct tn_cache *cache)
{
    struct search *search = arg;

    /* NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker): tn_cache_read() has set it */
    if (strncmp(cache->key, search->prefix, strlen(search->prefix)) != 0 || names(search->without, cache->entry) ||
        (search->best->entry != NULL && cache->created <= search->best->created))
        return;
    tn_cache_clear(search->best);
    *search->best = (struct tn_cache){.entry = tn_fs_path("%s", cache->entry),
                                      .file = tn_fs_path("%s", cache->file),
                                      .key = tn_fs_path("%s", cache->key),
                                      .base = tn_fs_path("%s", cache->base),
                                      .size = cache->size,
                                      .stored = cache->stored,
                                      .created = cache->created};
}

bool tn_cache_newest(const char *scope, const char *prefix, const cJSON *without, struct tn_cache *cache)
{
    struct search search = {prefix, without, cache};

    memset(cache, 0, sizeof(*cache));
    tn_cache_each(scope, consider, NULL, &search);
    return cache->entry != NULL;
}

char *tn_cache_project(const char *scope)
{
    auto_free char *path = tn_fs_path("%s/.project", scope);
    auto_buf struct tn_buf text = TN_BUF_INIT;

    if (tn_fs_read(path, ENTRY_BYTES, &text, NULL) == 0 && text.len > 0)
        return tn_buf_steal(&text);
    path[strlen(path) - strlen("/.project")] = '\0';
    return tn_fs_path("%s", strrchr(path, '/') + 1);
}

/* ---- removing ---- */

int tn_cache_remove(const char *scope, const struct tn_cache *cache, uint64_t *freed, struct tn_err *err)
{
    auto_free char *entry = tn_fs_path("%s/%s", scope, cache->entry);
    auto_free char *tar = tn_fs_path("%s/%s", scope, cache->file);

    if (tn_cache_unlink(entry, freed, err) != 0)
        return -1;
    return tn_cache_unlink(tar, freed, err);
}

void tn_cache_set_aside(const struct tn_layout *layout, const char *scope, const struct tn_cache *cache)
{
    const char *const files[] = {cache->entry, cache->file};
    auto_free char *folder = tn_layout_damaged(layout);
    struct tn_err err = TN_ERR_INIT;

    if (tn_fs_make_dirs(folder, 0755, &err) != 0)
        tn_warn("%s", err.text);
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        auto_free char *from = tn_fs_path("%s/%s", scope, files[i]);
        auto_free char *to = tn_fs_path("%s/%s", folder, files[i]);

        if (rename(from, to) == 0)
            tn_warn("set %s aside as %s", from, to);
        else if (errno != ENOENT)
            tn_warn("cannot set %s aside: %s", from, strerror(errno));
    }
}
