/* A /tmp and /var/tmp of the job's own, in a mount namespace, so that a job on a shared host finds neither the files of
 * another nor leaves its own behind. As root by a plain mount namespace, else together with a user namespace. */
#ifndef TN_AGENT_PRIVATE_TMP_H
#define TN_AGENT_PRIVATE_TMP_H

#include "core/lib/err.h"

/* From now on /tmp and /var/tmp of this process and its children are the folder `tmp`, and the folders `hidden` (ends
 * with NULL) are empty. `keep` (or NULL) stays reachable under its own path even if that lies below one of them. On
 * failure some may still be the host's: the caller says so. The agent's socket must be bound before. */
TN_MUST_CHECK int tn_private_tmp(const char *tmp, const char *keep, const char *const *hidden, struct tn_err *err);

#endif
