/* Pipeline values and pipeline parameters. */
#ifndef TN_COMPILER_PIPELINE_H
#define TN_COMPILER_PIPELINE_H

#include "core/compiler/context.h"

/* The value of `<< pipeline.NAME >>` for a value (not a parameter), or NULL after a report at `view`. Values that exist
 * and were not given are empty. */
const struct arg *pipeline__value(struct compiler *c, const struct view *view, const char *name);

/* Is there such a value? */
bool pipeline__is_value(const char *name);

/* A value from the options as text, or NULL if it was not given or is empty. */
const char *pipeline__option(struct compiler *c, const char *name);

/* Reads the top level's `parameters` and binds the values from the options. */
void pipeline__declare(struct compiler *c);

#endif
