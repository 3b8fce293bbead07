/* While the agent still is root, it looks up what its executor names as the executor's own user: a path in its
 * arguments reaches no further than the executor itself does, whatever lies there or is swapped meanwhile. */
#ifndef TN_AGENT_GUISE_H
#define TN_AGENT_GUISE_H

#include "core/lib/err.h"

/* The executor's user; -1: not known. Nothing below does anything unless we are root and that user is not. */
void tn_guise_of(long long peer);
/* Files are looked up and made as that user, until taken off. Fails if the kernel does not do it. */
TN_MUST_CHECK int tn_guise_on(struct tn_err *err);
void tn_guise_off(void);

/* Gives the folder `path`, which must be the executor's (or is the user's already), to a user. Without root nothing is
 * to be given: then it must be a folder of ours. */
TN_MUST_CHECK int tn_guise_give(const char *path, const char *user, struct tn_err *err);

#endif
