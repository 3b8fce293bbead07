#include "core/kernel/host.h"
#include "core/kernel/mounts.h"
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/json.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

enum { NAME_BYTES = 64, BOOT_ID_BYTES = 1024 };

char *tn_host_owner(const char *run_dir)
{
    auto_buf struct tn_buf boot = TN_BUF_INIT;
    auto_free char *copy = tn_fs_path("%s", run_dir);
    struct stat status;

    if (strpbrk(run_dir, " \t\n") != NULL ||
        tn_fs_read("/proc/sys/kernel/random/boot_id", BOOT_ID_BYTES, &boot, NULL) != 0 || boot.len < 10 ||
        stat(dirname(copy), &status) != 0)
        return NULL;
    return tn_fs_path("%u %.*s %llx:%llx %s", (unsigned)geteuid(), (int)strcspn(boot.data, "\n"), boot.data,
                      (unsigned long long)status.st_dev, (unsigned long long)status.st_ino, run_dir);
}

/* ---- runs ---- */

static bool is_name(const char *name)
{
    return name != NULL && name[0] != '\0' && name[0] != '.' && strlen(name) <= NAME_BYTES && strchr(name, '/') == NULL;
}

/* A folder without a lock was just made, or is no run's. */
static bool is_over(const char *folder, const char *name)
{
    auto_free char *run = tn_fs_path("%s/%s", folder, name);
    auto_free char *path = tn_fs_path("%s/lock", run);
    auto_fd int lock = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct stat status;

    if (lock < 0)
        return lstat(run, &status) != 0 && errno == ENOENT;
    return flock(lock, LOCK_SH | LOCK_NB) == 0;
}

static int add_runs(cJSON *answer, const char *run_dir, const cJSON *names, struct tn_err *err)
{
    auto_free char *copy = tn_fs_path("%s", run_dir);
    const char *folder = dirname(copy);
    const char *own = strrchr(run_dir, '/') + 1;
    cJSON *gone = cJSON_AddArrayToObject(answer, "gone");
    const cJSON *item;

    if (cJSON_GetArraySize(names) > TN_HOST_RUNS_MAX)
        return tn_err_set(err, TN_ERR_LIMIT, "\"runs\" names %d runs, at most %d are looked at",
                          cJSON_GetArraySize(names), TN_HOST_RUNS_MAX);
    cJSON_ArrayForEach (item, names) {
        const char *name = cJSON_GetStringValue(item);

        if (!is_name(name))
            return tn_err_set(err, TN_ERR_PROTOCOL,
                              "\"runs\" has \"%.80s\", expected the name of a folder beside the run folder",
                              name != NULL ? name : "no text");
        if (strcmp(name, own) != 0 && is_over(folder, name))
            cJSON_AddItemToArray(gone, cJSON_CreateString(name));
    }
    return 0;
}

/* ---- disks ---- */

static void add_disk(cJSON *answer, const char *path)
{
    auto_free char *point = tn_mounts_local(path);
    struct statvfs disk;
    cJSON *object;

    /* Never the path itself: it is somebody else's word. */
    if (point == NULL || statvfs(point, &disk) != 0)
        return;
    object = cJSON_AddObjectToObject(answer, "disk");
    tn_json_add_u64(object, "size", (uint64_t)disk.f_blocks * disk.f_frsize);
    tn_json_add_u64(object, "free", (uint64_t)disk.f_bfree * disk.f_frsize);
    tn_json_add_u64(object, "available", (uint64_t)disk.f_bavail * disk.f_frsize);
}

cJSON *tn_host_answer(const char *run_dir, const cJSON *request, struct tn_err *err)
{
    auto_json cJSON *answer = cJSON_CreateObject();
    const char *disk = tn_json_string(request, "disk", "");

    if (add_runs(answer, run_dir, tn_json_get(request, "runs"), err) != 0)
        return NULL;
    if (disk[0] != '\0' && disk[0] != '/') {
        tn_err_set(err, TN_ERR_PROTOCOL, "\"disk\" is \"%.80s\", expected an absolute path", disk);
        return NULL;
    }
    if (disk[0] != '\0')
        add_disk(answer, disk);
    return steal_ptr(&answer);
}
