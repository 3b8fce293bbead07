/* To whom containers belong whose installation cannot remove them any more: those of a `tenon run` that was killed.
 * Each container of a private installation carries a label that says whose it is; another run of the same user on the
 * same host recognises by it that the owner is gone.
 *
 * "UID BOOT DEVICE:INODE RUN": the user, the kernel's boot id, the folder that holds the run folders of this user, the
 * run folder. Device and inode tell apart equal paths in two mount namespaces. tenond says it (TENON_OWNER), since an
 * executor sees neither the folder nor the boot id; and tenond is asked which of these runs are over (HOST_ASK). */
#ifndef TN_EXECUTORS_DOCKER_OWNER_H
#define TN_EXECUTORS_DOCKER_OWNER_H

#include <stdbool.h>
#include <stddef.h>

#define TN_OWNER_TEXT_MAX 512

struct tn_owner {
    unsigned uid;
    char boot[40];
    unsigned long long device;
    unsigned long long inode;
    char run[256];
};

void tn_owner_format(const struct tn_owner *owner, char text[TN_OWNER_TEXT_MAX]);
/* False unless `text` is a whole one. Pure. */
bool tn_owner_parse(const char *text, struct tn_owner *owner);
/* The run folder's name in its folder; borrowed. */
const char *tn_owner_name(const struct tn_owner *owner);

enum tn_owner_life {
    TN_OWNER_UNKNOWN,
    TN_OWNER_LIVES, /* it is ours */
    TN_OWNER_DEAD,
    TN_OWNER_ASK, /* a run beside ours: tenond sees whether it is over */
};

/* Is the owner of a container gone? A container of an earlier boot is nobody's unless it `runs`. Nothing is said of
 * other users and of other hosts' folders. Pure. */
enum tn_owner_life tn_owner_life(const struct tn_owner *owner, const struct tn_owner *ours, bool runs);

#endif
