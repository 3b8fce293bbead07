/* What is known of one pipeline: the scheduler's snapshot, kept current by its events. Pure: no clock, no input, no
 * output.
 *
 * Workflows, jobs, tasks and steps stay where they are in memory until model_free(). Every change of a state or of a
 * reason is told to `on_change` after it was applied. Times are milliseconds since 1970, 0 when missing. */
#ifndef TN_TOOLS_MODEL_H
#define TN_TOOLS_MODEL_H

#include "core/lib/err.h"

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct model_tests {
    bool known;
    unsigned total;
    unsigned failed;
    unsigned skipped;
    unsigned flaky;
    char *folder;    /* of a task: owned, where the results lie, NULL if unknown; of a job: NULL */
    cJSON *failures; /* of a task: owned, the first failed ones, [{name, classname?, file?, message?}]; or NULL */
};

/* Strings are owned and never NULL unless said otherwise. */
struct model_step {
    uint64_t dropped; /* bytes of its output that were not kept */
    unsigned number;  /* from 0 */
    uint32_t attempt;
    char *name;
    char *type;
    char *state;
    char *reason; /* "" when there is none */
    char *log;    /* path, "" when there is none */
    bool has_exit;
    int exit;
    int signal; /* 0: none */
    uint64_t started;
    uint64_t ended;
};

struct model_task {
    struct model_job *job; /* borrowed: what it belongs to */
    char *id_text;
    uint64_t id;
    unsigned index;
    unsigned total;
    char *state;
    char *reason;
    uint32_t attempt;
    char *node;
    uint64_t started;
    uint64_t ended;
    char *folder;    /* "" when there is none */
    char *artifacts; /* "" when there are none */
    struct model_tests tests;
    struct model_step **steps; /* of the current attempt, in the order of their numbers */
    size_t step_count;
    struct model_step **former; /* of earlier attempts */
    size_t former_count;
};

struct model_job {
    struct model_workflow *workflow; /* borrowed */
    char *id;
    char *name;
    char *state;
    char *reason;
    uint64_t started;
    uint64_t ended;
    struct model_task **tasks;
    size_t task_count;
};

struct model_workflow {
    char *id;
    char *name;
    char *state;
    struct model_job **jobs;
    size_t job_count;
};

struct model {
    char *id;
    uint64_t number;
    char *state;
    uint64_t created;
    uint64_t ended;
    bool known;        /* a snapshot was applied */
    uint64_t sequence; /* of the last event that is contained */
    struct model_workflow **workflows;
    size_t workflow_count;
    struct model_change_sink *sink; /* borrowed */
};

enum model_what { MODEL_PIPELINE, MODEL_WORKFLOW, MODEL_JOB, MODEL_TASK, MODEL_STEP };

/* What changed: the members up to `what` are set, those below are NULL. */
struct model_change {
    enum model_what what;
    const struct model_workflow *workflow;
    const struct model_job *job;
    const struct model_task *task;
    const struct model_step *step;
};

struct model_change_sink {
    void (*on_change)(void *arg, const struct model_change *change);
    void *arg;
};

enum model_result {
    MODEL_APPLIED, /* it is contained now */
    MODEL_STALE,   /* it was contained before, or is about another pipeline */
    MODEL_GAP,     /* events are missing before it: ask for the snapshot, then offer it again */
};

/* `sink` is borrowed and may be NULL. */
void model_init(struct model *model, const char *pipeline, struct model_change_sink *sink);
void model_free(struct model *model);
/* PIPELINE_IS's body. */
int model_snapshot(struct model *model, const cJSON *body, struct tn_err *err) TN_MUST_CHECK;
/* An EVENT's body from the scheduler. */
enum model_result model_event(struct model *model, const cJSON *event);

/* The task of that id, or NULL; borrowed until the next change of the model. */
struct model_task *model_find_task(const struct model *model, uint64_t id);
/* Is it over? For a pipeline: it has ended. */
bool model_ended(const struct model *model);
bool model_state_ended(const char *state);
/* Is it a state that makes the whole fail? `infrastructure_failure` is none: it is counted apart. */
bool model_state_failed(const char *state);
/* 0 all succeeded, 1 a job failed, 3 only infrastructure failures. */
int model_exit_code(const struct model *model);
/* Sum of the test results of a job's tasks. */
struct model_tests model_job_tests(const struct model_job *job);

#endif
