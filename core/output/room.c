#include "core/output/room.h"
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/log.h"
#include "core/lib/units.h"
#include "core/output/cache.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

enum { FLOOR_MOST = 64 << 20, FLOOR_PART = 16, DEPTH_MAX = 200 };

uint64_t tn_room_free(const char *path)
{
    struct statvfs facts;

    if (statvfs(path, &facts) != 0)
        return UINT64_MAX;
    return (uint64_t)facts.f_bavail * facts.f_frsize;
}

uint64_t tn_room_floor(const struct tn_room *room)
{
    uint64_t part = room->reserve / FLOOR_PART;

    return part < FLOOR_MOST ? part : FLOOR_MOST;
}

int tn_room_lacks(const struct tn_room *room, const char *path, uint64_t bytes, bool at_least, struct tn_err *err)
{
    uint64_t there = tn_room_free(path);
    uint64_t floor = tn_room_floor(room);
    char needs[32];
    char has[32];
    char left[32];

    tn_err_set(err, TN_ERR_SYSTEM, "needs %s%s, %s are free on %s%s%s%s", at_least ? "at least " : "",
               tn_units_size_text(bytes, needs, sizeof(needs)),
               tn_units_size_text(there != UINT64_MAX ? there : 0, has, sizeof(has)), path, floor > 0 ? " (" : "",
               floor > 0 ? tn_units_size_text(floor, left, sizeof(left)) : "",
               floor > 0 ? " of them are left to logs)" : "");
    if (err != NULL)
        err->sys = ENOSPC;
    return -1;
}

int tn_room_check(const struct tn_room *room, const char *path, uint64_t bytes, struct tn_err *err)
{
    uint64_t there = tn_room_free(path);
    uint64_t floor = tn_room_floor(room);

    return there >= floor && there - floor >= bytes ? 0 : tn_room_lacks(room, path, bytes, false, err);
}

bool tn_room_is_lack(const struct tn_err *err)
{
    return err->sys == ENOSPC || err->sys == EDQUOT;
}

/* ---- what a project keeps ---- */

static uint64_t used_below(int fd, unsigned depth)
{
    auto_dir DIR *dir = fdopendir(fd);
    struct dirent *entry;
    uint64_t used = 0;

    if (dir == NULL) {
        close(fd);
        return 0;
    }
    while ((entry = readdir(dir)) != NULL) {
        struct stat status;
        int child;

        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
            fstatat(dirfd(dir), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) != 0)
            continue;
        if (S_ISREG(status.st_mode))
            used += (uint64_t)status.st_size;
        if (!S_ISDIR(status.st_mode) || depth >= DEPTH_MAX)
            continue;
        child = openat(dirfd(dir), entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (child >= 0)
            used += used_below(child, depth + 1);
    }
    return used;
}

uint64_t tn_room_used(const char *folder)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    return fd >= 0 ? used_below(fd, 0) : 0;
}

struct aged {
    char *entry;
    char *file;
    uint64_t created;
    uint64_t stored;
};

static void take_cache(void *arg, const char *scope, const struct tn_cache *cache)
{
    struct aged aged = {tn_fs_path("%s", cache->entry), tn_fs_path("%s", cache->file), cache->created, cache->stored};

    tn_buf_add(arg, &aged, sizeof(aged));
}

static int by_age(const void *a, const void *b)
{
    const struct aged *left = a;
    const struct aged *right = b;

    return left->created < right->created ? -1 : left->created > right->created;
}

static uint64_t kept_by_run(const struct tn_layout *layout)
{
    static const char *const kinds[] = {"artifacts", "test-results", "workspaces", "sources"};
    uint64_t used = 0;

    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        auto_free char *folder = tn_fs_path("%s/%s", layout->state, kinds[i]);

        used += tn_room_used(folder);
    }
    return used;
}

static void remove_cache(const char *scope, struct aged *aged, uint64_t *kept)
{
    struct tn_cache cache = {.entry = aged->entry, .file = aged->file};
    struct tn_err err = TN_ERR_INIT;
    uint64_t freed = 0;

    if (tn_cache_remove(scope, &cache, &freed, &err) != 0) {
        tn_warn("%s", err.text);
        return;
    }
    tn_info("removed the cache %s/%s: the project's quota is full", scope, aged->entry);
    *kept -= aged->stored;
}

int tn_room_quota(const struct tn_layout *layout, const char *project, uint64_t bytes, uint64_t quota,
                  struct tn_err *err)
{
    auto_free char *scope = tn_layout_scope(layout, project);
    auto_buf struct tn_buf list = TN_BUF_INIT;
    uint64_t fixed = kept_by_run(layout);
    uint64_t kept = fixed;
    struct aged *aged;
    size_t count;
    char text[3][32];

    if (quota == 0)
        return 0;
    if (bytes > quota || fixed > quota - bytes) {
        tn_err_set(err, TN_ERR_SYSTEM,
                   "needs %s, but of the %s that the project %s may keep, %s are taken "
                   "(store.project_quota)",
                   tn_units_size_text(bytes, text[0], sizeof(text[0])),
                   tn_units_size_text(quota, text[1], sizeof(text[1])), project,
                   tn_units_size_text(fixed, text[2], sizeof(text[2])));
        if (err != NULL)
            err->sys = EDQUOT;
        return -1;
    }
    tn_cache_each(scope, take_cache, NULL, &list);
    aged = (struct aged *)(void *)list.data;
    count = list.len / sizeof(*aged);
    if (count > 0)
        qsort(aged, count, sizeof(*aged), by_age);
    for (size_t i = 0; i < count; i++)
        kept += aged[i].stored;
    for (size_t i = 0; i < count; i++) {
        if (kept + bytes > quota)
            remove_cache(scope, &aged[i], &kept);
        free(aged[i].entry);
        free(aged[i].file);
    }
    return 0;
}
