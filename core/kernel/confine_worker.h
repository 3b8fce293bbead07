/* How one process of ours is confined before its first instruction: which user, and what it sees of the host. */
#ifndef TN_KERNEL_CONFINE_WORKER_H
#define TN_KERNEL_CONFINE_WORKER_H

#include "core/kernel/confinement.h"
#include "core/kernel/places.h"
#include "core/kernel/worker.h"

/* Its own user, if there is one and it can reach its program and its folders. */
void tn_worker_settle_user(struct tn_worker *worker, const struct tn_kernel_config *config);
/* All of it. Freed by tn_confinement_free(). Fails if there is more to see than fits. */
int tn_worker_confine(const struct tn_worker *worker, const struct tn_kernel_config *config,
                      const struct tn_places *places, struct tn_confinement *out, struct tn_err *err) TN_MUST_CHECK;
/* Does it share the host's network, and why? NULL: it has one of its own. */
const char *tn_worker_network(const struct tn_worker *worker);

#endif
