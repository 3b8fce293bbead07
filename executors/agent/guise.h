/* While the agent still is root, it makes and removes what its executor names as the executor's own user, and takes
 * only folders that are the executor's or the job's: its words reach no further than it does itself, whatever lies
 * there or is swapped meanwhile. (It may search folders on the way, as root may: the executor's own lie below closed
 * ones.) */
#ifndef TN_AGENT_GUISE_H
#define TN_AGENT_GUISE_H

#include "core/lib/err.h"

/* The executor's user (-1: not known) and the job's (a name, NULL: who we are). Nothing below does anything unless we
 * are root and the executor is not. */
TN_MUST_CHECK int tn_guise_of(long long peer, const char *user, struct tn_err *err);
/* Files are made and removed as the executor's user, until taken off. Fails if the kernel does not do it. */
TN_MUST_CHECK int tn_guise_on(struct tn_err *err);
void tn_guise_off(void);

/* A folder (O_PATH, the last component no link) that the executor or the job's user owns. -1 with an error. */
TN_MUST_CHECK int tn_guise_open(const char *path, struct tn_err *err);
/* Gives such a folder to the job's user, if we are root. */
TN_MUST_CHECK int tn_guise_give(const char *path, struct tn_err *err);

#endif
