#include "tools/prune.h"

#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/log.h"
#include "core/output/room.h"
#include "tools/folders.h"

#include <dirent.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { YOUNG_S = 60 /* a folder younger than this may be just being made */ };

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

/* When a run began: its name says it. */
static uint64_t began(const char *name, const struct stat *status)
{
    struct tm utc = {0};
    char mark = 0;

    if (sscanf(name, "%4d%2d%2dT%2d%2d%2d%c", &utc.tm_year, &utc.tm_mon, &utc.tm_mday, &utc.tm_hour, &utc.tm_min,
               &utc.tm_sec, &mark) != 7 ||
        mark != 'Z')
        return (uint64_t)status->st_mtim.tv_sec;
    utc.tm_year -= 1900;
    utc.tm_mon -= 1;
    return (uint64_t)timegm(&utc);
}

void prune_each_run(const char *home, prune_run_cb *each, void *arg)
{
    auto_free char *runs = tn_fs_path("%s/runs", home);
    struct dirent **entries;
    int count = scandir(runs, &entries, visible, by_name);

    for (int i = 0; i < count; i++) {
        auto_free char *state = tn_fs_path("%s/%s", runs, entries[i]->d_name);
        struct stat status;

        if (lstat(state, &status) == 0 && S_ISDIR(status.st_mode)) {
            auto_fd int lock = folders_lock(state);

            each(arg, state, began(entries[i]->d_name, &status), lock);
        }
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
}

static void remove_folder(const struct tn_retention *retention, const char *kind, const char *path)
{
    uint64_t bytes = tn_room_used(path);
    struct tn_err err = TN_ERR_INIT;

    if (!retention->dry && tn_fs_remove_tree(path, &err) != 0) {
        tn_warn("%s", err.text);
        return;
    }
    if (retention->removed != NULL)
        retention->removed(retention->arg, kind, path, bytes);
}

static void prune_run(void *arg, const char *state, uint64_t start, int lock)
{
    const struct tn_retention *retention = arg;

    if (lock >= 0 && start + YOUNG_S < retention->now && tn_retention_run(retention, state, start))
        remove_folder(retention, "run", state);
}

void prune_runs(const char *home, const struct tn_retention *retention)
{
    prune_each_run(home, prune_run, (void *)retention);
}

static void prune_below(const char *base, const struct tn_retention *retention)
{
    auto_dir DIR *dir = opendir(base);
    const struct dirent *entry;

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        auto_free char *path = tn_fs_path("%s/%s", base, entry->d_name);
        struct stat status;
        auto_fd int lock = -1;

        if (!visible(entry) || lstat(path, &status) != 0 || !S_ISDIR(status.st_mode) || status.st_uid != geteuid() ||
            (uint64_t)status.st_mtim.tv_sec + YOUNG_S >= retention->now)
            continue;
        lock = folders_lock(path);
        if (lock >= 0)
            remove_folder(retention, "run folder", path);
    }
}

void prune_run_folders(const struct tn_retention *retention)
{
    const char *xdg = getenv("XDG_RUNTIME_DIR");
    auto_free char *first = xdg != NULL && xdg[0] == '/' ? tn_fs_path("%s/tenon", xdg) : NULL;
    auto_free char *second = tn_fs_path("/tmp/tenon-%u", (unsigned)geteuid());

    if (first != NULL)
        prune_below(first, retention);
    prune_below(second, retention);
}
