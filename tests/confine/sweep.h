/* Every system call by its number: which the filter lets through, and whether all others are refused. */
#ifndef TN_TESTS_SWEEP_H
#define TN_TESTS_SWEEP_H

#include "core/lib/profile.h"

enum { SWEEP_CALLS = 512 }; /* more than Linux has on any architecture that we build for */

/* How the list of a profile treats a call. */
enum sweep_kind { SWEEP_REFUSED, SWEEP_ALLOWED, SWEEP_DEADLY };

void sweep_learn(const struct tn_profile *profile, enum sweep_kind kinds[SWEEP_CALLS]);
/* Within the filter: makes every refused call with bad pointers. 0: all gave ENOSYS; else the number of the first that
 * did not, counted from 1. */
long sweep_refused(const enum sweep_kind kinds[SWEEP_CALLS]);

#endif
