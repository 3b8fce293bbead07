/* The steps that the language itself has: their fields, defaults and checks. */
#ifndef TN_COMPILER_BUILTIN_STEPS_H
#define TN_COMPILER_BUILTIN_STEPS_H

#include "core/compiler/context.h"

struct builtin_step;

/* The row of a built-in step, or NULL: a command of the config, or nothing. */
const struct builtin_step *builtin_steps__find(const char *name);
/* The name of a step that was given none; NULL if that is its command, or if there is no such step. */
const char *builtin_steps__title(const char *name);
/* Fills `names` with up to `size` names; returns how many. */
size_t builtin_steps__names(const char **names, size_t size);

/* Appends one step to the array `out`. `value` is what stands under the step's name (VIEW_NONE: the bare name), `item`
 * the step as a whole. */
void builtin_steps__add(struct compiler *c, const struct builtin_step *step, const struct view *item,
                        const struct view *value, cJSON *out);

#endif
