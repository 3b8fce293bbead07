/* The states of an attempt of a task, and which may follow which. */
#ifndef TN_PROTO_STATES_H
#define TN_PROTO_STATES_H

#include <stdbool.h>

/* X(NAME, text, terminal) */
#define TN_TASK_STATES(X)                                                                                              \
    X(QUEUED, "queued", false)                                                                                         \
    X(LEASED, "leased", false)                                                                                         \
    X(PREPARING, "preparing", false)                                                                                   \
    X(RUNNING, "running", false)                                                                                       \
    X(SUCCEEDED, "succeeded", true)                                                                                    \
    X(FAILED, "failed", true)                                                                                          \
    X(CANCELED, "canceled", true)                                                                                      \
    X(TIMED_OUT, "timed_out", true)                                                                                    \
    X(INFRASTRUCTURE_FAILURE, "infrastructure_failure", true)                                                          \
    X(NOT_RUN, "not_run", true)

enum tn_task_state {
#define TN_TASK_STATE_ENUM(name, text, terminal) TN_TASK_##name,
    TN_TASK_STATES(TN_TASK_STATE_ENUM)
#undef TN_TASK_STATE_ENUM
        TN_TASK_STATE_COUNT
};

/* The state in a word, as messages and the ledger hold it; static text. */
const char *tn_task_state_name(enum tn_task_state state);
/* The state of that name, or -1. */
int tn_task_state_parse(const char *name);
bool tn_task_state_terminal(enum tn_task_state state);
/* May `to` follow `from`? A state never follows itself, and nothing follows a terminal state, but `queued` follows an
 * infrastructure failure's attempt as the next attempt. */
bool tn_task_state_follows(enum tn_task_state from, enum tn_task_state to);

#endif
