/* Covering a folder of the host in the agent's own mount namespace, so that the job sees nothing of it. */
#ifndef TN_AGENT_COVER_H
#define TN_AGENT_COVER_H

#include "core/lib/err.h"

/* Mounts an empty folder over `folder`, writable by nobody; of what it hides only `keep`, where that lies below it, is
 * visible again at its old path (NULL: nothing). Both absolute. Needs a mount namespace of our own and the right to
 * mount in it. The current folder stays the same, or becomes `keep` if it cannot be seen any more. */
TN_MUST_CHECK int tn_cover(const char *folder, const char *keep, struct tn_err *err);

#endif
