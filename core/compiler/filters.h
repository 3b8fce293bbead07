/* Filters of jobs on branches and tags. */
#ifndef TN_COMPILER_FILTERS_H
#define TN_COMPILER_FILTERS_H

#include "core/compiler/context.h"

/* Does a job with these filters (VIEW_NONE: without) run in this pipeline? On a tag only jobs whose filters name it; on
 * a branch all but those whose filters say otherwise. Without a branch and a tag in the options nothing is filtered. */
bool filters__allow(struct compiler *c, const struct view *filters);
/* Why filters left nothing, for a message. */
const char *filters__reason(struct compiler *c);

#endif
