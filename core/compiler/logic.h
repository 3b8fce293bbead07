/* Conditions of `when` and `unless`: a bare value, and, or, not, equal, matches. */
#ifndef TN_COMPILER_LOGIC_H
#define TN_COMPILER_LOGIC_H

#include "core/compiler/context.h"

enum truth { TRUTH_FALSE, TRUTH_TRUE, TRUTH_UNKNOWN /* depends on what cannot be known, or was reported */ };

/* Falsy are false, null, 0, NaN, the empty text and nothing. */
enum truth logic__evaluate(struct compiler *c, const struct view *condition);

#endif
