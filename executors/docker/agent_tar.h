/* The tar archive that puts the agent into a container whose engine does not see this host's folders. Pure. */
#ifndef TN_EXECUTORS_DOCKER_AGENT_TAR_H
#define TN_EXECUTORS_DOCKER_AGENT_TAR_H

#include "core/lib/buf.h"

#include <stddef.h>

/* Appends an archive for the container's root: the folder of TN_CONTAINER_BIN with the agent's program (`agent`, `len`
 * bytes) and its in-job names, and the folder of TN_CONTAINER_RUN, in which every user may write. All of it is root's,
 * so it may be unpacked any number of times with the same result. POSIX 1003.1 "ustar Interchange Format". */
void tn_agent_tar(struct tn_buf *tar, const void *agent, size_t len);

#endif
