/* Users of the environment, from its /etc/passwd and /etc/group; no name service, since nothing is linked in. */
#ifndef TN_AGENT_USERS_H
#define TN_AGENT_USERS_H

#include "core/lib/err.h"

#include <sys/types.h>

#define TN_USER_GROUPS 64

struct tn_user {
    uid_t uid;
    gid_t gid;
    char name[256];  /* "" if the uid has no entry */
    char home[1024]; /* "" if the uid has no entry */
    gid_t groups[TN_USER_GROUPS];
    int group_count; /* at least 1: the primary group */
};

/* `who`: a name, a uid, or uid:gid. A uid without an entry is allowed; a name without one is an error. */
TN_MUST_CHECK int tn_user_find(const char *who, struct tn_user *user, struct tn_err *err);

#endif
