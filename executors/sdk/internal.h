/* What executor.c, task.c, checkpoint.c and the runner's files offer to one another. Not for executors. */
#ifndef TN_SDK_INTERNAL_H
#define TN_SDK_INTERNAL_H

#include "executors/sdk/task.h"

/* The executor's own functions, and the connection to tenon-output. Borrowed. */
const struct tn_executor_ops *tn_executor_ops(const struct tn_executor *executor);
struct tn_peer *tn_executor_data(struct tn_executor *executor);
/* True once this process is to end and leave nothing behind. */
bool tn_executor_stopping(const struct tn_executor *executor);
/* Takes the task out of the table; it is being freed. */
void tn_executor_forget(struct tn_executor *executor, struct tn_task *task);

/* The step timer has fired: silence, or the grace after a signal, was too long. */
void tn_runner_on_timer(struct tn_task *task);
void tn_runner_background_done(struct tn_task *task, unsigned step);
/* A checkpoint is kept: the current step may have waited for it. */
void tn_runner_on_kept(struct tn_task *task);
/* Where the job's steps begin, of what the config says. The caller's to free. */
char *tn_runner_working_directory(const struct tn_task *task);

/* checkpoint.c: sends the progress now, unless one is on its way (then another follows). */
void tn_task__checkpoint(struct tn_task *task);
/* Goes on from what an earlier life of the attempt kept; NULL: there was none. */
void tn_task__take_checkpoint(struct tn_task *task, const cJSON *checkpoint);
/* task.c: the result is sealed: the environment goes. */
void tn_task__release(struct tn_task *task);

#endif
