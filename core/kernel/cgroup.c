#include "core/kernel/cgroup.h"
#include "core/kernel/cgroup_internal.h"
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
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { LEAVE_PASSES = 20, LEAVE_WAIT_NS = 1000000 };

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

/* Our own group's folder: mount point (of `mount_length` bytes), and our path less the mount's root. NULL when it is
 * not mounted. */
static char *own_folder(const char *type, const char *controller, size_t *mount_length)
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
        *mount_length = strlen(fields[4]);
        return tn_fs_path("%s%s", fields[4], strcmp(path + root, "/") == 0 ? "" : path + root);
    }
    return NULL;
}

int tn_cgroup__write(const char *folder, const char *file, const char *value, struct tn_err *err)
{
    auto_free char *path = tn_fs_path("%s/%s", folder, file);
    auto_fd int fd = open(path, O_WRONLY | O_CLOEXEC);

    if (fd < 0 || write(fd, value, strlen(value)) < 0)
        return tn_err_sys(err, errno, "%s = %s", path, value);
    return 0;
}

static bool value_has(const char *folder, const char *file, const char *word)
{
    auto_free char *path = tn_fs_path("%s/%s", folder, file);
    auto_file FILE *opened = fopen(path, "re");
    char have[64];

    while (opened != NULL && fscanf(opened, "%63s", have) == 1)
        if (strcmp(have, word) == 0)
            return true;
    return false;
}

/* FOLDER/tenon-INSTALLATION, if we may make groups there. */
static char *our_folder(const char *above, const char *name)
{
    auto_free char *folder = above != NULL ? tn_fs_path("%s/%s", above, name) : NULL;

    if (folder != NULL && mkdir(folder, 0755) != 0 && errno != EEXIST)
        return NULL;
    return steal_ptr(&folder);
}

/* Only then is its group ours to arrange. */
static bool is_alone_in(const char *folder)
{
    auto_free char *path = tn_fs_path("%s/cgroup.procs", folder);
    auto_file FILE *file = fopen(path, "re");
    long first = 0;
    long second;

    return file != NULL && fscanf(file, "%ld", &first) == 1 && first == getpid() && fscanf(file, "%ld", &second) != 1;
}

/* Passes the controllers on to the groups below. A group that holds processes cannot (the kernel's "no internal
 * processes"), so where it holds nobody but this process, that moves into one below. */
static void pass_controllers_on(const char *folder)
{
    static const char *const wanted[] = {"+memory", "+pids", "+cpu"};
    auto_free char *self = tn_fs_path("%s/tenond", folder);

    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
        if (tn_cgroup__write(folder, "cgroup.subtree_control", wanted[i], NULL) == 0 || errno != EBUSY ||
            !is_alone_in(folder) || (mkdir(self, 0755) != 0 && errno != EEXIST))
            continue;
        if (tn_cgroup__write(self, "cgroup.procs", "0", NULL) == 0)
            (void)tn_cgroup__write(folder, "cgroup.subtree_control", wanted[i], NULL);
    }
}

/* Version 2: our own group, or the first one above it in which groups can be made that have the controllers; where
 * there is none with controllers, the first in which groups can be made at all. */
static char *find_unified(const char *name)
{
    size_t mount_length = 0;
    auto_free char *at = own_folder("cgroup2", "", &mount_length);
    auto_free char *without = NULL;

    if (at != NULL)
        pass_controllers_on(at);
    while (at != NULL && strlen(at) >= mount_length) {
        auto_free char *folder = our_folder(at, name);
        char *slash = strrchr(at, '/');

        if (folder != NULL && value_has(at, "cgroup.subtree_control", "memory") &&
            value_has(at, "cgroup.subtree_control", "pids")) {
            if (without != NULL)
                rmdir(without);
            pass_controllers_on(folder);
            return steal_ptr(&folder);
        }
        if (folder != NULL && without == NULL)
            without = steal_ptr(&folder);
        else if (folder != NULL)
            rmdir(folder);
        if (slash == NULL)
            break;
        *slash = '\0';
    }
    return steal_ptr(&without);
}

/* Making a group is not yet entering it: that needs rights on the group above both. */
static int try_to_enter(const char *folder, struct tn_err *err)
{
    auto_free char *path = tn_fs_path("%s/cgroup.procs", folder);
    auto_fd int fd = open(path, O_WRONLY | O_CLOEXEC);
    int status = 0;
    pid_t pid;

    if (fd < 0)
        return tn_err_sys(err, errno, "%s", path);
    pid = fork();
    if (pid == 0)
        _exit(write(fd, "0", 1) == 1 ? 0 : errno);
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    if (pid < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
        return tn_err_sys(err, WEXITSTATUS(status), "%s", path);
    return 0;
}

static void drop(char **folder)
{
    if (*folder != NULL)
        tn_cgroup__remove_tree(*folder);
    free(*folder);
    *folder = NULL;
}

/* Root may enter what it made, and a trial costs it milliseconds: the kernel waits for all CPUs. */
static void drop_what_cannot_be_entered(struct tn_cgroups *groups)
{
    struct tn_err err = TN_ERR_INIT;

    if (geteuid() == 0)
        return;
    if (groups->track_v2 && try_to_enter(groups->track, &err) != 0) {
        snprintf(groups->why, sizeof(groups->why), "cannot enter a control group: %.200s", err.text);
        drop(&groups->track);
        groups->track_v2 = false;
    }
    for (size_t i = 0; i < TN_CGROUP_TREES; i++)
        if (groups->limits[i] != NULL && try_to_enter(groups->limits[i], NULL) != 0)
            drop(&groups->limits[i]);
}

void tn_cgroups_open(struct tn_cgroups *groups, const char *installation, const char *store_dir)
{
    auto_free char *safe = tn_fs_safe_name(installation);
    size_t length;

    memset(groups, 0, sizeof(*groups));
    groups->name = tn_fs_path("tenon-%s", safe);
    tn_cgroup__remove_noted(store_dir);
    for (size_t i = 0; i < TN_CGROUP_TREES; i++) {
        auto_free char *own = own_folder("cgroup", controllers[i], &length);

        groups->limits[i] = our_folder(own, groups->name);
    }
    groups->track = find_unified(groups->name);
    groups->track_v2 = groups->track != NULL;
    drop_what_cannot_be_entered(groups);
    for (size_t i = 0; i < TN_CGROUP_TREES && groups->track == NULL; i++)
        if (groups->limits[i] != NULL)
            groups->track = tn_fs_path("%s", groups->limits[i]);
    if (groups->track == NULL && groups->why[0] == '\0')
        snprintf(groups->why, sizeof(groups->why), "no control group can be made here");
    groups->note = tn_cgroup__note(groups, store_dir);
}

unsigned tn_cgroups_limits(const struct tn_cgroups *groups)
{
    static const struct {
        unsigned limit;
        enum controller tree;
        const char *word;
    } rows[] = {{TN_LIMIT_CPU, CPU, "cpu"}, {TN_LIMIT_MEMORY, MEMORY, "memory"}, {TN_LIMIT_PIDS, PIDS, "pids"}};
    unsigned found = 0;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (groups->track != NULL &&
            (groups->limits[rows[i].tree] != NULL ||
             (groups->track_v2 && value_has(groups->track, "cgroup.subtree_control", rows[i].word))))
            found |= rows[i].limit;
    return found;
}

void tn_cgroups_close(struct tn_cgroups *groups)
{
    for (size_t i = 0; i < TN_CGROUP_TREES; i++)
        drop(&groups->limits[i]);
    drop(&groups->track); /* not empty after a crash: the next tenond adopts what is in it */
    if (groups->note != NULL)
        unlink(groups->note);
    free(groups->note);
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

    if (groups->track_v2 && tn_cgroup__write(group->folders[0], v2_file, v2_value, NULL) == 0)
        return 0;
    if (tree == NULL)
        return -1;
    if (groups->track_v2 || strcmp(groups->track, tree) != 0) {
        if (add_folder(group, tree, name, NULL) != 0)
            return -1;
        return tn_cgroup__write(group->folders[group->count - 1], v1_file, v1_value, NULL);
    }
    return tn_cgroup__write(group->folders[0], v1_file, v1_value, NULL);
}

static void note(struct tn_cgroup *group, unsigned limit, int failed)
{
    if (failed == 0)
        group->limited |= limit;
}

/* Memory that a job may not have it must not get as swap either, where the kernel counts that. */
static void limit_memory(const struct tn_cgroups *groups, struct tn_cgroup *group, const char *name, unsigned mb)
{
    char bytes[64];

    snprintf(bytes, sizeof(bytes), "%llu", (unsigned long long)mb << 20);
    note(group, TN_LIMIT_MEMORY,
         set_limit(groups, group, name, MEMORY, "memory.max", bytes, "memory.limit_in_bytes", bytes));
    for (size_t i = 0; i < group->count; i++) {
        (void)tn_cgroup__write(group->folders[i], "memory.swap.max", "0", NULL);
        (void)tn_cgroup__write(group->folders[i], "memory.memsw.limit_in_bytes", bytes, NULL);
    }
}

int tn_cgroup_make(const struct tn_cgroups *groups, const char *name, const struct tn_cgroup_limits *limits,
                   struct tn_cgroup *group, struct tn_err *err)
{
    char v2[64];
    char v1[64];

    memset(group, 0, sizeof(*group));
    if (groups->track == NULL)
        return tn_err_set(err, TN_ERR_UNAVAILABLE, "%s", groups->why);
    if (add_folder(group, groups->track, name, err) != 0)
        return -1;
    if (limits->pids > 0) {
        snprintf(v2, sizeof(v2), "%u", limits->pids);
        note(group, TN_LIMIT_PIDS, set_limit(groups, group, name, PIDS, "pids.max", v2, "pids.max", v2));
    }
    if (limits->memory_mb > 0)
        limit_memory(groups, group, name, limits->memory_mb);
    if (limits->cpu_milli > 0) {
        snprintf(v2, sizeof(v2), "%u 100000", limits->cpu_milli * 100);
        snprintf(v1, sizeof(v1), "%u", limits->cpu_milli * 100);
        note(group, TN_LIMIT_CPU, set_limit(groups, group, name, CPU, "cpu.max", v2, "cpu.cfs_quota_us", v1));
    }
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
    if (group->count == 0 || tn_cgroup__write(group->folders[0], "cgroup.kill", "1", NULL) == 0)
        return;
    /* One by one: nobody may be born meanwhile. */
    for (size_t i = 0; i < group->count; i++)
        (void)tn_cgroup__write(group->folders[i], "pids.max", "0", NULL);
    tn_cgroup__kill_tree(group->folders[0]);
}

bool tn_cgroup_empty(const struct tn_cgroup *group)
{
    return group->count == 0 || nftw(group->folders[0], note_process, 8, FTW_PHYS) != 1;
}

void tn_cgroup_remove(struct tn_cgroup *group)
{
    for (size_t i = 0; i < group->count; i++) {
        tn_cgroup__remove_tree(group->folders[i]);
        /* The last process may have been waited for and still be on its way out of the group. */
        for (int pass = 0; pass < LEAVE_PASSES && access(group->folders[i], F_OK) == 0; pass++) {
            nanosleep(&(struct timespec){0, LEAVE_WAIT_NS}, NULL);
            tn_cgroup__remove_tree(group->folders[i]);
        }
        free(group->folders[i]);
    }
    memset(group, 0, sizeof(*group));
}

const char *tn_cgroup_path_part(const struct tn_cgroup *group)
{
    const char *part = group->count > 0 ? strstr(group->folders[0], "/tenon-") : NULL;

    return part != NULL ? part : "";
}
