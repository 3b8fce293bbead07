/* The processes of an installation: one row a role. */
#ifndef TN_KERNEL_ROLES_H
#define TN_KERNEL_ROLES_H

#include "core/lib/profile.h"
#include "proto/messages.h"

#include <stdbool.h>
#include <stddef.h>

/* A process that ends with this status says that starting it again is no use (its configuration is wrong, say). */
#define TN_EXIT_HOPELESS 78

struct tn_role_row {
    enum tn_role role;
    const char *name;                 /* in logs and `tenon status` */
    const char *program;              /* below the root folder; NULL: the executors' manifests say it */
    bool core;                        /* nothing works without it; else its failure is told and the rest goes on */
    unsigned ready_ms;                /* deadlines */
    unsigned heartbeat_ms;            /* since its last word */
    unsigned stop_ms;                 /* from SIGTERM to SIGKILL */
    const char *folder;               /* own folders (places.h) are called so; NULL: none, or the executor's name */
    unsigned stop_phase;              /* those of phase 0 are stopped first, the next when all of them have ended */
    const char *user;                 /* runs as `tenon-USER`; NULL: by the executor's name */
    const struct tn_profile *profile; /* its limits; NULL: those of every process */
    const char *proc;                 /* why it sees its own folder of /proc; NULL: nothing of /proc */
};

enum { TN_STOP_PHASES = 3 };

/* The rows in the order in which they are started; `*count` gets their number. */
const struct tn_role_row *tn_roles(size_t *count);
const struct tn_role_row *tn_role_row(enum tn_role role);

#endif
