#include "core/scheduler/graph.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- linking ---- */

static void link_dependents(struct tn_workflow *workflow)
{
    for (size_t j = 0; j < workflow->job_count; j++) {
        workflow->jobs[j].unresolved = workflow->jobs[j].require_count;
        for (size_t r = 0; r < workflow->jobs[j].require_count; r++)
            workflow->jobs[workflow->jobs[j].requires[r].job].dependent_count++;
    }
    for (size_t j = 0; j < workflow->job_count; j++) {
        struct tn_job *job = &workflow->jobs[j];

        job->dependents = tn_model_alloc(job->dependent_count, sizeof(*job->dependents));
        job->dependent_count = 0;
    }
    for (size_t j = 0; j < workflow->job_count; j++)
        for (size_t r = 0; r < workflow->jobs[j].require_count; r++) {
            const struct tn_require *require = &workflow->jobs[j].requires[r];
            struct tn_job *upstream = &workflow->jobs[require->job];

            upstream->dependents[upstream->dependent_count++] = (struct tn_require){j, require->statuses};
        }
}

int tn_graph_link(struct tn_workflow *workflow, struct tn_err *err)
{
    size_t *queue = tn_model_alloc(workflow->job_count, sizeof(*queue));
    size_t *open = tn_model_alloc(workflow->job_count, sizeof(*open));
    size_t head = 0;
    size_t tail = 0;

    link_dependents(workflow);
    for (size_t j = 0; j < workflow->job_count; j++)
        if ((open[j] = workflow->jobs[j].require_count) == 0)
            queue[tail++] = j;
    while (head < tail) {
        struct tn_job *job = &workflow->jobs[queue[head]];

        job->order = head++;
        for (size_t d = 0; d < job->dependent_count; d++)
            if (--open[job->dependents[d].job] == 0)
                queue[tail++] = job->dependents[d].job;
    }
    for (size_t j = 0; tail < workflow->job_count && j < workflow->job_count; j++)
        if (open[j] != 0) {
            tn_err_set(err, TN_ERR_CONFIG, "job \"%s\" of workflow \"%s\" requires itself through other jobs: a cycle",
                       workflow->jobs[j].name, workflow->name);
            break;
        }
    free(queue);
    free(open);
    return tail == workflow->job_count ? 0 : -1;
}

/* ---- readiness ---- */

enum tn_edge_verdict tn_graph_resolve(struct tn_workflow *workflow, const struct tn_job *upstream,
                                      const struct tn_require *edge)
{
    struct tn_job *job = &workflow->jobs[edge->job];

    if (job->outcome != TN_OUTCOME_NONE)
        return TN_EDGE_MOOT;
    if ((edge->statuses & 1u << upstream->outcome) == 0)
        return TN_EDGE_NEVER;
    return --job->unresolved == 0 ? TN_EDGE_READY : TN_EDGE_WAITS;
}

const char *tn_graph_never_text(const struct tn_job *upstream, unsigned statuses, char *out, size_t size)
{
    char wanted[80] = "";
    size_t used = 0;

    for (unsigned i = TN_OUTCOME_SUCCESS; i < TN_OUTCOME_COUNT; i++)
        if ((statuses & 1u << i) != 0 && used < sizeof(wanted))
            used += (size_t)snprintf(wanted + used, sizeof(wanted) - used, "%s%s", used > 0 ? " or " : "",
                                     tn_outcome_name((enum tn_outcome)i));
    snprintf(out, size, "needs %s to be %s, it ended %s", upstream->name, wanted, tn_outcome_name(upstream->outcome));
    return out;
}

const char *tn_graph_waits_text(const struct tn_job *job, char *out, size_t size)
{
    const struct tn_job *first = NULL;

    out[0] = '\0';
    for (size_t r = 0; r < job->require_count && first == NULL; r++) {
        const struct tn_job *upstream = &job->workflow->jobs[job->requires[r].job];

        if (upstream->outcome == TN_OUTCOME_NONE)
            first = upstream;
    }
    if (first == NULL)
        return out;
    if (job->unresolved > 1)
        snprintf(out, size, "waits for job %s (%s) and %zu more", first->name, tn_job_state_name(first->state),
                 job->unresolved - 1);
    else
        snprintf(out, size, "waits for job %s (%s)", first->name, tn_job_state_name(first->state));
    return out;
}

/* ---- states ---- */

/* Of several tasks that ended the worst names the job. */
static const enum tn_task_state by_weight[] = {TN_TASK_FAILED,   TN_TASK_TIMED_OUT, TN_TASK_INFRASTRUCTURE_FAILURE,
                                               TN_TASK_CANCELED, TN_TASK_NOT_RUN,   TN_TASK_SUCCEEDED};

int tn_graph_job_state(const struct tn_job *job)
{
    unsigned seen = 0;
    bool open = false;
    bool begun = false;

    for (size_t t = 0; t < job->task_count; t++) {
        enum tn_task_state state = job->tasks[t].state;

        seen |= 1u << state;
        open = open || !tn_task_state_terminal(state);
        begun = begun || (state != TN_TASK_QUEUED && state != TN_TASK_NOT_RUN && state != TN_TASK_CANCELED);
    }
    if (open && job->type == TN_JOB_APPROVAL)
        return job->released ? TN_JOB_ON_HOLD : TN_TASK_QUEUED;
    if (open && (seen & (1u << TN_TASK_RUNNING | 1u << TN_TASK_SUCCEEDED | 1u << TN_TASK_FAILED |
                         1u << TN_TASK_TIMED_OUT)) != 0)
        return TN_TASK_RUNNING;
    if (open)
        return begun ? TN_TASK_PREPARING : TN_TASK_QUEUED;
    for (size_t i = 0; i < sizeof(by_weight) / sizeof(by_weight[0]); i++)
        if ((seen & 1u << by_weight[i]) != 0)
            return by_weight[i];
    return TN_TASK_SUCCEEDED;
}

enum tn_outcome tn_graph_outcome(int state, bool unauthorized)
{
    static const enum tn_outcome outcomes[TN_TASK_STATE_COUNT] = {
        [TN_TASK_SUCCEEDED] = TN_OUTCOME_SUCCESS, [TN_TASK_FAILED] = TN_OUTCOME_FAILED,
        [TN_TASK_CANCELED] = TN_OUTCOME_CANCELED, [TN_TASK_TIMED_OUT] = TN_OUTCOME_FAILED,
        [TN_TASK_NOT_RUN] = TN_OUTCOME_NOT_RUN,   [TN_TASK_INFRASTRUCTURE_FAILURE] = TN_OUTCOME_FAILED,
    };

    if (state < 0 || state >= TN_TASK_STATE_COUNT)
        return TN_OUTCOME_NONE;
    return unauthorized && outcomes[state] == TN_OUTCOME_FAILED ? TN_OUTCOME_UNAUTHORIZED : outcomes[state];
}

static size_t *tally_place(struct tn_tally *tally, int state)
{
    switch (tn_graph_outcome(state, false)) {
    case TN_OUTCOME_SUCCESS:
        return &tally->succeeded;
    case TN_OUTCOME_FAILED:
    case TN_OUTCOME_UNAUTHORIZED:
        return &tally->failed;
    case TN_OUTCOME_CANCELED:
        return &tally->canceled;
    case TN_OUTCOME_NOT_RUN:
        return &tally->not_run;
    case TN_OUTCOME_NONE:
    case TN_OUTCOME_COUNT:
        break;
    }
    return &tally->open;
}

void tn_graph_tally(struct tn_tally *tally, int from, int to)
{
    if (from >= 0) {
        (*tally_place(tally, from))--;
        tally->on_hold -= from == TN_JOB_ON_HOLD ? 1 : 0;
        tally->running -= from == TN_TASK_RUNNING || from == TN_TASK_PREPARING ? 1 : 0;
    }
    (*tally_place(tally, to))++;
    tally->on_hold += to == TN_JOB_ON_HOLD ? 1 : 0;
    tally->running += to == TN_TASK_RUNNING || to == TN_TASK_PREPARING ? 1 : 0;
}

const char *tn_graph_workflow_state(const struct tn_tally *tally)
{
    if (tally->open > 0 && tally->on_hold > 0 && tally->running == 0)
        return tn_state_text("on_hold");
    if (tally->open > 0)
        return tn_state_text(tally->failed > 0 ? "failing" : "running");
    if (tally->failed > 0)
        return tn_state_text("failed");
    return tn_state_text(tally->canceled > 0 ? "canceled" : "success");
}

const char *tn_graph_pipeline_state(const struct tn_pipeline *pipeline)
{
    static const char *const worst_first[] = {"error", "failed", "canceled"};

    for (size_t w = 0; w < pipeline->workflow_count; w++)
        if (!tn_state_ended(pipeline->workflows[w].state))
            return tn_state_text("running");
    for (size_t i = 0; i < sizeof(worst_first) / sizeof(worst_first[0]); i++)
        for (size_t w = 0; w < pipeline->workflow_count; w++)
            if (strcmp(pipeline->workflows[w].state, worst_first[i]) == 0)
                return tn_state_text(worst_first[i]);
    return tn_state_text("success");
}

/* ---- upstream ---- */

static int by_order(const void *left, const void *right)
{
    const struct tn_job *const *a = left;
    const struct tn_job *const *b = right;

    return (*a)->order < (*b)->order ? -1 : (*a)->order > (*b)->order;
}

size_t tn_graph_upstream(struct tn_job *job, struct tn_job ***jobs)
{
    struct tn_workflow *workflow = job->workflow;
    struct tn_job **found = tn_model_alloc(workflow->job_count, sizeof(struct tn_job *));
    unsigned walk = ++workflow->walks;
    size_t count = 0;

    /* `found` is the list of what is reached and the queue of what is still to be looked at. */
    for (size_t next = 0; job != NULL; job = next < count ? found[next++] : NULL)
        for (size_t r = 0; r < job->require_count; r++) {
            struct tn_job *upstream = &workflow->jobs[job->requires[r].job];

            if (upstream->mark != walk) {
                upstream->mark = walk;
                found[count++] = upstream;
            }
        }
    qsort(found, count, sizeof(struct tn_job *), by_order);
    *jobs = found;
    return count;
}
