#include "core/scheduler/sched.h"
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/log.h"
#include "core/scheduler/graph.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TOLD_MAX = 16 }; /* a job with more requirements than that is not told of each change of one */

void tn_sched_init(struct tn_sched *sched, struct tn_ledger *ledger, const char *installation, uint32_t life,
                   int64_t (*now)(void))
{
    memset(sched, 0, sizeof(*sched));
    sched->ledger = ledger;
    sched->installation = installation;
    sched->now = now;
    sched->capacity = tn_place_host();
    /* A new life begins far above the last event of the one before: who listens sees the gap and asks. */
    sched->sequence = (uint64_t)life << 32;
    if (gethostname(sched->node, sizeof(sched->node) - 1) != 0)
        memcpy(sched->node, "localhost", sizeof("localhost"));
    tn_outbox_init(&sched->outbox);
    TAILQ_INIT(&sched->turns);
    TAILQ_INIT(&sched->parked);
    TAILQ_INIT(&sched->delayed);
    TAILQ_INIT(&sched->leased);
    STAILQ_INIT(&sched->ended);
    STAILQ_INIT(&sched->over);
    LIST_INIT(&sched->waiters);
    for (unsigned i = 0; i < TN_SCHED_EXECUTORS; i++)
        sched->executors[i].address = TN_ADDRESS(TN_ROLE_EXECUTOR, i);
}

void tn_sched_close(struct tn_sched *sched)
{
    struct tn_pipeline *pipeline;
    struct tn_waiter *waiter;

    tn_outbox_clear(&sched->outbox);
    while ((waiter = LIST_FIRST(&sched->waiters)) != NULL) {
        LIST_REMOVE(waiter, next);
        free(waiter);
    }
    for (size_t i = 0; i < sizeof(sched->pipelines) / sizeof(sched->pipelines[0]); i++)
        while ((pipeline = LIST_FIRST(&sched->pipelines[i])) != NULL) {
            LIST_REMOVE(pipeline, by_id);
            tn_pipeline_free(pipeline);
        }
    for (unsigned i = 0; i < TN_SCHED_EXECUTORS; i++) {
        free(sched->executors[i].reason);
        cJSON_Delete(sched->executors[i].kinds);
    }
    tn_ledger_close(sched->ledger);
}

/* ---- finding ---- */

static size_t bucket_of(const char *id)
{
    uint32_t hash = 2166136261u;

    while (*id != '\0')
        hash = (hash ^ (uint8_t)*id++) * 16777619u;
    return hash % (TN_SCHED_BUCKETS / 64);
}

struct tn_pipeline *tn_sched_pipeline(struct tn_sched *sched, const char *id)
{
    struct tn_pipeline *pipeline;

    LIST_FOREACH (pipeline, &sched->pipelines[bucket_of(id)], by_id)
        if (strcmp(pipeline->id, id) == 0)
            return pipeline;
    return NULL;
}

struct tn_task *tn_sched_task(struct tn_sched *sched, uint64_t id)
{
    struct tn_task *task;

    LIST_FOREACH (task, &sched->tasks[id % TN_SCHED_BUCKETS], by_id)
        if (task->id == id)
            return task;
    return NULL;
}

struct tn_view tn_sched_view(struct tn_sched *sched)
{
    return (struct tn_view){tn_dispatch_why, sched, sched->node, sched->sequence};
}

void tn_sched_wake(struct tn_sched *sched)
{
    if (sched->wake != NULL)
        sched->wake(sched->wake_arg);
}

void tn_sched_emit(struct tn_sched *sched, cJSON *event)
{
    tn_json_add_u64(event, "sequence", ++sched->sequence);
    tn_outbox_notify(&sched->outbox, TN_MSG_EVENT, TN_ADDRESS(TN_ROLE_EVENTS, 0), tn_json_print(event));
    cJSON_Delete(event);
}

/* ---- what follows: pipeline, workflow, job ---- */

void tn_sched_end_pipeline(struct tn_sched *sched, struct tn_pipeline *pipeline, const char *state)
{
    pipeline->state = tn_state_text(state);
    pipeline->ended = sched->now();
    tn_ledger_put(sched->ledger, TN_LEDGER_PIPELINE_STATE, "isis", (int64_t)pipeline->number, pipeline->state,
                  pipeline->ended, pipeline->diagnostics);
    tn_ledger_put(sched->ledger, TN_LEDGER_SECRET_DROP, "i", (int64_t)pipeline->number);
    sched->wipe =
        sched->wipe || cJSON_GetArraySize(pipeline->environment) > 0 || cJSON_GetArraySize(pipeline->contexts) > 0;
    STAILQ_INSERT_TAIL(&sched->over, pipeline, ended_next);
    tn_sched_emit(sched, tn_event_pipeline(pipeline));
    tn_info("pipeline %llu ended: %s", (unsigned long long)pipeline->number, pipeline->state);
}

static void update_pipeline(struct tn_sched *sched, struct tn_pipeline *pipeline)
{
    const char *state = tn_graph_pipeline_state(pipeline);

    if (pipeline->ended == 0 && tn_state_ended(state))
        tn_sched_end_pipeline(sched, pipeline, state);
}

static void update_workflow(struct tn_sched *sched, struct tn_workflow *workflow)
{
    const char *state = tn_graph_workflow_state(&workflow->tally);

    if (strcmp(state, workflow->state) == 0 || workflow->ended != 0)
        return;
    workflow->state = state;
    workflow->ended = tn_state_ended(state) ? sched->now() : 0;
    tn_ledger_put(sched->ledger, TN_LEDGER_WORKFLOW_STATE, "iisi", (int64_t)workflow->pipeline->number,
                  (int64_t)workflow->position, workflow->state, workflow->ended);
    tn_sched_emit(sched, tn_event_workflow(workflow));
    if (workflow->ended != 0)
        update_pipeline(sched, workflow->pipeline);
}

/* Those who wait for this job say so with its new state. */
static void tell_dependents(struct tn_sched *sched, const struct tn_job *job)
{
    struct tn_view view = tn_sched_view(sched);

    for (size_t d = 0; d < job->dependent_count; d++) {
        const struct tn_job *dependent = &job->workflow->jobs[job->dependents[d].job];

        if (dependent->outcome == TN_OUTCOME_NONE && !dependent->released && dependent->require_count <= TOLD_MAX)
            tn_sched_emit(sched, tn_event_job(&view, dependent));
    }
}

/* The reason of the task that made the job's state what it is. What a queued one waits for is not kept. */
static const char *deciding_reason(const struct tn_job *job)
{
    for (size_t t = 0; t < job->task_count; t++) {
        int state = job->tasks[t].state == TN_TASK_LEASED ? TN_TASK_PREPARING : (int)job->tasks[t].state;

        if (state != TN_TASK_QUEUED && state == job->state && job->tasks[t].reason != NULL)
            return job->tasks[t].reason;
    }
    return NULL;
}

static void update_job(struct tn_sched *sched, struct tn_job *job)
{
    struct tn_view view = tn_sched_view(sched);
    int state = tn_graph_job_state(job);

    if (state == job->state)
        return;
    tn_graph_tally(&job->workflow->tally, job->state, state);
    job->state = state;
    job->outcome = tn_graph_outcome(state, job->unauthorized);
    tn_text_set(&job->reason, deciding_reason(job));
    if (job->started == 0 && (state == TN_TASK_PREPARING || state == TN_TASK_RUNNING))
        job->started = sched->now();
    if (job->outcome != TN_OUTCOME_NONE) {
        job->ended = sched->now();
        STAILQ_INSERT_TAIL(&sched->ended, job, ended_next);
    }
    tn_ledger_put(sched->ledger, TN_LEDGER_JOB_STATE, "isssii", (int64_t)job->number, tn_job_state_name(state),
                  tn_outcome_name(job->outcome), job->reason, job->started, job->ended);
    tn_sched_emit(sched, tn_event_job(&view, job));
    if (job->outcome == TN_OUTCOME_NONE)
        tell_dependents(sched, job);
    update_workflow(sched, job->workflow);
}

/* ---- tasks ---- */

void tn_sched_task_put(struct tn_sched *sched, const struct tn_task *task)
{
    tn_ledger_put(sched->ledger, TN_LEDGER_TASK_STATE, "issiiiiiisss", (int64_t)task->id,
                  tn_task_state_name(task->state), task->reason, (int64_t)task->attempt, (int64_t)task->executor,
                  (int64_t)task->steps_begun, task->not_before, task->started, task->ended, task->folder,
                  task->artifacts, task->tests);
}

/* A lease ended: the host has its share again, and nobody waits for answers about it any more. */
static void leave_lease(struct tn_sched *sched, struct tn_task *task)
{
    tn_dispatch_remove(sched, task);
    if (task->holds)
        tn_place_give(&sched->capacity, (struct tn_share){task->job->cpu_milli, task->job->memory_mb});
    task->holds = false;
    task->cancel_sent = false;
    if (sched->bus != NULL)
        tn_peer_forget(sched->bus, task);
}

static void enter_state(struct tn_sched *sched, struct tn_task *task, enum tn_task_state to)
{
    if (to == TN_TASK_QUEUED || tn_task_state_terminal(to))
        leave_lease(sched, task);
    if (to == TN_TASK_QUEUED) {
        task->attempt++;
        task->executor = 0;
        task->steps_begun = task->steps_seen = false;
        tn_task_clear_steps(task);
    }
    if (task->started == 0 && (to == TN_TASK_PREPARING || to == TN_TASK_RUNNING))
        task->started = sched->now();
    if (tn_task_state_terminal(to))
        task->ended = sched->now();
}

void tn_sched_task_set(struct tn_sched *sched, struct tn_task *task, enum tn_task_state to, const char *reason)
{
    enum tn_task_state from = task->state;
    unsigned attempt = task->attempt;
    struct tn_view view;

    if (!tn_task_state_follows(from, to))
        tn_fatal(3, "task %llu cannot go from %s to %s", (unsigned long long)task->id, tn_task_state_name(from),
                 tn_task_state_name(to));
    task->state = to;
    enter_state(sched, task, to);
    tn_text_set(&task->reason, reason);
    tn_ledger_put(sched->ledger, TN_LEDGER_TRANSITION_ADD, "iisssii", (int64_t)task->id, (int64_t)attempt,
                  tn_task_state_name(from), tn_task_state_name(to), reason, sched->now(),
                  (int64_t)tn_task_state_terminal(to));
    tn_sched_task_put(sched, task);
    view = tn_sched_view(sched);
    tn_sched_emit(sched, tn_event_task(&view, task));
    update_job(sched, task->job);
}

void tn_sched_task_lost(struct tn_sched *sched, struct tn_task *task, const char *reason)
{
    static const int pauses[] = {1000, 4000};
    bool begun = task->steps_begun || task->steps_seen;
    auto_free char *text = NULL;

    if (task->job->workflow->pipeline->cancel) {
        tn_sched_task_set(sched, task, TN_TASK_CANCELED, reason);
        return;
    }
    if (!begun && task->attempt < TN_SCHED_ATTEMPTS) {
        task->not_before = sched->now() + pauses[task->attempt - 1];
        tn_sched_task_set(sched, task, TN_TASK_QUEUED, reason);
        tn_dispatch_enqueue(sched, task);
        return;
    }
    if (begun)
        text = tn_fs_path("%s (not tried again: its steps had begun)", reason);
    else
        text = tn_fs_path("%s (attempt %u of %d)", reason, task->attempt, TN_SCHED_ATTEMPTS);
    tn_sched_task_set(sched, task, TN_TASK_INFRASTRUCTURE_FAILURE, text);
}

/* ---- jobs and pipelines ---- */

static void end_queued(struct tn_sched *sched, struct tn_job *job, enum tn_task_state state, const char *reason)
{
    for (size_t t = 0; t < job->task_count; t++)
        if (job->tasks[t].state == TN_TASK_QUEUED)
            tn_sched_task_set(sched, &job->tasks[t], state, reason);
}

/* All that the job waited for is there. */
static void release_job(struct tn_sched *sched, struct tn_job *job)
{
    const struct tn_pipeline *pipeline = job->workflow->pipeline;

    job->released = true;
    switch (job->type) {
    case TN_JOB_NO_OP:
        end_queued(sched, job, TN_TASK_SUCCEEDED, NULL);
        return;
    case TN_JOB_APPROVAL:
        update_job(sched, job);
        if (!pipeline->wait)
            end_queued(sched, job, TN_TASK_NOT_RUN, "on_hold: approve is not possible in a local run");
        return;
    case TN_JOB_BUILD:
        for (size_t t = 0; t < job->task_count; t++)
            if (job->tasks[t].state == TN_TASK_QUEUED)
                tn_dispatch_enqueue(sched, &job->tasks[t]);
        return;
    }
}

static void settle_dependents(struct tn_sched *sched, struct tn_job *job)
{
    struct tn_view view = tn_sched_view(sched);
    char text[512];

    for (size_t d = 0; d < job->dependent_count; d++) {
        struct tn_job *dependent = &job->workflow->jobs[job->dependents[d].job];

        switch (tn_graph_resolve(job->workflow, job, &job->dependents[d])) {
        case TN_EDGE_READY:
            release_job(sched, dependent);
            break;
        case TN_EDGE_NEVER:
            tn_graph_never_text(job, job->dependents[d].statuses, text, sizeof(text));
            end_queued(sched, dependent, TN_TASK_NOT_RUN, text);
            break;
        case TN_EDGE_WAITS:
            if (dependent->require_count <= TOLD_MAX)
                tn_sched_emit(sched, tn_event_job(&view, dependent));
            break;
        case TN_EDGE_MOOT:
            break;
        }
    }
}

void tn_sched_turn(struct tn_sched *sched)
{
    struct tn_job *job;

    do {
        while ((job = STAILQ_FIRST(&sched->ended)) != NULL) {
            STAILQ_REMOVE_HEAD(&sched->ended, ended_next);
            settle_dependents(sched, job);
        }
        tn_dispatch(sched);
    } while (!STAILQ_EMPTY(&sched->ended));
}

void tn_sched_add(struct tn_sched *sched, struct tn_pipeline *pipeline)
{
    pipeline->owner = sched;
    LIST_INSERT_HEAD(&sched->pipelines[bucket_of(pipeline->id)], pipeline, by_id);
}

static void index_tasks(struct tn_sched *sched, struct tn_job *job)
{
    for (size_t t = 0; t < job->task_count; t++)
        LIST_INSERT_HEAD(&sched->tasks[job->tasks[t].id % TN_SCHED_BUCKETS], &job->tasks[t], by_id);
}

void tn_sched_begin(struct tn_sched *sched, struct tn_pipeline *pipeline)
{
    for (size_t w = 0; w < pipeline->workflow_count; w++) {
        struct tn_workflow *workflow = &pipeline->workflows[w];

        for (size_t j = 0; j < workflow->job_count; j++)
            index_tasks(sched, &workflow->jobs[j]);
        for (size_t j = 0; j < workflow->job_count; j++) {
            struct tn_job *job = &workflow->jobs[j];

            if (job->fault != NULL)
                end_queued(sched, job, TN_TASK_FAILED, job->fault);
            else if (job->unresolved == 0)
                release_job(sched, job);
        }
        if (workflow->job_count == 0)
            update_workflow(sched, workflow);
    }
    if (pipeline->workflow_count == 0)
        update_pipeline(sched, pipeline);
}

static void resume_task(struct tn_sched *sched, struct tn_task *task)
{
    if (tn_task_state_terminal(task->state))
        return;
    if (task->state == TN_TASK_QUEUED) {
        if (task->job->released && task->job->type == TN_JOB_BUILD)
            tn_dispatch_enqueue(sched, task);
        return;
    }
    task->steps_seen = task->step_count > 0;
    tn_dispatch_hold(sched, task);
}

void tn_sched_resume(struct tn_sched *sched, struct tn_pipeline *pipeline)
{
    for (size_t w = 0; w < pipeline->workflow_count; w++)
        for (size_t j = 0; j < pipeline->workflows[w].job_count; j++) {
            struct tn_job *job = &pipeline->workflows[w].jobs[j];

            index_tasks(sched, job);
            for (size_t t = 0; t < job->task_count; t++)
                resume_task(sched, &job->tasks[t]);
        }
}

/* Everything queued ends in this round, before tn_sched_turn() could release it. */
void tn_sched_cancel(struct tn_sched *sched, struct tn_pipeline *pipeline, bool force)
{
    bool harder = force && !pipeline->force;

    pipeline->cancel = true;
    pipeline->force = pipeline->force || force;
    tn_ledger_put(sched->ledger, TN_LEDGER_PIPELINE_CANCEL, "ii", (int64_t)pipeline->number,
                  (int64_t)(pipeline->force ? 2 : 1));
    for (size_t w = 0; w < pipeline->workflow_count; w++)
        for (size_t j = 0; j < pipeline->workflows[w].job_count; j++) {
            struct tn_job *job = &pipeline->workflows[w].jobs[j];

            end_queued(sched, job, TN_TASK_CANCELED, "canceled");
            for (size_t t = 0; t < job->task_count; t++) {
                struct tn_task *task = &job->tasks[t];

                if (!tn_task_state_terminal(task->state) && (!task->cancel_sent || harder))
                    tn_dispatch_send_cancel(sched, task);
            }
        }
}
