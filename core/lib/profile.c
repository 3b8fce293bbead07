#include "core/lib/profile.h"

#include <asm/ioctls.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>

/* A condition for an int: the kernel looks at its low 32 bits only. For what is allowed the whole register is compared,
 * which is stricter; what is forbidden is compared as the kernel does. */
#define KIND_OF_SOCKET(kind) TN_PROFILE_BITS(2, ~(uint64_t)(SOCK_NONBLOCK | SOCK_CLOEXEC), (uint64_t)(kind))
#define NOT_EXECUTABLE TN_PROFILE_BITS(3, PROT_EXEC, 0)

/* Exactly what glibc starts a thread with: no process, no namespace. */
#define THREAD_FLAGS                                                                                                   \
    (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_SETTLS |                 \
     CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID)

/* ---- allowed ---- */

static const struct tn_profile_call base_calls[] = {
    {"read", "pipes, eventfd; files that are open"},
    {"write", "log, eventfd; files that are open"},
    {"readv", "libevent: buffers"},
    {"writev", "libevent: buffers"},
    {"close", "sockets of peers that left"},
    {"recvmsg", "nanomsg"},
    {"sendmsg", "nanomsg"},
    {"recvfrom", "the link to tenond; agents"},
    {"sendto", "the link to tenond; agents"},
    {"fcntl", "nanomsg, libevent: non-blocking", "F_GETFL", {TN_PROFILE_IS(2, F_GETFL)}},
    {"fcntl", "nanomsg, libevent: non-blocking", "F_SETFL", {TN_PROFILE_IS(2, F_SETFL)}},
    {"fcntl", "libevent: close-on-exec", "F_GETFD", {TN_PROFILE_IS(2, F_GETFD)}},
    {"fcntl", "libevent: close-on-exec", "F_SETFD", {TN_PROFILE_IS(2, F_SETFD)}},
    {"ioctl", "libevent: how much there is to read", "FIONREAD", {TN_PROFILE_IS(2, FIONREAD)}},
    {"epoll_ctl", "libevent, nanomsg"},
    {"epoll_wait", "libevent, nanomsg"},
    {"epoll_pwait", "the same on arm64 and newer libraries"},
    {"epoll_pwait2", "the same on newer libraries"},
    {"poll", "nanomsg: waits on an eventfd"},
    {"ppoll", "the same on arm64"},
    {"futex", "locks between the loop and nanomsg's thread"},
    {"mmap", "malloc", "no PROT_EXEC", {NOT_EXECUTABLE}},
    {"mprotect", "malloc in threads", "no PROT_EXEC", {NOT_EXECUTABLE}},
    {"munmap", "malloc"},
    {"mremap", "realloc"},
    {"madvise", "malloc"},
    {"brk", "malloc"},
    {"sysinfo", "glibc: qsort asks how much memory there is"},
    {"rt_sigaction", "libevent's handlers at the end, abort"},
    {"rt_sigprocmask", "nanomsg's thread, abort"},
    {"rt_sigreturn", "after a signal"},
    {"restart_syscall", "after SIGCONT"},
    {"getpid", "log, abort"},
    {"gettid", "abort"},
    {"tgkill", "abort", "own threads", {{TN_PROFILE_OWN_PROCESS, 0, 0}}},
    {"clock_gettime", "where the vDSO has it not"},
    {"gettimeofday", "where the vDSO has it not"},
    {"clock_nanosleep", "nanomsg"},
    {"getrandom", "malloc, hash seeds"},
    {"membarrier", "glibc"},
    {"set_robust_list", "glibc: a thread that was started before the filter begins"},
    {"rseq", "the same"},
    {"exit", "a thread ends"},
    {"exit_group", "the end"},
    {NULL},
};

static const struct tn_profile_call file_calls[] = {
    {"openat", "every way to open or make a file"},
    {"openat2", "removal: never past a link or another file system"},
    {"pread64", "reads at an offset"},
    {"pwrite64", "writes at an offset"},
    {"lseek", "stdio, SQLite"},
    {"fstat", "what a file is"},
    {"newfstatat", "the same"},
    {"statx", "the same in newer libraries"},
    {"statfs", "room on the disk"},
    {"access", "is it there?"},
    {"faccessat", "the same on arm64"},
    {"faccessat2", "the same in newer libraries"},
    {"ftruncate", "torn ends of logs, SQLite"},
    {"fsync", "durable before it is acknowledged"},
    {"fdatasync", "durable before it is acknowledged"},
    {"flock", "is the run over that held it?"},
    {"fcntl", "SQLite: locks", "F_SETLK", {TN_PROFILE_IS(2, F_SETLK)}},
    {"fcntl", "SQLite: locks", "F_SETLKW", {TN_PROFILE_IS(2, F_SETLKW)}},
    {"fcntl", "SQLite: locks", "F_GETLK", {TN_PROFILE_IS(2, F_GETLK)}},
    {"fcntl", "opendir of a descriptor", "F_DUPFD_CLOEXEC", {TN_PROFILE_IS(2, F_DUPFD_CLOEXEC)}},
    {"rename", "atomic replacement"},
    {"renameat", "the same on arm64"},
    {"renameat2", "atomic exchange"},
    {"link", "a blob gets its name"},
    {"linkat", "the same on arm64"},
    {"unlink", "removal"},
    {"unlinkat", "removal"},
    {"mkdir", "folders"},
    {"mkdirat", "the same on arm64"},
    {"rmdir", "removal"},
    {"getdents64", "lists of folders"},
    {"chmod", "removal: a folder that its maker closed"},
    {"fchmod", "the same; modes of what is made"},
    {"fchmodat", "the same on arm64"},
    {"geteuid", "SQLite, removal: is it root's?"},
    {NULL},
};

static const struct tn_profile_call tree_calls[] = {
    {"chown", "a job's folder belongs to its user"},
    {"fchownat", "the same on arm64"},
    {"utimensat", "times in trees"},
    {"readlink", "links in trees"},
    {"readlinkat", "links in trees"},
    {"symlink", "links in trees"},
    {"symlinkat", "links in trees"},
    {NULL},
};

static const struct tn_profile_call thread_calls[] = {
    {"clone", "a thread", "the flags of a thread, exactly", {TN_PROFILE_IS(1, THREAD_FLAGS)}},
    {NULL},
};

static const struct tn_profile_call reconnect_calls[] = {
    {"socket", "a connection", "Unix streams", {TN_PROFILE_IS(1, AF_UNIX), KIND_OF_SOCKET(SOCK_STREAM)}},
    {"connect", "nanomsg connects again; an agent"},
    {"getsockopt", "the result of a connect", "SOL_SOCKET", {TN_PROFILE_IS(2, SOL_SOCKET)}},
    {"setsockopt",
     "nanomsg: sizes of its buffers",
     "SO_SNDBUF",
     {TN_PROFILE_IS(2, SOL_SOCKET), TN_PROFILE_IS(3, SO_SNDBUF)}},
    {"setsockopt",
     "nanomsg: sizes of its buffers",
     "SO_RCVBUF",
     {TN_PROFILE_IS(2, SOL_SOCKET), TN_PROFILE_IS(3, SO_RCVBUF)}},
    {"eventfd2", "nanomsg: a new socket's descriptors"},
    {"epoll_create1", "nanomsg: its thread begins anew after its last socket was closed"},
    {NULL},
};

static const struct tn_profile_call serve_calls[] = {
    {"umask", "a socket that the group of its other end may enter"},
    {"socket", "a listening socket", "Unix streams", {TN_PROFILE_IS(1, AF_UNIX), KIND_OF_SOCKET(SOCK_STREAM)}},
    {"setsockopt",
     "nanomsg: sizes of its buffers",
     "SO_SNDBUF",
     {TN_PROFILE_IS(2, SOL_SOCKET), TN_PROFILE_IS(3, SO_SNDBUF)}},
    {"setsockopt",
     "nanomsg: sizes of its buffers",
     "SO_RCVBUF",
     {TN_PROFILE_IS(2, SOL_SOCKET), TN_PROFILE_IS(3, SO_RCVBUF)}},
    {"setsockopt",
     "nanomsg: before it binds",
     "SO_REUSEADDR",
     {TN_PROFILE_IS(2, SOL_SOCKET), TN_PROFILE_IS(3, SO_REUSEADDR)}},
    {"eventfd2", "nanomsg: a new socket's descriptors"},
    {"bind", "a socket for each new life of a peer"},
    {"listen", "the same"},
    {"accept4", "nanomsg: a peer comes"},
    {"accept", "nanomsg, where accept4 is missing"},
    {NULL},
};

static const struct tn_profile_call connect_calls[] = {
    {"socket", "HTTP", "TCP over IPv4", {TN_PROFILE_IS(1, AF_INET), KIND_OF_SOCKET(SOCK_STREAM)}},
    {"socket", "HTTP", "TCP over IPv6", {TN_PROFILE_IS(1, AF_INET6), KIND_OF_SOCKET(SOCK_STREAM)}},
    {"socket", "resolver", "UDP over IPv4", {TN_PROFILE_IS(1, AF_INET), KIND_OF_SOCKET(SOCK_DGRAM)}},
    {"socket", "resolver", "UDP over IPv6", {TN_PROFILE_IS(1, AF_INET6), KIND_OF_SOCKET(SOCK_DGRAM)}},
    {"socket",
     "resolver: which addresses has this host",
     "NETLINK_ROUTE",
     {TN_PROFILE_IS(1, AF_NETLINK), TN_PROFILE_IS(3, NETLINK_ROUTE)}},
    {"bind", "resolver: netlink"},
    {"getsockname", "libcurl, resolver"},
    {"getpeername", "libcurl"},
    {"setsockopt", "libcurl: keep-alive, no delay", "IPPROTO_TCP", {TN_PROFILE_IS(2, IPPROTO_TCP)}},
    {"setsockopt",
     "libcurl: keep-alive",
     "SO_KEEPALIVE",
     {TN_PROFILE_IS(2, SOL_SOCKET), TN_PROFILE_IS(3, SO_KEEPALIVE)}},
    {"setsockopt", "resolver: errors", "IP_RECVERR", {TN_PROFILE_IS(2, IPPROTO_IP), TN_PROFILE_IS(3, IP_RECVERR)}},
    {"setsockopt",
     "resolver: errors",
     "IPV6_RECVERR",
     {TN_PROFILE_IS(2, IPPROTO_IPV6), TN_PROFILE_IS(3, IPV6_RECVERR)}},
    {"socketpair", "libcurl wakes itself", "Unix", {TN_PROFILE_IS(1, AF_UNIX)}},
    {"sendmmsg", "resolver: both addresses at once"},
    {"recvmmsg", "resolver"},
    {"pipe2", "libcurl wakes itself"},
    {"ioctl", "resolver, libcurl: non-blocking", "FIONBIO", {TN_PROFILE_IS(2, FIONBIO)}},
    {"uname", "resolver: the host's own name"},
    {NULL},
};

/* ---- forbidden ---- */

static const struct tn_profile_call deadly_calls[] = {
    {"execve", "tenond starts programs, nobody else"},
    {"execveat", "the same"},
    {"fork", "the same"},
    {"vfork", "the same"},
    {"clone",
     "the same; clone3 gets ENOSYS, since its flags cannot be seen, and glibc then asks clone",
     "all but threads",
     {TN_PROFILE_BITS(1, CLONE_THREAD, 0)}},
    {"ptrace", "another's memory and calls"},
    {"process_vm_readv", "another's memory"},
    {"process_vm_writev", "another's memory"},
    {"kcmp", "another's descriptors"},
    {"pidfd_getfd", "another's descriptors"},
    {"open_by_handle_at", "files past every folder's mode"},
    {"mount", "file systems"},
    {"umount2", "file systems"},
    {"pivot_root", "file systems"},
    {"chroot", "file systems"},
    {"move_mount", "file systems"},
    {"open_tree", "file systems"},
    {"fsopen", "file systems"},
    {"fsconfig", "file systems"},
    {"fsmount", "file systems"},
    {"fspick", "file systems"},
    {"mount_setattr", "file systems"},
    {"swapon", "file systems"},
    {"swapoff", "file systems"},
    {"quotactl", "file systems"},
    {"unshare", "new namespaces hand out capabilities"},
    {"setns", "another's namespaces"},
    {"setuid", "who we are was settled before our first instruction"},
    {"setgid", "the same"},
    {"setreuid", "the same"},
    {"setregid", "the same"},
    {"setresuid", "the same"},
    {"setresgid", "the same"},
    {"setfsuid", "the same"},
    {"setfsgid", "the same"},
    {"setgroups", "the same"},
    {"capset", "the same"},
    {"bpf", "programs in the kernel"},
    {"perf_event_open", "others' secrets by measuring; many holes"},
    {"userfaultfd", "the helper of many exploits"},
    {"io_uring_setup", "calls past this filter"},
    {"io_uring_enter", "calls past this filter"},
    {"io_uring_register", "calls past this filter"},
    {"keyctl", "keys of this host"},
    {"add_key", "keys of this host"},
    {"request_key", "keys of this host; starts a program"},
    {"init_module", "modules of the kernel"},
    {"finit_module", "modules of the kernel"},
    {"delete_module", "modules of the kernel"},
    {"kexec_load", "another kernel"},
    {"kexec_file_load", "another kernel"},
    {"reboot", "this host"},
    {"acct", "this host"},
    {"settimeofday", "this host's clock"},
    {"clock_settime", "this host's clock"},
    {"adjtimex", "this host's clock"},
    {"clock_adjtime", "this host's clock"},
    {"sethostname", "this host's name"},
    {"setdomainname", "this host's name"},
    {"syslog", "the kernel's log"},
    {"iopl", "this host's devices"},
    {"ioperm", "this host's devices"},
    {"modify_ldt", "old modes of the processor; many holes"},
    {"personality", "switches protections of memory off"},
    {NULL},
};

static const struct tn_profile_limit base_limits[] = {
    {"CORE", RLIMIT_CORE, 0, "no memory of ours, with its secrets, on a disk"},
    {"MEMLOCK", RLIMIT_MEMLOCK, 0, "nobody locks memory"},
    {"MSGQUEUE", RLIMIT_MSGQUEUE, 0, "nobody uses POSIX message queues"},
    {NULL},
};

unsigned tn_profile_groups(const struct tn_profile *profile)
{
    unsigned set = 0;

    for (const struct tn_profile_use *use = profile->groups; use != NULL && use->group != 0; use++)
        set |= use->group;
    return set;
}

const struct tn_profile_call *tn_profile_group_calls(unsigned group)
{
    static const struct tn_profile_call none[] = {{NULL}};

    switch (group) {
    case 0:
        return base_calls;
    case TN_PROFILE_FILES:
        return file_calls;
    case TN_PROFILE_TREES:
        return tree_calls;
    case TN_PROFILE_THREADS:
        return thread_calls;
    case TN_PROFILE_RECONNECT:
        return reconnect_calls;
    case TN_PROFILE_SERVE:
        return serve_calls;
    case TN_PROFILE_CONNECT:
        return connect_calls;
    default:
        return none;
    }
}

const struct tn_profile_call *tn_profile_deadly_calls(void)
{
    return deadly_calls;
}

const struct tn_profile_limit *tn_profile_base_limits(void)
{
    return base_limits;
}
