/* Who is on which socket, who may say what to whom, and one bounded queue for each destination.
 *
 * A message is passed on in the memory it came in. It is dropped, counted and (once a second at most for a peer) logged
 * if its source or its life is not the socket's, or the list of messages does not allow it; and dropped silently if
 * nobody is at its destination, or (said once) if that one's queue is full. Whoever needs an answer sends again, so a
 * drop costs time and nothing else, and no peer can stall another. */
#ifndef TN_KERNEL_ROUTER_H
#define TN_KERNEL_ROUTER_H

#include "core/lib/err.h"
#include "proto/codec.h"
#include "transports/transport.h"

#include <event2/event.h>

#include <stddef.h>
#include <stdint.h>

/* What may wait for one peer: more is dropped. A single message may be larger than the bytes. */
#define TN_ROUTER_QUEUE_BYTES TN_MIB(16)
#define TN_ROUTER_QUEUE_MESSAGES 4096u

struct tn_router; /* opaque */

typedef void tn_router_kernel_cb(void *arg, const struct tn_header *header, const void *body);

struct tn_router_config {
    struct event_base *base;              /* borrowed */
    const struct tn_transport *transport; /* borrowed */
    const char *folder;                   /* borrowed; each peer's socket is FOLDER/<address>.<life>/s */
    const char *events_url;               /* borrowed */
    uint32_t life;                        /* of this process */
    tn_router_kernel_cb *to_kernel;       /* passes a message to tenond */
    void *arg;
};

/* Binds the socket of events; those of peers come with PEER_ADD. NULL with `err`. */
struct tn_router *tn_router_open(const struct tn_router_config *config, struct tn_err *err) TN_MUST_CHECK;
void tn_router_close(struct tn_router *router);
/* A message from tenond: for a peer, or (PEER_ADD, PEER_STATE) for the router itself. */
void tn_router_from_kernel(struct tn_router *router, const struct tn_header *header, const uint8_t *body);
/* Says READY and HEARTBEAT to tenond for this process. */
void tn_router_tell_kernel(struct tn_router *router, enum tn_msg_kind kind, const char *body);

#endif
