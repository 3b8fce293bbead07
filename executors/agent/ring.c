#include "executors/agent/ring.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

int tn_ring_open(struct tn_ring *ring, size_t size, struct tn_err *err)
{
    void *data = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (data == MAP_FAILED)
        return tn_err_sys(err, errno, "a buffer of %zu bytes", size);
    /* Children are forked for every step: they need no copy, and without one the fork stays cheap. */
    madvise(data, size, MADV_DONTFORK);
    *ring = (struct tn_ring){.data = data, .size = size};
    return 0;
}

void tn_ring_close(struct tn_ring *ring)
{
    if (ring->data != NULL)
        munmap(ring->data, ring->size);
    ring->data = NULL;
}

int tn_ring_pieces(const struct tn_ring *ring, uint64_t offset, size_t len, struct iovec pieces[2])
{
    size_t at = (size_t)(offset % ring->size);
    size_t first = ring->size - at;

    pieces[0] = (struct iovec){ring->data + at, len < first ? len : first};
    if (len <= first)
        return 1;
    pieces[1] = (struct iovec){ring->data, len - first};
    return 2;
}

void tn_ring_write(struct tn_ring *ring, uint64_t offset, const void *bytes, size_t len)
{
    struct iovec pieces[2];
    int count = tn_ring_pieces(ring, offset, len, pieces);

    memcpy(pieces[0].iov_base, bytes, pieces[0].iov_len);
    if (count == 2)
        memcpy(pieces[1].iov_base, (const uint8_t *)bytes + pieces[0].iov_len, pieces[1].iov_len);
}

void tn_ring_put(struct tn_ring *ring, const void *bytes, size_t len)
{
    tn_ring_write(ring, ring->head, bytes, len);
    ring->head += len;
}
