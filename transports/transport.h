/* What can carry the bus: one small table of functions a transport.
 *
 * An endpoint carries whole messages, keeps their order while a connection lasts, and may lose what is in flight when
 * it breaks; it connects again by itself. No function blocks. Message memory belongs to the transport: allocated with
 * `allocate`, released with `release`, or handed over by a successful `send`. */
#ifndef TN_TRANSPORT_H
#define TN_TRANSPORT_H

#include "core/lib/err.h"

#include <stddef.h>

enum tn_endpoint_mode {
    TN_ENDPOINT_BIND,      /* one of two: the side that owns the address */
    TN_ENDPOINT_CONNECT,   /* one of two: the other side */
    TN_ENDPOINT_PUBLISH,   /* owns the address, sends to whoever listens */
    TN_ENDPOINT_SUBSCRIBE, /* listens to everything published */
};

struct tn_endpoint; /* opaque, one a socket */

struct tn_transport {
    const char *name;
    /* NULL on failure. `url` is the transport's own notation, e.g. "ipc:///run/tenon/bus/s". */
    struct tn_endpoint *(*open)(const char *url, enum tn_endpoint_mode mode, struct tn_err *err);
    void (*close)(struct tn_endpoint *endpoint);
    /* Descriptor that becomes readable when `receive` (or `send`) may succeed; -1 if the mode cannot. Never read it. */
    int (*receive_fd)(struct tn_endpoint *endpoint);
    int (*send_fd)(struct tn_endpoint *endpoint);
    /* Messages larger than `size` bytes are not received: the connection that brings one is broken off. */
    void (*limit)(struct tn_endpoint *endpoint, size_t size);
    /* A count that grows with each connection that it lost, or (BIND) that came; 0 for one that connects while it has a
     * connection, or one is under way. An endpoint that lost one may not find
     * back by itself: open a new one, close this one. */
    unsigned long (*losses)(struct tn_endpoint *endpoint);
    void *(*allocate)(size_t size);
    void (*release)(void *message);
    /* 1: sent, and `message` is the transport's; 0: not now, `message` is still the caller's; -1: broken. */
    int (*send)(struct tn_endpoint *endpoint, void *message, struct tn_err *err);
    /* 1: `*message` (release it) and `*size` are set; 0: nothing there; -1: broken. */
    int (*receive)(struct tn_endpoint *endpoint, void **message, size_t *size, struct tn_err *err);
};

#endif
