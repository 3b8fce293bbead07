/* Groups that a tenond which was killed left. */
#include "core/kernel/cgroup_internal.h"
#include "core/kernel/procs.h"
#include "core/lib/buf.h"
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/log.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

enum { STALE_PASSES = 50, STALE_WAIT_NS = 2000000, NOTE_BYTES_MAX = 65536 };

static int remove_each(const char *path, const struct stat *info, int type, struct FTW *at)
{
    if (type == FTW_DP && rmdir(path) != 0 && errno != ENOENT)
        tn_debug("cannot remove the control group %s: %s", path, strerror(errno));
    return 0;
}

/* A group below it (a job may make some) is visited, too. Folders without a kill file: one signal a process. */
static int kill_each(const char *path, const struct stat *info, int type, struct FTW *at)
{
    auto_file FILE *file = NULL;
    long pid;

    if (type != FTW_F || strcmp(path + at->base, "cgroup.procs") != 0)
        return 0;
    file = fopen(path, "re");
    while (file != NULL && fscanf(file, "%ld", &pid) == 1)
        if (pid > 1)
            kill((pid_t)pid, SIGKILL);
    return 0;
}

void tn_cgroup__remove_tree(const char *folder)
{
    nftw(folder, remove_each, 8, FTW_PHYS | FTW_DEPTH);
}

void tn_cgroup__kill_tree(const char *folder)
{
    nftw(folder, kill_each, 8, FTW_PHYS);
}

/* Kills what is in it, and removes it. */
static void end_group(const char *folder)
{
    if (access(folder, F_OK) != 0)
        return;
    for (int i = 0; i < STALE_PASSES && access(folder, F_OK) == 0; i++) {
        if (i > 0)
            nanosleep(&(struct timespec){0, STALE_WAIT_NS}, NULL);
        if (tn_cgroup__write(folder, "cgroup.kill", "1", NULL) != 0)
            tn_cgroup__kill_tree(folder);
        tn_cgroup__remove_tree(folder);
    }
    if (access(folder, F_OK) == 0)
        tn_warn("cannot remove the control group %s of a tenond that is gone: its processes do not die", folder);
    else
        tn_info("removed the control group %s of a tenond that is gone", folder);
}

/* ---- notes ----
 * A name would not do: who shares the file system of groups may see other process ids, and the group that we are in may
 * be another one the next time. */

static char *note_path(const char *store_dir, const char *name)
{
    return tn_fs_path("%s/control-groups%s%s", store_dir, name[0] != '\0' ? "/" : "", name);
}

char *tn_cgroup__note(const struct tn_cgroups *groups, const char *store_dir)
{
    auto_free char *folder = note_path(store_dir, "");
    auto_buf struct tn_buf text = TN_BUF_INIT;
    struct tn_err err = TN_ERR_INIT;
    char name[96];
    char *path;

    for (size_t i = 0; i < TN_CGROUP_TREES; i++)
        if (groups->limits[i] != NULL)
            tn_buf_addf(&text, "%s\n", groups->limits[i]);
    if (groups->track != NULL)
        tn_buf_addf(&text, "%s\n", groups->track);
    if (text.len == 0)
        return NULL;
    snprintf(name, sizeof(name), "%llx.%d.%" PRIu64, tn_procs_namespace(), (int)getpid(),
             tn_procs_start_time(getpid()));
    path = note_path(store_dir, name);
    if (tn_fs_make_dirs(folder, 0700, &err) == 0) {
        auto_fd int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);

        if (fd >= 0 && tn_fs_write_all(fd, text.data, text.len, NULL) == 0)
            return path;
    }
    tn_warn("cannot write %s: if tenond is killed, its control groups stay", path);
    free(path);
    return NULL;
}

/* A lasting installation's groups are not noted: the next tenond adopts what is in them. */
void tn_cgroup__remove_noted(const char *store_dir)
{
    auto_free char *folder = note_path(store_dir, "");
    auto_dir DIR *dir = opendir(folder);
    struct dirent *entry;

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        auto_free char *path = note_path(store_dir, entry->d_name);
        auto_buf struct tn_buf text = TN_BUF_INIT;
        unsigned long long space;
        uint64_t start;
        char *save = NULL;
        int pid;

        if (sscanf(entry->d_name, "%llx.%d.%" SCNu64, &space, &pid, &start) != 3 || space != tn_procs_namespace() ||
            tn_procs_start_time(pid) == start || tn_fs_read(path, NOTE_BYTES_MAX, &text, NULL) != 0 || text.len == 0)
            continue;
        for (char *line = strtok_r(text.data, "\n", &save); line != NULL; line = strtok_r(NULL, "\n", &save))
            if (strstr(line, "/tenon-run-") != NULL)
                end_group(line);
        unlink(path);
    }
}
