#include "core/kernel/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { OPEN_FILES = 8192 };

/* Where the child's way to exec ended; written by the child into the parent's memory (vfork shares it). */
struct progress {
    const char *volatile what;
    volatile int sys;
};

static void default_signals(void)
{
    static const int numbers[] = {SIGPIPE, SIGINT, SIGTERM, SIGCHLD, SIGHUP};
    sigset_t none;

    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        signal(numbers[i], SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static int set_descriptors(const struct tn_spawn *spawn, int null_fd)
{
    unsigned first = TN_SPAWN_PASSED_FD;

    if (dup2(null_fd, STDIN_FILENO) < 0 || dup2(spawn->log_fd, STDOUT_FILENO) < 0 ||
        dup2(spawn->log_fd, STDERR_FILENO) < 0)
        return -1;
    if (spawn->pass_fd == TN_SPAWN_PASSED_FD) { /* dup2 onto itself would keep close-on-exec */
        if (fcntl(TN_SPAWN_PASSED_FD, F_SETFD, 0) != 0)
            return -1;
        first++;
    } else if (spawn->pass_fd >= 0) {
        if (dup2(spawn->pass_fd, TN_SPAWN_PASSED_FD) < 0)
            return -1;
        first++;
    }
    /* All of ours are close-on-exec; this is for what we ourselves inherited. Kernels before 5.9 have it not. */
    if (syscall(SYS_close_range, first, ~0u, 0) != 0 && errno != ENOSYS)
        return -1;
    return 0;
}

static int set_limits(void)
{
    struct rlimit none = {0, 0};
    struct rlimit files;

    if (setrlimit(RLIMIT_CORE, &none) != 0 || getrlimit(RLIMIT_NOFILE, &files) != 0)
        return -1;
    if (files.rlim_max > OPEN_FILES)
        files.rlim_max = OPEN_FILES;
    files.rlim_cur = files.rlim_max;
    return setrlimit(RLIMIT_NOFILE, &files);
}

/* Runs in the child on the parent's memory: system calls only. Returns only if one failed; says which. */
static const char *child(const struct tn_spawn *spawn, int null_fd, pid_t parent)
{
    if (spawn->death_signal != 0 && prctl(PR_SET_PDEATHSIG, spawn->death_signal, 0, 0, 0) != 0)
        return "PDEATHSIG";
    if (getppid() != parent) /* it died before that: nobody waits for us */
        _exit(127);
    for (size_t i = 0; i < spawn->cgroup_count; i++)
        if (write(spawn->cgroup_fds[i], "0", 1) != 1)
            return "cgroup";
    if (setsid() < 0)
        return "setsid";
    umask(077);
    if (chdir(spawn->folder != NULL ? spawn->folder : "/") != 0)
        return "folder";
    if (set_limits() != 0)
        return "limits";
    if (spawn->no_new_privs && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return "no_new_privs";
    if (set_descriptors(spawn, null_fd) != 0)
        return "descriptors";
    default_signals();
    execve(spawn->path, spawn->arguments, spawn->environment);
    return "exec";
}

/* Apart from its caller so that nothing of the caller's lives in registers across vfork. */
static __attribute__((noinline)) pid_t vfork_child(const struct tn_spawn *spawn, int null_fd, pid_t parent,
                                                   struct progress *progress)
{
    pid_t pid = vfork();

    if (pid == 0) {
        progress->what = child(spawn, null_fd, parent);
        progress->sys = errno;
        _exit(127);
    }
    return pid;
}

pid_t tn_spawn(const struct tn_spawn *spawn, struct tn_err *err)
{
    struct progress progress = {NULL, 0};
    int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    sigset_t all;
    sigset_t before;
    pid_t pid;
    int sys;

    if (null_fd < 0) {
        tn_err_sys(err, errno, "/dev/null");
        return -1;
    }
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before); /* no handler of ours may run in the child on our memory */
    pid = vfork_child(spawn, null_fd, getpid(), &progress);
    sys = errno;
    sigprocmask(SIG_SETMASK, &before, NULL);
    close(null_fd);
    if (pid < 0) {
        tn_err_sys(err, sys, "cannot start %s", spawn->path);
        return -1;
    }
    if (progress.what != NULL) { /* it is a zombie: the SIGCHLD handler reaps it as a child that nobody knows */
        tn_err_sys(err, progress.sys, "cannot start %s (%s %s)", spawn->path, progress.what,
                   strcmp(progress.what, "folder") == 0 && spawn->folder != NULL ? spawn->folder : "");
        return -1;
    }
    return pid;
}
