/* Finding and ending processes by /proc: whatever descends from the agent or from one of its channels. */
#ifndef TN_AGENT_PROCS_H
#define TN_AGENT_PROCS_H

#include <stdbool.h>
#include <sys/types.h>

enum tn_procs_answer {
    TN_PROCS_NO,
    TN_PROCS_YES,
    TN_PROCS_UNKNOWN, /* the process, or one above it, is gone or hidden */
};

/* Is `pid` a descendant of this process, or it itself? */
enum tn_procs_answer tn_procs_descends(pid_t pid);

/* Sends `sig` to everything that belongs to the channel whose first process is or was `leader`: its session, the
 * descendants of that session, and what carries `marker` (an "NAME=value" entry) in the environment it was started
 * with, which finds those that left the session and lost their parent. With SIGKILL it looks again until it finds
 * nobody (bounded). Returns how many signals it sent. */
int tn_procs_signal_tree(pid_t leader, const char *marker, int sig);

/* Kills every descendant of this process, again and again until there is none; reaps them. As PID 1 that is everybody
 * in the pid namespace. Returns 0, or how many were left when it gave up (processes of other users). */
int tn_procs_kill_all(void);

#endif
