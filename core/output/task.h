/* What each request of an executor or client does. Callbacks are thin: decode, call attempt.h, blobs.h or logs.h,
 * encode.
 *
 * A request whose need is still on its way (a write behind a gap, a close before its last byte, a checkpoint ahead of
 * the writes) waits here and is tried again after each step forward: the sender's duplicates are dropped by tn_peer
 * meanwhile. */
#ifndef TN_OUTPUT_TASK_H
#define TN_OUTPUT_TASK_H

#include "core/output/attempt.h"

enum { TN_TASK_WAITING_MAX = 128 };

struct tn_tasks {
    struct tn_attempts attempts;
    struct tn_blobs *blobs; /* borrowed */
    struct tn_works *works; /* borrowed */
    LIST_HEAD(, tn_find) finds;
};

/* Handles one message of a data socket; answers it now or later. */
void tn_task_message(struct tn_tasks *tasks, struct tn_peer *peer, const struct tn_msg *msg);
/* The peer is about to be closed: nothing of it may be answered any more. `address` is its. */
void tn_task_forget_peer(struct tn_tasks *tasks, struct tn_peer *peer, uint16_t address);
/* Frees everything, but not the threads; files stay. */
void tn_task_free_all(struct tn_tasks *tasks);

#endif
