/* The users of Tenon's processes: when tenond is root, each runs as `tenon-NAME` of /etc/passwd (tools/users makes
 * them). No name service is asked, since its modules would be loaded into tenond. */
#ifndef TN_KERNEL_IDENTITY_H
#define TN_KERNEL_IDENTITY_H

#include <stdbool.h>
#include <sys/types.h>

struct tn_own_user {
    bool is_own; /* else the process runs as who started tenond, and `why` says why */
    uid_t uid;
    gid_t gid;
    char name[48]; /* "tenon-scheduler" */
    char why[256];
};

/* The user of the process NAME. */
void tn_identity_find(const char *name, struct tn_own_user *out);
/* It runs as who started tenond after all. */
void tn_identity_give_up(struct tn_own_user *user, const char *why);

#endif
