#include "core/kernel/cgroup.h"
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/log.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Controllers of version 1 that can limit; the first one that is there also tracks if version 2 is not mounted. */
enum controller { PIDS, MEMORY, CPU, FREEZER };
static const char *const controllers[TN_CGROUP_TREES] = {
    [PIDS] = "pids", [MEMORY] = "memory", [CPU] = "cpu", [FREEZER] = "freezer"};

static bool has_word(const char *list, const char *word)
{
    size_t length = strlen(word);

    for (const char *at = list; at != NULL; at = strchr(at, ',')) {
        at += *at == ',' ? 1 : 0;
        if (strncmp(at, word, length) == 0 && (at[length] == ',' || at[length] == '\0' || at[length] == '\n'))
            return true;
    }
    return false;
}

/* This process's path in the hierarchy of `controller` ("" is version 2), from /proc/self/cgroup. NULL: not in one. */
static char *own_path(const char *controller)
{
    auto_file FILE *file = fopen("/proc/self/cgroup", "re");
    char line[4096];

    while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        char *list = strchr(line, ':');
        char *path = list != NULL ? strchr(list + 1, ':') : NULL;

        if (path == NULL)
            continue;
        *path++ = '\0';
        path[strcspn(path, "\n")] = '\0';
        if (controller[0] == '\0' ? list[1] == '\0' : has_word(list + 1, controller))
            return tn_fs_path("%s", path);
    }
    return NULL;
}

/* Our own group's folder: mount point, and our path less the mount's root. NULL when it is not mounted. */
static char *own_folder(const char *type, const char *controller)
{
    auto_file FILE *file = fopen("/proc/self/mountinfo", "re");
    auto_free char *path = own_path(controller);
    char line[4096];

    while (file != NULL && path != NULL && fgets(line, sizeof(line), file) != NULL) {
        char *fields[6] = {NULL};
        char *rest = strstr(line, " - ");
        char *save = NULL;
        char mounted[64];
        char options[1024];
        size_t root;

        if (rest == NULL || sscanf(rest + 3, "%63s %*s %1023s", mounted, options) != 2 || strcmp(mounted, type) != 0 ||
            (controller[0] != '\0' && !has_word(options, controller)))
            continue;
        for (size_t i = 0; i < 6; i++)
            fields[i] = strtok_r(i == 0 ? line : NULL, " ", &save);
        if (fields[4] == NULL)
            continue;
        root = strcmp(fields[3], "/") == 0 ? 0 : strlen(fields[3]);
        if (root > 0 && (strncmp(path, fields[3], root) != 0 || (path[root] != '/' && path[root] != '\0')))
            continue;
        return tn_fs_path("%s%s", fields[4], strcmp(path + root, "/") == 0 ? "" : path + root);
    }
    return NULL;
}

static int write_value(const char *folder, const char *file, const char *value, struct tn_err *err)
{
    auto_free char *path = tn_fs_path("%s/%s", folder, file);
    auto_fd int fd = open(path, O_WRONLY | O_CLOEXEC);

    if (fd < 0 || write(fd, value, strlen(value)) < 0)
        return tn_err_sys(err, errno, "%s = %s", path, value);
    return 0;
}

static int remove_each(const char *path, const struct stat *info, int type, struct FTW *at)
{
    if (type == FTW_DP && rmdir(path) != 0 && errno != ENOENT)
        tn_debug("cannot remove the control group %s: %s", path, strerror(errno));
    return 0;
}

/* Groups of private runs whose tenond was killed: their name ends with its process id. What still holds a process
 * stays, for a group cannot be removed then. */
static void remove_stale(const char *parent)
{
    auto_dir DIR *dir = opendir(parent);
    struct dirent *entry;

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        const char *dash = strrchr(entry->d_name, '-');
        long pid = strncmp(entry->d_name, "tenon-run-", 10) == 0 && dash != NULL ? strtol(dash + 1, NULL, 10) : 0;
        auto_free char *path = tn_fs_path("%s/%s", parent, entry->d_name);

        if (pid > 1 && strspn(dash + 1, "0123456789") == strlen(dash + 1) && kill((pid_t)pid, 0) != 0 && errno == ESRCH)
            nftw(path, remove_each, 8, FTW_PHYS | FTW_DEPTH);
    }
}

/* FOLDER/tenon-INSTALLATION, if we may make groups there. */
static char *our_folder(char *parent, const char *name)
{
    auto_free char *above = parent;
    char *folder = above != NULL ? tn_fs_path("%s/%s", above, name) : NULL;

    if (above != NULL)
        remove_stale(above);
    if (folder != NULL && mkdir(folder, 0755) != 0 && errno != EEXIST) {
        free(folder);
        return NULL;
    }
    return folder;
}

void tn_cgroups_open(struct tn_cgroups *groups, const char *installation)
{
    auto_free char *safe = tn_fs_safe_name(installation);
    auto_free char *unified = own_folder("cgroup2", "");

    memset(groups, 0, sizeof(*groups));
    groups->name = tn_fs_path("tenon-%s", safe);
    for (size_t i = 0; i < TN_CGROUP_TREES; i++)
        groups->limits[i] = our_folder(own_folder("cgroup", controllers[i]), groups->name);
    if (unified != NULL) {
        /* Fails where version 1 has the controllers, or where we share our group with others: then without limits. */
        (void)write_value(unified, "cgroup.subtree_control", "+memory +pids +cpu", NULL);
        groups->track = our_folder(tn_fs_path("%s", unified), groups->name);
        groups->track_v2 = groups->track != NULL;
        if (groups->track_v2)
            (void)write_value(groups->track, "cgroup.subtree_control", "+memory +pids +cpu", NULL);
    }
    for (size_t i = 0; i < TN_CGROUP_TREES && groups->track == NULL; i++)
        if (groups->limits[i] != NULL)
            groups->track = tn_fs_path("%s", groups->limits[i]);
}

void tn_cgroups_close(struct tn_cgroups *groups)
{
    for (size_t i = 0; i < TN_CGROUP_TREES; i++) {
        if (groups->limits[i] != NULL)
            rmdir(groups->limits[i]);
        free(groups->limits[i]);
    }
    if (groups->track != NULL)
        rmdir(groups->track); /* not empty after a crash: the next tenond adopts what is in it */
    free(groups->track);
    free(groups->name);
    memset(groups, 0, sizeof(*groups));
}

static int add_folder(struct tn_cgroup *group, const char *parent, const char *name, struct tn_err *err)
{
    char *folder = tn_fs_path("%s/%s", parent, name);

    if (mkdir(folder, 0755) != 0 && errno != EEXIST) {
        tn_err_sys(err, errno, "cannot make the control group %s", folder);
        free(folder);
        return -1;
    }
    group->folders[group->count++] = folder;
    return 0;
}

/* One limit: in the tracking group if version 2 has the controller, else in a group of version 1. */
static int set_limit(const struct tn_cgroups *groups, struct tn_cgroup *group, const char *name,
                     enum controller controller, const char *v2_file, const char *v2_value, const char *v1_file,
                     const char *v1_value)
{
    const char *tree = groups->limits[controller];

    if (groups->track_v2 && write_value(group->folders[0], v2_file, v2_value, NULL) == 0)
        return 0;
    if (tree == NULL)
        return -1;
    if (groups->track_v2 || strcmp(groups->track, tree) != 0) {
        if (add_folder(group, tree, name, NULL) != 0)
            return -1;
        return write_value(group->folders[group->count - 1], v1_file, v1_value, NULL);
    }
    return write_value(group->folders[0], v1_file, v1_value, NULL);
}

int tn_cgroup_make(const struct tn_cgroups *groups, const char *name, const struct tn_cgroup_limits *limits,
                   struct tn_cgroup *group, struct tn_err *err)
{
    char v2[64];
    char v1[64];
    int failed = 0;

    memset(group, 0, sizeof(*group));
    if (groups->track == NULL)
        return tn_err_set(err, TN_ERR_UNAVAILABLE, "no control group can be made here");
    if (add_folder(group, groups->track, name, err) != 0)
        return -1;
    if (limits->pids > 0) {
        snprintf(v2, sizeof(v2), "%u", limits->pids);
        failed |= set_limit(groups, group, name, PIDS, "pids.max", v2, "pids.max", v2);
    }
    if (limits->memory_mb > 0) {
        snprintf(v2, sizeof(v2), "%llu", (unsigned long long)limits->memory_mb << 20);
        failed |= set_limit(groups, group, name, MEMORY, "memory.max", v2, "memory.limit_in_bytes", v2);
    }
    if (limits->cpu_milli > 0) {
        snprintf(v2, sizeof(v2), "%u 100000", limits->cpu_milli * 100);
        snprintf(v1, sizeof(v1), "%u", limits->cpu_milli * 100);
        failed |= set_limit(groups, group, name, CPU, "cpu.max", v2, "cpu.cfs_quota_us", v1);
    }
    group->limited = failed == 0;
    return 0;
}

void tn_cgroup_adopt(const struct tn_cgroups *groups, const char *name, struct tn_cgroup *group)
{
    memset(group, 0, sizeof(*group));
    for (size_t i = 0; i <= TN_CGROUP_TREES; i++) {
        const char *parent = i == 0 ? groups->track : groups->limits[i - 1];
        auto_free char *folder = parent != NULL ? tn_fs_path("%s/%s", parent, name) : NULL;

        if (folder == NULL || access(folder, F_OK) != 0) {
            if (i == 0)
                return;
            continue;
        }
        if (i == 0 || strcmp(folder, group->folders[0]) != 0)
            group->folders[group->count++] = steal_ptr(&folder);
    }
}

size_t tn_cgroup_enter_fds(const struct tn_cgroup *group, int fds[TN_CGROUP_TREES + 1])
{
    size_t count = 0;

    for (size_t i = 0; i < group->count; i++) {
        auto_free char *path = tn_fs_path("%s/cgroup.procs", group->folders[i]);

        fds[count] = open(path, O_WRONLY | O_CLOEXEC);
        if (fds[count] >= 0)
            count++;
    }
    return count;
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

static int note_process(const char *path, const struct stat *info, int type, struct FTW *at)
{
    auto_file FILE *file = NULL;
    long pid;

    if (type != FTW_F || strcmp(path + at->base, "cgroup.procs") != 0)
        return 0;
    file = fopen(path, "re");
    return file != NULL && fscanf(file, "%ld", &pid) == 1 ? 1 : 0;
}

void tn_cgroup_kill(const struct tn_cgroup *group)
{
    if (group->count > 0 && write_value(group->folders[0], "cgroup.kill", "1", NULL) != 0)
        nftw(group->folders[0], kill_each, 8, FTW_PHYS);
}

bool tn_cgroup_empty(const struct tn_cgroup *group)
{
    return group->count == 0 || nftw(group->folders[0], note_process, 8, FTW_PHYS) != 1;
}

void tn_cgroup_remove(struct tn_cgroup *group)
{
    for (size_t i = 0; i < group->count; i++) {
        nftw(group->folders[i], remove_each, 8, FTW_PHYS | FTW_DEPTH);
        free(group->folders[i]);
    }
    memset(group, 0, sizeof(*group));
}

const char *tn_cgroup_path_part(const struct tn_cgroup *group)
{
    const char *part = group->count > 0 ? strstr(group->folders[0], "/tenon-") : NULL;

    return part != NULL ? part : "";
}
