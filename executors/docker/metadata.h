/* The host's metadata addresses, out of the reach of a job's containers: once the primary runs, and before anything of
 * the job does, a small container beside it runs the agent's `deny-metadata` in its network. The containers of a job
 * share one network, so that is enough for all, and none of them has the right to undo it. Works with every engine,
 * also a remote one, touches no firewall of the host, and costs the start of one more small container where jobs have a
 * network at all.
 */
#ifndef TN_EXECUTORS_DOCKER_METADATA_H
#define TN_EXECUTORS_DOCKER_METADATA_H

#include "executors/docker/environment.h"

/* Before the primary is made: notes that it is to be done, for a later life of this process. 0, also if there is
 * nothing to do: no network, or network.metadata allows it. */
int tn_docker_metadata_note(struct tn_docker_env *env, struct tn_err *err) TN_MUST_CHECK;
/* The primary runs. Calls `then` (now or later) when it is done, was done, need not be, or cannot be, which is said. */
void tn_docker_metadata_deny(struct tn_docker_env *env, void (*then)(struct tn_docker_env *env));

#endif
