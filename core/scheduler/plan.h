/* A plan (core/compiler/PLAN.md) becomes workflows, jobs and tasks, and these become rows. Pure but for the ids. */
#ifndef TN_SCHEDULER_PLAN_H
#define TN_SCHEDULER_PLAN_H

#include "core/lib/err.h"
#include "core/scheduler/ledger.h"
#include "core/scheduler/model.h"

enum { TN_PLAN_PARALLELISM_MAX = 1000, TN_PLAN_TASKS_MAX = 200000 };

/* Fills the pipeline's workflows; the graph is linked, numbers and task ids are still 0. A job that cannot run as asked
 * (unknown resource class, a context that was not given) has its `fault`. TN_ERR_CONFIG: the plan itself is wrong; the
 * pipeline may then hold part of it. */
int tn_plan_read(struct tn_pipeline *pipeline, const cJSON *plan, struct tn_err *err) TN_MUST_CHECK;
/* Jobs and tasks of all workflows. */
void tn_plan_count(const struct tn_pipeline *pipeline, uint64_t *jobs, uint64_t *tasks);
/* Gives numbers and task ids in order, from the first of each. */
void tn_plan_number(struct tn_pipeline *pipeline, uint64_t first_job, uint64_t first_task);
/* Queues the rows of workflows, jobs and tasks. */
void tn_plan_put_rows(const struct tn_pipeline *pipeline, struct tn_ledger *ledger);

/* A job's requirements as the ledger holds them: "[[job,statuses],…]". 0 or -1; the text is freed by the caller. */
int tn_plan_read_edges(struct tn_job *job, const char *text) TN_MUST_CHECK;
char *tn_plan_write_edges(const struct tn_job *job);

#endif
