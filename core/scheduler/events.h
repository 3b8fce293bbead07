/* What others see of the model: the snapshot, and the rows of events. Pure. Bodies are described in proto/README.md. */
#ifndef TN_SCHEDULER_EVENTS_H
#define TN_SCHEDULER_EVENTS_H

#include "core/scheduler/model.h"

/* Why a queued task waits, into `out`; "" when there is nothing to say. */
typedef const char *tn_why_cb(void *arg, const struct tn_task *task, char *out, size_t size);

struct tn_view {
    tn_why_cb *why; /* NULL: nothing is said of queued tasks */
    void *arg;
    const char *node;  /* name of this host */
    uint64_t sequence; /* of the last event */
};

/* Objects that the caller deletes; EVENT's but for `sequence`. */
cJSON *tn_event_pipeline(const struct tn_pipeline *pipeline);
cJSON *tn_event_workflow(const struct tn_workflow *workflow);
cJSON *tn_event_job(const struct tn_view *view, const struct tn_job *job);
cJSON *tn_event_task(const struct tn_view *view, const struct tn_task *task);
/* `body` is STEP_STATE's; it is used up. */
cJSON *tn_event_step(const struct tn_task *task, cJSON *body);
/* PIPELINE_IS. */
cJSON *tn_event_snapshot(const struct tn_view *view, const struct tn_pipeline *pipeline);

#endif
