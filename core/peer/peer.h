/* One end of a message channel: sends requests until they are answered, drops duplicates, fences earlier lives.
 *
 * A *request* is a message whose kind has a reply. It is kept and sent again (after 1, 2, 4, 8, 8 … seconds, and at
 * once when PEER_STATE says that its destination is up) until its reply or REFUSED arrives. The receiver's peer calls
 * `on_message` once for it: a duplicate of a request in progress is dropped, one of an answered request gets the same
 * answer again (answers over 4 KiB are not kept: then `on_message` is called again, so handlers whose answers can be
 * large must not mind). A process that restarts forgets all that: so every request names what it is about (task,
 * attempt, id) and its handler is idempotent in these names.
 * A *notice* is a message whose kind has none. It may be lost.
 *
 * A connection that has gone deaf is made anew: see tn_peer_reconnect().
 *
 * Messages can arrive out of order after a reconnect; who needs order sends the next request from the callback of the
 * last. Everything runs in one libevent loop; nothing blocks; not thread-safe. */
#ifndef TN_PEER_H
#define TN_PEER_H

#include "core/lib/err.h"
#include "proto/codec.h"
#include "transports/transport.h"

#include <event2/event.h>

#include <stdbool.h>
#include <stdint.h>

struct tn_peer; /* opaque */

struct tn_msg {
    struct tn_header header;
    const uint8_t *body; /* borrowed, header.length bytes; one NUL byte is NOT promised behind it */
};

/* What a later answer needs to know of a request. Copy it out of the message with tn_msg_ref(). */
struct tn_msg_ref {
    uint16_t kind;
    uint16_t source;
    uint64_t sequence;
    uint64_t task;
    uint32_t attempt;
};

typedef void tn_message_cb(void *arg, struct tn_peer *peer, const struct tn_msg *msg);
/* `reply` is borrowed; NULL when the deadline passed. Its kind is the request's reply kind or TN_MSG_REFUSED. */
typedef void tn_reply_cb(void *arg, const struct tn_msg *reply);

struct tn_peer_config {
    struct event_base *base;              /* borrowed */
    const struct tn_transport *transport; /* borrowed */
    const char *url;
    enum tn_endpoint_mode mode;  /* TN_ENDPOINT_BIND or TN_ENDPOINT_CONNECT */
    enum tn_msg_channel channel; /* what may travel here; checked on every message */
    uint16_t self;               /* own address */
    uint16_t remote;             /* DATA: the only address at the other end; BUS: 0, any (the router checks) */
    uint32_t life;               /* own life, from tenond */
    tn_message_cb *on_message;   /* requests and notices */
    void *arg;
    bool once; /* this process may open no second socket: in place of a reconnect it ends, to be started anew */
};

/* Opens the endpoint; never waits for the other end. NULL with `err`. `config` is copied, `url` too. */
struct tn_peer *tn_peer_open(const struct tn_peer_config *config, struct tn_err *err) TN_MUST_CHECK;
/* Drops everything that is queued; no callback is called any more. NULL is allowed. */
void tn_peer_close(struct tn_peer *peer);

/* Sends a request. `body` is copied. `deadline_ms` 0 means: until answered. Returns its sequence; `cb` may be NULL.
 * Fails only for what this process does wrong (a kind it may not send, a body over the kind's bound). */
uint64_t tn_peer_request(struct tn_peer *peer, enum tn_msg_kind kind, uint16_t destination, uint64_t task,
                         uint32_t attempt, const void *body, size_t length, unsigned deadline_ms, tn_reply_cb *cb,
                         void *arg);
/* The same with a body in two pieces, so that a prefix needs no copy of the rest (STREAM_WRITE). */
uint64_t tn_peer_request2(struct tn_peer *peer, enum tn_msg_kind kind, uint16_t destination, uint64_t task,
                          uint32_t attempt, const void *prefix, size_t prefix_length, const void *body, size_t length,
                          unsigned deadline_ms, tn_reply_cb *cb, void *arg);
/* Sends a notice. */
void tn_peer_notify(struct tn_peer *peer, enum tn_msg_kind kind, uint16_t destination, uint64_t task, uint32_t attempt,
                    const void *body, size_t length);
/* Answers a request, now or later. Answer each exactly once. */
void tn_peer_reply(struct tn_peer *peer, const struct tn_msg_ref *request, enum tn_msg_kind kind, const void *body,
                   size_t length);
void tn_peer_reply2(struct tn_peer *peer, const struct tn_msg_ref *request, enum tn_msg_kind kind, const void *prefix,
                    size_t prefix_length, const void *body, size_t length);
/* Answers with REFUSED: {"code": "...", "text": "..."}. Codes: see proto/README.md. */
void tn_peer_refuse(struct tn_peer *peer, const struct tn_msg_ref *request, const char *code, const char *fmt, ...)
    TN_PRINTF(4, 5);

/* What an answer needs of a request; may be kept after the message is gone. */
struct tn_msg_ref tn_msg_ref(const struct tn_msg *msg);

/* Forgets all unanswered requests whose callback argument is `arg`: their callbacks are not called any more. */
void tn_peer_forget(struct tn_peer *peer, const void *arg);
/* Sends all unanswered requests to `address` again now. Done by itself when PEER_STATE says "up". */
void tn_peer_kick(struct tn_peer *peer, uint16_t address);
/* Makes the connection anew and sends all unanswered requests again. Done by itself when a request has waited for five
 * seconds in which nothing at all arrived. Only for TN_ENDPOINT_CONNECT. */
void tn_peer_reconnect(struct tn_peer *peer);
/* For TN_ENDPOINT_BIND, again and again: binds anew if twice in a row connections came and nothing arrived for
 * `deaf_ms`. A bound PAIR can take its dead connection for a living one, and then refuses all others. */
void tn_peer_check(struct tn_peer *peer, unsigned deaf_ms);
/* PEER_STATE said that the one process at the other end of a data socket is up in this life: a new life means a new
 * connection, the life that was known only that what waits is sent now. */
void tn_peer_note_life(struct tn_peer *peer, uint32_t life);

#endif
