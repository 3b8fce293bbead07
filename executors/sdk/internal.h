/* What executor.c offers to the files of the runner, and the runner's timers to task.c. Not for executors. */
#ifndef TN_SDK_INTERNAL_H
#define TN_SDK_INTERNAL_H

#include "executors/sdk/task.h"

const struct tn_executor_ops *tn_executor_ops(const struct tn_executor *executor);
struct tn_peer *tn_executor_data(struct tn_executor *executor);
/* True once this process is to end and leave nothing behind. */
bool tn_executor_stopping(const struct tn_executor *executor);
/* Takes the task out of the table; it is being freed. */
void tn_executor_forget(struct tn_executor *executor, struct tn_task *task);

void tn_runner_on_timer(struct tn_task *task);
void tn_runner_background_done(struct tn_task *task, unsigned step);

#endif
