/* A ring of bytes addressed by 64-bit offsets that never wrap: what lies in [base, head) is kept.
 *
 * Used for the spool of output (base: acknowledged, head: written) and for a channel's stdin (base: taken by the
 * program, head: received). The memory is one mapping of fixed size that a fork does not copy. */
#ifndef TN_AGENT_RING_H
#define TN_AGENT_RING_H

#include "core/lib/err.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct tn_ring {
    uint8_t *data; /* owned; NULL while closed */
    size_t size;
    uint64_t base;
    uint64_t head;
};

/* -1 if the memory is not to be had. */
TN_MUST_CHECK int tn_ring_open(struct tn_ring *ring, size_t size, struct tn_err *err);
void tn_ring_close(struct tn_ring *ring);
static inline size_t tn_ring_room(const struct tn_ring *ring)
{
    return ring->size - (size_t)(ring->head - ring->base);
}
/* Describes `len` bytes from `offset` on; returns 1 or 2, the number of pieces. The caller keeps within the ring. */
int tn_ring_pieces(const struct tn_ring *ring, uint64_t offset, size_t len, struct iovec pieces[2]);
/* Copies to `offset` (at or behind the head, within the room) without moving the head. */
void tn_ring_write(struct tn_ring *ring, uint64_t offset, const void *bytes, size_t len);
/* Appends; the caller has checked the room. */
void tn_ring_put(struct tn_ring *ring, const void *bytes, size_t len);

#endif
