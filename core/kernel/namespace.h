/* A process id namespace for a program, where control groups cannot be had: when its first process dies, the kernel
 * kills all the others, wherever they hid. Without root it comes with a user namespace in which the user stays who it
 * is.
 *
 * The program sees a /proc of its own, so a mount namespace belongs to it. */
#ifndef TN_KERNEL_NAMESPACE_H
#define TN_KERNEL_NAMESPACE_H

#include "core/lib/err.h"

#include <stdbool.h>

struct tn_namespace {
    unsigned long flags; /* for clone(2) */
    char uid_map[32];    /* "" without a user namespace */
    char gid_map[32];
    unsigned processes; /* at most that many in it; 0: no bound. Only where the kernel counts them by user namespace */
};

/* What this user needs. */
void tn_namespace_init(struct tn_namespace *space, unsigned processes);
/* In the new process. NULL, or the name of the step that failed, with errno. */
const char *tn_namespace_enter(const struct tn_namespace *space);
/* Does it work here? Makes one and ends it. */
int tn_namespace_probe(struct tn_err *err) TN_MUST_CHECK;
/* Does tn_namespace.processes hold here? */
bool tn_namespace_counts(void);

#endif
