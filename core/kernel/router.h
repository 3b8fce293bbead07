/* Who is on which socket, who may say what to whom, and one bounded queue for each destination.
 *
 * A message is passed on in the memory it came in. It is dropped, counted (traffic.h) and logged if its source or its
 * life is not the socket's, or the list of messages does not allow it; who goes on with that is cut off: its socket is
 * closed for this life, tenond is told (PEER_CUT). It is dropped silently if nobody is at its destination, and counted
 * (and said once) if that one takes no more from this source (queue.h). Whoever needs an answer sends again, so a drop
 * costs time and nothing else. No peer can stall or starve another: at each turn a peer's messages are read up to a
 * number and a size, and what waits is served in turn. */
#ifndef TN_KERNEL_ROUTER_H
#define TN_KERNEL_ROUTER_H

#include "core/lib/err.h"
#include "proto/codec.h"
#include "transports/transport.h"

#include <event2/event.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tn_router; /* opaque */

/* Passes a whole message to tenond. False: not now; tn_router_kernel_ready() is to be called when it is time. */
typedef bool tn_router_kernel_cb(void *arg, const void *message, size_t size);

struct tn_router_config {
    struct event_base *base;              /* borrowed */
    const struct tn_transport *transport; /* borrowed */
    const char *folder;                   /* borrowed; each peer's socket is FOLDER/<address>.<life>/s */
    const char *events_url;               /* borrowed */
    uint32_t life;                        /* of this process */
    tn_router_kernel_cb *to_kernel;
    void *arg;
};

/* Binds the socket of events; those of peers come with PEER_ADD. NULL with `err`. */
struct tn_router *tn_router_open(const struct tn_router_config *config, struct tn_err *err) TN_MUST_CHECK;
void tn_router_close(struct tn_router *router);
/* A message from tenond: for a peer, or (PEER_ADD, PEER_STATE) for the router itself. */
void tn_router_from_kernel(struct tn_router *router, const struct tn_header *header, const uint8_t *body);
/* Says READY to tenond for this process. */
void tn_router_tell_kernel(struct tn_router *router, enum tn_msg_kind kind, const char *body);
/* HEARTBEAT, the peers' traffic (BUS_STATUS), and who was cut off. To be called every few seconds. */
void tn_router_beat(struct tn_router *router);
/* The link to tenond takes messages again. */
void tn_router_kernel_ready(struct tn_router *router);

#endif
