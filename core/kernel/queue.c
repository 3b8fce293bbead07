#include "core/kernel/queue.h"

#include <stdlib.h>
#include <sys/queue.h>

struct frame {
    STAILQ_ENTRY(frame) next;
    void *message; /* owned */
    size_t size;
};

struct lane {
    TAILQ_ENTRY(lane) turn; /* while something waits in it */
    STAILQ_HEAD(, frame) frames;
    size_t count;
    size_t bytes;
};

struct tn_queue {
    void (*release)(void *message);
    TAILQ_HEAD(, lane) turns; /* the first is next */
    size_t count;
    size_t bytes;
    struct lane *lanes[TN_QUEUE_SOURCES]; /* owned; made with the first message */
};

struct tn_queue *tn_queue_new(void (*release)(void *message))
{
    struct tn_queue *queue = calloc(1, sizeof(*queue));

    if (queue == NULL)
        return NULL;
    queue->release = release;
    TAILQ_INIT(&queue->turns);
    return queue;
}

void tn_queue_free(struct tn_queue *queue)
{
    if (queue == NULL)
        return;
    tn_queue_clear(queue);
    for (size_t i = 0; i < TN_QUEUE_SOURCES; i++)
        free(queue->lanes[i]);
    free(queue);
}

void tn_queue_clear(struct tn_queue *queue)
{
    void *message;

    while ((message = tn_queue_next(queue, NULL)) != NULL) {
        tn_queue_pop(queue);
        queue->release(message);
    }
}

static struct lane *lane_of(struct tn_queue *queue, unsigned source)
{
    struct lane *lane = queue->lanes[source];

    if (lane != NULL || (lane = calloc(1, sizeof(*lane))) == NULL)
        return lane;
    STAILQ_INIT(&lane->frames);
    queue->lanes[source] = lane;
    return lane;
}

/* Both sums are far from overflow: what is in the queue is bounded, a message has a header's worth of length. */
static bool has_room(const struct tn_queue *queue, const struct lane *lane, size_t size)
{
    return queue->count == 0 ||
           (lane->bytes + size + queue->bytes <= TN_QUEUE_BYTES && lane->count + 1 + queue->count <= TN_QUEUE_MESSAGES);
}

bool tn_queue_put(struct tn_queue *queue, unsigned source, void *message, size_t size)
{
    struct lane *lane = lane_of(queue, source);
    struct frame *frame;

    if (lane == NULL || !has_room(queue, lane, size) || (frame = malloc(sizeof(*frame))) == NULL)
        return false;
    *frame = (struct frame){.message = message, .size = size};
    STAILQ_INSERT_TAIL(&lane->frames, frame, next);
    if (lane->count++ == 0)
        TAILQ_INSERT_TAIL(&queue->turns, lane, turn);
    lane->bytes += size;
    queue->count++;
    queue->bytes += size;
    return true;
}

void *tn_queue_next(const struct tn_queue *queue, size_t *size)
{
    const struct lane *lane = TAILQ_FIRST(&queue->turns);
    const struct frame *frame;

    if (lane == NULL)
        return NULL;
    frame = STAILQ_FIRST(&lane->frames);
    if (size != NULL)
        *size = frame->size;
    return frame->message;
}

void tn_queue_pop(struct tn_queue *queue)
{
    struct lane *lane = TAILQ_FIRST(&queue->turns);
    struct frame *frame = STAILQ_FIRST(&lane->frames);

    STAILQ_REMOVE_HEAD(&lane->frames, next);
    TAILQ_REMOVE(&queue->turns, lane, turn);
    if (--lane->count > 0)
        TAILQ_INSERT_TAIL(&queue->turns, lane, turn);
    lane->bytes -= frame->size;
    queue->count--;
    queue->bytes -= frame->size;
    free(frame);
}

size_t tn_queue_count(const struct tn_queue *queue)
{
    return queue->count;
}

size_t tn_queue_bytes(const struct tn_queue *queue)
{
    return queue->bytes;
}
