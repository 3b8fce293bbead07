/* Messages that may leave only once the ledger has committed what they say. */
#ifndef TN_SCHEDULER_OUTBOX_H
#define TN_SCHEDULER_OUTBOX_H

#include "core/peer/peer.h"

#include <sys/queue.h>

struct tn_held; /* one held message */

struct tn_outbox {
    STAILQ_HEAD(, tn_held) held;
    size_t count;
};

/* Empty. */
void tn_outbox_init(struct tn_outbox *outbox);
void tn_outbox_clear(struct tn_outbox *outbox);

/* `body` is a text that the outbox frees; NULL is an empty body. One over its kind's bound becomes a refusal with
 * `limit`. */
void tn_outbox_reply(struct tn_outbox *outbox, const struct tn_msg_ref *request, enum tn_msg_kind kind, char *body);
void tn_outbox_refuse(struct tn_outbox *outbox, const struct tn_msg_ref *request, const char *code, const char *fmt,
                      ...) TN_PRINTF(4, 5);
/* One over its kind's bound is dropped and logged: notices may be lost. */
void tn_outbox_notify(struct tn_outbox *outbox, enum tn_msg_kind kind, uint16_t destination, char *body);
/* The caller checks the bound. `still` is asked when it would leave: false drops it. */
struct tn_held_request {
    enum tn_msg_kind kind;
    uint16_t destination;
    uint64_t task;
    uint32_t attempt;
    char *body;
    bool (*still)(const void *arg, uint32_t attempt); /* NULL: always */
    tn_reply_cb *cb;
    void *arg;
};
void tn_outbox_request(struct tn_outbox *outbox, const struct tn_held_request *request);

/* Sends all, in order. */
void tn_outbox_send(struct tn_outbox *outbox, struct tn_peer *peer);

#endif
