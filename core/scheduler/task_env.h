/* What a lease carries: built-in variables, secrets, upstream tasks, limits. Pure.
 *
 * The variables are those of COMPATIBILITY.md that have a meaning here. Those that the runner knows better
 * (CIRCLE_WORKING_DIRECTORY, CIRCLE_INTERNAL_TASK_DATA) and those of a forge's tokens and pull requests are not set. */
#ifndef TN_SCHEDULER_TASK_ENV_H
#define TN_SCHEDULER_TASK_ENV_H

#include "core/lib/grant.h"
#include "core/scheduler/model.h"
#include "core/scheduler/place.h"

/* The built-in variables: an array of ["NAME","value"]. The caller deletes it. */
cJSON *tn_task_env(const struct tn_task *task);
/* LEASE's body as proto/README.md has it; `key` signs its grant. The caller frees it. */
char *tn_task_lease(struct tn_task *task, const char *installation, const uint8_t key[TN_GRANT_KEY],
                    struct tn_share limits);
/* A UUID that is always the same for the same text, e.g. a project's slug. */
void tn_task_stable_id(const char *text, char out[TN_ID_SIZE]);

#endif
