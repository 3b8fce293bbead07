/* "Did you mean": the nearest of some names. */
#ifndef TN_COMPILER_SUGGEST_H
#define TN_COMPILER_SUGGEST_H

#include "core/compiler/diag.h"

/* The nearest of `names` to `word` if it is near enough to be meant (a third of its letters differ at most), else NULL.
 * Swapped neighbours and upper case count little. At most 2,000 names are looked at. */
const char *suggest__nearest(const char *word, const char *const *names, size_t count);

/* "did you mean `x`?" in the arena, or NULL. Of one compile only the first few hundred questions are answered, so that
 * a config full of faults costs no more than one with some. */
const char *suggest__did_you_mean(struct diags *diags, const char *word, const char *const *names, size_t count);

#endif
