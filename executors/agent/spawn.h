/* Starts the process of a channel: a program, or a function of the agent itself (to pack and unpack trees apart from
 * the loop). Either runs in a session and process group of its own with all signals at their defaults. */
#ifndef TN_AGENT_SPAWN_H
#define TN_AGENT_SPAWN_H

#include "core/lib/err.h"
#include "proto/agent_frames.h"

#include <stdbool.h>
#include <sys/types.h>

struct tn_spawned {
    pid_t pid;
    int in;   /* owned; to its stdin, non-blocking; -1 if that is /dev/null */
    int out;  /* owned; from its stdout and stderr, non-blocking */
    int side; /* owned; records of side.h, non-blocking; ends when a program was started or the function returned */
};

/* `halt` is the entry "TENON_HALT_FILE=…" that is added to the environment. The strings are used before it returns.
 * What goes wrong before fork is an error here; what goes wrong after it is a TN_SIDE_SPAWN record. */
TN_MUST_CHECK int tn_spawn_program(const struct tn_agent_spawn *spawn, const char *halt, struct tn_spawned *out,
                                   struct tn_err *err);

/* Runs `work(arg, side)` in a child; its return value is the exit status. Its stdin and stdout are the channel's. */
TN_MUST_CHECK int tn_spawn_work(int (*work)(void *arg, int side), void *arg, bool with_stdin, struct tn_spawned *out,
                                struct tn_err *err);

#endif
