/* Keeps programs from the host's metadata addresses (core/lib/metadata.h): a small BPF program at their control group
 * of version 2 refuses connect(2) and sendto(2) to them with EPERM. It touches no firewall and no route, holds for
 * nobody else, and goes away with the group. Needs root. */
#ifndef TN_KERNEL_METADATA_H
#define TN_KERNEL_METADATA_H

#include "core/lib/err.h"

enum { TN_METADATA_HOOKS = 4 };

struct tn_metadata {
    int fds[TN_METADATA_HOOKS]; /* owned; -1: not loaded */
};

/* Loads the programs. -1 where that is not possible, and then there is nothing to close. */
int tn_metadata_open(struct tn_metadata *metadata, struct tn_err *err) TN_MUST_CHECK;
void tn_metadata_close(struct tn_metadata *metadata);
/* From now on nothing in the control group `folder` reaches the addresses. */
int tn_metadata_deny(const struct tn_metadata *metadata, const char *folder, struct tn_err *err) TN_MUST_CHECK;

#endif
