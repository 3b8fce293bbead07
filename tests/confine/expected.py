"""What must stop each attempt: the table that test.py holds against what the probers noted.

An attempt's layers are in the order in which the kernel asks them: MECHANISM:ENDING[|ENDING]. In a phase (prober.c) the
first layer that is applied there must be the one that refuses; after the last one nothing is claimed. A role whose own
business it is has the mechanism "own" with what then happens: said, not counted as a refusal.

    seccomp       the filter: SIGSYS (the process is ended) or ENOSYS
    mounts        a root of its own: ENOENT, EROFS
    network       a network of its own
    user          a user of its own
    capabilities  none of tenond's (only a tenond that is root has any)
    userns        without root: a user namespace of its own
    landlock      files, TCP ports, abstract sockets, signals
    limits        setrlimit
    kernel        nothing of ours, but refused on every host"""

ALL = ("bus", "scheduler", "compiler", "output", "docker", "machine")
CLOSED = ("bus", "compiler")  # they open no file
OPEN = ("scheduler", "output", "docker", "machine")

KILLED, REFUSED = "seccomp:SIGSYS", "seccomp:ENOSYS"
OTHERS = " user:EPERM capabilities:EPERM userns:EPERM landlock:EPERM"
PRIVILEGE = " capabilities:EPERM userns:EPERM"
MODULES = " capabilities:EPERM|ENOSYS userns:EPERM|ENOSYS"
HIDDEN = "mounts:ENOENT user:EACCES landlock:EACCES"
PUBLIC = "mounts:ENOENT landlock:EACCES"
READ_ONLY = "mounts:EROFS user:EACCES landlock:EACCES"
TCP = " landlock:EACCES network:ENETUNREACH|ECONNREFUSED"


def rows():
    """(attempt, roles, layers) in the order of the table."""
    yield from _calls()
    yield from _network()
    yield from _files()
    yield from _bus()


def _calls():
    for name in ("exec a program of the host", "exec with bad pointers", "execveat a program of the host",
                 "exec a program of ours", "fork", "clone a process", "clone into a user namespace",
                 "unshare a user namespace", "ptrace: be traced", "keyctl", "add_key", "request_key", "personality",
                 "userfaultfd", "io_uring_setup", "perf_event_open", "clock_settime", "the kernel's log",
                 "a call by the 32-bit door", "a call by the x32 door"):
        yield name, ALL, KILLED
    for name in ("clone3 a process", "clone a thread with a namespace", "pidfd_open of tenond", "signal to all",
                 "prlimit of another process", "prctl: dumpable", "seccomp", "ioctl TIOCSTI", "System V shared memory",
                 "POSIX message queue", "mmap of new code", "mprotect to code", "pkey_mprotect to code", "memfd_create"):
        yield name, ALL, REFUSED
    for name in ("ptrace: seize tenond", "ptrace: seize another process", "process_vm_readv of tenond",
                 "process_vm_readv of another process", "process_vm_writev of another process", "kcmp of tenond",
                 "pidfd_getfd of tenond"):
        yield name, ALL, KILLED + OTHERS
    for name in ("signal to tenond", "signal to another process", "tgkill to another process"):
        yield name, ALL, REFUSED + " user:EPERM landlock:EPERM"
    for name in ("sched_setaffinity of another process", "setpriority of another process"):
        yield name, ALL, REFUSED + " user:EPERM|EACCES capabilities:EPERM|EACCES"
    yield "raise the limit of core dumps", ALL, REFUSED + " limits:EPERM"
    yield "setresuid to root", ALL, KILLED + " user:EPERM userns:EPERM|EINVAL"
    yield "setresuid to nobody", ALL, KILLED + " capabilities:EPERM|EINVAL"
    for name in ("setgroups", "capset everything", "unshare a mount namespace", "chroot", "mount", "umount2",
                 "open_tree of a copy", "fsopen", "pivot_root", "open_by_handle_at", "bpf", "reboot", "swapon", "sethostname"):
        yield name, ALL, KILLED + PRIVILEGE
    yield "setns to tenond's network", ALL, KILLED + " capabilities:EPERM|EBADF userns:EPERM|EBADF"
    for name in ("init_module", "finit_module", "delete_module", "kexec_load", "acct"):
        yield name, ALL, KILLED + MODULES
    yield "bad pointers: every other call", ALL, REFUSED


def _network():
    away = tuple(role for role in ALL if role != "docker")
    for name in ("TCP to 127.0.0.1", "TCP to the world", "TCP to the host's metadata address"):
        yield name, away, REFUSED + TCP
        yield name, ("docker",), "landlock:EACCES"
    yield "listen on TCP", away, REFUSED + " landlock:EACCES"
    yield "listen on TCP", ("docker",), "landlock:EACCES"
    yield "UDP to the world", away, REFUSED + " network:ENETUNREACH"
    yield "UDP to the world", ("docker",), "own:done|ENETUNREACH"  # name servers
    for name in ("raw socket", "packet socket"):
        yield name, ALL, REFUSED + PRIVILEGE
    yield "netlink: routes", away, REFUSED
    yield "netlink: routes", ("docker",), "own:done"  # which addresses has this host: getaddrinfo
    for name in ("netlink: audit", "socket of the kernel's ciphers", "socket to a hypervisor", "Unix datagrams"):
        yield name, ALL, REFUSED
    yield "an abstract socket of the host", CLOSED, REFUSED + " network:ECONNREFUSED landlock:EPERM"
    yield "an abstract socket of the host", ("scheduler", "output", "machine"), "network:ECONNREFUSED landlock:EPERM"
    yield "an abstract socket of the host", ("docker",), "landlock:EPERM"
    yield "a container engine's socket", CLOSED, REFUSED + " mounts:ENOENT"
    yield "a container engine's socket", OPEN, "mounts:ENOENT"
    yield "another peer's bus socket", ("compiler",), REFUSED + " mounts:ENOENT user:EACCES"
    yield "another peer's bus socket", OPEN, "mounts:ENOENT user:EACCES"
    yield "another peer's data socket", ("docker", "machine"), "mounts:ENOENT user:EACCES"
    yield "the published events", ("compiler",), REFUSED + " mounts:ENOENT user:EACCES"
    yield "the published events", OPEN, "mounts:ENOENT user:EACCES"


def _closed(name, layers):
    yield name, CLOSED, f"{REFUSED} {layers}"


def _files():
    for name in ("read /etc/shadow", "read /etc/shadow by .."):
        yield from _closed(name, HIDDEN)
        yield name, ("scheduler", "output"), HIDDEN
        yield name, ("docker", "machine"), "user:EACCES|ENOENT landlock:EACCES|ENOENT"  # they are shown /etc
    for name, layers in (("list /root", "landlock:EACCES|ENOENT"), ("list /home", "landlock:EACCES|ENOENT"),
                         ("make a file in /tmp", READ_ONLY), ("make a file in /dev/shm", HIDDEN),
                         ("make a program in /usr/bin", READ_ONLY), ("write core_pattern", HIDDEN),
                         ("write sysrq-trigger", HIDDEN), ("open /dev/mem", HIDDEN), ("open /dev/kmsg", HIDDEN),
                         ("open /dev/tty", HIDDEN), ("open /dev/fuse", HIDDEN), ("list /sys/kernel", PUBLIC),
                         ("list control groups", PUBLIC), ("write own /proc/PID/mem", "landlock:EACCES|ENOENT"),
                         ("write tenond's /proc/PID/mem", HIDDEN), ("write another's /proc/PID/mem", HIDDEN),
                         ("read tenond's environment", HIDDEN), ("read another's environment", HIDDEN),
                         ("read by another's /proc/PID/root", HIDDEN), ("read a file of the host, mode 0644", PUBLIC),
                         ("read a file of the host, mode 0600", HIDDEN),
                         ("make a file beside the installation", READ_ONLY), ("list the settings", HIDDEN),
                         ("open tenond's lock", HIDDEN), ("write a program of ours", "landlock:EACCES|ETXTBSY"),
                         ("write a file beside our programs", "user:EACCES mounts:EROFS landlock:EACCES")):
        yield from _closed(name, layers)
        yield name, OPEN, layers
    for name in ("list RUN", "list STATE"):
        yield name, CLOSED, REFUSED
        yield name, OPEN, "landlock:EACCES|ENOENT"
    yield "list the bus sockets", ("bus", "compiler"), REFUSED
    yield "list the bus sockets", OPEN, "landlock:EACCES|ENOENT"
    yield "list the data sockets", CLOSED, REFUSED
    yield "list the data sockets", ("scheduler", "docker", "machine"), "landlock:EACCES|ENOENT"
    for name, owner in (("write the ledger", "scheduler"), ("read a file beside the ledger", "scheduler"),
                        ("make a file beside the ledger", "scheduler"),
                        ("read tenon-output's state", "output"), ("read tenon-output's store", "output"),
                        ("read the machine executor's jobs", "machine"),
                        ("read the machine executor's run folder", "machine"),
                        ("read the Docker executor's run folder", "docker"),
                        ("read the Docker executor's store", "docker")):
        yield from _closed(name, HIDDEN)
        yield name, tuple(role for role in OPEN if role != owner), HIDDEN


def _bus():
    yield "forge the result of another's task", ("machine",), "scheduler:fenced"
    yield "forge a step of another's task", ("machine",), "scheduler:fenced"
    yield "register as another kind", ("machine",), "scheduler:invalid"
    yield "open the output of another's task", ("machine",), "output:fenced"
    yield "find the workspace of another's task", ("machine",), "output:not_open"
    yield "speak for an attempt that is not", ("docker",), "scheduler:fenced"
    yield "replay an attempt that is over", ("docker",), "scheduler:fenced"


# What the router logs of each role's forgeries; {name} is the role on the bus.
DROPPED = {
    "a message as tenond": "PEER_STATE says that it comes from kernel",
    "a message of an earlier life": "HEARTBEAT is of life",
    "a message only tenond may send": "PEER_ADD may not be sent by {name}",
    "a start of a program": "PROGRAM_START may not be sent by {name}",
    "a lease": "LEASE may not be sent by {name}",
    "bytes that are no message": "a message does not begin with TNN1",
    "a message that says it is longer": "HEARTBEAT says 4000 bytes of body, 8 follow",
}
ON_BUS = {"scheduler": "scheduler", "compiler": "compiler", "output": "output", "docker": "executor",
          "machine": "executor"}
MAY = {("a start of a program", "docker"), ("a start of a program", "machine"), ("a lease", "scheduler")}
