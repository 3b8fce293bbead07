/* The scheduler's state and what changes it: transitions of tasks, what follows for jobs, workflows and pipelines
 * (sched.c), and dispatch to executors (dispatch.c). Changes the model, queues rows and holds messages; never blocks,
 * never sends. handlers.c calls it for messages, main.c commits and sends after each round. */
#ifndef TN_SCHEDULER_SCHED_H
#define TN_SCHEDULER_SCHED_H

#include "core/lib/grant.h"
#include "core/scheduler/events.h"
#include "core/scheduler/ledger.h"
#include "core/scheduler/model.h"
#include "core/scheduler/outbox.h"
#include "core/scheduler/place.h"

enum {
    TN_SCHED_BUCKETS = 16384,
    TN_SCHED_ATTEMPTS = 3,      /* of a task whose steps have not begun */
    TN_SCHED_SETTLE_MS = 10000, /* in which executors register after the start */
    TN_SCHED_EXECUTORS = 256,
};

enum tn_peer_life { TN_PEER_UNKNOWN, TN_PEER_ADDED, TN_PEER_UP, TN_PEER_DOWN, TN_PEER_FAILED };

struct tn_executor {
    uint16_t address;
    enum tn_peer_life life;
    uint32_t registered_life; /* in which it registered last */
    bool registered;          /* and it has not gone down since */
    bool ready;
    bool passes;   /* it is not ready for a reason that passes by itself */
    char name[64]; /* the process's, from PEER_STATE */
    char kind[32]; /* "" until it registered once; kept when it goes down */
    char *reason;  /* owned; why it is unavailable or failed */
    cJSON *kinds;  /* owned; which it may be, from PEER_STATE; NULL: not heard yet */
};

/* What tenon-output last said of the room for what jobs keep. */
struct tn_disk_state {
    bool expected; /* tenon-output is there and has not said anything yet */
    bool low;
    uint64_t told;  /* bytes free when `text` was made */
    char text[400]; /* why nothing begins while it is low */
};

/* A PIPELINE_CREATE that is answered once the config is compiled. */
struct tn_waiter {
    LIST_ENTRY(tn_waiter) next;
    const struct tn_pipeline *pipeline; /* borrowed */
    struct tn_msg_ref ref;
};

struct tn_sched {
    struct tn_ledger *ledger; /* owned */
    struct tn_peer *bus;      /* borrowed; NULL in tests of the pure parts */
    struct tn_outbox outbox;
    const char *installation;  /* borrowed */
    int64_t (*now)(void);      /* ms since 1970 */
    uint8_t key[TN_GRANT_KEY]; /* of grants; lease_key.h */
    uint32_t key_told;         /* the life of tenon-output that was told it */
    struct tn_disk_state disk;
    int64_t heard; /* when the bus first told who is there; 0: not yet */
    char node[65];
    struct tn_capacity capacity;
    uint64_t sequence; /* of the last event */
    LIST_HEAD(, tn_pipeline) pipelines[TN_SCHED_BUCKETS / 64];
    LIST_HEAD(, tn_task) tasks[TN_SCHED_BUCKETS];
    struct tn_workflow_list turns; /* workflows with ready tasks: each in its turn */
    struct tn_task_list parked;    /* no executor for them */
    struct tn_task_list delayed;   /* a new attempt after a pause */
    struct tn_task_list leased;
    struct tn_job_list ended;        /* whose dependents are still to be told */
    STAILQ_HEAD(, tn_pipeline) over; /* ended, to be freed after the commit */
    bool wipe;                       /* secrets were deleted: empty the WAL after the commit */
    struct tn_executor executors[TN_SCHED_EXECUTORS];
    LIST_HEAD(, tn_waiter) waiters; /* PIPELINE_CREATE to be answered when compiled */
    void (*wake)(void *arg);        /* something was changed or held: a round is to be ended soon */
    void *wake_arg;
};

void tn_sched_init(struct tn_sched *sched, struct tn_ledger *ledger, const char *installation, uint32_t life,
                   int64_t (*now)(void));
void tn_sched_close(struct tn_sched *sched);

/* The pipeline of that id if it is in memory, else NULL. */
struct tn_pipeline *tn_sched_pipeline(struct tn_sched *sched, const char *id);
struct tn_task *tn_sched_task(struct tn_sched *sched, uint64_t id);
struct tn_view tn_sched_view(struct tn_sched *sched);

/* The pipeline is the scheduler's from now on. */
void tn_sched_add(struct tn_sched *sched, struct tn_pipeline *pipeline);
/* Its tasks can be found and its jobs start; the rows are queued already. */
void tn_sched_begin(struct tn_sched *sched, struct tn_pipeline *pipeline);
/* The same for one that was loaded from the ledger: leases hold their capacity until their executors register. */
void tn_sched_resume(struct tn_sched *sched, struct tn_pipeline *pipeline);
/* Ends a pipeline (no workflow may be open). */
void tn_sched_end_pipeline(struct tn_sched *sched, struct tn_pipeline *pipeline, const char *state);
/* Ends what is queued, asks executors to end what runs. May be called again, e.g. with force. */
void tn_sched_cancel(struct tn_sched *sched, struct tn_pipeline *pipeline, bool force);

/* Records a transition that states.h allows. `reason` may be NULL. */
void tn_sched_task_set(struct tn_sched *sched, struct tn_task *task, enum tn_task_state to, const char *reason);
/* The task's row once more, e.g. for a changed flag. */
void tn_sched_task_put(struct tn_sched *sched, const struct tn_task *task);
/* The attempt ended by no fault of the job: a new attempt after a pause, or the end. */
void tn_sched_task_lost(struct tn_sched *sched, struct tn_task *task, const char *reason);
/* Asks for a round to be ended; for callbacks that come from outside a message's handler. */
void tn_sched_wake(struct tn_sched *sched);
void tn_sched_emit(struct tn_sched *sched, cJSON *event);

/* ---- dispatch.c ---- */

void tn_dispatch_enqueue(struct tn_sched *sched, struct tn_task *task);
/* Takes the task out of whichever list it is in. */
void tn_dispatch_remove(struct tn_sched *sched, struct tn_task *task);
/* (Re)takes the capacity of a lease. */
void tn_dispatch_hold(struct tn_sched *sched, struct tn_task *task);
/* Leases what can be leased. */
void tn_dispatch(struct tn_sched *sched);
/* Everything that follows from what was changed: dependents, dispatch. Call once after each round of changes. */
void tn_sched_turn(struct tn_sched *sched);
enum { TN_DISPATCH_WHY = 1100 }; /* bytes for it: an executor's reason names paths */
const char *tn_dispatch_why(void *sched, const struct tn_task *task, char *out, size_t size);
/* An executor's registration or life changed: parked tasks get a new chance; those of a lost one end. */
void tn_dispatch_executor_changed(struct tn_sched *sched, struct tn_executor *executor);
/* DISK_STATE: tasks begin only while there is room. */
void tn_dispatch_disk_state(struct tn_sched *sched, const cJSON *body);
/* LEASE again for everything that the executor holds, and TASK_CANCEL where it was asked for. */
void tn_dispatch_leases_again(struct tn_sched *sched, const struct tn_executor *executor);
void tn_dispatch_send_cancel(struct tn_sched *sched, struct tn_task *task);
/* ms until something is due by itself (a new attempt, the end of start-up), or -1. */
int64_t tn_dispatch_due(struct tn_sched *sched);
/* Does what is due. */
void tn_dispatch_tick(struct tn_sched *sched);

#endif
