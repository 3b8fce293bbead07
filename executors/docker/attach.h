/* A descriptor for the agent's stream of a container: bytes written to it go to the container's stdin, what the
 * container writes to its stdout can be read from it. Behind it are an attach request of the Docker Engine API and the
 * demultiplexer of its frames; the engine may be anywhere.
 *
 * Bounded on both ways: who does not read holds the other side up. When either side ends, both do. Bytes that were on
 * their way then are lost, as at any disconnect: the agent's handshake finds out. */
#ifndef TN_EXECUTORS_DOCKER_ATTACH_H
#define TN_EXECUTORS_DOCKER_ATTACH_H

#include "executors/docker/engine.h"

struct tn_attach;

/* The connection has ended; `reason` says why, in words, or is NULL: the other side closed it. It is freed when this
 * returns. */
typedef void tn_attach_ended(const char *reason, void *arg);

/* Begins to attach and gives the descriptor in `*fd`, which the caller owns. What the container writes to its stderr is
 * logged. NULL with errno. `engine` is borrowed and must outlive it. */
struct tn_attach *tn_attach_new(struct tn_engine *engine, struct event_base *base, const char *container,
                                tn_attach_ended *on_ended, void *arg, int *fd) TN_MUST_CHECK;
/* Closes our end; the owner of the descriptor sees its end. Without on_ended. NULL is allowed. */
void tn_attach_free(struct tn_attach *attach);

#endif
