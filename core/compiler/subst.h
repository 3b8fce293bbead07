/* Expressions in texts: `<< parameters.x >>`, `<< pipeline.y >>`, `<< matrix.z >>`. */
#ifndef TN_COMPILER_SUBST_H
#define TN_COMPILER_SUBST_H

#include "core/compiler/context.h"

/* Fills the expressions of a scalar view. A scalar that is one expression takes the argument's type: text, or the steps
 * or the executor that the argument is. What is not an expression of these three kinds (a shell's `<<EOF`) stays;
 * `\<<` becomes `<<`. After a report the view is VIEW_UNKNOWN. */
void subst__fill(struct compiler *c, struct view *view);

#endif
