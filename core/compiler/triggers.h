/* `triggers` of workflows: schedules. */
#ifndef TN_COMPILER_TRIGGERS_H
#define TN_COMPILER_TRIGGERS_H

#include "core/compiler/context.h"

/* Checks the triggers of a workflow, if it has some. True: it runs by its schedule, and not when something is pushed. */
bool triggers__scheduled(struct compiler *c, const struct view *workflow);

#endif
