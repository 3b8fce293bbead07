/* Programs, processes, privileges, the host. */
#include "tests/confine/attempts.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <linux/io_uring.h>
#include <linux/keyctl.h>
#include <linux/perf_event.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- programs and processes ---- */

static long go_exec(const struct targets *targets)
{
    char *const arguments[] = {(char *)"true", NULL};
    char *const none[] = {NULL};

    return syscall(SYS_execve, "/bin/true", arguments, none);
}

static long go_exec_bad(const struct targets *targets)
{
    return syscall(SYS_execve, 1, 1, 1);
}

static long go_execveat(const struct targets *targets)
{
    char *const arguments[] = {(char *)"true", NULL};

    return syscall(SYS_execveat, AT_FDCWD, "/bin/true", arguments, NULL, 0);
}

static long go_exec_own(const struct targets *targets)
{
    char *const arguments[] = {(char *)"tenon-bus", NULL};
    char path[300];

    snprintf(path, sizeof(path), "%s/core/kernel/tenon-bus", targets->root);
    return syscall(SYS_execve, path, arguments, NULL);
}

static long child_or(long pid)
{
    if (pid == 0)
        _exit(0);
    if (pid > 0)
        waitpid((pid_t)pid, NULL, __WALL);
    return pid;
}

static long go_fork(const struct targets *targets)
{
#ifdef SYS_fork
    return child_or(syscall(SYS_fork));
#else
    return child_or(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));
#endif
}

static long go_clone(const struct targets *targets)
{
    return child_or(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));
}

static long go_clone_user(const struct targets *targets)
{
    return child_or(syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0));
}

/* Looks like a thread, wants a namespace. */
static long go_clone_mixed(const struct targets *targets)
{
    return syscall(SYS_clone, CLONE_THREAD | CLONE_VM | CLONE_SIGHAND | CLONE_NEWNET, 0, 0, 0, 0);
}

static long go_clone3(const struct targets *targets)
{
    uint64_t arguments[8] = {[4] = SIGCHLD};

    return child_or(syscall(SYS_clone3, arguments, sizeof(arguments)));
}

static long go_unshare_user(const struct targets *targets)
{
    return syscall(SYS_unshare, CLONE_NEWUSER);
}

static long go_unshare_mounts(const struct targets *targets)
{
    return syscall(SYS_unshare, CLONE_NEWNS);
}

static long go_setns(const struct targets *targets)
{
    char path[64];
    int fd;

    snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)targets->tenond);
    fd = open(path, O_RDONLY | O_CLOEXEC); /* without it the call itself is the question */
    return syscall(SYS_setns, fd, CLONE_NEWNET);
}

/* ---- others ---- */

static long go_traceme(const struct targets *targets)
{
    return syscall(SYS_ptrace, PTRACE_TRACEME, 0, 0, 0);
}

static long go_seize_tenond(const struct targets *targets)
{
    return syscall(SYS_ptrace, PTRACE_SEIZE, targets->tenond, 0, 0);
}

static long go_seize_other(const struct targets *targets)
{
    return syscall(SYS_ptrace, PTRACE_SEIZE, targets->other, 0, 0);
}

static long read_memory(pid_t pid)
{
    char byte;
    struct iovec own = {&byte, 1};
    struct iovec theirs = {(void *)&errno, 1}; /* an address that is mapped in us; theirs will do or not */

    if (syscall(SYS_process_vm_readv, pid, &own, 1, &theirs, 1, 0) >= 0 || errno == EFAULT)
        return 0;
    return -1;
}

static long go_readv_tenond(const struct targets *targets)
{
    return read_memory(targets->tenond);
}

static long go_readv_other(const struct targets *targets)
{
    return read_memory(targets->other);
}

static long go_writev_other(const struct targets *targets)
{
    char byte = 0;
    struct iovec own = {&byte, 1};
    struct iovec nowhere = {(void *)8, 1};

    if (syscall(SYS_process_vm_writev, targets->other, &own, 1, &nowhere, 1, 0) >= 0 || errno == EFAULT)
        return 0;
    return -1;
}

static long go_kcmp(const struct targets *targets)
{
    return syscall(SYS_kcmp, targets->tenond, targets->other, 0, 0, 0);
}

static long go_pidfd_getfd(const struct targets *targets)
{
    return syscall(SYS_pidfd_getfd, syscall(SYS_pidfd_open, targets->tenond, 0), 0, 0);
}

static long go_pidfd_open(const struct targets *targets)
{
    return syscall(SYS_pidfd_open, targets->tenond, 0);
}

static long go_kill_tenond(const struct targets *targets)
{
    return syscall(SYS_kill, targets->tenond, 0);
}

static long go_kill_other(const struct targets *targets)
{
    return syscall(SYS_kill, targets->other, 0);
}

static long go_kill_all(const struct targets *targets)
{
    return syscall(SYS_kill, -1, 0);
}

static long go_tgkill_other(const struct targets *targets)
{
    return syscall(SYS_tgkill, targets->other, targets->other, 0);
}

static long go_affinity(const struct targets *targets)
{
    unsigned long all = ~0ul;

    return syscall(SYS_sched_setaffinity, targets->other, sizeof(all), &all);
}

static long go_priority(const struct targets *targets)
{
    return syscall(SYS_setpriority, PRIO_PROCESS, targets->other, 0);
}

static long go_prlimit(const struct targets *targets)
{
    struct rlimit old;

    return syscall(SYS_prlimit64, targets->other, RLIMIT_NOFILE, NULL, &old);
}

/* ---- privileges ---- */

static long go_raise_core(const struct targets *targets)
{
    struct rlimit all = {RLIM_INFINITY, RLIM_INFINITY};

    return syscall(SYS_prlimit64, 0, RLIMIT_CORE, &all, NULL);
}

static long go_setuid(const struct targets *targets)
{
    return syscall(SYS_setresuid, 0, 0, 0);
}

static long go_setuid_nobody(const struct targets *targets)
{
    return syscall(SYS_setresuid, 65534, 65534, 65534);
}

static long go_setgroups(const struct targets *targets)
{
    return syscall(SYS_setgroups, 0, NULL);
}

static long go_capset(const struct targets *targets)
{
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct all[2] = {{~0u, ~0u, 0}, {0x1ff, 0x1ff, 0}};

    return syscall(SYS_capset, &header, all);
}

static long go_dumpable(const struct targets *targets)
{
    return syscall(SYS_prctl, PR_SET_DUMPABLE, 1, 0, 0, 0);
}

static long go_chroot(const struct targets *targets)
{
    return syscall(SYS_chroot, "/");
}

static long go_seccomp(const struct targets *targets)
{
    return syscall(SYS_seccomp, 2 /* SECCOMP_GET_ACTION_AVAIL */, 0, &(uint32_t){0x7fff0000u});
}

/* ---- file systems ---- */

static long go_mount(const struct targets *targets)
{
    /* There is no such file system: ENODEV would say that nothing else stood in the way. */
    return syscall(SYS_mount, "none", "/", "tenon-no-such-fs", 0, NULL);
}

static long go_umount(const struct targets *targets)
{
    return syscall(SYS_umount2, "/", MNT_EXPIRE);
}

static long go_open_tree(const struct targets *targets)
{
    return syscall(SYS_open_tree, AT_FDCWD, "/", 1 /* OPEN_TREE_CLONE */);
}

static long go_fsopen(const struct targets *targets)
{
    return syscall(SYS_fsopen, "tmpfs", 0);
}

static long go_pivot_root(const struct targets *targets)
{
    return syscall(SYS_pivot_root, ".", ".");
}

static long go_by_handle(const struct targets *targets)
{
    struct {
        unsigned bytes;
        int type;
        unsigned char handle[8];
    } handle = {8, 1, {0}};

    return syscall(SYS_open_by_handle_at, AT_FDCWD, &handle, O_RDONLY);
}

/* ---- the kernel ---- */

static long go_bpf(const struct targets *targets)
{
    union bpf_attr attributes;

    memset(&attributes, 0, sizeof(attributes));
    attributes.map_type = BPF_MAP_TYPE_ARRAY;
    attributes.key_size = attributes.value_size = 4;
    attributes.max_entries = 1;
    return syscall(SYS_bpf, BPF_MAP_CREATE, &attributes, sizeof(attributes));
}

static long go_perf(const struct targets *targets)
{
    struct perf_event_attr attributes = {
        .type = PERF_TYPE_SOFTWARE, .size = sizeof(attributes), .config = PERF_COUNT_SW_PAGE_FAULTS};

    return syscall(SYS_perf_event_open, &attributes, 0, -1, -1, 0);
}

static long go_userfaultfd(const struct targets *targets)
{
    return syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
}

static long go_io_uring(const struct targets *targets)
{
    struct io_uring_params parameters;

    memset(&parameters, 0, sizeof(parameters));
    return syscall(SYS_io_uring_setup, 1, &parameters);
}

static long go_keyctl(const struct targets *targets)
{
    return syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0);
}

static long go_add_key(const struct targets *targets)
{
    return syscall(SYS_add_key, "user", "tenon-probe", "x", 1, KEY_SPEC_PROCESS_KEYRING);
}

static long go_request_key(const struct targets *targets)
{
    return syscall(SYS_request_key, "user", "tenon-probe", NULL, KEY_SPEC_PROCESS_KEYRING);
}

static long go_init_module(const struct targets *targets)
{
    return syscall(SYS_init_module, NULL, 0, "");
}

static long go_finit_module(const struct targets *targets)
{
    return syscall(SYS_finit_module, -1, "", 0);
}

static long go_delete_module(const struct targets *targets)
{
    return syscall(SYS_delete_module, "tenon-none", O_NONBLOCK);
}

static long go_kexec(const struct targets *targets)
{
    return syscall(SYS_kexec_load, 0, 0, NULL, 0x8000ul);
}

/* Wrong magic numbers: EINVAL would say that we might have. */
static long go_reboot(const struct targets *targets)
{
    return syscall(SYS_reboot, 0, 0, 0, NULL);
}

static long go_swapon(const struct targets *targets)
{
    return syscall(SYS_swapon, "/nonexistent", 0);
}

static long go_acct(const struct targets *targets)
{
    return syscall(SYS_acct, "/nonexistent");
}

static long go_clock(const struct targets *targets)
{
    return syscall(SYS_clock_settime, 0, (void *)8);
}

static long go_hostname(const struct targets *targets)
{
    return syscall(SYS_sethostname, (void *)8, 1);
}

static long go_syslog(const struct targets *targets)
{
    return syscall(SYS_syslog, 9 /* SYSLOG_ACTION_SIZE_UNREAD */, NULL, 0);
}

static long go_personality(const struct targets *targets)
{
    return syscall(SYS_personality, READ_IMPLIES_EXEC);
}

static long go_tiocsti(const struct targets *targets)
{
    return ioctl(STDERR_FILENO, TIOCSTI, "x");
}

static long go_shmget(const struct targets *targets)
{
    long id = syscall(SYS_shmget, 0 /* IPC_PRIVATE */, 4096, 0600);

    if (id >= 0)
        (void)syscall(SYS_shmctl, id, 0 /* IPC_RMID */, NULL);
    return id;
}

static long go_mq_open(const struct targets *targets)
{
    return syscall(SYS_mq_open, "tenon-none", O_RDONLY, 0, NULL);
}

const struct attempt call_attempts[] = {
    {"exec a program of the host", go_exec, true},
    {"exec with bad pointers", go_exec_bad},
    {"execveat a program of the host", go_execveat, true},
    {"exec a program of ours", go_exec_own, true},
    {"fork", go_fork},
    {"clone a process", go_clone},
    {"clone3 a process", go_clone3},
    {"clone into a user namespace", go_clone_user},
    {"clone a thread with a namespace", go_clone_mixed, true},
    {"unshare a user namespace", go_unshare_user},
    {"unshare a mount namespace", go_unshare_mounts},
    {"setns to tenond's network", go_setns},
    {"ptrace: be traced", go_traceme},
    {"ptrace: seize tenond", go_seize_tenond},
    {"ptrace: seize another process", go_seize_other},
    {"process_vm_readv of tenond", go_readv_tenond},
    {"process_vm_readv of another process", go_readv_other},
    {"process_vm_writev of another process", go_writev_other},
    {"kcmp of tenond", go_kcmp},
    {"pidfd_getfd of tenond", go_pidfd_getfd},
    {"pidfd_open of tenond", go_pidfd_open},
    {"signal to tenond", go_kill_tenond},
    {"signal to another process", go_kill_other},
    {"signal to all", go_kill_all},
    {"tgkill to another process", go_tgkill_other},
    {"sched_setaffinity of another process", go_affinity},
    {"setpriority of another process", go_priority},
    {"prlimit of another process", go_prlimit},
    {"raise the limit of core dumps", go_raise_core},
    {"setresuid to root", go_setuid},
    {"setresuid to nobody", go_setuid_nobody},
    {"setgroups", go_setgroups},
    {"capset everything", go_capset},
    {"prctl: dumpable", go_dumpable},
    {"chroot", go_chroot},
    {"seccomp", go_seccomp},
    {"mount", go_mount},
    {"umount2", go_umount},
    {"open_tree of a copy", go_open_tree},
    {"fsopen", go_fsopen},
    {"pivot_root", go_pivot_root},
    {"open_by_handle_at", go_by_handle},
    {"bpf", go_bpf},
    {"perf_event_open", go_perf},
    {"userfaultfd", go_userfaultfd},
    {"io_uring_setup", go_io_uring},
    {"keyctl", go_keyctl},
    {"add_key", go_add_key},
    {"request_key", go_request_key},
    {"init_module", go_init_module},
    {"finit_module", go_finit_module},
    {"delete_module", go_delete_module},
    {"kexec_load", go_kexec},
    {"reboot", go_reboot},
    {"swapon", go_swapon},
    {"acct", go_acct},
    {"clock_settime", go_clock},
    {"sethostname", go_hostname},
    {"the kernel's log", go_syslog},
    {"personality", go_personality},
    {"ioctl TIOCSTI", go_tiocsti},
    {"System V shared memory", go_shmget},
    {"POSIX message queue", go_mq_open},
    {NULL},
};
