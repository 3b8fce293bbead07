/* What waits for a destination of the bus: shares, turns, order. */
#include "core/kernel/queue.h"
#include "tests/unit/check.h"

#include <stdint.h>
#include <stdlib.h>

static unsigned released;

static void release(void *message)
{
    released++;
}

static void *tag(unsigned source, unsigned number)
{
    return (void *)((uintptr_t)source << 20 | (number + 1)); /* never NULL, never followed */
}

static size_t fill(struct tn_queue *queue, unsigned source, size_t size)
{
    size_t taken = 0;

    while (tn_queue_put(queue, source, tag(source, (unsigned)taken), size))
        taken++;
    return taken;
}

/* Whoever floods gets its share; who comes later still finds room. */
static void test_shares(void)
{
    struct tn_queue *queue = tn_queue_new(release);

    CHECK_INT(fill(queue, 0, 48), TN_QUEUE_MESSAGES / 2);
    CHECK_INT(fill(queue, 1, 48), TN_QUEUE_MESSAGES / 4);
    CHECK(tn_queue_put(queue, 2, tag(2, 0), 48));
    CHECK(!tn_queue_put(queue, 0, tag(0, 1), 48));
    released = 0;
    tn_queue_clear(queue);
    CHECK_INT(released, TN_QUEUE_MESSAGES / 2 + TN_QUEUE_MESSAGES / 4 + 1);
    CHECK(tn_queue_count(queue) == 0 && tn_queue_bytes(queue) == 0 && tn_queue_next(queue, NULL) == NULL);

    /* The same by bytes. */
    CHECK_INT(fill(queue, 0, 1 << 20), 8);
    CHECK_INT(fill(queue, 1, 1 << 20), 4);
    CHECK(tn_queue_put(queue, 2, tag(2, 0), 1 << 20));
    CHECK(tn_queue_bytes(queue) <= TN_QUEUE_BYTES);
    tn_queue_clear(queue);

    /* One that is larger than everything passes alone, and nothing passes beside it. */
    CHECK(tn_queue_put(queue, 3, tag(3, 0), 4 * TN_QUEUE_BYTES));
    CHECK(!tn_queue_put(queue, 4, tag(4, 0), 48));
    tn_queue_free(queue);
}

/* Sources in turn, each in its own order. */
static void test_turns(void)
{
    struct tn_queue *queue = tn_queue_new(release);
    void *expected[] = {tag(5, 0), tag(6, 0), tag(7, 0), tag(5, 1), tag(7, 1), tag(5, 2)};
    size_t size = 0;

    for (unsigned i = 0; i < 3; i++)
        CHECK(tn_queue_put(queue, 5, tag(5, i), 100 + i));
    CHECK(tn_queue_put(queue, 6, tag(6, 0), 7));
    for (unsigned i = 0; i < 2; i++)
        CHECK(tn_queue_put(queue, TN_QUEUE_SOURCES - 1, tag(7, i), 9));
    for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
        CHECK(tn_queue_next(queue, &size) == expected[i]);
        tn_queue_pop(queue);
    }
    CHECK_INT(size, 102);
    CHECK_INT(tn_queue_count(queue), 0);
    tn_queue_free(queue);
    tn_queue_free(NULL);
}

int main(void)
{
    test_shares();
    test_turns();
    return tn_check_result();
}
