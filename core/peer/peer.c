#include "core/peer/peer.h"
#include "core/lib/log.h"
#include "core/lib/secret.h"
#include "core/peer/seen.h"

#include <cjson/cJSON.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <time.h>

enum {
    BUCKETS = 1024,         /* of unanswered requests by sequence */
    RECEIVE_CAP = 128,      /* messages a wake-up, so that one peer cannot starve the other events of a loop */
    RESEND_FIRST_MS = 1000, /* doubled up to RESEND_MAX_MS */
    RESEND_MAX_MS = 8000,
    SOON_MS = 2,      /* between reconnects while nobody is there */
    TICK_MS = 250,    /* how often unanswered requests are looked at, while there are any */
    SILENT_MS = 5000, /* without any message while a request waits: the connection is made anew */
};

struct request {
    TAILQ_ENTRY(request) by_age; /* in the order of sending: kept when they are sent again */
    LIST_ENTRY(request) by_bucket;
    struct tn_header header;
    uint8_t *body; /* owned */
    uint64_t due_ms;
    uint64_t deadline_ms; /* 0: none */
    unsigned wait_ms;
    tn_reply_cb *cb;
    void *arg;
};

struct frame {
    STAILQ_ENTRY(frame) next;
    void *message; /* the transport's memory, owned until sent */
    size_t size;
};

struct tn_peer {
    struct tn_peer_config config;
    char *url; /* owned */
    struct tn_endpoint *endpoint;
    struct event *readable;
    struct event *writable;
    struct event *tick;
    struct event *soon; /* a reconnect that does not wait for the tick */
    uint32_t counter;
    TAILQ_HEAD(, request) requests;
    LIST_HEAD(, request) buckets[BUCKETS];
    size_t outstanding;
    STAILQ_HEAD(, frame) queue;
    size_t queued_bytes;
    uint64_t heard_ms;    /* when anything arrived, or the endpoint was opened */
    bool blocked;         /* the queue cannot be sent now */
    uint32_t remote_life; /* as tn_peer_note_life() heard it; 0: never */
    unsigned long losses; /* at the last tn_peer_check() */
    bool suspect;         /* it looked then as if all that come were refused */
    struct tn_seen *seen;
};

static uint64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u;
}

/* ---- sending ---- */

static bool may_reconnect(const struct tn_peer *peer)
{
    return peer->config.mode == TN_ENDPOINT_CONNECT && peer->config.transport->losses(peer->endpoint) > 0;
}

static void start_tick(struct tn_peer *peer)
{
    struct timeval tick = {TICK_MS / 1000, TICK_MS % 1000 * 1000};

    if (!event_pending(peer->tick, EV_TIMEOUT, NULL))
        event_add(peer->tick, &tick);
}

/* Not at once: as long as nobody is there a new socket fails like the old one, and a loop that is never done with what
 * is active hears neither signals nor timers. */
static void reconnect_soon(struct tn_peer *peer)
{
    static const struct timeval soon = {0, SOON_MS * 1000};

    if (!event_pending(peer->soon, EV_TIMEOUT, NULL))
        event_add(peer->soon, &soon);
}

static void flush_queue(struct tn_peer *peer)
{
    struct tn_err err = TN_ERR_INIT;
    struct frame *frame;

    while ((frame = STAILQ_FIRST(&peer->queue)) != NULL) {
        int sent = peer->config.transport->send(peer->endpoint, frame->message, &err);

        if (sent == 0) {
            peer->blocked = true;
            start_tick(peer);
            if (may_reconnect(peer)) /* from the loop, for the caller is using the queue */
                reconnect_soon(peer);
            event_add(peer->writable, NULL);
            return;
        }
        peer->blocked = false;
        if (sent < 0) {
            tn_warn("%s; the message is dropped", err.text);
            peer->config.transport->release(frame->message);
        }
        STAILQ_REMOVE_HEAD(&peer->queue, next);
        peer->queued_bytes -= frame->size;
        free(frame);
    }
    event_del(peer->writable);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    flush_queue(arg);
}

static void send_message(struct tn_peer *peer, const struct tn_header *header, const void *prefix, size_t prefix_length,
                         const void *body, size_t length)
{
    size_t size = TN_HEADER_SIZE + prefix_length + length;
    uint8_t *message = peer->config.transport->allocate(size);
    struct frame *frame = calloc(1, sizeof(*frame));

    if (message == NULL || frame == NULL)
        tn_fatal(3, "out of memory: %zu bytes for a %s message", size, tn_msg_name(header->kind));
    tn_header_encode(header, message);
    if (prefix_length > 0)
        memcpy(message + TN_HEADER_SIZE, prefix, prefix_length);
    if (length > 0)
        memcpy(message + TN_HEADER_SIZE + prefix_length, body, length);
    frame->message = message;
    frame->size = size;
    STAILQ_INSERT_TAIL(&peer->queue, frame, next);
    peer->queued_bytes += size;
    if (STAILQ_FIRST(&peer->queue) == frame)
        flush_queue(peer);
}

static struct tn_header new_header(struct tn_peer *peer, enum tn_msg_kind kind, uint16_t destination, uint64_t task,
                                   uint32_t attempt, size_t length)
{
    struct tn_header header = {.kind = (uint16_t)kind,
                               .source = peer->config.self,
                               .destination = destination,
                               .sequence = (uint64_t)peer->config.life << 32 | ++peer->counter,
                               .task = task,
                               .attempt = attempt,
                               .length = (uint32_t)length};
    struct tn_err err = TN_ERR_INIT;
    const struct tn_msg_info *info = tn_msg_info(kind);

    if (info == NULL || length > info->max_body || tn_header_permit(&header, peer->config.channel, &err) != 0)
        tn_fatal(3, "this process tries to send %s of %zu bytes to 0x%04x: %s", tn_msg_name(kind), length, destination,
                 err.text);
    return header;
}

void tn_peer_notify(struct tn_peer *peer, enum tn_msg_kind kind, uint16_t destination, uint64_t task, uint32_t attempt,
                    const void *body, size_t length)
{
    struct tn_header header = new_header(peer, kind, destination, task, attempt, length);

    send_message(peer, &header, NULL, 0, body, length);
}

uint64_t tn_peer_request(struct tn_peer *peer, enum tn_msg_kind kind, uint16_t destination, uint64_t task,
                         uint32_t attempt, const void *body, size_t length, unsigned deadline_ms, tn_reply_cb *cb,
                         void *arg)
{
    return tn_peer_request2(peer, kind, destination, task, attempt, NULL, 0, body, length, deadline_ms, cb, arg);
}

uint64_t tn_peer_request2(struct tn_peer *peer, enum tn_msg_kind kind, uint16_t destination, uint64_t task,
                          uint32_t attempt, const void *prefix, size_t prefix_length, const void *body, size_t length,
                          unsigned deadline_ms, tn_reply_cb *cb, void *arg)
{
    struct tn_header header = new_header(peer, kind, destination, task, attempt, prefix_length + length);
    struct request *request = calloc(1, sizeof(*request));
    uint64_t now = now_ms();

    if (request != NULL)
        request->body = malloc(prefix_length + length + 1);
    if (request == NULL || request->body == NULL)
        tn_fatal(3, "out of memory: %zu bytes for a %s request", length, tn_msg_name(kind));
    request->header = header;
    if (prefix_length > 0)
        memcpy(request->body, prefix, prefix_length);
    if (length > 0)
        memcpy(request->body + prefix_length, body, length);
    request->wait_ms = RESEND_FIRST_MS;
    request->due_ms = now + RESEND_FIRST_MS;
    request->deadline_ms = deadline_ms != 0 ? now + deadline_ms : 0;
    request->cb = cb;
    request->arg = arg;
    TAILQ_INSERT_TAIL(&peer->requests, request, by_age);
    LIST_INSERT_HEAD(&peer->buckets[header.sequence % BUCKETS], request, by_bucket);
    if (peer->outstanding++ == 0) {
        peer->heard_ms = now; /* nothing was to be heard before */
        start_tick(peer);
    }
    send_message(peer, &header, prefix, prefix_length, body, length);
    return header.sequence;
}

static void request_free(struct tn_peer *peer, struct request *request)
{
    TAILQ_REMOVE(&peer->requests, request, by_age);
    LIST_REMOVE(request, by_bucket);
    tn_secret_free(request->body);
    free(request);
    if (--peer->outstanding == 0 && !peer->blocked)
        event_del(peer->tick);
}

static void request_resend(struct tn_peer *peer, struct request *request, uint64_t now)
{
    request->header.flags |= TN_MSG_FLAG_RESENT;
    request->due_ms = now + request->wait_ms;
    tn_debug("sends %s to 0x%04x again", tn_msg_name(request->header.kind), request->header.destination);
    send_message(peer, &request->header, NULL, 0, request->body, request->header.length);
}

static int open_endpoint(struct tn_peer *peer, struct tn_err *err);
static void leave_endpoint(struct tn_peer *peer);

/* nanomsg connects again by itself, but a PAIR whose other end died can take its dead connection for a living one and
 * then refuses every new one, for good. A fresh socket never does. What was in flight is lost, and sent again. */
static void renew_endpoint(struct tn_peer *peer)
{
    struct tn_err err = TN_ERR_INIT;
    struct request *request;

    leave_endpoint(peer);
    /* First: a bound PAIR that still has the old connection, maybe a good one, refuses the new one. */
    peer->config.transport->close(peer->endpoint);
    if (open_endpoint(peer, &err) != 0)
        tn_fatal(3, "%s", err.text);
    TAILQ_FOREACH (request, &peer->requests, by_age)
        request_resend(peer, request, now_ms());
}

void tn_peer_reconnect(struct tn_peer *peer)
{
    if (peer->config.mode != TN_ENDPOINT_CONNECT)
        return;
    if (peer->config.once)
        tn_fatal(3, "the bus is silent, and this process may open no second socket: it must be started anew");
    renew_endpoint(peer);
}

void tn_peer_check(struct tn_peer *peer, unsigned deaf_ms)
{
    unsigned long losses = peer->config.transport->losses(peer->endpoint);
    bool silent = now_ms() - peer->heard_ms >= deaf_ms;
    bool is_deaf = silent && peer->suspect;

    /* A good new connection costs two as well, but is heard at once. */
    peer->suspect = silent && losses > peer->losses + 1;
    peer->losses = losses;
    if (!is_deaf)
        return;
    tn_info("the other end of %s connects and is not heard: the socket is bound anew", peer->url);
    peer->losses = 0;
    peer->suspect = false;
    renew_endpoint(peer);
}

void tn_peer_note_life(struct tn_peer *peer, uint32_t life)
{
    bool is_new = peer->remote_life != 0 ? life != peer->remote_life : may_reconnect(peer);

    if (is_new)
        tn_peer_reconnect(peer);
    else
        tn_peer_kick(peer, peer->config.remote);
    peer->remote_life = life;
}

/* Requests that are due are sent again, but not while the queue is still full of what could not be sent at all. */
static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    struct tn_peer *peer = arg;
    uint64_t now = now_ms();
    struct request *request = TAILQ_FIRST(&peer->requests);

    if (peer->outstanding == 0 && !peer->blocked) {
        event_del(peer->tick);
        return;
    }
    if ((peer->blocked && may_reconnect(peer)) ||
        (peer->config.mode == TN_ENDPOINT_CONNECT && peer->outstanding > 0 && now - peer->heard_ms >= SILENT_MS)) {
        tn_peer_reconnect(peer);
        return;
    }
    while (request != NULL) {
        struct request *next = TAILQ_NEXT(request, by_age);

        if (request->deadline_ms != 0 && now >= request->deadline_ms) {
            tn_reply_cb *cb = request->cb;
            void *cb_arg = request->arg;

            request_free(peer, request);
            if (cb != NULL) {
                cb(cb_arg, NULL);
                return; /* the callback may have changed the list; the rest at the next tick */
            }
        } else if (now >= request->due_ms && peer->queued_bytes == 0) {
            request->wait_ms = request->wait_ms * 2 > RESEND_MAX_MS ? RESEND_MAX_MS : request->wait_ms * 2;
            request_resend(peer, request, now);
        }
        request = next;
    }
}

void tn_peer_kick(struct tn_peer *peer, uint16_t address)
{
    struct request *request;
    uint64_t now = now_ms();

    TAILQ_FOREACH (request, &peer->requests, by_age) {
        if (request->header.destination != address)
            continue;
        request->wait_ms = RESEND_FIRST_MS;
        request_resend(peer, request, now);
    }
}

void tn_peer_forget(struct tn_peer *peer, const void *arg)
{
    struct request *request = TAILQ_FIRST(&peer->requests);

    while (request != NULL) {
        struct request *next = TAILQ_NEXT(request, by_age);

        if (request->arg == arg)
            request_free(peer, request);
        request = next;
    }
}

/* ---- answering ---- */

void tn_peer_reply(struct tn_peer *peer, const struct tn_msg_ref *request, enum tn_msg_kind kind, const void *body,
                   size_t length)
{
    tn_peer_reply2(peer, request, kind, NULL, 0, body, length);
}

void tn_peer_reply2(struct tn_peer *peer, const struct tn_msg_ref *request, enum tn_msg_kind kind, const void *prefix,
                    size_t prefix_length, const void *body, size_t length)
{
    struct tn_header header =
        new_header(peer, kind, request->source, request->task, request->attempt, prefix_length + length);

    header.in_reply_to = request->sequence;
    tn_seen_answered(peer->seen, request->source, request->sequence, kind, prefix_length == 0 ? body : NULL,
                     prefix_length == 0 ? length : SIZE_MAX);
    send_message(peer, &header, prefix, prefix_length, body, length);
}

/* ---- receiving ---- */

static void take_reply(struct tn_peer *peer, const struct tn_msg *msg)
{
    struct request *request;

    LIST_FOREACH (request, &peer->buckets[msg->header.in_reply_to % BUCKETS], by_bucket) {
        const struct tn_msg_info *info;
        tn_reply_cb *cb = request->cb;
        void *arg = request->arg;

        if (request->header.sequence != msg->header.in_reply_to)
            continue;
        info = tn_msg_info(request->header.kind);
        if (msg->header.source != request->header.destination ||
            (msg->header.kind != info->reply && msg->header.kind != TN_MSG_REFUSED)) {
            tn_warn("%s from 0x%04x does not answer %s to 0x%04x; dropped", tn_msg_name(msg->header.kind),
                    msg->header.source, info->name, request->header.destination);
            return;
        }
        request_free(peer, request);
        if (cb != NULL)
            cb(arg, msg);
        return;
    }
    /* The answer to a request that was sent twice: the first answer was enough. */
}

static void take_request(struct tn_peer *peer, const struct tn_msg *msg)
{
    struct tn_seen_answer answer;

    switch (tn_seen_enter(peer->seen, msg->header.source, msg->header.sequence, &answer)) {
    case TN_SEEN_NEW:
        peer->config.on_message(peer->config.arg, peer, msg);
        return;
    case TN_SEEN_IN_PROGRESS:
        return;
    case TN_SEEN_ANSWERED: {
        struct tn_header header = new_header(peer, (enum tn_msg_kind)answer.kind, msg->header.source, msg->header.task,
                                             msg->header.attempt, answer.length);

        header.in_reply_to = msg->header.sequence;
        send_message(peer, &header, NULL, 0, answer.body, answer.length);
        return;
    }
    case TN_SEEN_STALE:
        tn_warn("%s from an earlier life of 0x%04x; dropped", tn_msg_name(msg->header.kind), msg->header.source);
        return;
    }
}

/* PEER_STATE {"address":N,"state":"up",...}: what waits for that peer is sent now, not at the next tick. */
static void note_peer_state(struct tn_peer *peer, const struct tn_msg *msg)
{
    cJSON *body = cJSON_ParseWithLength((const char *)msg->body, msg->header.length);
    const cJSON *address = cJSON_GetObjectItemCaseSensitive(body, "address");
    const cJSON *state = cJSON_GetObjectItemCaseSensitive(body, "state");

    if (cJSON_IsNumber(address) && cJSON_IsString(state) && strcmp(state->valuestring, "up") == 0)
        tn_peer_kick(peer, (uint16_t)address->valueint);
    cJSON_Delete(body);
}

static void take_message(struct tn_peer *peer, const uint8_t *message, size_t size)
{
    struct tn_msg msg;
    struct tn_err err = TN_ERR_INIT;
    const struct tn_msg_info *info;

    if (tn_header_decode(message, size, &msg.header, &err) != 0 ||
        tn_header_permit(&msg.header, peer->config.channel, &err) != 0) {
        tn_warn("dropped a message: %s", err.text);
        return;
    }
    if (msg.header.destination != peer->config.self ||
        (peer->config.remote != 0 && msg.header.source != peer->config.remote)) {
        tn_warn("dropped %s from 0x%04x to 0x%04x: not for this socket", tn_msg_name(msg.header.kind),
                msg.header.source, msg.header.destination);
        return;
    }
    msg.body = message + TN_HEADER_SIZE;
    info = tn_msg_info(msg.header.kind);
    if (msg.header.in_reply_to != 0) {
        take_reply(peer, &msg);
    } else if (info->reply != TN_MSG_NONE) {
        take_request(peer, &msg);
    } else {
        if (msg.header.kind == TN_MSG_PEER_STATE)
            note_peer_state(peer, &msg);
        peer->config.on_message(peer->config.arg, peer, &msg);
    }
}

/* Leases, masks and contexts are nobody's any more. Output is too much for that, and masked. */
static void wipe(void *message, size_t size)
{
    struct tn_header header;

    if (tn_header_decode(message, size, &header, NULL) != 0 ||
        (header.kind != TN_MSG_STREAM_WRITE && header.kind != TN_MSG_BLOB_DATA && header.kind != TN_MSG_LOG_DATA))
        explicit_bzero(message, size);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct tn_peer *peer = arg;
    struct tn_err err = TN_ERR_INIT;

    /* The descriptor stays readable while more is there. Activating an event from here instead would keep libevent in
     * its queue of active events and starve every other descriptor. */
    for (int i = 0; i < RECEIVE_CAP; i++) {
        void *message;
        size_t size;
        int got = peer->config.transport->receive(peer->endpoint, &message, &size, &err);

        if (got < 0)
            tn_warn("%s", err.text);
        if (got <= 0)
            return;
        peer->heard_ms = now_ms();
        take_message(peer, message, size);
        wipe(message, size);
        peer->config.transport->release(message);
    }
}

/* ---- life ---- */

static int open_endpoint(struct tn_peer *peer, struct tn_err *err)
{
    const struct tn_peer_config *config = &peer->config;

    peer->endpoint = config->transport->open(peer->url, config->mode, err);
    if (peer->endpoint == NULL)
        return -1;
    peer->readable =
        event_new(config->base, config->transport->receive_fd(peer->endpoint), EV_READ | EV_PERSIST, on_readable, peer);
    /* nanomsg signals "may send" by making its descriptor readable. */
    peer->writable =
        event_new(config->base, config->transport->send_fd(peer->endpoint), EV_READ | EV_PERSIST, on_writable, peer);
    if (peer->readable == NULL || peer->writable == NULL)
        tn_fatal(3, "out of memory for the events of %s", peer->url);
    event_add(peer->readable, NULL);
    peer->heard_ms = now_ms();
    return 0;
}

/* Its events and its queue. Closing the endpoint, which closes their descriptors, is for the caller, afterwards. */
static void leave_endpoint(struct tn_peer *peer)
{
    struct frame *frame;

    event_free(peer->readable);
    event_free(peer->writable);
    while ((frame = STAILQ_FIRST(&peer->queue)) != NULL) {
        STAILQ_REMOVE_HEAD(&peer->queue, next);
        peer->config.transport->release(frame->message);
        free(frame);
    }
    peer->queued_bytes = 0;
    peer->blocked = false;
}

struct tn_peer *tn_peer_open(const struct tn_peer_config *config, struct tn_err *err)
{
    struct tn_peer *peer = calloc(1, sizeof(*peer));

    if (peer == NULL || (peer->seen = tn_seen_new()) == NULL) {
        free(peer);
        tn_err_set(err, TN_ERR_SYSTEM, "out of memory for a peer");
        return NULL;
    }
    peer->config = *config;
    TAILQ_INIT(&peer->requests);
    STAILQ_INIT(&peer->queue);
    peer->url = strdup(config->url);
    peer->tick = event_new(config->base, -1, EV_PERSIST, on_tick, peer);
    peer->soon = evtimer_new(config->base, on_tick, peer);
    if (peer->url == NULL || peer->tick == NULL || peer->soon == NULL)
        tn_fatal(3, "out of memory for %s", config->url);
    if (open_endpoint(peer, err) != 0) {
        event_free(peer->tick);
        event_free(peer->soon);
        tn_seen_free(peer->seen);
        free(peer->url);
        free(peer);
        return NULL;
    }
    return peer;
}

void tn_peer_close(struct tn_peer *peer)
{
    if (peer == NULL)
        return;
    while (!TAILQ_EMPTY(&peer->requests))
        request_free(peer, TAILQ_FIRST(&peer->requests));
    leave_endpoint(peer);
    peer->config.transport->close(peer->endpoint);
    event_free(peer->tick);
    event_free(peer->soon);
    tn_seen_free(peer->seen);
    free(peer->url);
    free(peer);
}
