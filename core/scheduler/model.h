/* What the scheduler holds in memory of the pipelines that have not ended: the ledger's rows, linked.
 *
 * The ledger is the truth after a crash; this is the truth while the process lives. Handlers change the model and queue
 * the rows that say the same (ledger.h); nothing is told to anybody before these rows are committed (outbox.h).
 * Only allocation, linking and freeing happen here. Fields are public to the scheduler's modules. */
#ifndef TN_SCHEDULER_MODEL_H
#define TN_SCHEDULER_MODEL_H

#include "core/lib/json.h"
#include "proto/states.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

enum { TN_ID_SIZE = 37 }; /* a UUID's text and its NUL */

struct tn_pipeline;
struct tn_workflow;
struct tn_job;

/* How a job ended, in the words that `requires` uses. */
#define TN_OUTCOMES(X)                                                                                                 \
    X(NONE, "")                                                                                                        \
    X(SUCCESS, "success")                                                                                              \
    X(FAILED, "failed")                                                                                                \
    X(CANCELED, "canceled")                                                                                            \
    X(UNAUTHORIZED, "unauthorized")                                                                                    \
    X(NOT_RUN, "not_run")

enum tn_outcome {
#define TN_OUTCOME_ENUM(name, text) TN_OUTCOME_##name,
    TN_OUTCOMES(TN_OUTCOME_ENUM)
#undef TN_OUTCOME_ENUM
        TN_OUTCOME_COUNT
};
const char *tn_outcome_name(enum tn_outcome outcome);
/* The outcome of that name, or -1. */
int tn_outcome_parse(const char *name);

/* A job's state is a task's, or this. */
enum { TN_JOB_ON_HOLD = TN_TASK_STATE_COUNT };
const char *tn_job_state_name(int state);
int tn_job_state_parse(const char *name);

enum tn_job_type { TN_JOB_BUILD, TN_JOB_APPROVAL, TN_JOB_NO_OP };
const char *tn_job_type_name(enum tn_job_type type);
/* The type of that name, or -1. */
int tn_job_type_parse(const char *name);

/* In which of the scheduler's lists a task is. */
enum tn_task_place { TN_PLACE_NONE, TN_PLACE_READY, TN_PLACE_PARKED, TN_PLACE_DELAYED, TN_PLACE_LEASED };

struct tn_step {
    unsigned number;
    bool ended; /* its state is not "running" */
    char *body; /* owned: STEP_STATE's body, JSON text */
};

struct tn_task {
    LIST_ENTRY(tn_task) by_id;
    TAILQ_ENTRY(tn_task) queue; /* of the list that `place` names */
    enum tn_task_place place;
    struct tn_job *job; /* borrowed */
    uint64_t id;
    unsigned index;
    enum tn_task_state state;
    char *reason; /* owned; NULL: none */
    unsigned attempt;
    uint16_t executor; /* address of the lease's holder, or 0 */
    bool steps_begun;  /* as the executor said: no new attempt any more */
    bool steps_seen;   /* a step was reported: what it did is unknown if the executor is lost */
    bool cancel_sent;
    bool holds;                         /* its share of the host's capacity is taken */
    int64_t not_before, started, ended; /* ms since 1970; 0: not */
    char *folder, *artifacts, *tests;   /* owned; JSON text of the members, or NULL */
    struct tn_step *steps;              /* owned; of the current attempt, by number */
    size_t step_count;
};
TAILQ_HEAD(tn_task_list, tn_task);

/* An edge: to or from the job at `job` in the workflow; `statuses` is a set of 1u << outcome. */
struct tn_require {
    size_t job;
    unsigned statuses;
};

struct tn_job {
    STAILQ_ENTRY(tn_job) ended_next;
    struct tn_workflow *workflow; /* borrowed */
    size_t position;              /* in the workflow */
    char id[TN_ID_SIZE];
    uint64_t number;
    char *name; /* owned */
    enum tn_job_type type;
    char *kind;       /* owned; the executor's, after executor_map */
    char *definition; /* owned; the job of the plan, JSON text */
    unsigned cpu_milli, memory_mb;
    struct tn_require *requires, *dependents; /* owned */
    size_t require_count, dependent_count;
    size_t unresolved; /* requirements that have not ended */
    size_t order;      /* rank in topological order */
    unsigned mark;     /* of the last walk that came by */
    int state;         /* enum tn_task_state or TN_JOB_ON_HOLD */
    enum tn_outcome outcome;
    char *reason;           /* owned; NULL: none */
    int64_t started, ended; /* ms since 1970; 0: not */
    struct tn_task *tasks;  /* owned */
    size_t task_count;
    bool released;     /* its requirements are met */
    char *fault;       /* owned; why it must end at once, or NULL; set when the plan is read */
    bool unauthorized; /* the fault is a missing context */
};
STAILQ_HEAD(tn_job_list, tn_job);

/* Jobs of a workflow by what they are doing. */
struct tn_tally {
    size_t open, running, on_hold, succeeded, failed, canceled, not_run;
};

struct tn_workflow {
    TAILQ_ENTRY(tn_workflow) turn; /* while `ready` is not empty */
    bool has_turn;
    struct tn_pipeline *pipeline; /* borrowed */
    size_t position;
    char id[TN_ID_SIZE];
    char *name;        /* owned */
    const char *state; /* static text */
    int64_t created, ended;
    struct tn_job *jobs; /* owned */
    size_t job_count;
    struct tn_tally tally;
    struct tn_task_list ready; /* in the order they became ready */
    unsigned walks;
};
TAILQ_HEAD(tn_workflow_list, tn_workflow);

struct tn_pipeline {
    LIST_ENTRY(tn_pipeline) by_id;
    STAILQ_ENTRY(tn_pipeline) ended_next;
    void *owner; /* borrowed: the scheduler */
    char *id;    /* owned; the client's */
    uint64_t number;
    const char *state; /* static text: compiling, running, then success, failed, canceled, error */
    int64_t created, ended;
    bool cancel, force, wait;
    cJSON *request;                /* owned; PIPELINE_CREATE without environment and contexts */
    cJSON *environment, *contexts; /* owned; secret */
    char *diagnostics;             /* owned; JSON text of an array, or NULL */
    struct tn_workflow *workflows; /* owned */
    size_t workflow_count;
};

/* Texts of workflow and pipeline states are compared by content; this gives the static one, or NULL. */
const char *tn_state_text(const char *text);
bool tn_state_ended(const char *text);

/* Without workflows; `id` is copied. */
struct tn_pipeline *tn_pipeline_new(const char *id);
void tn_pipeline_free(struct tn_pipeline *pipeline);
/* Frees the workflows and what is in them. */
void tn_pipeline_drop_workflows(struct tn_pipeline *pipeline);
/* Fresh arrays, zeroed and linked to their parent. Called once each. */
void tn_pipeline_set_workflows(struct tn_pipeline *pipeline, size_t count);
void tn_workflow_set_jobs(struct tn_workflow *workflow, size_t count);
void tn_job_set_tasks(struct tn_job *job, size_t count);
/* Keeps the step's newest body; false and nothing is kept if it says "running" of a step that has ended. */
bool tn_task_put_step(struct tn_task *task, unsigned number, bool ended, const char *body);
void tn_task_clear_steps(struct tn_task *task);
/* Frees *place and makes it a copy of text (NULL: none). */
void tn_text_set(char **place, const char *text);
/* calloc that ends the process when there is no memory. */
void *tn_model_alloc(size_t count, size_t size);
/* A random UUID. */
void tn_id_make(char out[TN_ID_SIZE]);

#endif
