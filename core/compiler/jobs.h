/* Jobs: a definition and one use of it become a job of the plan. */
#ifndef TN_COMPILER_JOBS_H
#define TN_COMPILER_JOBS_H

#include "core/compiler/context.h"

/* Adds to `out` what the job's definition says: parallelism, executor, environment, steps. `body` is the definition's
 * map in the scope of this use; `pre` and `post` are the use's pre-steps and post-steps (VIEW_NONE without). */
void jobs__compile(struct compiler *c, const struct definition *job, const struct view *body, const struct view *pre,
                   const struct view *post, cJSON *out);

/* "build", "approval" or "no-op": from the use's `type` if it has one, else the definition's (`body` may be VIEW_NONE).
 * NULL after a report. */
const char *jobs__type(struct compiler *c, const struct view *use_type, const struct view *body);

/* Checks a job that no workflow uses. */
void jobs__check(struct compiler *c, struct definition *job);

#endif
