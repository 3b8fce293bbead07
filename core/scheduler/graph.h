/* The graph of a workflow's jobs: order, readiness, and the states that follow from tasks and jobs. Pure: only the
 * model is read and written, nothing is sent or stored. Each step costs as much as the edges it touches. */
#ifndef TN_SCHEDULER_GRAPH_H
#define TN_SCHEDULER_GRAPH_H

#include "core/lib/err.h"
#include "core/scheduler/model.h"

/* From every job's `requires` makes `dependents`, `unresolved` and a topological `order`. TN_ERR_CONFIG names a job of
 * a cycle. Called once for a workflow. */
int tn_graph_link(struct tn_workflow *workflow, struct tn_err *err) TN_MUST_CHECK;

enum tn_edge_verdict {
    TN_EDGE_WAITS, /* other requirements are open */
    TN_EDGE_READY, /* the last one is met */
    TN_EDGE_NEVER, /* cannot be met any more */
    TN_EDGE_MOOT,  /* the dependent job has ended already */
};
/* Tells `edge->job` that `upstream`, which has ended, has ended. Each edge once. */
enum tn_edge_verdict tn_graph_resolve(struct tn_workflow *workflow, const struct tn_job *upstream,
                                      const struct tn_require *edge);
/* "needs build to be success, it ended failed"; returns out. */
const char *tn_graph_never_text(const struct tn_job *upstream, unsigned statuses, char *out, size_t size);
/* "waits for job build (running)" and how many more; "" if nothing is open. Returns out. */
const char *tn_graph_waits_text(const struct tn_job *job, char *out, size_t size);

/* The job's state as its tasks are, enum tn_task_state or TN_JOB_ON_HOLD. It ends when every task has ended. */
int tn_graph_job_state(const struct tn_job *job);
/* The outcome that a terminal state means to those who require the job. */
enum tn_outcome tn_graph_outcome(int state, bool unauthorized);
/* Moves a job from one state to another in its workflow's tally; `from` -1 enters it. */
void tn_graph_tally(struct tn_tally *tally, int from, int to);
/* running, failing, on_hold, success, failed, canceled: static text. */
const char *tn_graph_workflow_state(const struct tn_tally *tally);
/* running until all workflows have ended; then the worst of them. Static text. */
const char *tn_graph_pipeline_state(const struct tn_pipeline *pipeline);

/* All jobs upstream of this one, in topological order. The caller frees *jobs. */
size_t tn_graph_upstream(struct tn_job *job, struct tn_job ***jobs);

#endif
