/* `requires`: which job waits for which, circles, and what filters leave. */
#ifndef TN_COMPILER_REQUIRES_H
#define TN_COMPILER_REQUIRES_H

#include "core/compiler/workflows.h"

/* Resolves all `requires` of the workflow, reports unknown names and circles, and removes jobs all of whose
 * requirements are removed. Needs unique names; jobs that filters remove are marked. */
void requires__resolve(struct compiler *c, struct workflow *workflow);

/* [{"job", "status": [...]}, ...] of what is not removed. */
cJSON *requires__json(const struct wf_job *job);

#endif
