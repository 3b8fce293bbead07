#include "core/kernel/supervise.h"

#include <assert.h>
#include <stddef.h>

/* What an entry of the table says besides the next state. */
enum {
    CRASH = 1 << 16, /* count it; the next state is BACKOFF, or FAILED when there were too many */
};

struct entry {
    bool known; /* else the event means nothing in this state */
    enum tn_sup_state next;
    unsigned actions;
};

#define GO(state, actions)                                                                                             \
    {                                                                                                                  \
        true, TN_SUP_##state, actions                                                                                  \
    }
#define ADD TN_SUP_DO_ADD
#define SPAWN TN_SUP_DO_SPAWN
#define TERM TN_SUP_DO_TERM
#define KILL TN_SUP_DO_KILL
#define UP TN_SUP_DO_TELL_UP
#define DOWN TN_SUP_DO_TELL_DOWN
#define FAILED TN_SUP_DO_TELL_FAILED

static const struct entry table[TN_SUP_STATE_COUNT][TN_SUP_EVENT_COUNT] =
    {
        [TN_SUP_STOPPED] =
            {
                [TN_SUP_ON_START] = GO(ADDING, ADD),
            },
        [TN_SUP_ADDING] =
            {
                [TN_SUP_ON_ADDED] = GO(STARTING, SPAWN),
                [TN_SUP_ON_HOPELESS] = GO(FAILED, FAILED),
                [TN_SUP_ON_STOP] = GO(STOPPED, 0),
            },
        [TN_SUP_STARTING] =
            {
                [TN_SUP_ON_READY] = GO(READY, UP),
                [TN_SUP_ON_READY_LATE] = GO(STARTING, KILL),
                [TN_SUP_ON_CUT] = GO(STARTING, KILL),
                [TN_SUP_ON_EXITED] = GO(BACKOFF, DOWN | CRASH),
                [TN_SUP_ON_HOPELESS] = GO(FAILED, FAILED),
                [TN_SUP_ON_STOP] = GO(STOPPING, TERM),
            },
        [TN_SUP_READY] =
            {
                [TN_SUP_ON_READY] = GO(READY, 0),
                [TN_SUP_ON_HEARTBEAT] = GO(READY, 0),
                [TN_SUP_ON_HEARTBEAT_LATE] = GO(READY, KILL),
                [TN_SUP_ON_CUT] = GO(READY, KILL),
                [TN_SUP_ON_EXITED] = GO(BACKOFF, DOWN | CRASH),
                [TN_SUP_ON_HOPELESS] = GO(FAILED, FAILED),
                [TN_SUP_ON_STOP] = GO(STOPPING, TERM),
            },
        [TN_SUP_STOPPING] =
            {
                [TN_SUP_ON_EXITED] = GO(STOPPED, DOWN),
                [TN_SUP_ON_HOPELESS] = GO(STOPPED, DOWN),
                [TN_SUP_ON_STOP_LATE] = GO(STOPPING, KILL),
                [TN_SUP_ON_CUT] = GO(STOPPING, KILL),
            },
        [TN_SUP_BACKOFF] =
            {
                [TN_SUP_ON_BACKOFF_OVER] = GO(ADDING, ADD),
                [TN_SUP_ON_STOP] = GO(STOPPED, 0),
            },
        [TN_SUP_FAILED] =
            {
                [TN_SUP_ON_START] = GO(ADDING, ADD),
            },
};

static_assert(sizeof(table) / sizeof(table[0]) == TN_SUP_STATE_COUNT, "a row for each state");
static_assert(sizeof(table[0]) / sizeof(table[0][0]) == TN_SUP_EVENT_COUNT, "a column for each event");
static_assert((TN_SUP_DO_TELL_FAILED & CRASH) == 0, "CRASH is no action");

static const char *const names[] = {
#define NAME(name, text) [TN_SUP_##name] = text,
    TN_SUP_STATES(NAME)
#undef NAME
};
static_assert(sizeof(names) / sizeof(names[0]) == TN_SUP_STATE_COUNT, "a name for each state");

const char *tn_sup_state_name(enum tn_sup_state state)
{
    return (unsigned)state < TN_SUP_STATE_COUNT ? names[state] : "?";
}

/* Notes a crash and returns how many fell into the window, this one included. */
static unsigned count_crash(struct tn_supervision *sup, uint64_t now_ms)
{
    const unsigned places = sizeof(sup->crashes) / sizeof(sup->crashes[0]);
    unsigned recent = 0;

    sup->crashes[sup->crash_count++ % places] = now_ms;
    for (unsigned i = 0; i < places && i < sup->crash_count; i++)
        if (now_ms - sup->crashes[i] < TN_CRASH_WINDOW_MS)
            recent++;
    return recent;
}

static unsigned backoff_ms(unsigned recent)
{
    unsigned wait = TN_BACKOFF_FIRST_MS;

    if (recent <= 1)
        return 0;
    for (unsigned i = 2; i < recent && wait < TN_BACKOFF_MAX_MS; i++)
        wait *= 2;
    return wait < TN_BACKOFF_MAX_MS ? wait : TN_BACKOFF_MAX_MS;
}

/* The deadline of a state. A timer of 0 ms would be no timer: backoff waits at least one. */
static void set_timer(struct tn_supervision *sup, unsigned wait_ms)
{
    static const enum tn_sup_event events[TN_SUP_STATE_COUNT] = {
        [TN_SUP_STARTING] = TN_SUP_ON_READY_LATE,
        [TN_SUP_READY] = TN_SUP_ON_HEARTBEAT_LATE,
        [TN_SUP_STOPPING] = TN_SUP_ON_STOP_LATE,
        [TN_SUP_BACKOFF] = TN_SUP_ON_BACKOFF_OVER,
    };
    const unsigned times[TN_SUP_STATE_COUNT] = {
        [TN_SUP_STARTING] = sup->ready_ms,
        [TN_SUP_READY] = sup->heartbeat_ms,
        [TN_SUP_STOPPING] = sup->stop_ms,
        [TN_SUP_BACKOFF] = wait_ms + 1,
    };

    sup->timer_ms = times[sup->state];
    sup->timer_event = events[sup->state];
}

unsigned tn_sup_step(struct tn_supervision *sup, enum tn_sup_event event, uint64_t now_ms, bool *same)
{
    const struct entry *entry = &table[sup->state][event];
    unsigned actions = entry->actions & ~(unsigned)CRASH;
    unsigned wait_ms = 0;

    *same = !entry->known;
    if (!entry->known)
        return 0;
    sup->state = entry->next;
    if ((entry->actions & CRASH) != 0) {
        unsigned recent = count_crash(sup, now_ms);

        wait_ms = backoff_ms(recent);
        if (recent > TN_CRASH_MAX) {
            sup->state = TN_SUP_FAILED;
            actions = TN_SUP_DO_TELL_FAILED;
        }
    }
    if ((actions & TN_SUP_DO_SPAWN) != 0) {
        sup->restarts += sup->started ? 1 : 0;
        sup->started = true;
    }
    set_timer(sup, wait_ms);
    return actions;
}
