/* Looking at processes through /proc. */
#ifndef TN_KERNEL_PROCS_H
#define TN_KERNEL_PROCS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { TN_PROCS_MAX = 16384 };

/* Start time in ticks since boot: with the id it names a process for good. 0 when there is none, or it is a zombie. */
uint64_t tn_procs_start_time(pid_t pid);
/* The effective user of a process. False: there is none. */
bool tn_procs_user(pid_t pid, uid_t *user);
/* Names the process id namespace that we are in: ids mean nothing outside. */
unsigned long long tn_procs_namespace(void);
/* Calls `cb` for each living (not zombie) child of this process. */
void tn_procs_children(void (*cb)(void *arg, pid_t child), void *arg);
/* Calls `cb` for each living descendant of `root`, not for itself. Reads all of /proc. */
void tn_procs_descendants(pid_t root, void (*cb)(void *arg, pid_t pid), void *arg);
/* Calls `cb` for each living process, this one excepted, that has the variable `name` in the environment it was started
 * with, as far as we may see that. */
void tn_procs_marked(const char *name, void (*cb)(void *arg, pid_t pid, const char *value), void *arg);
/* Is `part` in the text of /proc/PID/cgroup? */
bool tn_procs_in_cgroup(pid_t pid, const char *part);

#endif
