#include "core/kernel/namespace.h"
#include "core/lib/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>

void tn_namespace_init(struct tn_namespace *space, unsigned processes)
{
    memset(space, 0, sizeof(*space));
    space->flags = CLONE_NEWPID | CLONE_NEWNS;
    if (geteuid() == 0)
        return;
    space->flags |= CLONE_NEWUSER;
    space->processes = tn_namespace_counts() ? processes : 0;
    snprintf(space->uid_map, sizeof(space->uid_map), "%u %u 1", (unsigned)geteuid(), (unsigned)geteuid());
    snprintf(space->gid_map, sizeof(space->gid_map), "%u %u 1", (unsigned)getegid(), (unsigned)getegid());
}

static int write_text(const char *path, const char *text)
{
    auto_fd int fd = open(path, O_WRONLY | O_CLOEXEC);

    return fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) ? 0 : -1;
}

const char *tn_namespace_enter(const struct tn_namespace *space)
{
    struct rlimit processes = {space->processes, space->processes};

    if (space->uid_map[0] != '\0' &&
        (write_text("/proc/self/setgroups", "deny") != 0 || write_text("/proc/self/gid_map", space->gid_map) != 0 ||
         write_text("/proc/self/uid_map", space->uid_map) != 0))
        return "user namespace";
    if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) != 0)
        return "mount namespace";
    if (mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) != 0)
        return "own /proc";
    if (space->processes > 0 && setrlimit(RLIMIT_NPROC, &processes) != 0)
        return "limit of processes";
    return NULL;
}

int tn_namespace_probe(struct tn_err *err)
{
    static const char *const what[] = {"user namespace", "mount namespace", "own /proc"};
    struct tn_namespace space;
    int status = 0;
    pid_t pid;

    tn_namespace_init(&space, 0);
    pid = (pid_t)syscall(SYS_clone, space.flags | SIGCHLD, NULL, NULL, NULL, NULL);
    if (pid < 0)
        return tn_err_sys(err, errno, "no process id namespace");
    if (pid == 0) {
        const char *failed = tn_namespace_enter(&space);
        int step = 0;

        while (failed != NULL && step < 2 && strcmp(what[step], failed) != 0)
            step++;
        /* Both in one status: 2 bits and 6 bits, which hold EPERM, EACCES, EINVAL and the like. */
        _exit(failed == NULL ? 0 : step << 6 | (errno & 63));
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        return tn_err_sys(err, WIFEXITED(status) ? WEXITSTATUS(status) & 63 : EPERM, "no process id namespace: its %s",
                          what[WIFEXITED(status) ? WEXITSTATUS(status) >> 6 : 0]);
    return 0;
}

/* Since Linux 5.14 RLIMIT_NPROC counts by user namespace; before that it would count all that the user runs. */
bool tn_namespace_counts(void)
{
    struct utsname system;
    unsigned major = 0;
    unsigned minor = 0;

    return geteuid() != 0 && uname(&system) == 0 && sscanf(system.release, "%u.%u", &major, &minor) == 2 &&
           (major > 5 || (major == 5 && minor >= 14));
}
