/* Files: the host's, the installation's, other roles'. */
#include "tests/confine/attempts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

static long try_open(const char *path, int flags)
{
    return open(path, flags | O_CLOEXEC | O_NONBLOCK, 0600);
}

static long below(const struct targets *targets, const char *name, int flags)
{
    char path[400];

    snprintf(path, sizeof(path), "%s/%s", targets->base, name);
    return try_open(path, flags);
}

static long of_process(pid_t pid, const char *name, int flags)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
    return try_open(path, flags);
}

#define HOST(function, path, flags)                                                                                    \
    static long function(const struct targets *targets)                                                                \
    {                                                                                                                  \
        return try_open(path, flags);                                                                                  \
    }
#define OURS(function, name, flags)                                                                                    \
    static long function(const struct targets *targets)                                                                \
    {                                                                                                                  \
        return below(targets, name, flags);                                                                            \
    }
#define PROC(function, who, name, flags)                                                                               \
    static long function(const struct targets *targets)                                                                \
    {                                                                                                                  \
        return of_process(targets->who, name, flags);                                                                  \
    }

HOST(go_shadow, "/etc/shadow", O_RDONLY)
HOST(go_root_home, "/root", O_RDONLY | O_DIRECTORY)
HOST(go_homes, "/home", O_RDONLY | O_DIRECTORY)
HOST(go_tmp, "/tmp/tenon-probe-made", O_WRONLY | O_CREAT)
HOST(go_shm, "/dev/shm/tenon-probe-made", O_WRONLY | O_CREAT)
HOST(go_program, "/usr/bin/tenon-probe-made", O_WRONLY | O_CREAT)
HOST(go_core_pattern, "/proc/sys/kernel/core_pattern", O_WRONLY)
HOST(go_sysrq, "/proc/sysrq-trigger", O_WRONLY)
HOST(go_memory_of_host, "/dev/mem", O_RDWR)
HOST(go_kmsg, "/dev/kmsg", O_RDONLY)
HOST(go_terminal, "/dev/tty", O_RDWR)
HOST(go_fuse, "/dev/fuse", O_RDWR)
HOST(go_sys, "/sys/kernel", O_RDONLY | O_DIRECTORY)
HOST(go_cgroups, "/sys/fs/cgroup", O_RDONLY | O_DIRECTORY)
PROC(go_own_mem, role, "mem", O_RDWR)
PROC(go_tenond_mem, tenond, "mem", O_RDWR)
PROC(go_other_mem, other, "mem", O_RDWR)
PROC(go_tenond_environ, tenond, "environ", O_RDONLY)
PROC(go_other_environ, other, "environ", O_RDONLY)
PROC(go_other_root, other, "root/etc/hostname", O_RDONLY)
OURS(go_secret, "secret", O_RDONLY)
OURS(go_private, "private", O_RDONLY)
OURS(go_made, "tenon-probe-made", O_WRONLY | O_CREAT)
OURS(go_settings, "run/settings", O_RDONLY | O_DIRECTORY)
OURS(go_lock, "run/lock", O_RDWR)
OURS(go_run, "run", O_RDONLY | O_DIRECTORY)
OURS(go_state, "state", O_RDONLY | O_DIRECTORY)
OURS(go_ledger, "state/scheduler/ledger.db", O_RDWR)
OURS(go_scheduler_state, "state/scheduler/probe", O_RDONLY)
OURS(go_ledger_made, "state/scheduler/tenon-probe-made", O_WRONLY | O_CREAT)
OURS(go_output_state, "state/output/probe", O_RDONLY)
OURS(go_output_store, "store/output/probe", O_RDONLY)
OURS(go_machine_state, "state/machine/jobs/probe", O_RDONLY)
OURS(go_machine_run, "run/machine/probe", O_RDONLY)
OURS(go_docker_run, "run/docker/probe", O_RDONLY)
OURS(go_docker_store, "store/docker/probe", O_RDONLY)
OURS(go_bus_folder, "run/bus", O_RDONLY | O_DIRECTORY)
OURS(go_data_folder, "run/data", O_RDONLY | O_DIRECTORY)

static long go_own_program(const struct targets *targets)
{
    char path[400];

    snprintf(path, sizeof(path), "%s/core/kernel/tenon-bus", targets->root);
    return try_open(path, O_WRONLY);
}

/* A file of ours that nobody runs, so that ETXTBSY is no answer. */
static long go_own_folder(const struct targets *targets)
{
    char path[400];

    snprintf(path, sizeof(path), "%s/targets", targets->root);
    return try_open(path, O_WRONLY);
}

/* A relative way out of whatever root we are in. */
static long go_dots(const struct targets *targets)
{
    return try_open("../../../../../../../../etc/shadow", O_RDONLY);
}

const struct attempt file_attempts[] = {
    {"read /etc/shadow", go_shadow},
    {"read /etc/shadow by ..", go_dots},
    {"list /root", go_root_home},
    {"list /home", go_homes},
    {"make a file in /tmp", go_tmp},
    {"make a file in /dev/shm", go_shm},
    {"make a program in /usr/bin", go_program},
    {"write core_pattern", go_core_pattern},
    {"write sysrq-trigger", go_sysrq},
    {"open /dev/mem", go_memory_of_host},
    {"open /dev/kmsg", go_kmsg},
    {"open /dev/tty", go_terminal},
    {"open /dev/fuse", go_fuse},
    {"list /sys/kernel", go_sys},
    {"list control groups", go_cgroups},
    {"write own /proc/PID/mem", go_own_mem},
    {"write tenond's /proc/PID/mem", go_tenond_mem},
    {"write another's /proc/PID/mem", go_other_mem},
    {"read tenond's environment", go_tenond_environ},
    {"read another's environment", go_other_environ},
    {"read by another's /proc/PID/root", go_other_root},
    {"read a file of the host, mode 0644", go_secret},
    {"read a file of the host, mode 0600", go_private},
    {"make a file beside the installation", go_made},
    {"list the settings", go_settings},
    {"open tenond's lock", go_lock},
    {"list RUN", go_run},
    {"list STATE", go_state},
    {"write the ledger", go_ledger},
    {"read a file beside the ledger", go_scheduler_state},
    {"make a file beside the ledger", go_ledger_made},
    {"read tenon-output's state", go_output_state},
    {"read tenon-output's store", go_output_store},
    {"read the machine executor's jobs", go_machine_state},
    {"read the machine executor's run folder", go_machine_run},
    {"read the Docker executor's run folder", go_docker_run},
    {"read the Docker executor's store", go_docker_store},
    {"list the bus sockets", go_bus_folder},
    {"list the data sockets", go_data_folder},
    {"write a program of ours", go_own_program},
    {"write a file beside our programs", go_own_folder},
    {NULL},
};
