/* "Did you mean": the nearest of some names. */
#ifndef TN_COMPILER_SUGGEST_H
#define TN_COMPILER_SUGGEST_H

#include "core/compiler/diag.h"

/* "did you mean `x`?" in the arena, or NULL. Of one compile only the first few hundred questions are answered, so that
 * a config full of faults costs no more than one with some. */
const char *suggest__did_you_mean(struct diags *diags, const char *word, const char *const *names, size_t count);

#endif
