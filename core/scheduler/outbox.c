#include "core/scheduler/outbox.h"
#include "core/lib/json.h"
#include "core/lib/log.h"
#include "core/scheduler/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum held_type { HELD_REPLY, HELD_NOTICE, HELD_REQUEST };

struct tn_held {
    STAILQ_ENTRY(tn_held) next;
    enum held_type type;
    struct tn_msg_ref answers;
    struct tn_held_request message;
};

void tn_outbox_init(struct tn_outbox *outbox)
{
    STAILQ_INIT(&outbox->held);
    outbox->count = 0;
}

static struct tn_held *take(struct tn_outbox *outbox)
{
    struct tn_held *held = STAILQ_FIRST(&outbox->held);

    if (held != NULL) {
        STAILQ_REMOVE_HEAD(&outbox->held, next);
        outbox->count--;
    }
    return held;
}

static void release(struct tn_held *held)
{
    free(held->message.body);
    free(held);
}

void tn_outbox_clear(struct tn_outbox *outbox)
{
    struct tn_held *held;

    while ((held = take(outbox)) != NULL)
        release(held);
}

static struct tn_held *hold(struct tn_outbox *outbox, enum held_type type, enum tn_msg_kind kind, char *body)
{
    struct tn_held *held = tn_model_alloc(1, sizeof(*held));

    held->type = type;
    held->message.kind = kind;
    held->message.body = body;
    STAILQ_INSERT_TAIL(&outbox->held, held, next);
    outbox->count++;
    return held;
}

static size_t length(const char *body)
{
    return body != NULL ? strlen(body) : 0;
}

void tn_outbox_reply(struct tn_outbox *outbox, const struct tn_msg_ref *request, enum tn_msg_kind kind, char *body)
{
    if (length(body) > tn_msg_info(kind)->max_body) {
        tn_outbox_refuse(outbox, request, "limit", "the answer %s would have %zu bytes, at most %u are allowed",
                         tn_msg_name(kind), length(body), (unsigned)tn_msg_info(kind)->max_body);
        free(body);
        return;
    }
    hold(outbox, HELD_REPLY, kind, body)->answers = *request;
}

void tn_outbox_refuse(struct tn_outbox *outbox, const struct tn_msg_ref *request, const char *code, const char *fmt,
                      ...)
{
    auto_json cJSON *body = cJSON_CreateObject();
    char text[2048];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    cJSON_AddStringToObject(body, "code", code);
    cJSON_AddStringToObject(body, "text", text);
    tn_outbox_reply(outbox, request, TN_MSG_REFUSED, tn_json_print(body));
}

void tn_outbox_notify(struct tn_outbox *outbox, enum tn_msg_kind kind, uint16_t destination, char *body)
{
    if (length(body) > tn_msg_info(kind)->max_body) {
        tn_warn("a %s notice of %zu bytes is dropped, at most %u are allowed", tn_msg_name(kind), length(body),
                (unsigned)tn_msg_info(kind)->max_body);
        free(body);
        return;
    }
    hold(outbox, HELD_NOTICE, kind, body)->message.destination = destination;
}

void tn_outbox_request(struct tn_outbox *outbox, const struct tn_held_request *request)
{
    hold(outbox, HELD_REQUEST, request->kind, NULL)->message = *request;
}

static void send_one(const struct tn_held *held, struct tn_peer *peer)
{
    const struct tn_held_request *message = &held->message;
    size_t size = length(message->body);

    switch (held->type) {
    case HELD_REPLY:
        tn_peer_reply(peer, &held->answers, message->kind, message->body, size);
        return;
    case HELD_NOTICE:
        tn_peer_notify(peer, message->kind, message->destination, 0, 0, message->body, size);
        return;
    case HELD_REQUEST:
        if (message->still == NULL || message->still(message->arg, message->attempt))
            tn_peer_request(peer, message->kind, message->destination, message->task, message->attempt, message->body,
                            size, 0, message->cb, message->arg);
        return;
    }
}

void tn_outbox_send(struct tn_outbox *outbox, struct tn_peer *peer)
{
    struct tn_held *held;

    while ((held = take(outbox)) != NULL) {
        send_one(held, peer);
        release(held);
    }
}
