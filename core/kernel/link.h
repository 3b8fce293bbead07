/* The stream between tenond and tenon-bus: the same messages as everywhere, one after the other on a socket pair.
 *
 * A stream and not datagrams, since a message of 1 MiB must fit; the length in the header frames it. Both sides bound
 * what they read (a broken length ends the link) and what they queue. Neither side blocks. */
#ifndef TN_KERNEL_LINK_H
#define TN_KERNEL_LINK_H

#include "core/lib/err.h"
#include "proto/codec.h"

#include <event2/event.h>

#include <stdbool.h>
#include <stdint.h>

/* The largest body that may be sent to tenond or by it, and the bytes that may wait. */
#define TN_LINK_BODY_MAX TN_MIB(1)
#define TN_LINK_QUEUE_MAX TN_MIB(16)
/* With so many waiting, who has a queue of its own keeps the rest there (tn_link_is_busy). */
#define TN_LINK_BUSY TN_KIB(32)

struct tn_link; /* opaque */

typedef void tn_link_message_cb(void *arg, const struct tn_header *header, const uint8_t *body);
/* The other side closed, or sent what is no message. Called at most once; the link may be freed in it. */
typedef void tn_link_broken_cb(void *arg, const char *why);

/* Takes the descriptor over. NULL when there is no memory. */
struct tn_link *tn_link_open(struct event_base *base, int fd, tn_link_message_cb *on_message,
                             tn_link_broken_cb *on_broken, void *arg, struct tn_err *err) TN_MUST_CHECK;
/* `on_drained` is called each time that what was queued has left. */
typedef void tn_link_drained_cb(void *arg);
void tn_link_on_drained(struct tn_link *link, tn_link_drained_cb *on_drained);
/* TN_LINK_BUSY bytes wait already. */
bool tn_link_is_busy(const struct tn_link *link);
/* NULL is allowed. Not from on_message. */
void tn_link_close(struct tn_link *link);
/* Queues a message with `header->length` bytes of body. -1 (and a log line, once) when TN_LINK_QUEUE_MAX bytes wait. */
int tn_link_send(struct tn_link *link, const struct tn_header *header, const void *body);
/* The same for a message whose header is encoded already. */
int tn_link_send_message(struct tn_link *link, const void *message, size_t size);

#endif
