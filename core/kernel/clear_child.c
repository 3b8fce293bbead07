#include "core/kernel/clear_child.h"
#include "core/kernel/spawn.h"
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/remove.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/ioprio.h>
#include <linux/openat2.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { VERDICT_FD = 3, OPEN_FILES = 128, NICE = 10, DATA_BYTES = 256 * 1024 * 1024 };

/* For what belongs to others, may not be read or changed, and is marked as unchangeable. */
static const unsigned kept_capabilities[] = {CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_LINUX_IMMUTABLE};

static int keep_capabilities(void)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3];
    uint32_t kept = 0;

    for (size_t i = 0; i < sizeof(kept_capabilities) / sizeof(kept_capabilities[0]); i++)
        kept |= 1u << kept_capabilities[i];
    if (syscall(SYS_capget, &head, sets) != 0)
        return -1;
    for (size_t i = 0; i < _LINUX_CAPABILITY_U32S_3; i++) {
        sets[i].effective &= i == 0 ? kept : 0;
        sets[i].permitted &= i == 0 ? kept : 0;
        sets[i].inheritable = 0;
    }
    return (int)syscall(SYS_capset, &head, sets);
}

static int set_limits(void)
{
    struct rlimit files = {OPEN_FILES, OPEN_FILES};
    struct rlimit none = {0, 0};

#ifndef TN_SANITIZED
    struct rlimit data = {DATA_BYTES, DATA_BYTES};

    if (setrlimit(RLIMIT_DATA, &data) != 0)
        return -1;
#endif
    if (setrlimit(RLIMIT_NOFILE, &files) != 0 || setrlimit(RLIMIT_CORE, &none) != 0 ||
        setrlimit(RLIMIT_FSIZE, &none) != 0)
        return -1;
    return 0;
}

static void say(const char *code, const char *text)
{
    char verdict[TN_CLEAR_VERDICT];

    snprintf(verdict, sizeof(verdict), "%s%s%s", code, text[0] != '\0' ? " " : "", text);
    if (tn_fs_write_all(VERDICT_FD, verdict, strlen(verdict), NULL) != 0)
        _exit(1); /* tenond says so */
}

/* Parts from all of tenond's: signals, rights. NULL, or what failed. */
static const char *part(void)
{
    tn_spawn_default_signals();
    if (setsid() < 0 || chdir("/") != 0)
        return "session";
    if (setpriority(PRIO_PROCESS, 0, NICE) != 0)
        return "priority";
    (void)syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, IOPRIO_PRIO_VALUE(IOPRIO_CLASS_BE, 7));
    if (set_limits() != 0)
        return "limits";
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || keep_capabilities() != 0)
        return "capabilities";
    return NULL;
}

/* The folder above the last component, reached from `root` by folders alone. -1 with errno. */
static int open_above(int root_fd, char *below)
{
    struct open_how how = {.flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
    char *slash = strrchr(below, '/');

    if (slash == NULL)
        return fcntl(root_fd, F_DUPFD_CLOEXEC, VERDICT_FD + 1);
    *slash = '\0';
    return (int)syscall(SYS_openat2, root_fd, below, &how, sizeof(how));
}

static void clear(const char *root, const char *below)
{
    auto_free char *path = tn_fs_path("%s/%s", root, below);
    auto_free char *above = tn_fs_path("%s", below);
    const char *slash = strrchr(below, '/');
    auto_fd int root_fd = open(root, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    auto_fd int fd = root_fd >= 0 ? open_above(root_fd, above) : -1;
    struct tn_removal *removal;
    struct tn_err err = TN_ERR_INIT;

    if (fd < 0 && errno == ENOENT) {
        say("ok", "");
        return;
    }
    if (fd < 0 && (errno == ELOOP || errno == EXDEV || errno == ENOTDIR)) {
        tn_err_sys(&err, errno, "%.300s: expected nothing but folders on the way from %.300s", path, root);
        say("invalid", err.text);
        return;
    }
    if (fd < 0) {
        tn_err_sys(&err, errno, "cannot open what lies above %.300s", path);
        say("failed", err.text);
        return;
    }
    removal = tn_removal_begin_at(fd, slash != NULL ? slash + 1 : below, path);
    while (tn_removal_step(removal, SIZE_MAX))
        continue;
    if (tn_removal_end(removal, &err) == 0)
        say("ok", "");
    else
        say("failed", err.text);
}

static __attribute__((noreturn)) void child(const char *root, const char *below, int verdict_fd, pid_t parent)
{
    const char *failed;
    struct tn_err err = TN_ERR_INIT;

    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0 || getppid() != parent || dup2(verdict_fd, VERDICT_FD) < 0 ||
        syscall(SYS_close_range, VERDICT_FD + 1u, ~0u, 0) != 0)
        _exit(1);
    failed = part();
    if (failed == NULL) {
        clear(root, below);
    } else {
        tn_err_sys(&err, errno, "cannot confine who is to remove it: %s", failed);
        say("failed", err.text);
    }
    _exit(0);
}

pid_t tn_clear_child_start(const char *root, const char *below, int verdict_fd)
{
    pid_t parent = getpid();
    sigset_t all;
    sigset_t before;
    pid_t pid;
    int sys;

    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before); /* no handler of ours may run in the child */
    pid = fork();
    sys = errno;
    if (pid == 0)
        child(root, below, verdict_fd, parent);
    sigprocmask(SIG_SETMASK, &before, NULL);
    errno = sys;
    return pid;
}
