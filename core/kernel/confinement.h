/* What tenond puts on a process before its first instruction: its user, no capabilities, limits, a network, mounts and
 * System V IPC of its own. (The process itself adds Landlock and seccomp: core/lib/confine.h.) Without root the same is
 * tried within a user namespace. What cannot be had here is found out once, at tenond's start. */
#ifndef TN_KERNEL_CONFINEMENT_H
#define TN_KERNEL_CONFINEMENT_H

#include "core/kernel/identity.h"
#include "core/kernel/tree.h"
#include "core/lib/err.h"
#include "core/lib/profile.h"

enum { TN_CONFINEMENT_GROUPS_MAX = 4, TN_MEANS_WHY = 160 };

/* What this host lets us do. */
struct tn_means {
    bool user_namespace;       /* needed for the rest: we are not root */
    char mounts[TN_MEANS_WHY]; /* why not; "": it can be had */
    char network[TN_MEANS_WHY];
    char ipc[TN_MEANS_WHY];
};

/* Tries it in processes that end at once. `folder`: on which a new root can be put together. */
void tn_means_probe(struct tn_means *means, const char *folder);

struct tn_confinement {
    const struct tn_own_user *user;          /* borrowed */
    const struct tn_profile_limit *limits;   /* borrowed; beside those of every process; may be NULL */
    unsigned long flags;                     /* CLONE_NEW… for clone(2) */
    struct tn_tree *tree;                    /* owned; with CLONE_NEWNS */
    gid_t groups[TN_CONFINEMENT_GROUPS_MAX]; /* supplementary ones, of its own user */
    size_t group_count;
    char uid_map[32]; /* with CLONE_NEWUSER */
    char gid_map[32];
};

/* With what `means` offers; with a network of its own unless `network`. */
void tn_confinement_init(struct tn_confinement *confinement, const struct tn_means *means,
                         const struct tn_own_user *user, bool network);
void tn_confinement_free(struct tn_confinement *confinement);
/* How many processes and threads its user may have; 0: they are not counted for it alone. */
unsigned tn_confinement_processes(const struct tn_confinement *confinement);
/* Limits that every process of ours has beside those of core/lib/profile.h. */
const struct tn_profile_limit *tn_confinement_limits(void);

/* In the new process, in this order. NULL, or the name of the step that failed, with errno. */
const char *tn_confinement_enter(const struct tn_confinement *confinement, char *where, size_t size);
const char *tn_confinement_drop(const struct tn_confinement *confinement);

#endif
