/* What each request of an executor or client does. Callbacks are thin: decode, call attempt.h, blobs.h or logs.h,
 * encode.
 *
 * A request whose need is still on its way (a write behind a gap, a close before its last byte, a checkpoint ahead of
 * the writes) waits here and is tried again after each step forward: the sender's duplicates are dropped by tn_peer
 * meanwhile. */
#ifndef TN_OUTPUT_TASK_H
#define TN_OUTPUT_TASK_H

#include "core/output/attempt.h"

enum { TN_TASK_WAITING_MAX = 128, TN_TASK_OPENING_BYTES = 64 * 1024 * 1024 };

struct tn_tasks {
    struct tn_attempts attempts;
    struct tn_blobs *blobs; /* borrowed */
    struct tn_works *works; /* borrowed */
    LIST_HEAD(, tn_find) finds;
    uint8_t key[TN_GRANT_KEY]; /* of grants, from the scheduler */
    bool has_key;
    TAILQ_HEAD(, tn_waiting) opening; /* TASK_OPENs that came before it */
    size_t opening_bytes;
};

/* Zeroed but for what the caller sets. */
void tn_task_init(struct tn_tasks *tasks);
/* The key of grants is known (LEASE_KEY): attempts can be opened. */
void tn_task_key(struct tn_tasks *tasks, const uint8_t key[TN_GRANT_KEY]);

/* Handles one message of a data socket; answers it now or later. */
void tn_task_message(struct tn_tasks *tasks, struct tn_peer *peer, const struct tn_msg *msg);
/* The peer is about to be closed: nothing of it may be answered any more. `address` is its. */
void tn_task_forget_peer(struct tn_tasks *tasks, struct tn_peer *peer, uint16_t address);
/* Frees everything, but not the threads; files stay. */
void tn_task_free_all(struct tn_tasks *tasks);

#endif
