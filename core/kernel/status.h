/* What tenond tells of its processes: over the bus (STATUS_IS), and in RUN/status.json for `tenon status`, which is
 * written anew, whole, whenever a process's state has changed. */
#ifndef TN_KERNEL_STATUS_H
#define TN_KERNEL_STATUS_H

#include "core/kernel/worker.h"

/* The body of STATUS_IS. The caller deletes it. */
cJSON *tn_status_body(const struct tn_kernel *kernel);
/* Something has changed: the file is written soon, once for all that changes until then. */
void tn_status_changed(struct tn_kernel *kernel);
/* Writes it now. */
void tn_status_write(struct tn_kernel *kernel);

#endif
