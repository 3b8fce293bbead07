/* What waits for one destination of the bus: a lane for each source, served in turn, and no source can crowd out
 * another.
 *
 * A source may have at most as much waiting as is still free (half of all if it is alone, a third if there are two, and
 * so on), so whoever has nothing waiting always finds room, however many flood. The order within a lane is kept. Pure:
 * messages are pointers. */
#ifndef TN_KERNEL_QUEUE_H
#define TN_KERNEL_QUEUE_H

#include <stdbool.h>
#include <stddef.h>

/* For all sources together. A single message may be larger than the bytes when nothing else waits. */
#define TN_QUEUE_BYTES ((size_t)16 * 1024 * 1024)
enum { TN_QUEUE_MESSAGES = 4096, TN_QUEUE_SOURCES = 514 };

struct tn_queue; /* opaque */

/* `release` frees a message that never left. NULL when there is no memory. */
struct tn_queue *tn_queue_new(void (*release)(void *message));
/* Releases what waits. NULL is allowed. */
void tn_queue_free(struct tn_queue *queue);
void tn_queue_clear(struct tn_queue *queue);

/* Takes the message over. False, and the message is still the caller's: the source (below TN_QUEUE_SOURCES) has its
 * share already, or there is no memory. */
bool tn_queue_put(struct tn_queue *queue, unsigned source, void *message, size_t size);
/* The next message in turn, or NULL; it stays where it is. `size` may be NULL. */
void *tn_queue_next(const struct tn_queue *queue, size_t *size);
/* Drops that one without releasing it: it left. */
void tn_queue_pop(struct tn_queue *queue);

size_t tn_queue_count(const struct tn_queue *queue);
size_t tn_queue_bytes(const struct tn_queue *queue);

#endif
