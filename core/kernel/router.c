#include "core/kernel/router.h"
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

enum { RECEIVE_CAP = 128, SLOT_MAX = 512, CHECK_MS = 250, CHECKS = 120, LOSSES_MAX = 2, RESTLESS_MAX = 2 };

struct frame {
    STAILQ_ENTRY(frame) next;
    void *message; /* the transport's memory, owned until sent */
    size_t size;
};

/* One peer, in one life. */
struct slot {
    struct tn_router *router; /* borrowed */
    uint16_t address;
    uint32_t life;
    struct tn_endpoint *endpoint; /* owned; NULL when only its state is known */
    struct event *readable;       /* owned */
    struct event *writable;       /* owned */
    char *folder;                 /* owned; of its socket */
    char *state;                  /* owned; body of its last PEER_STATE */
    bool heard;                   /* it has said something */
    bool down;                    /* what is sent to it is dropped */
    unsigned long told;           /* `changes` when it was last told everything */
    STAILQ_HEAD(, frame) queue;
    size_t queued_bytes;
    size_t queued;
    bool full;
    unsigned long losses;  /* of the endpoint at the last check */
    unsigned restless;     /* checks in a row that found more of them */
    unsigned long dropped; /* messages of it that were not let through */
    unsigned long unsaid;  /* of these, since the last log line */
    time_t said;
};

struct tn_router {
    struct tn_router_config config;
    struct tn_endpoint *events; /* owned */
    struct event *check;        /* owned; looks for sockets that do not find back */
    unsigned checks;            /* left until it rests */
    uint32_t counter;
    unsigned long changes; /* of any peer's state */
    size_t count;
    struct slot *slots[SLOT_MAX]; /* in the order of arrival */
    struct slot *by_address[TN_ROLE_COUNT][256];
};

static struct slot *find(struct tn_router *router, uint16_t address)
{
    enum tn_role role = TN_ADDRESS_ROLE(address);

    return role < TN_ROLE_COUNT ? router->by_address[role][TN_ADDRESS_INDEX(address)] : NULL;
}

/* ---- to a peer ---- */

static void queue_clear(struct slot *slot)
{
    struct frame *frame;

    while ((frame = STAILQ_FIRST(&slot->queue)) != NULL) {
        STAILQ_REMOVE_HEAD(&slot->queue, next);
        slot->router->config.transport->release(frame->message);
        free(frame);
    }
    slot->queued_bytes = 0;
    slot->queued = 0;
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    struct slot *slot = arg;
    const struct tn_transport *transport = slot->router->config.transport;
    struct tn_err err = TN_ERR_INIT;
    struct frame *frame;

    while ((frame = STAILQ_FIRST(&slot->queue)) != NULL) {
        int sent = transport->send(slot->endpoint, frame->message, &err);

        if (sent == 0)
            return;
        if (sent < 0)
            transport->release(frame->message);
        STAILQ_REMOVE_HEAD(&slot->queue, next);
        slot->queued_bytes -= frame->size;
        slot->queued--;
        free(frame);
    }
    slot->full = false;
    event_del(slot->writable);
}

static void enqueue(struct slot *slot, void *message, size_t size)
{
    struct frame *frame;
    char name[32];

    if (slot->queued > 0 &&
        (slot->queued_bytes + size > TN_ROUTER_QUEUE_BYTES || slot->queued >= TN_ROUTER_QUEUE_MESSAGES)) {
        if (!slot->full)
            tn_warn("%s does not take its messages (%zu wait, %zu bytes): what comes more is dropped",
                    tn_address_name(slot->address, name, sizeof(name)), slot->queued, slot->queued_bytes);
        slot->full = true;
        slot->router->config.transport->release(message);
        return;
    }
    frame = malloc(sizeof(*frame));
    if (frame == NULL)
        tn_fatal(3, "out of memory for a queue");
    *frame = (struct frame){.message = message, .size = size};
    STAILQ_INSERT_TAIL(&slot->queue, frame, next);
    slot->queued_bytes += size;
    if (slot->queued++ == 0)
        event_add(slot->writable, NULL);
}

/* Takes the message over. */
static void deliver(struct slot *slot, void *message, size_t size)
{
    const struct tn_transport *transport;
    struct tn_err err = TN_ERR_INIT;
    int sent;

    transport = slot->router->config.transport;
    if (slot->endpoint == NULL || slot->down) {
        transport->release(message);
        return;
    }
    if (slot->queued > 0) {
        enqueue(slot, message, size);
        return;
    }
    sent = transport->send(slot->endpoint, message, &err);
    if (sent == 0)
        enqueue(slot, message, size);
    else if (sent < 0)
        transport->release(message);
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

void tn_router_tell_kernel(struct tn_router *router, enum tn_msg_kind kind, const char *body)
{
    struct tn_header header = own_header(router, kind, TN_ADDRESS(TN_ROLE_KERNEL, 0), strlen(body));

    router->config.to_kernel(router->config.arg, &header, body);
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
    deliver(to, new_message(to->router, &header, about->state), TN_HEADER_SIZE + header.length);
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
static void note_state(struct slot *slot, const char *state, bool up)
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

static char *state_text(uint16_t address, uint32_t life, const char *name, const char *state)
{
    auto_json cJSON *body = cJSON_CreateObject();

    cJSON_AddNumberToObject(body, "address", address);
    cJSON_AddNumberToObject(body, "life", life);
    cJSON_AddStringToObject(body, "name", name);
    cJSON_AddStringToObject(body, "state", state);
    return tn_json_print(body);
}

/* ---- from a peer ---- */

static void refuse(struct slot *slot, const char *why)
{
    time_t now = time(NULL);
    char name[32];

    slot->dropped++;
    slot->unsaid++;
    if (slot->said == now)
        return;
    tn_warn("dropped a message of %s (%lu of it so far, %lu since last said): %s",
            tn_address_name(slot->address, name, sizeof(name)), slot->dropped, slot->unsaid, why);
    slot->said = now;
    slot->unsaid = 0;
}

static bool check(struct slot *slot, const void *message, size_t size, struct tn_header *header)
{
    struct tn_err err = TN_ERR_INIT;
    char name[32];

    if (tn_header_decode(message, size, header, &err) != 0)
        ;
    else if (header->source != slot->address)
        tn_err_set(&err, TN_ERR_PROTOCOL, "%s says that it comes from %s", tn_msg_name(header->kind),
                   tn_address_name(header->source, name, sizeof(name)));
    else if (TN_SEQUENCE_LIFE(header->sequence) != slot->life)
        tn_err_set(&err, TN_ERR_PROTOCOL, "%s is of life %u, this socket's is %u", tn_msg_name(header->kind),
                   TN_SEQUENCE_LIFE(header->sequence), slot->life);
    else if (tn_header_permit(header, TN_CHANNEL_BUS, &err) == 0)
        return true;
    refuse(slot, err.text);
    return false;
}

/* Clients are nobody's children and say no READY: their first word is it. And since a PEER_STATE can be lost when a
 * connection breaks, whoever may have missed one hears all of them again with its next heartbeat. */
static void hear(struct slot *slot, const struct tn_header *header)
{
    if (!slot->heard && TN_ADDRESS_ROLE(slot->address) == TN_ROLE_CLIENT) {
        char name[32];
        auto_free char *state =
            state_text(slot->address, slot->life, tn_address_name(slot->address, name, sizeof(name)), "up");

        note_state(slot, state, true);
    }
    slot->heard = true;
    if (header->kind == TN_MSG_HEARTBEAT && slot->told != slot->router->changes)
        tell_all_to(slot, TN_MSG_FLAG_RESENT);
}

/* Takes the message over. */
static void route(struct slot *from, void *message, size_t size)
{
    struct tn_router *router = from->router;
    struct tn_header header;
    struct slot *to;

    if (!check(from, message, size, &header)) {
        router->config.transport->release(message);
        return;
    }
    hear(from, &header);
    if (TN_ADDRESS_ROLE(header.destination) == TN_ROLE_EVENTS) {
        publish(router, message);
        return;
    }
    to = find(router, header.destination);
    if (to != NULL) {
        deliver(to, message, size);
        return;
    }
    if (TN_ADDRESS_ROLE(header.destination) == TN_ROLE_KERNEL)
        router->config.to_kernel(router->config.arg, &header, (uint8_t *)message + TN_HEADER_SIZE);
    router->config.transport->release(message);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct slot *slot = arg;
    struct tn_err err = TN_ERR_INIT;

    /* The descriptor stays readable while more is there, so the cap loses nothing and the others get their turn. */
    for (int i = 0; i < RECEIVE_CAP; i++) {
        void *message;
        size_t size;
        int got = slot->router->config.transport->receive(slot->endpoint, &message, &size, &err);

        if (got < 0)
            refuse(slot, err.text);
        if (got <= 0)
            return;
        route(slot, message, size);
    }
}

/* ---- from tenond ---- */

static void slot_close_socket(struct slot *slot)
{
    if (slot->endpoint == NULL)
        return;
    event_free(slot->readable); /* before nanomsg closes the descriptor */
    event_free(slot->writable);
    slot->readable = NULL;
    slot->writable = NULL;
    queue_clear(slot);
    slot->router->config.transport->close(slot->endpoint);
    slot->endpoint = NULL;
    if (slot->folder != NULL) {
        auto_free char *path = tn_fs_path("%s/s", slot->folder);

        if ((unlink(path) != 0 && errno != ENOENT) || (rmdir(slot->folder) != 0 && errno != ENOENT))
            tn_warn("cannot remove %s: %s", slot->folder, strerror(errno));
    }
    free(slot->folder);
    slot->folder = NULL;
}

static int slot_open_socket(struct slot *slot, struct tn_err *err)
{
    struct tn_router *router = slot->router;
    const struct tn_transport *transport = router->config.transport;
    auto_free char *url = NULL;

    slot->folder = tn_fs_path("%s/%04x.%08x", router->config.folder, (unsigned)slot->address, (unsigned)slot->life);
    url = tn_fs_path("ipc://%s/s", slot->folder);
    if (mkdir(slot->folder, 0700) != 0 && errno != EEXIST)
        return tn_err_sys(err, errno, "cannot make the folder %s", slot->folder);
    slot->endpoint = transport->open(url, TN_ENDPOINT_BIND, err);
    if (slot->endpoint == NULL)
        return -1;
    slot->readable =
        event_new(router->config.base, transport->receive_fd(slot->endpoint), EV_READ | EV_PERSIST, on_readable, slot);
    /* "May send", too, is said by becoming readable. */
    slot->writable =
        event_new(router->config.base, transport->send_fd(slot->endpoint), EV_READ | EV_PERSIST, on_writable, slot);
    if (slot->readable == NULL || slot->writable == NULL)
        tn_fatal(3, "out of memory for the events of %s", url);
    event_add(slot->readable, NULL);
    return 0;
}

/* Connections break when a process dies, and then another one is added, or this bus is a new one: the check runs for
 * half a minute from there and rests otherwise, so that an idle bus is not woken. */
static void start_checks(struct tn_router *router)
{
    const struct timeval every = {0, CHECK_MS * 1000};

    if (router->checks == 0 && event_add(router->check, &every) != 0)
        tn_fatal(3, "out of memory for a timer");
    router->checks = CHECKS;
}

/* A peer that comes again and again within a moment is refused by a socket that takes its dead connection for a living
 * one (transports/ipc/ipc.c): that socket is bound anew. What waits for the peer stays in the queue. */
static void on_check(evutil_socket_t fd, short what, void *arg)
{
    struct tn_router *router = arg;

    if (--router->checks == 0)
        event_del(router->check);
    for (size_t i = 0; i < router->count; i++) {
        struct slot *slot = router->slots[i];
        unsigned long losses = slot->endpoint != NULL ? router->config.transport->losses(slot->endpoint) : 0;
        struct tn_err err = TN_ERR_INIT;
        char name[32];

        slot->restless = losses > slot->losses ? slot->restless + 1 : 0;
        if (losses <= slot->losses + LOSSES_MAX && slot->restless <= RESTLESS_MAX) {
            slot->losses = losses;
            continue;
        }
        tn_info("%s connects again and again: its socket is bound anew",
                tn_address_name(slot->address, name, sizeof(name)));
        event_free(slot->readable);
        event_free(slot->writable);
        router->config.transport->close(slot->endpoint);
        free(slot->folder);
        slot->losses = 0;
        slot->restless = 0;
        if (slot_open_socket(slot, &err) != 0)
            tn_fatal(3, "%s", err.text); /* tenond starts another bus */
        if (slot->queued > 0)
            event_add(slot->writable, NULL);
    }
}

static struct slot *slot_get(struct tn_router *router, uint16_t address)
{
    enum tn_role role = TN_ADDRESS_ROLE(address);
    struct slot *slot = find(router, address);

    if (slot != NULL || role >= TN_ROLE_COUNT || router->count == SLOT_MAX)
        return slot;
    slot = calloc(1, sizeof(*slot));
    if (slot == NULL)
        tn_fatal(3, "out of memory for a peer");
    slot->router = router;
    slot->address = address;
    STAILQ_INIT(&slot->queue);
    router->slots[router->count++] = slot;
    router->by_address[role][TN_ADDRESS_INDEX(address)] = slot;
    return slot;
}

static int add_peer(struct tn_router *router, const cJSON *body, struct tn_err *err)
{
    uint16_t address = (uint16_t)tn_json_u64(body, "address", 0);
    uint32_t life = (uint32_t)tn_json_u64(body, "life", 0);
    const char *name = tn_json_string(body, "name", "?");
    auto_free char *state = state_text(address, life, name, "added");
    struct slot *slot = slot_get(router, address);

    if (slot == NULL)
        return tn_err_set(err, TN_ERR_PROTOCOL, "address 0x%04x belongs to no role, or %d peers are there", address,
                          SLOT_MAX);
    if (slot->endpoint != NULL && slot->life == life)
        return 0;
    if (life < slot->life)
        return tn_err_set(err, TN_ERR_CONFLICT, "life %u of %s is over, it is in life %u", life, name, slot->life);
    slot_close_socket(slot);
    slot->life = life;
    slot->heard = false;
    slot->down = false;
    slot->full = false;
    slot->losses = 0;
    start_checks(router);
    if (slot_open_socket(slot, err) != 0) {
        slot->down = true;
        if (slot->state == NULL)
            slot->state = steal_ptr(&state);
        return tn_err_wrap(err, "no socket for %s", name);
    }
    note_state(slot, state, false);
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
        queue_clear(slot);
        if (slot->writable != NULL)
            event_del(slot->writable);
    }
    note_state(slot, text, strcmp(state, "up") == 0);
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
        router->config.to_kernel(router->config.arg, &answer, NULL);
    } else {
        auto_json cJSON *why = cJSON_CreateObject();
        auto_free char *text = NULL;

        cJSON_AddStringToObject(why, "code", "failed");
        cJSON_AddStringToObject(why, "text", err.text);
        text = tn_json_print(why);
        answer.kind = TN_MSG_REFUSED;
        answer.length = (uint32_t)strlen(text);
        router->config.to_kernel(router->config.arg, &answer, text);
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
        deliver(slot, new_message(router, header, body), TN_HEADER_SIZE + header->length);
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
    router->check = event_new(config->base, -1, EV_PERSIST, on_check, router);
    if (router->check == NULL)
        tn_fatal(3, "out of memory for a timer");
    return router;
}

void tn_router_close(struct tn_router *router)
{
    if (router == NULL)
        return;
    for (size_t i = 0; i < router->count; i++) {
        slot_close_socket(router->slots[i]);
        free(router->slots[i]->state);
        free(router->slots[i]);
    }
    event_free(router->check);
    router->config.transport->close(router->events);
    free(router);
}
