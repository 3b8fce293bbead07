/* What an attempt remembers over a crash, as the JSON that lies in its checkpoints. */
#ifndef TN_SDK_PROGRESS_H
#define TN_SDK_PROGRESS_H

#include "executors/sdk/task.h"

/* Progress and the reports that are not recorded yet. The caller deletes it. */
cJSON *tn_progress_save(const struct tn_task *task);
/* Takes both up again; what is missing or malformed counts as "not yet". */
void tn_progress_load(struct tn_task *task, const cJSON *state);

#endif
