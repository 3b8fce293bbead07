#include "core/kernel/router.h"
#include "core/kernel/router_internal.h"
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/json.h"
#include "core/lib/log.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    RECEIVE_CAP = 128,           /* of a peer's messages at a turn */
    RECEIVE_BYTES = 1024 * 1024, /* of these, until the turn is over */
};

static struct slot *find(struct tn_router *router, uint16_t address)
{
    enum tn_role role = TN_ADDRESS_ROLE(address);

    return role < TN_ROLE_COUNT ? router->by_address[role][TN_ADDRESS_INDEX(address)] : NULL;
}

/* ---- to a peer ---- */

void router__on_writable(evutil_socket_t fd, short what, void *arg)
{
    struct slot *slot = arg;
    const struct tn_transport *transport = slot->router->config.transport;
    struct tn_err err = TN_ERR_INIT;
    void *message;

    while ((message = tn_queue_next(slot->queue, NULL)) != NULL) {
        int sent = transport->send(slot->endpoint, message, &err);

        if (sent == 0)
            return;
        tn_queue_pop(slot->queue);
        if (sent < 0)
            transport->release(message);
    }
    slot->full = false;
    event_del(slot->writable);
}

/* False: dropped, since the lane has its share. */
static bool enqueue(struct slot *slot, unsigned lane, void *message, size_t size)
{
    char name[32];

    if (!tn_queue_put(slot->queue, lane, message, size)) {
        if (!slot->full)
            tn_warn("%s does not take its messages (%zu wait, %zu bytes): what comes more is dropped",
                    tn_address_name(slot->address, name, sizeof(name)), tn_queue_count(slot->queue),
                    tn_queue_bytes(slot->queue));
        slot->full = true;
        slot->router->config.transport->release(message);
        return false;
    }
    if (tn_queue_count(slot->queue) == 1)
        event_add(slot->writable, NULL);
    return true;
}

/* Takes the message over. False: it was dropped, since the destination takes no more of that lane. */
static bool deliver(struct slot *slot, unsigned lane, void *message, size_t size)
{
    const struct tn_transport *transport = slot->router->config.transport;
    struct tn_err err = TN_ERR_INIT;
    int sent;

    if (slot->endpoint == NULL || slot->down) {
        transport->release(message);
        return true;
    }
    if (tn_queue_count(slot->queue) > 0)
        return enqueue(slot, lane, message, size);
    sent = transport->send(slot->endpoint, message, &err);
    if (sent == 0)
        return enqueue(slot, lane, message, size);
    if (sent < 0)
        transport->release(message);
    return true;
}

static void *new_message(struct tn_router *router, const struct tn_header *header, const void *body)
{
    uint8_t *message = router->config.transport->allocate(TN_HEADER_SIZE + header->length);

    if (message == NULL)
        tn_fatal(3, "out of memory: %u bytes for %s", header->length, tn_msg_name(header->kind));
    tn_header_encode(header, message);
    if (header->length > 0)
        memcpy(message + TN_HEADER_SIZE, body, header->length);
    return message;
}

static struct tn_header own_header(struct tn_router *router, enum tn_msg_kind kind, uint16_t destination, size_t length)
{
    return (struct tn_header){.kind = (uint16_t)kind,
                              .source = TN_ADDRESS(TN_ROLE_BUS, 0),
                              .destination = destination,
                              .sequence = (uint64_t)router->config.life << 32 | ++router->counter,
                              .length = (uint32_t)length};
}

/* ---- to tenond ---- */

/* What the link does not take at once waits here, in turns too: no peer's requests stand before another's heartbeat. */
void tn_router_kernel_ready(struct tn_router *router)
{
    void *message;
    size_t size;

    while ((message = tn_queue_next(router->kernel, &size)) != NULL &&
           router->config.to_kernel(router->config.arg, message, size)) {
        tn_queue_pop(router->kernel);
        router->config.transport->release(message);
    }
}

/* Takes the message over. False: it was dropped, since tenond takes no more of that lane. */
static bool to_kernel(struct tn_router *router, unsigned lane, void *message, size_t size)
{
    bool room = tn_queue_put(router->kernel, lane, message, size);

    if (!room)
        router->config.transport->release(message);
    tn_router_kernel_ready(router);
    return room;
}

static void own_to_kernel(struct tn_router *router, const struct tn_header *header, const void *body)
{
    (void)to_kernel(router, TN_ROUTER_LANE_BUS, new_message(router, header, body), TN_HEADER_SIZE + header->length);
}

void tn_router_tell_kernel(struct tn_router *router, enum tn_msg_kind kind, const char *body)
{
    struct tn_header header = own_header(router, kind, TN_ADDRESS(TN_ROLE_KERNEL, 0), strlen(body));

    own_to_kernel(router, &header, body);
}

/* ---- to everybody ---- */

static void publish(struct tn_router *router, void *message)
{
    struct tn_err err = TN_ERR_INIT;

    if (router->config.transport->send(router->events, message, &err) != 1)
        router->config.transport->release(message);
}

/* {"event":"peer", ...PEER_STATE} */
static void publish_state(struct tn_router *router, const char *state)
{
    auto_free char *text = tn_fs_path("{\"event\":\"peer\",%s", state + 1);
    struct tn_header header = own_header(router, TN_MSG_EVENT, TN_ADDRESS(TN_ROLE_EVENTS, 0), strlen(text));

    publish(router, new_message(router, &header, text));
}

static void tell(struct slot *to, const struct slot *about, uint32_t flags)
{
    struct tn_header header = own_header(to->router, TN_MSG_PEER_STATE, to->address, strlen(about->state));

    header.flags = flags;
    (void)deliver(to, TN_ROUTER_LANE_BUS, new_message(to->router, &header, about->state),
                  TN_HEADER_SIZE + header.length);
}

static void tell_all_to(struct slot *to, uint32_t flags)
{
    struct tn_router *router = to->router;

    to->told = router->changes;
    for (size_t i = 0; i < router->count; i++)
        if (router->slots[i] != to)
            tell(to, router->slots[i], flags);
}

/* A new state of a peer: remembered, published, told to all others; and who comes up is told all the others' states. */
void router__note_state(struct slot *slot, const char *state, bool up)
{
    struct tn_router *router = slot->router;

    free(slot->state);
    slot->state = tn_fs_path("%s", state);
    router->changes++;
    publish_state(router, state);
    for (size_t i = 0; i < router->count; i++)
        if (router->slots[i] != slot)
            tell(router->slots[i], slot, 0);
    if (up)
        tell_all_to(slot, 0);
}

/* `reason` and `kinds` may be NULL. */
char *router__state_text(uint16_t address, uint32_t life, const char *name, const char *state, const char *reason,
                         const cJSON *kinds)
{
    auto_json cJSON *body = cJSON_CreateObject();

    cJSON_AddNumberToObject(body, "address", address);
    cJSON_AddNumberToObject(body, "life", life);
    cJSON_AddStringToObject(body, "name", name);
    cJSON_AddStringToObject(body, "state", state);
    if (reason != NULL)
        cJSON_AddStringToObject(body, "reason", reason);
    if (kinds != NULL)
        cJSON_AddItemToObject(body, "kinds", cJSON_Duplicate(kinds, true));
    return tn_json_print(body);
}

/* ---- from a peer ---- */

/* Clients are nobody's children and say no READY: their first word is it. And since a PEER_STATE can be lost when a
 * connection breaks, whoever may have missed one hears all of them again with its next heartbeat. */
static void hear(struct slot *slot, const struct tn_header *header)
{
    if (!slot->heard && TN_ADDRESS_ROLE(slot->address) == TN_ROLE_CLIENT) {
        char name[32];
        auto_free char *state = router__state_text(slot->address, slot->life,
                                                   tn_address_name(slot->address, name, sizeof(name)), "up", NULL, NULL);

        router__note_state(slot, state, true);
    }
    slot->heard = true;
    slot->heard_ms = router__now_ms();
    if (header->kind == TN_MSG_HEARTBEAT && slot->told != slot->router->changes)
        tell_all_to(slot, TN_MSG_FLAG_RESENT);
}

/* Takes the message over. */
static void route(struct slot *from, void *message, size_t size)
{
    struct tn_router *router = from->router;
    struct tn_header header;
    struct slot *to;

    if (!router__check(from, message, size, &header)) {
        router->config.transport->release(message);
        return;
    }
    hear(from, &header);
    tn_traffic_passed(&from->traffic, size);
    if (TN_ADDRESS_ROLE(header.destination) == TN_ROLE_EVENTS) {
        publish(router, message);
        return;
    }
    to = find(router, header.destination);
    if (to != NULL) {
        if (!deliver(to, from->index, message, size))
            router__note_drop(from, header.destination);
    } else if (TN_ADDRESS_ROLE(header.destination) == TN_ROLE_KERNEL) {
        if (!to_kernel(router, from->index, message, size))
            router__note_drop(from, header.destination);
    } else {
        router->config.transport->release(message);
    }
}

void router__on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct slot *slot = arg;
    struct tn_err err = TN_ERR_INIT;

    /* The descriptor stays readable while more is there, so the caps lose nothing and the others get their turn. */
    for (size_t i = 0, bytes = 0; i < RECEIVE_CAP && bytes < RECEIVE_BYTES && slot->endpoint != NULL; i++) {
        void *message;
        size_t size;
        int got = slot->router->config.transport->receive(slot->endpoint, &message, &size, &err);

        if (got < 0)
            tn_warn("%s", err.text);
        if (got <= 0)
            return;
        bytes += size;
        route(slot, message, size); /* may close the endpoint */
    }
}

/* ---- from tenond ---- */

static struct slot *slot_get(struct tn_router *router, uint16_t address)
{
    enum tn_role role = TN_ADDRESS_ROLE(address);
    struct slot *slot = find(router, address);

    if (slot != NULL || role >= TN_ROLE_COUNT || router->count == TN_ROUTER_SLOTS)
        return slot;
    slot = calloc(1, sizeof(*slot));
    if (slot == NULL)
        tn_fatal(3, "out of memory for a peer");
    slot->router = router;
    slot->address = address;
    slot->queue = tn_queue_new(router->config.transport->release);
    if (slot->queue == NULL)
        tn_fatal(3, "out of memory for a peer");
    slot->index = (unsigned)router->count;
    router->slots[router->count++] = slot;
    router->by_address[role][TN_ADDRESS_INDEX(address)] = slot;
    return slot;
}

static int add_peer(struct tn_router *router, const cJSON *body, struct tn_err *err)
{
    uint16_t address = (uint16_t)tn_json_u64(body, "address", 0);
    uint32_t life = (uint32_t)tn_json_u64(body, "life", 0);
    const char *name = tn_json_string(body, "name", "?");
    auto_free char *state = router__state_text(address, life, name, "added", NULL, tn_json_get(body, "kinds"));
    struct slot *slot = slot_get(router, address);

    if (slot == NULL)
        return tn_err_set(err, TN_ERR_PROTOCOL, "address 0x%04x belongs to no role, or %d peers are there", address,
                          TN_ROUTER_SLOTS);
    if (slot->endpoint != NULL && slot->life == life)
        return 0;
    if (slot->cut != NULL && slot->life == life)
        return tn_err_set(err, TN_ERR_CONFLICT, "%s was cut off in life %u: %s", name, life, slot->cut);
    if (life < slot->life)
        return tn_err_set(err, TN_ERR_CONFLICT, "life %u of %s is over, it is in life %u", life, name, slot->life);
    router__close_socket(slot);
    slot->life = life;
    slot->heard = false;
    slot->down = false;
    slot->full = false;
    slot->losses = 0;
    slot->heard_ms = 0;
    slot->refusals = 0;
    free(slot->cut);
    slot->cut = NULL;
    tn_traffic_new_life(&slot->traffic);
    router__start_checks(router);
    if (router__open_socket(slot, err) != 0) {
        slot->down = true;
        if (slot->state == NULL)
            slot->state = steal_ptr(&state);
        return tn_err_wrap(err, "no socket for %s", name);
    }
    router__note_state(slot, state, false);
    return 0;
}

static void set_state(struct tn_router *router, const cJSON *body)
{
    auto_free char *text = tn_json_print(body);
    uint16_t address = (uint16_t)tn_json_u64(body, "address", 0);
    const char *state = tn_json_string(body, "state", "");
    struct slot *slot = slot_get(router, address);

    if (slot == NULL || tn_json_u64(body, "life", 0) < slot->life)
        return;
    if (strcmp(state, "down") == 0 || strcmp(state, "failed") == 0) {
        slot->down = true;
        tn_queue_clear(slot->queue);
        if (slot->writable != NULL)
            event_del(slot->writable);
    }
    router__note_state(slot, text, strcmp(state, "up") == 0);
}

static void to_router(struct tn_router *router, const struct tn_header *header, const uint8_t *body)
{
    struct tn_err err = TN_ERR_INIT;
    auto_json cJSON *json = NULL;
    struct tn_header answer;

    if (header->kind != TN_MSG_PEER_ADD && header->kind != TN_MSG_PEER_STATE)
        return; /* the ACK of READY */
    json = tn_json_parse(body, header->length, tn_msg_name(header->kind), &err);
    if (header->kind == TN_MSG_PEER_STATE) {
        if (json != NULL)
            set_state(router, json);
        return;
    }
    answer = own_header(router, TN_MSG_ACK, header->source, 0);
    answer.in_reply_to = header->sequence;
    if (json != NULL && add_peer(router, json, &err) == 0) {
        own_to_kernel(router, &answer, NULL);
    } else {
        auto_json cJSON *why = cJSON_CreateObject();
        auto_free char *text = NULL;

        cJSON_AddStringToObject(why, "code", "failed");
        cJSON_AddStringToObject(why, "text", err.text);
        text = tn_json_print(why);
        answer.kind = TN_MSG_REFUSED;
        answer.length = (uint32_t)strlen(text);
        own_to_kernel(router, &answer, text);
    }
}

void tn_router_from_kernel(struct tn_router *router, const struct tn_header *header, const uint8_t *body)
{
    struct tn_err err = TN_ERR_INIT;
    struct slot *slot;

    if (TN_ADDRESS_ROLE(header->source) != TN_ROLE_KERNEL || tn_header_permit(header, TN_CHANNEL_BUS, &err) != 0) {
        tn_warn("dropped a message of tenond: %s", err.text);
        return;
    }
    if (TN_ADDRESS_ROLE(header->destination) == TN_ROLE_BUS) {
        to_router(router, header, body);
        return;
    }
    slot = find(router, header->destination);
    if (slot != NULL)
        (void)deliver(slot, TN_ROUTER_LANE_KERNEL, new_message(router, header, body), TN_HEADER_SIZE + header->length);
}

struct tn_router *tn_router_open(const struct tn_router_config *config, struct tn_err *err)
{
    struct tn_router *router = calloc(1, sizeof(*router));

    if (router == NULL) {
        tn_err_set(err, TN_ERR_SYSTEM, "out of memory for the router");
        return NULL;
    }
    router->config = *config;
    router->events = config->transport->open(config->events_url, TN_ENDPOINT_PUBLISH, err);
    if (router->events == NULL) {
        free(router);
        return NULL;
    }
    router->check = event_new(config->base, -1, EV_PERSIST, router__on_check, router);
    router->soon = evtimer_new(config->base, router__on_soon, router);
    router->kernel = tn_queue_new(config->transport->release);
    if (router->check == NULL || router->soon == NULL || router->kernel == NULL)
        tn_fatal(3, "out of memory for a timer");
    return router;
}

void tn_router_close(struct tn_router *router)
{
    if (router == NULL)
        return;
    for (size_t i = 0; i < router->count; i++) {
        router__close_socket(router->slots[i]);
        tn_queue_free(router->slots[i]->queue);
        free(router->slots[i]->state);
        free(router->slots[i]->cut);
        free(router->slots[i]);
    }
    event_free(router->check);
    event_free(router->soon);
    tn_queue_free(router->kernel);
    router->config.transport->close(router->events);
    free(router);
}
