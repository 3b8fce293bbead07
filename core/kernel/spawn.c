#include "core/kernel/spawn.h"
#include "core/lib/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { OPEN_FILES = 8192 };

/* Where the child's way to exec ended; written by the child into the parent's memory (vfork shares it). */
struct progress {
    const char *volatile what;
    volatile int sys;
    char where[256]; /* the path, or "" */
};

void tn_spawn_default_signals(void)
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

/* `parent` is a descriptor of tenond: in a namespace of its own a process cannot tell by number who its parent is. */
static bool is_dead(int parent)
{
    struct pollfd poll_fd = {.fd = parent, .events = POLLIN};

    return poll(&poll_fd, 1, 0) > 0;
}

/* The kernel forgets it when the user changes. */
static const char *die_with(int parent, int death_signal)
{
    if (death_signal != 0 && prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0) != 0)
        return "PDEATHSIG";
    if (is_dead(parent)) /* before that: nobody waits for us */
        _exit(127);
    return NULL;
}

/* Runs in the child, without namespaces and confinement on the parent's memory: system calls only. Returns only if one
 * failed; says which. */
static const char *child(const struct tn_spawn *spawn, int null_fd, int parent, struct progress *progress)
{
    const char *failed = die_with(parent, spawn->death_signal);

    if (failed != NULL)
        return failed;
    for (size_t i = 0; i < spawn->cgroup_count; i++)
        if (write(spawn->cgroup_fds[i], "0", 1) != 1)
            return "cgroup";
    if (spawn->space != NULL && (failed = tn_namespace_enter(spawn->space)) != NULL)
        return failed;
    if (spawn->confinement != NULL &&
        (failed = tn_confinement_enter(spawn->confinement, progress->where, sizeof(progress->where))) != NULL)
        return failed;
    progress->where[0] = '\0';
    if (setsid() < 0)
        return "setsid";
    umask(077);
    if (chdir(spawn->folder != NULL ? spawn->folder : "/") != 0)
        return "folder";
    if (set_limits() != 0)
        return "limits";
    if (spawn->confinement != NULL && ((failed = tn_confinement_drop(spawn->confinement)) != NULL ||
                                       (failed = die_with(parent, spawn->death_signal)) != NULL))
        return failed;
    if (spawn->no_new_privs && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return "no_new_privs";
    if (set_descriptors(spawn, null_fd) != 0)
        return "descriptors";
    tn_spawn_default_signals();
    execve(spawn->path, spawn->arguments, spawn->environment);
    return "exec";
}

/* Apart from its caller so that nothing of the caller's lives in registers across vfork. */
static __attribute__((noinline)) pid_t vfork_child(const struct tn_spawn *spawn, int null_fd, int parent,
                                                   struct progress *progress)
{
    /* NOLINTNEXTLINE(clang-analyzer-security.insecureAPI.vfork): a copy of our page tables is slow */
    pid_t pid = vfork();

    if (pid == 0) {
        /* NOLINTNEXTLINE(clang-analyzer-unix.Vfork): we wait for it; it changes `progress` and calls the system only */
        progress->what = child(spawn, null_fd, parent, progress);
        progress->sys = errno;
        _exit(127);
    }
    return pid;
}

/* The child has a copy of our memory, and we wait for its exec; `progress` is shared. */
static pid_t clone_child(const struct tn_spawn *spawn, int null_fd, int parent, struct progress *progress)
{
    unsigned long flags = spawn->space != NULL ? spawn->space->flags : spawn->confinement->flags;
    pid_t pid = (pid_t)syscall(SYS_clone, flags | CLONE_VFORK | SIGCHLD, NULL, NULL, NULL, NULL);

    if (pid == 0) {
        progress->what = child(spawn, null_fd, parent, progress);
        progress->sys = errno;
        _exit(127);
    }
    return pid;
}

static pid_t start(const struct tn_spawn *spawn, int null_fd, int parent, struct progress *progress)
{
    struct progress *shared;
    pid_t pid;
    int sys;

    if (spawn->space == NULL && spawn->confinement == NULL)
        return vfork_child(spawn, null_fd, parent, progress);
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        return -1;
    pid = clone_child(spawn, null_fd, parent, shared);
    sys = errno;
    *progress = *shared;
    munmap(shared, sizeof(*shared));
    errno = sys;
    return pid;
}

pid_t tn_spawn(const struct tn_spawn *spawn, struct tn_err *err)
{
    struct progress progress = {NULL, 0, ""};
    auto_fd int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    auto_fd int parent = (int)syscall(SYS_pidfd_open, getpid(), 0);
    sigset_t all;
    sigset_t before;
    pid_t pid;
    int sys;

    if (null_fd < 0 || parent < 0) {
        tn_err_sys(err, errno, null_fd < 0 ? "/dev/null" : "pidfd_open");
        return -1;
    }
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before); /* no handler of ours may run in the child on our memory */
    pid = start(spawn, null_fd, parent, &progress);
    sys = errno;
    sigprocmask(SIG_SETMASK, &before, NULL);
    if (pid < 0) {
        tn_err_sys(err, sys, "cannot start %s", spawn->path);
        return -1;
    }
    if (progress.what != NULL) { /* it ends at once; until then its control groups cannot be removed */
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
            continue;
        tn_err_sys(err, progress.sys, "cannot start %s (%s %s)", spawn->path, progress.what,
                   strcmp(progress.what, "folder") == 0 && spawn->folder != NULL ? spawn->folder : progress.where);
        return -1;
    }
    return pid;
}
