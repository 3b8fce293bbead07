/* Steps: built-in ones, `when` and `unless`, commands and steps parameters, expanded into the plan's list. */
#ifndef TN_COMPILER_STEPS_H
#define TN_COMPILER_STEPS_H

#include "core/compiler/context.h"

/* Appends the steps of `list` to the array `out`. `what` names their owner for messages. VIEW_NONE adds nothing. */
void steps__expand(struct compiler *c, const struct view *list, const char *what, cJSON *out);

/* Checks the steps of a command that nobody uses; its parameters' values are unknown. */
void steps__check_command(struct compiler *c, struct definition *command);

/* Is this the name of a built-in step? */
bool steps__is_builtin(const char *name);

#endif
