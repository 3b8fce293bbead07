/* Starting a program: a clean environment, no descriptor but the standard ones, a session of its own. */
#ifndef TN_KERNEL_SPAWN_H
#define TN_KERNEL_SPAWN_H

#include "core/kernel/confinement.h"
#include "core/kernel/namespace.h"
#include "core/lib/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum { TN_SPAWN_PASSED_FD = 3 };

struct tn_spawn {
    const char *path;
    char *const *arguments;   /* ends with NULL; the first is the program's name */
    char *const *environment; /* ends with NULL; all that it gets */
    const char *folder;       /* to begin in; NULL: "/" */
    int log_fd;               /* standard output and error; input is /dev/null */
    int pass_fd;              /* becomes descriptor 3; -1: none */
    const int *cgroup_fds;    /* opened cgroup.procs files that it enters before its first instruction */
    size_t cgroup_count;
    const struct tn_namespace *space;         /* it is the first process of new namespaces; NULL: it shares ours */
    const struct tn_confinement *confinement; /* of a process of ours; NULL: none. Not together with `space` */
    int death_signal;                         /* sent when tenond dies; 0: it lives on */
    bool no_new_privs;
};

/* The process's id, or -1: `err->sys` says why, even when it was exec that failed. Does not return before the exec. */
pid_t tn_spawn(const struct tn_spawn *spawn, struct tn_err *err) TN_MUST_CHECK;

/* In a new process: none of tenond's handlers and nothing blocked. System calls only. */
void tn_spawn_default_signals(void);

#endif
