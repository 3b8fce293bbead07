/* Messages to the scheduler: each is decoded, checked and turned into calls of sched.h. Answers are held in the outbox.
 */
#ifndef TN_SCHEDULER_HANDLERS_H
#define TN_SCHEDULER_HANDLERS_H

#include "core/scheduler/sched.h"

/* A request or notice from the bus. */
void tn_handle_message(struct tn_sched *sched, const struct tn_msg *msg);
/* TASK_STATE and STEP_STATE (attempts.c), which tn_handle_message() passes on. `body` is parsed already. */
void tn_handle_task_state(struct tn_sched *sched, const struct tn_msg_ref *ref, const cJSON *body);
void tn_handle_step_state(struct tn_sched *sched, const struct tn_msg_ref *ref, const cJSON *body);
/* Loads what has not ended and goes on with it. */
int tn_handle_restart(struct tn_sched *sched, struct tn_err *err) TN_MUST_CHECK;
/* After a commit: frees ended pipelines, forgets deleted secrets. */
void tn_handle_committed(struct tn_sched *sched);

#endif
