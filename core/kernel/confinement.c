#include "core/kernel/confinement.h"
#include "core/lib/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* Enough for many private runs at once, whose processes share their users. */
enum { PROCESSES_OF_USER = 1024, PROCESSES_OF_NAMESPACE = 64, CAPABILITIES_MAX = 64 };

static const struct tn_profile_limit limits[] = {
    {"RTPRIO", RLIMIT_RTPRIO, 0, "nobody needs the processor before others"},
    {"NICE", RLIMIT_NICE, 0, "the same"},
    {NULL},
};

const struct tn_profile_limit *tn_confinement_limits(void)
{
    return limits;
}

/* ---- before the process ---- */

static void set_maps(struct tn_confinement *confinement)
{
    snprintf(confinement->uid_map, sizeof(confinement->uid_map), "%u %u 1", (unsigned)geteuid(), (unsigned)geteuid());
    snprintf(confinement->gid_map, sizeof(confinement->gid_map), "%u %u 1", (unsigned)getegid(), (unsigned)getegid());
}

void tn_confinement_init(struct tn_confinement *confinement, const struct tn_means *means,
                         const struct tn_own_user *user, bool network)
{
    memset(confinement, 0, sizeof(*confinement));
    confinement->user = user;
    confinement->flags |= means->mounts[0] == '\0' ? CLONE_NEWNS : 0;
    confinement->flags |= means->network[0] == '\0' && !network ? CLONE_NEWNET : 0;
    confinement->flags |= means->ipc[0] == '\0' ? CLONE_NEWIPC | CLONE_NEWUTS : 0;
    if (confinement->flags != 0 && means->user_namespace) {
        confinement->flags |= CLONE_NEWUSER;
        set_maps(confinement);
    }
}

void tn_confinement_free(struct tn_confinement *confinement)
{
    if (confinement->tree != NULL)
        tn_tree_free(confinement->tree);
    free(confinement->tree);
    confinement->tree = NULL;
}

unsigned tn_confinement_processes(const struct tn_confinement *confinement)
{
#ifdef TN_SANITIZED
    return 0; /* LeakSanitizer has a process of its own */
#else
    if (confinement->user->is_own)
        return PROCESSES_OF_USER;
    /* Since Linux 5.14, which is younger than what a new root takes, they are counted by user namespace. */
    return (confinement->flags & CLONE_NEWUSER) != 0 && (confinement->flags & CLONE_NEWNS) != 0 ? PROCESSES_OF_NAMESPACE
                                                                                                : 0;
#endif
}

/* ---- in the process ---- */

static int write_text(const char *path, const char *text)
{
    auto_fd int fd = open(path, O_WRONLY | O_CLOEXEC);

    return fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) ? 0 : -1;
}

const char *tn_confinement_enter(const struct tn_confinement *confinement, char *where, size_t size)
{
    if (confinement->uid_map[0] != '\0' && (write_text("/proc/self/setgroups", "deny") != 0 ||
                                            write_text("/proc/self/gid_map", confinement->gid_map) != 0 ||
                                            write_text("/proc/self/uid_map", confinement->uid_map) != 0))
        return "user namespace";
    return confinement->tree != NULL ? tn_tree_enter(confinement->tree, where, size) : NULL;
}

static int set_limits(const struct tn_profile_limit *list)
{
    for (; list != NULL && list->name != NULL; list++) {
        __rlimit_resource_t resource = (__rlimit_resource_t)list->resource;
        struct rlimit value;

#ifdef TN_SANITIZED
        if (list->resource == RLIMIT_AS) /* shadow memory is larger than any sensible limit */
            continue;
#endif
        if (getrlimit(resource, &value) != 0)
            return -1;
        if (value.rlim_max > list->value)
            value.rlim_max = list->value;
        value.rlim_cur = value.rlim_max;
        if (setrlimit(resource, &value) != 0)
            return -1;
    }
    return 0;
}

static int limit_processes(unsigned processes)
{
    struct rlimit value;

    if (processes == 0)
        return 0;
    if (getrlimit(RLIMIT_NPROC, &value) != 0)
        return -1;
    if (value.rlim_max > processes)
        value.rlim_max = processes;
    value.rlim_cur = value.rlim_max;
    return setrlimit(RLIMIT_NPROC, &value);
}

/* Root would get them back with its next program, and a user who is given up would lose what is still needed here. */
static int lock_securebits(void)
{
    const unsigned long bits = SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP |
                               SECBIT_NO_SETUID_FIXUP_LOCKED | SECBIT_KEEP_CAPS_LOCKED | SECBIT_NO_CAP_AMBIENT_RAISE |
                               SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED;

    return prctl(PR_SET_SECUREBITS, bits, 0, 0, 0);
}

static int drop_bounding(void)
{
    for (unsigned long capability = 0; capability < CAPABILITIES_MAX; capability++)
        if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0)
            return errno == EINVAL ? 0 : -1; /* behind the last one */
    return 0;
}

static int drop_effective(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0, 0, 0}, {0, 0, 0}};

    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0)
        return -1;
    return (int)syscall(SYS_capset, &header, none);
}

const char *tn_confinement_drop(const struct tn_confinement *confinement)
{
    const struct tn_own_user *user = confinement->user;
    /* Without root and without a user namespace there is nothing to lose. */
    bool has_any = geteuid() == 0 || (confinement->flags & CLONE_NEWUSER) != 0;

    if (set_limits(tn_profile_base_limits()) != 0 || set_limits(limits) != 0 || set_limits(confinement->limits) != 0 ||
        limit_processes(tn_confinement_processes(confinement)) != 0)
        return "limits";
    if (has_any && (lock_securebits() != 0 || drop_bounding() != 0))
        return "capabilities";
    if (geteuid() == 0 && setgroups(confinement->group_count, confinement->groups) != 0)
        return "groups";
    if (user->is_own &&
        (setresgid(user->gid, user->gid, user->gid) != 0 || setresuid(user->uid, user->uid, user->uid) != 0))
        return "user";
    return drop_effective() == 0 ? NULL : "capabilities";
}

/* ---- what can be had ---- */

struct trial {
    const char *failed;
    int sys;
    char where[128];
};

static void try_in_child(const struct tn_confinement *confinement, struct trial *trial)
{
    trial->failed = tn_confinement_enter(confinement, trial->where, sizeof(trial->where));
    trial->sys = errno;
    if (trial->failed == NULL) {
        trial->failed = tn_confinement_drop(confinement);
        trial->sys = errno;
    }
    _exit(0);
}

/* Makes a process with these namespaces that ends at once; `why` gets what failed. */
static bool can(const struct tn_means *means, unsigned long flags, const char *folder, char why[TN_MEANS_WHY])
{
    struct tn_own_user user = {.is_own = false};
    struct tn_tree tree;
    struct tn_confinement confinement = {.user = &user, .flags = flags, .tree = NULL};
    struct trial *trial = mmap(NULL, sizeof(*trial), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct trial result = {"memory", ENOMEM, ""};
    int status;
    pid_t pid;

    why[0] = '\0';
    if (trial == MAP_FAILED) {
        snprintf(why, TN_MEANS_WHY, "out of memory");
        return false;
    }
    tn_tree_init(&tree, folder);
    tn_tree_add_system(&tree);
    tn_tree_sort(&tree);
    if ((flags & CLONE_NEWNS) != 0)
        confinement.tree = &tree;
    if (means->user_namespace) {
        confinement.flags |= CLONE_NEWUSER;
        set_maps(&confinement);
    }
    trial->failed = "the trial ended";
    pid = (pid_t)syscall(SYS_clone, confinement.flags | SIGCHLD, NULL, NULL, NULL, NULL);
    if (pid == 0)
        try_in_child(&confinement, trial);
    if (pid < 0) {
        trial->failed = means->user_namespace ? "a user namespace" : "a namespace";
        trial->sys = errno;
    }
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    result = *trial;
    munmap(trial, sizeof(*trial));
    tn_tree_free(&tree);
    if (result.failed != NULL)
        snprintf(why, TN_MEANS_WHY, "%s%s%s: %s", result.failed, result.where[0] != '\0' ? " " : "", result.where,
                 strerror(result.sys));
    return result.failed == NULL;
}

void tn_means_probe(struct tn_means *means, const char *folder)
{
    char why[TN_MEANS_WHY];

    memset(means, 0, sizeof(*means));
    means->user_namespace = geteuid() != 0;
    if (can(means, CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS, folder, why))
        return;
    (void)can(means, CLONE_NEWNS, folder, means->mounts);
    (void)can(means, CLONE_NEWNET, folder, means->network);
    (void)can(means, CLONE_NEWIPC | CLONE_NEWUTS, folder, means->ipc);
}
