/* From root to the user that the job runs as, once and for good. */
#ifndef TN_AGENT_BECOME_H
#define TN_AGENT_BECOME_H

#include "core/lib/err.h"

/* This process and its children run as `user` (users.h) from now on, with its groups and no way back. `keep` (or NULL)
 * is a folder that the user must be able to enter: if one above it is closed to it, that is covered in the mount
 * namespace of this process (tn_private_tmp() made it) by an empty folder in which `keep` alone is visible. */
TN_MUST_CHECK int tn_become(const char *user, const char *keep, struct tn_err *err);

#endif
