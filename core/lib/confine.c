#include "core/lib/confine.h"
#include "core/lib/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

/* ---- what is allowed ---- */

static const struct tn_confine_call base_calls[] = {
    {"read", "pipes, eventfd"},
    {"write", "log, eventfd"},
    {"readv", "libevent buffers"},
    {"writev", "libevent buffers"},
    {"close", "sockets of peers that left"},
    {"recvmsg", "nanomsg"},
    {"sendmsg", "nanomsg"},
    {"recvfrom", "sockets"},
    {"sendto", "sockets"},
    {"accept4", "nanomsg: a peer comes"},
    {"accept", "nanomsg, where accept4 is missing"},
    {"connect", "nanomsg: connects again"},
    {"shutdown", "sockets"},
    {"getsockopt", "nanomsg: the result of a connect"},
    {"setsockopt", "nanomsg: buffers of a new connection"},
    {"getsockname", "sockets"},
    {"getpeername", "sockets"},
    {"fcntl", "non-blocking, close-on-exec"},
    {"ioctl", "FIONREAD in libevent"},
    {"epoll_ctl", "libevent, nanomsg"},
    {"epoll_wait", "libevent, nanomsg"},
    {"epoll_pwait", "the same on arm64 and newer libraries"},
    {"epoll_pwait2", "the same on newer libraries"},
    {"eventfd2", "nanomsg: a new socket's descriptors"},
    {"epoll_create1", "nanomsg: its thread begins anew after its last socket was closed"},
    {"timerfd_create", "libevent timers"},
    {"timerfd_settime", "libevent timers"},
    {"poll", "nanomsg: waits on an eventfd"},
    {"ppoll", "the same on arm64"},
    {"futex", "locks between the loop and nanomsg's thread"},
    {"mmap", "malloc"},
    {"munmap", "malloc"},
    {"mremap", "realloc"},
    {"mprotect", "malloc in threads"},
    {"madvise", "malloc"},
    {"brk", "malloc"},
    {"rt_sigaction", "signal handlers of libevent"},
    {"rt_sigprocmask", "nanomsg's thread, abort"},
    {"rt_sigreturn", "after a signal"},
    {"sigaltstack", "signal handlers"},
    {"restart_syscall", "after SIGCONT"},
    {"getpid", "abort, log"},
    {"gettid", "abort"},
    {"tgkill", "abort"},
    {"clock_gettime", "where the vDSO has it not"},
    {"gettimeofday", "where the vDSO has it not"},
    {"clock_nanosleep", "nanomsg"},
    {"nanosleep", "nanomsg"},
    {"sched_yield", "locks"},
    {"getrandom", "malloc, hash seeds"},
    {"rseq", "glibc"},
    {"membarrier", "glibc"},
    {"set_robust_list", "glibc threads"},
    {"exit", "nanomsg's thread ends"},
    {"exit_group", "the end"},
    {NULL, NULL},
};

static const struct tn_confine_call file_calls[] = {
    {"open", "files"},
    {"openat", "files"},
    {"openat2", "files"},
    {"creat", "files"},
    {"pread64", "files"},
    {"pwrite64", "files"},
    {"preadv", "files"},
    {"pwritev", "files"},
    {"lseek", "files"},
    {"stat", "files"},
    {"lstat", "files"},
    {"fstat", "files"},
    {"newfstatat", "files"},
    {"statx", "files"},
    {"statfs", "room on the disk"},
    {"fstatfs", "room on the disk"},
    {"access", "files"},
    {"faccessat", "files"},
    {"faccessat2", "files"},
    {"truncate", "files"},
    {"ftruncate", "files"},
    {"fallocate", "files"},
    {"fadvise64", "files"},
    {"fsync", "durable before it is acknowledged"},
    {"fdatasync", "durable before it is acknowledged"},
    {"sync_file_range", "files"},
    {"flock", "locks"},
    {"rename", "atomic replacement"},
    {"renameat", "atomic replacement"},
    {"renameat2", "atomic replacement"},
    {"link", "trees"},
    {"linkat", "trees"},
    {"symlink", "trees"},
    {"symlinkat", "trees"},
    {"readlink", "trees"},
    {"readlinkat", "trees"},
    {"unlink", "removal"},
    {"unlinkat", "removal"},
    {"mkdir", "folders"},
    {"mkdirat", "folders"},
    {"rmdir", "folders"},
    {"getdents64", "folders"},
    {"chmod", "modes"},
    {"fchmod", "modes"},
    {"fchmodat", "modes"},
    {"fchmodat2", "modes"},
    {"chown", "owners in trees"},
    {"fchown", "owners: SQLite"},
    {"fchownat", "owners in trees"},
    {"utimensat", "times in trees"},
    {"futimesat", "times in trees"},
    {"umask", "modes"},
    {"dup", "descriptors"},
    {"dup3", "descriptors"},
    {"getcwd", "paths: SQLite"},
    {"copy_file_range", "copies"},
    {"sendfile", "copies"},
    {"splice", "copies"},
    {"pipe2", "splice"},
    {"getuid", "SQLite, libarchive"},
    {"geteuid", "SQLite, libarchive"},
    {"getgid", "libarchive"},
    {"getegid", "libarchive"},
    {"uname", "libraries"},
    {"sysinfo", "libraries"},
    {NULL, NULL},
};

static const struct tn_confine_call network_calls[] = {
    {"socket", "every family"},
    {"socketpair", "libcurl wakes itself"},
    {"bind", "resolver"},
    {"listen", "servers"},
    {"sendmmsg", "resolver"},
    {"recvmmsg", "resolver"},
    {"pipe2", "libcurl"},
    {"uname", "resolver"},
    {NULL, NULL},
};

static const struct tn_confine_call connect_calls[] = {
    {"socketpair", "libcurl wakes itself"},
    {"bind", "resolver: netlink"},
    {"sendmmsg", "resolver"},
    {"recvmmsg", "resolver"},
    {"pipe2", "libcurl"},
    {"uname", "resolver"},
    {NULL, NULL},
};

/* What looking up a name reads. Modules of the name service switch other than files and dns cannot be loaded. */
static const char *const resolver_files[] = {"/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/host.conf",
                                             "/etc/gai.conf"};

/* LeakSanitizer stops the world with clone and ptrace; the rest is for its reports. */
static const struct tn_confine_call sanitizer_calls[] = {
    {"clone", "LeakSanitizer"},
    {"ptrace", "LeakSanitizer"},
    {"wait4", "LeakSanitizer"},
    {"prctl", "LeakSanitizer"},
    {"process_vm_readv", "reports"},
    {"openat", "reports"},
    {"open", "reports"},
    {"fstat", "reports"},
    {"newfstatat", "reports"},
    {"stat", "reports"},
    {"lseek", "reports"},
    {"readlink", "reports"},
    {"readlinkat", "reports"},
    {"getdents64", "threads' list"},
    {"getdents", "threads' list"},
    {"getppid", "LeakSanitizer"},
    {"sched_getaffinity", "start"},
    {"getrlimit", "stack size"},
    {"prlimit64", "stack size"},
    {"pipe2", "reports"},
    {"pipe", "reports"},
    {"dup2", "reports"},
    {"getuid", "reports"},
    {"geteuid", "reports"},
    {"uname", "reports"},
    {"mincore", "reports"},
    {"access", "reports"},
    {"getcwd", "reports"},
    {"kill", "LeakSanitizer"},
    {"arch_prctl", "threads"},
    {"gettimeofday", "reports"},
    {NULL, NULL},
};

/* No program of ours has an honest use for these: whoever calls them is not our code any more. */
static const char *const deadly_calls[] = {
    "ptrace",
    "process_vm_readv",
    "process_vm_writev",
    "mount",
    "umount2",
    "move_mount",
    "fsopen",
    "open_tree",
    "pivot_root",
    "bpf",
    "keyctl",
    "add_key",
    "request_key",
    "kexec_load",
    "kexec_file_load",
    "init_module",
    "finit_module",
    "delete_module",
    "userfaultfd",
    "perf_event_open",
    "io_uring_setup",
    "io_uring_enter",
    "io_uring_register",
    "setns",
    "open_by_handle_at",
    "kcmp",
    "pidfd_getfd",
    "swapon",
    "reboot",
    "acct",
};

/* ---- text ---- */

static void say(char *text, size_t size, const char *fmt, ...) TN_PRINTF(3, 4);

static void say(char *text, size_t size, const char *fmt, ...)
{
    size_t used = strlen(text);
    va_list ap;

    if (used > 0 && used + 2 < size) {
        memcpy(text + used, ", ", 3);
        used += 2;
    }
    va_start(ap, fmt);
    vsnprintf(text + used, size - used, fmt, ap);
    va_end(ap);
}

/* ---- Landlock (Documentation/userspace-api/landlock.rst); raw, since Debian 12's glibc has no wrappers and its header
 * knows only the first versions ---- */

#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_add_rule 445
#define SYS_landlock_restrict_self 446
#endif

struct landlock_ruleset {
    uint64_t fs;
    uint64_t net;
    uint64_t scoped;
};

struct landlock_port {
    uint64_t access;
    uint64_t port;
};

struct landlock_path {
    uint64_t access;
    int32_t fd;
} __attribute__((packed));

enum {
    LL_VERSION = 1, /* flag: ask for the version */
    LL_PATH = 1,    /* type of rule */
    LL_PORT = 2,    /* type of rule */
    LL_EXECUTE = 1 << 0,
    LL_WRITE_FILE = 1 << 1,
    LL_READ_FILE = 1 << 2,
    LL_READ_DIR = 1 << 3,
    LL_FIRST = (1 << 13) - 1, /* all of version 1: also make and remove what there is */
    LL_REFER = 1 << 13,       /* 2 */
    LL_TRUNCATE = 1 << 14,    /* 3 */
    LL_IOCTL_DEV = 1 << 15,   /* 5 */
    LL_OF_FILES = LL_EXECUTE | LL_WRITE_FILE | LL_READ_FILE | LL_TRUNCATE | LL_IOCTL_DEV,
    LL_NET_TCP = 3, /* 4: bind and connect */
    LL_NET_CONNECT = 2,
    LL_SCOPES = 3, /* 6: abstract sockets and signals of others */
};

static struct landlock_ruleset landlock_rules(const struct tn_confine_profile *profile, int abi)
{
    struct landlock_ruleset rules = {.fs = LL_FIRST};

    if (abi >= 2)
        rules.fs |= LL_REFER;
    if (abi >= 3)
        rules.fs |= LL_TRUNCATE;
    if (abi >= 4 && (profile->groups & TN_CONFINE_NETWORK) == 0)
        rules.net = LL_NET_TCP;
    if (abi >= 5)
        rules.fs |= LL_IOCTL_DEV;
    if (abi >= 6)
        rules.scoped = LL_SCOPES;
    return rules;
}

static int landlock_allow(int ruleset, const char *path, uint64_t access, struct tn_err *err)
{
    auto_fd int fd = open(path, O_PATH | O_CLOEXEC);
    struct landlock_path rule = {.access = access, .fd = fd};
    struct stat info;

    if (fd < 0)
        return errno == ENOENT ? 0 : tn_err_sys(err, errno, "Landlock: cannot open %s", path);
    if (fstat(fd, &info) != 0)
        return tn_err_sys(err, errno, "Landlock: %s", path);
    if (!S_ISDIR(info.st_mode))
        rule.access &= LL_OF_FILES;
    if (syscall(SYS_landlock_add_rule, ruleset, LL_PATH, &rule, 0) != 0)
        return tn_err_sys(err, errno, "Landlock: cannot allow %s", path);
    return 0;
}

static int allow_connects(int ruleset, const uint16_t *ports, bool by_port, struct tn_err *err)
{
    for (size_t i = 0; i < sizeof(resolver_files) / sizeof(resolver_files[0]); i++)
        if (landlock_allow(ruleset, resolver_files[i], LL_READ_FILE, err) != 0)
            return -1;
    for (; by_port && *ports != 0; ports++) {
        struct landlock_port rule = {.access = LL_NET_CONNECT, .port = *ports};

        if (syscall(SYS_landlock_add_rule, ruleset, LL_PORT, &rule, 0) != 0)
            return tn_err_sys(err, errno, "Landlock: cannot allow port %u", *ports);
    }
    return 0;
}

static int landlock_apply(const struct tn_confine_profile *profile, int abi, struct tn_err *err)
{
    struct landlock_ruleset rules = landlock_rules(profile, abi);
    const uint64_t reads = LL_READ_FILE | LL_READ_DIR;
    const uint64_t writes = rules.fs & ~(uint64_t)(LL_EXECUTE | LL_IOCTL_DEV);
    /* Before version 4 the structure ends after the first member; zeros behind it are accepted by all. */
    auto_fd int ruleset = (int)syscall(SYS_landlock_create_ruleset, &rules, sizeof(rules), 0);

    if (ruleset < 0)
        return tn_err_sys(err, errno, "Landlock: no rule set");
    for (size_t i = 0; i < profile->path_count; i++)
        if (landlock_allow(ruleset, profile->paths[i].path, profile->paths[i].write ? writes : reads, err) != 0)
            return -1;
    if (profile->connect_ports != NULL && allow_connects(ruleset, profile->connect_ports, rules.net != 0, err) != 0)
        return -1;
#ifdef TN_SANITIZED
    if (landlock_allow(ruleset, "/", reads, err) != 0) /* reports read /proc and debug information */
        return -1;
#endif
    if (syscall(SYS_landlock_restrict_self, ruleset, 0) != 0)
        return tn_err_sys(err, errno, "Landlock: cannot restrict this process");
    return 0;
}

int tn_confine_files(const struct tn_confine_profile *profile, char *text, size_t size, struct tn_err *err)
{
    int abi;

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
        say(text, size, "no no_new_privs (%s)", strerror(errno));
        return tn_err_sys(err, errno, "no_new_privs");
    }
    say(text, size, "no_new_privs");
    abi = (int)syscall(SYS_landlock_create_ruleset, NULL, 0, LL_VERSION);
    if (abi < 1) {
        say(text, size, "no Landlock (%s)", strerror(errno));
        return tn_err_sys(err, errno, "this kernel offers no Landlock");
    }
    if (landlock_apply(profile, abi, err) != 0) {
        say(text, size, "no Landlock");
        return -1;
    }
    say(text, size, "Landlock %d", abi);
    return 0;
}

/* ---- seccomp ---- */

static int allow_list(scmp_filter_ctx filter, const struct tn_confine_call *calls, struct tn_err *err)
{
    for (; calls != NULL && calls->name != NULL; calls++) {
        int number = seccomp_syscall_resolve_name(calls->name);
        int failed = number != __NR_SCMP_ERROR ? seccomp_rule_add(filter, SCMP_ACT_ALLOW, number, 0) : 0;

        if (failed != 0)
            return tn_err_sys(err, -failed, "seccomp: cannot allow %s", calls->name);
    }
    return 0;
}

static int allow_some(scmp_filter_ctx filter, unsigned groups, bool connects, struct tn_err *err)
{
    static const int families[] = {AF_INET, AF_INET6, AF_NETLINK};
    int failed = 0;

    for (size_t i = 0; connects && failed == 0 && i < sizeof(families) / sizeof(families[0]); i++)
        failed = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1,
                                  SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)families[i]));
    if (failed == 0 && connects)
        groups |= TN_CONFINE_THREADS; /* libcurl looks names up in one */

    if (failed == 0 && (groups & TN_CONFINE_NETWORK) == 0) /* a Unix socket cannot leave this host */
        failed = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1, SCMP_A0(SCMP_CMP_EQ, AF_UNIX));
    if (failed == 0 && (groups & TN_CONFINE_THREADS) != 0) /* clone3 gets ENOSYS: glibc falls back to clone */
        failed = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
                                  SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));
    return failed == 0 ? 0 : tn_err_sys(err, -failed, "seccomp: socket and clone");
}

static int build_filter(scmp_filter_ctx filter, const struct tn_confine_profile *profile, struct tn_err *err)
{
    bool connects = profile->connect_ports != NULL && (profile->groups & TN_CONFINE_NETWORK) == 0;

    if (allow_list(filter, base_calls, err) != 0 || allow_some(filter, profile->groups, connects, err) != 0 ||
        (connects && allow_list(filter, connect_calls, err) != 0) ||
        ((profile->groups & TN_CONFINE_FILES) != 0 && allow_list(filter, file_calls, err) != 0) ||
        ((profile->groups & TN_CONFINE_NETWORK) != 0 && allow_list(filter, network_calls, err) != 0) ||
        allow_list(filter, profile->calls, err) != 0)
        return -1;
#ifdef TN_SANITIZED
    if (allow_list(filter, sanitizer_calls, err) != 0)
        return -1;
#else
    (void)sanitizer_calls;
#endif
    for (size_t i = 0; i < sizeof(deadly_calls) / sizeof(deadly_calls[0]); i++) {
        int number = seccomp_syscall_resolve_name(deadly_calls[i]);
        int failed;

#ifdef TN_SANITIZED
        if (strcmp(deadly_calls[i], "ptrace") == 0 || strcmp(deadly_calls[i], "process_vm_readv") == 0)
            continue;
#endif
        failed = number >= 0 ? seccomp_rule_add(filter, SCMP_ACT_KILL_PROCESS, number, 0) : 0;
        if (failed != 0)
            return tn_err_sys(err, -failed, "seccomp: cannot forbid %s", deadly_calls[i]);
    }
    return 0;
}

int tn_confine_syscalls(const struct tn_confine_profile *profile, char *text, size_t size, struct tn_err *err)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
    int failed = -ENOMEM;

    if (filter != NULL && build_filter(filter, profile, err) != 0) {
        say(text, size, "no seccomp (%s)", err != NULL ? err->text : "filter");
        seccomp_release(filter);
        return -1;
    }
    if (filter != NULL && (failed = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1)) == 0) {
        (void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a tree where the library can: only faster */
        failed = seccomp_load(filter);
    }
    seccomp_release(filter);
    if (failed != 0) {
        say(text, size, "no seccomp (%s)", strerror(-failed));
        return tn_err_sys(err, -failed, "seccomp: cannot load the filter");
    }
    say(text, size, "seccomp");
    return 0;
}
