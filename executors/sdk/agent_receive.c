/* What comes from an agent: packets, the frames in them, and the owner's callbacks for each. A callback may free the
 * link: `freed` says so, and nothing of the link is touched after it is set. */
#include "core/lib/cleanup.h"
#include "core/lib/secret.h"
#include "executors/sdk/agent_link_internal.h"

#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

enum { TORN_WELCOMES_MAX = 16 }; /* on one connection */

static void forget_done(struct tn_agent_link *link, uint64_t number)
{
    bool some = false;

    while (link->first != NULL && link->first->number <= number) {
        struct tn_agent_queued *done = link->first;

        if (link->unsent == done)
            link->unsent = done->next;
        link->first = done->next;
        link->queued_bytes -= done->len;
        link->acked = done->number;
        tn_secret_free(done);
        some = true;
    }
    if (link->first == NULL)
        link->last = &link->first;
    if (some && link->callbacks.on_drain != NULL)
        link->callbacks.on_drain(link->arg);
}

/* Calls the owner. -1 if the payload is malformed. */
static int hand_out(struct tn_agent_link *link, const struct tn_agent_frame *frame, const uint8_t *payload)
{
    const struct tn_agent_callbacks *call = &link->callbacks;
    uint64_t offset = link->handed;
    char text[TN_AGENT_TEXT_MAX + 1];
    const char *note;
    uint32_t note_len;
    uint32_t code;
    struct tn_agent_exit end;
    struct tn_agent_window window;

    switch ((enum tn_agent_frame_type)frame->type) {
    case TN_AGENT_FRAME_OUT:
        if (call->on_out != NULL)
            call->on_out(link->arg, frame->channel, payload, frame->length, offset);
        return 0;
    case TN_AGENT_FRAME_EXIT:
        if (tn_agent_exit_get(payload, frame->length, &end) != 0)
            return -1;
        memcpy(text, end.text, end.text_len);
        text[end.text_len] = '\0';
        end.text = text;
        if (call->on_exit != NULL)
            call->on_exit(link->arg, frame->channel, &end, offset);
        return 0;
    case TN_AGENT_FRAME_WINDOW:
        if (tn_agent_window_get(payload, frame->length, &window) != 0)
            return -1;
        if (call->on_window != NULL)
            call->on_window(link->arg, frame->channel, window.applied, window.limit, offset);
        return 0;
    case TN_AGENT_FRAME_SPAWNED:
    case TN_AGENT_FRAME_WARN:
    case TN_AGENT_FRAME_ERROR:
        break;
    }
    if (tn_agent_note_get(payload, frame->length, &code, &note, &note_len) != 0)
        return -1;
    memcpy(text, note, note_len);
    text[note_len] = '\0';
    if (frame->type == TN_AGENT_FRAME_SPAWNED && call->on_spawned != NULL)
        call->on_spawned(link->arg, frame->channel, code, offset);
    if (frame->type == TN_AGENT_FRAME_WARN && call->on_warn != NULL)
        call->on_warn(link->arg, frame->channel,
                      code == TN_AGENT_WARN_MISSING ? TN_AGENT_WARN_MISSING : TN_AGENT_WARN_TEXT, text, offset);
    if (frame->type == TN_AGENT_FRAME_ERROR && call->on_error != NULL)
        call->on_error(link->arg, frame->channel, text, offset);
    return 0;
}

/* Hands out whole frames from `bytes`; returns how many bytes they took, -1 if one is malformed. Stops early when the
 * owner paused, freed or lost the link. */
static long take_frames(struct tn_agent_link *link, const uint8_t *bytes, size_t len, const bool *freed)
{
    size_t at = 0;

    while (len - at >= TN_AGENT_FRAME_HEADER && !link->paused) {
        struct tn_agent_frame frame;

        if (tn_agent_frame_get(bytes + at, &frame) != 0)
            return -1;
        if (len - at - TN_AGENT_FRAME_HEADER < frame.length)
            break;
        at += TN_AGENT_FRAME_HEADER + frame.length;
        link->handed += TN_AGENT_FRAME_HEADER + frame.length;
        if (hand_out(link, &frame, bytes + at - frame.length) != 0)
            return -1;
        if (*freed)
            return (long)at;
    }
    return (long)at;
}

int tn_agent_link__take_stream(struct tn_agent_link *link, const bool *freed)
{
    long used = take_frames(link, (const uint8_t *)link->stream.data, link->stream.len, freed);

    if (*freed || link->state != LINK_UP)
        return 1;
    if (used < 0) {
        tn_agent_link__lose(link, TN_ERR_PROTOCOL, "a frame of its stream is malformed, before offset %llu",
                            (unsigned long long)link->received);
        return 1;
    }
    tn_buf_consume(&link->stream, (size_t)used);
    return 0;
}

static int take_data(struct tn_agent_link *link, const struct tn_agent_packet *packet, const uint8_t *payload,
                     const bool *freed)
{
    long used;

    if (packet->number != link->received)
        return -1;
    link->received += packet->length;
    if (link->stream.len > 0 || link->paused) {
        tn_buf_add(&link->stream, payload, packet->length);
        return tn_agent_link__take_stream(link, freed);
    }
    /* Usually nothing is left over: then the frames are handed out where they lie. */
    used = take_frames(link, payload, packet->length, freed);
    if (*freed || link->state != LINK_UP)
        return 1;
    if (used < 0) {
        tn_agent_link__lose(link, TN_ERR_PROTOCOL, "a frame of its stream is malformed, before offset %llu",
                            (unsigned long long)link->received);
        return 1;
    }
    tn_buf_add(&link->stream, payload + used, packet->length - (size_t)used);
    return 0;
}

static int take_welcome(struct tn_agent_link *link, const struct tn_agent_packet *packet, const uint8_t *payload,
                        const bool *freed)
{
    struct tn_agent_welcome welcome;
    auto_free char *facts = NULL;
    uint64_t asked = link->handed;

    if (tn_agent_welcome_get(payload, packet->length, &welcome) != 0)
        return -1;
    if (link->state != LINK_GREETING || memcmp(welcome.nonce, link->nonce, sizeof(link->nonce)) != 0)
        return 0; /* the answer to an earlier HELLO: the right one follows */
    if (welcome.result == TN_AGENT_VERSIONS) {
        tn_agent_link__lose(link, TN_ERR_PROTOCOL, "it speaks version %u of the protocol, this executor version %u",
                            (unsigned)welcome.version, TN_AGENT_VERSION);
        return 1;
    }
    if (welcome.result == TN_AGENT_OTHER) {
        tn_agent_link__lose(link, TN_ERR_CONFLICT,
                            "it is another environment than the one that was known: its boot id differs");
        return 1;
    }
    facts = strndup(welcome.facts, welcome.facts_len);
    memcpy(link->boot, welcome.boot, sizeof(link->boot));
    link->handed = link->received = welcome.start;
    link->durable_sent = 0;
    if (link->durable > welcome.start) /* what the agent never had cannot be acknowledged */
        link->durable = welcome.start;
    link->state = LINK_UP;
    if (link->paused)
        event_del(link->read);
    link->retry_ms = TN_AGENT_RETRY_MIN_MS;
    event_del(link->timer);
    link->unsent = link->first;
    if (welcome.start != asked && link->callbacks.on_gap != NULL)
        link->callbacks.on_gap(link->arg, asked, welcome.start, (enum tn_agent_result)welcome.result);
    if (!*freed && welcome.applied > link->acked)
        forget_done(link, welcome.applied);
    if (!*freed && link->callbacks.on_hello != NULL)
        link->callbacks.on_hello(link->arg, facts != NULL ? facts : "", link->boot, welcome.head);
    return *freed || link->state != LINK_UP;
}

/* 0: go on; 1: the link was freed or lost; -1: the bytes are not what they should be. */
static int take_packet(struct tn_agent_link *link, const struct tn_agent_packet *packet, const uint8_t *payload,
                       const bool *freed)
{
    if (packet->type == TN_AGENT_WELCOME)
        return take_welcome(link, packet, payload, freed);
    if (link->state != LINK_UP)
        return 0; /* stale bytes of a port: before the matching nonce all is dropped */
    switch (packet->type) {
    case TN_AGENT_DATA:
        return take_data(link, packet, payload, freed);
    case TN_AGENT_DONE:
        forget_done(link, packet->number);
        return *freed || link->state != LINK_UP;
    case TN_AGENT_REPLACED:
        tn_agent_link__lose(link, TN_ERR_CONFLICT, "another executor has taken it over");
        return 1;
    default:
        return -1;
    }
}

int tn_agent_link__take_packets(struct tn_agent_link *link, const bool *freed)
{
    size_t at = 0;
    int result = 0;

    while (result == 0 && !tn_agent_link__holds_back(link) && link->in.len - at >= TN_AGENT_PACKET_HEADER) {
        const uint8_t *bytes = (const uint8_t *)link->in.data + at;
        struct tn_agent_packet packet;

        if (tn_agent_packet_get(bytes, &packet) != 0 ||
            (link->state != LINK_UP && packet.type != TN_AGENT_WELCOME)) {
            if (link->state == LINK_UP)
                return -1;
            at++; /* looking for the WELCOME behind what a port still held */
            continue;
        }
        if (link->in.len - at - TN_AGENT_PACKET_HEADER < packet.length)
            break;
        if (tn_agent_packet_verify(&packet, bytes + TN_AGENT_PACKET_HEADER) != 0) {
            /* Each costs a sum over its length, and a hostile agent could begin one every few bytes. */
            if (link->state == LINK_UP || ++link->torn_welcomes > TORN_WELCOMES_MAX)
                return -1;
            at++;
            continue;
        }
        at += TN_AGENT_PACKET_HEADER + packet.length;
        result = take_packet(link, &packet, bytes + TN_AGENT_PACKET_HEADER, freed);
        if (*freed || link->state == LINK_DEAD)
            return 1;
    }
    if (result == 0)
        tn_buf_consume(&link->in, at);
    return result;
}
