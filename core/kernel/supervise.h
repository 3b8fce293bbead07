/* Supervision of one process as a table of state × event. Pure: it is told the time and says what to do.
 *
 * `stopped` → (start) `adding`: the bus makes a socket for the new life → (added) `starting` → (ready) `ready`.
 * An end that nobody asked for is a crash: `backoff`, the first time for no time at all, then 0.1 s doubling to 10 s;
 * more than TN_CRASH_MAX crashes in TN_CRASH_WINDOW_MS: `failed`, for good. A process that says nothing in time is
 * killed, and its end is a crash like any other. */
#ifndef TN_KERNEL_SUPERVISE_H
#define TN_KERNEL_SUPERVISE_H

#include <stdbool.h>
#include <stdint.h>

enum { TN_CRASH_MAX = 10, TN_CRASH_WINDOW_MS = 60000, TN_BACKOFF_FIRST_MS = 100, TN_BACKOFF_MAX_MS = 10000 };

/* X(NAME, text) */
#define TN_SUP_STATES(X)                                                                                               \
    X(STOPPED, "stopped")                                                                                              \
    X(ADDING, "adding")                                                                                                \
    X(STARTING, "starting")                                                                                            \
    X(READY, "ready")                                                                                                  \
    X(STOPPING, "stopping")                                                                                            \
    X(BACKOFF, "backoff")                                                                                              \
    X(FAILED, "failed")

/* X(NAME, text) */
#define TN_SUP_EVENTS(X)                                                                                               \
    X(START, "start")                    /* it is wanted */                                                            \
    X(ADDED, "added")                    /* the bus has a socket for its life */                                       \
    X(READY, "ready")                    /* it said READY */                                                           \
    X(HEARTBEAT, "heartbeat")            /* it said HEARTBEAT */                                                       \
    X(READY_LATE, "no READY in time")    /* deadline */                                                                \
    X(HEARTBEAT_LATE, "no sign of life") /* deadline */                                                                \
    X(CUT, "cut off")                    /* the bus does not serve it any more */                                      \
    X(EXITED, "exited")                  /* it ended */                                                                \
    X(HOPELESS, "cannot run")            /* it cannot be started at all, or said that trying again is no use */        \
    X(BACKOFF_OVER, "backoff over")      /* time to try again */                                                       \
    X(STOP, "stop")                      /* it is not wanted any more */                                               \
    X(STOP_LATE, "did not stop in time") /* deadline */

enum tn_sup_state {
#define TN_SUP_ENUM(name, text) TN_SUP_##name,
    TN_SUP_STATES(TN_SUP_ENUM)
#undef TN_SUP_ENUM
        TN_SUP_STATE_COUNT
};

enum tn_sup_event {
#define TN_SUP_ENUM(name, text) TN_SUP_ON_##name,
    TN_SUP_EVENTS(TN_SUP_ENUM)
#undef TN_SUP_ENUM
        TN_SUP_EVENT_COUNT
};

/* What to do, in this order. A set. Entering a state always replaces the timer: `timer` says by which. */
enum tn_sup_action {
    TN_SUP_DO_ADD = 1,          /* take a new life, ask the bus for its socket */
    TN_SUP_DO_SPAWN = 2,        /* start the program */
    TN_SUP_DO_TERM = 4,         /* SIGTERM */
    TN_SUP_DO_KILL = 8,         /* SIGKILL: ends a stopped process, too */
    TN_SUP_DO_TELL_UP = 16,     /* PEER_STATE */
    TN_SUP_DO_TELL_DOWN = 32,   /* PEER_STATE */
    TN_SUP_DO_TELL_FAILED = 64, /* PEER_STATE, log */
};

struct tn_supervision {
    enum tn_sup_state state; /* public: read */
    unsigned restarts;       /* public: read; spawns after the first */
    unsigned timer_ms;       /* public: read after a step; 0: none. When it is over, `timer_event` has happened */
    enum tn_sup_event timer_event;
    unsigned ready_ms; /* deadlines; set by the caller before the first step */
    unsigned heartbeat_ms;
    unsigned stop_ms;
    uint64_t crashes[TN_CRASH_MAX + 1]; /* times of the last ones */
    unsigned crash_count;               /* since the beginning */
    bool started;
};

/* The state in a word, for people; static text. */
const char *tn_sup_state_name(enum tn_sup_state state);
/* One event; returns the set of actions. `timer_ms` and `timer_event` are set anew each time. An event that means
 * nothing in a state changes nothing; the timer then goes on: `*same` is set. */
unsigned tn_sup_step(struct tn_supervision *sup, enum tn_sup_event event, uint64_t now_ms, bool *same);

#endif
