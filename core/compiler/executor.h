/* Where a job runs: `docker`, `machine`, `executor`, and what a named executor adds. */
#ifndef TN_COMPILER_EXECUTOR_H
#define TN_COMPILER_EXECUTOR_H

#include "core/compiler/context.h"
#include "core/compiler/fields.h"

/* Adds resource_class, kind, runner, docker or machine, shell, working_directory and environment to `out`: the job's
 * own keys replace the executor's, environments are merged with the job's winning. `misspelt`: the job has an unknown
 * key, which may be the one that says where it runs. */
void executor__compile(struct compiler *c, const struct definition *job, const struct view *body, bool misspelt,
                       cJSON *out);

/* Checks an executor that no job uses. */
void executor__check(struct compiler *c, struct definition *executor);

#endif
