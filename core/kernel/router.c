#include "core/kernel/router.h"
#include "core/kernel/queue.h"
#include "core/kernel/traffic.h"
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
    SLOT_MAX = 512,
    LANE_BUS = SLOT_MAX, /* in queues: what the bus itself says; below, the peers */
    LANE_KERNEL,         /* what tenond says */
    LANES,
    CHECK_MS = 250,
    CHECKS = 120,
    LOSSES_MAX = 2,
    RESTLESS_MAX = 2,
    ALIVE_MS = 4000, /* more than a heartbeat: who was heard in it has a connection that works */
    SAY_ALL = 16,    /* so many refusals of a life are logged, then one a second */
    SOON_MS = 100,   /* between a refusal and what tenond hears of it */
};
_Static_assert((int)LANES == (int)TN_QUEUE_SOURCES, "a lane for everybody");

/* One peer, in one life. */
struct slot {
    struct tn_router *router; /* borrowed */
    uint16_t address;
    uint32_t life;
    struct tn_endpoint *endpoint; /* owned; NULL when only its state is known */
    struct event *readable;       /* owned */
    struct event *writable;       /* owned */
    char *state;                  /* owned; body of its last PEER_STATE */
    bool heard;                   /* it has said something */
    bool down;                    /* what is sent to it is dropped */
    unsigned long told;           /* `changes` when it was last told everything */
    unsigned index;               /* in `slots`: its lane in queues */
    struct tn_queue *queue;       /* owned; what waits for it */
    bool full;                    /* and that it takes no more was said */
    char *cut;                    /* owned; why it was cut off in this life; NULL: it was not */
    uint64_t heard_ms;            /* when it last said something; 0: not yet */
    unsigned long losses;         /* of the endpoint at the last check */
    unsigned restless;            /* checks in a row that found more of them */
    struct tn_traffic traffic;
    uint64_t told_messages; /* of `traffic`, when tenond was last told */
    uint64_t told_faults;
    unsigned refusals; /* in this life */
    uint64_t unsaid;   /* of these, since the last log line */
    time_t said;
};

struct tn_router {
    struct tn_router_config config;
    struct tn_endpoint *events; /* owned */
    struct event *check;        /* owned; looks for sockets that do not find back */
    struct event *soon;         /* owned; tenond is to hear of what was refused */
    struct tn_queue *kernel;    /* owned; what waits for tenond */
    unsigned checks;            /* left until it rests */
    uint32_t counter;
    unsigned long changes; /* of any peer's state */
    size_t count;
    struct slot *slots[SLOT_MAX]; /* in the order of arrival */
    struct slot *by_address[TN_ROLE_COUNT][256];
};

static uint64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u;
}

static struct slot *find(struct tn_router *router, uint16_t address)
{
    enum tn_role role = TN_ADDRESS_ROLE(address);

    return role < TN_ROLE_COUNT ? router->by_address[role][TN_ADDRESS_INDEX(address)] : NULL;
}

/* ---- to a peer ---- */

static void on_writable(evutil_socket_t fd, short what, void *arg)
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
    (void)to_kernel(router, LANE_BUS, new_message(router, header, body), TN_HEADER_SIZE + header->length);
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
    (void)deliver(to, LANE_BUS, new_message(to->router, &header, about->state), TN_HEADER_SIZE + header.length);
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

/* `reason` may be NULL. */
static char *state_text(uint16_t address, uint32_t life, const char *name, const char *state, const char *reason)
{
    auto_json cJSON *body = cJSON_CreateObject();

    cJSON_AddNumberToObject(body, "address", address);
    cJSON_AddNumberToObject(body, "life", life);
    cJSON_AddStringToObject(body, "name", name);
    cJSON_AddStringToObject(body, "state", state);
    if (reason != NULL)
        cJSON_AddStringToObject(body, "reason", reason);
    return tn_json_print(body);
}

/* ---- from a peer ---- */

static void slot_close_socket(struct slot *slot);

/* {"address", "life", "reason"}; said again with each heartbeat until tenond gives it another life. */
static void tell_cut(struct slot *slot)
{
    auto_json cJSON *body = cJSON_CreateObject();
    auto_free char *text = NULL;

    cJSON_AddNumberToObject(body, "address", slot->address);
    cJSON_AddNumberToObject(body, "life", slot->life);
    cJSON_AddStringToObject(body, "reason", slot->cut);
    text = tn_json_print(body);
    tn_router_tell_kernel(slot->router, TN_MSG_PEER_CUT, text);
}

/* For this life. A process of tenond's is ended by it, and everybody hears of that; of a client nobody else would. */
static void cut_off(struct slot *slot, char *why)
{
    char name[32];

    tn_address_name(slot->address, name, sizeof(name));
    tn_error("%s is cut off: %s", name, why);
    slot->cut = why;
    slot->down = true;
    slot_close_socket(slot);
    tell_cut(slot);
    if (TN_ADDRESS_ROLE(slot->address) == TN_ROLE_CLIENT) {
        auto_free char *state = state_text(slot->address, slot->life, name, "down", slot->cut);

        note_state(slot, state, false);
    }
}

static void tell_soon(struct tn_router *router)
{
    const struct timeval soon = {0, SOON_MS * 1000};

    if (!event_pending(router->soon, EV_TIMEOUT, NULL))
        event_add(router->soon, &soon);
}

static void refuse(struct slot *slot, enum tn_refusal class, const char *why)
{
    bool too_many = tn_traffic_refused(&slot->traffic, class, now_ms());
    time_t now = time(NULL);
    char name[32];

    slot->unsaid++;
    if (slot->refusals++ < SAY_ALL || slot->said != now) {
        tn_warn("dropped a message of %s (%llu of it so far, %llu since last said): %s",
                tn_address_name(slot->address, name, sizeof(name)),
                (unsigned long long)tn_traffic_refused_total(&slot->traffic), (unsigned long long)slot->unsaid, why);
        slot->said = now;
        slot->unsaid = 0;
    }
    tell_soon(slot->router);
    if (too_many)
        cut_off(slot, tn_fs_path("more than %d forbidden messages within %d s, the last: %s", TN_TRAFFIC_REFUSED_MAX,
                                 TN_TRAFFIC_WINDOW_MS / 1000, why));
}

static void note_drop(struct slot *slot, uint16_t destination)
{
    char name[32];

    tell_soon(slot->router);
    if (tn_traffic_dropped(&slot->traffic, now_ms()))
        cut_off(slot, tn_fs_path("more than %d messages within %d s that %s does not take", TN_TRAFFIC_DROPPED_MAX,
                                 TN_TRAFFIC_WINDOW_MS / 1000, tn_address_name(destination, name, sizeof(name))));
}

static bool check(struct slot *slot, const void *message, size_t size, struct tn_header *header)
{
    struct tn_err err = TN_ERR_INIT;
    enum tn_refusal class = TN_REFUSAL_MALFORMED;
    char name[32];

    if (tn_header_decode(message, size, header, &err) != 0) {
        class = err.code == TN_ERR_LIMIT ? TN_REFUSAL_SIZE : TN_REFUSAL_MALFORMED;
    } else if (header->source != slot->address) {
        class = TN_REFUSAL_SOURCE;
        tn_err_set(&err, TN_ERR_PROTOCOL, "%s says that it comes from %s", tn_msg_name(header->kind),
                   tn_address_name(header->source, name, sizeof(name)));
    } else if (TN_SEQUENCE_LIFE(header->sequence) != slot->life) {
        class = TN_REFUSAL_LIFE;
        tn_err_set(&err, TN_ERR_PROTOCOL, "%s is of life %u, this socket's is %u", tn_msg_name(header->kind),
                   TN_SEQUENCE_LIFE(header->sequence), slot->life);
    } else if (tn_header_permit(header, TN_CHANNEL_BUS, &err) == 0) {
        return true;
    } else {
        class = TN_REFUSAL_KIND;
    }
    refuse(slot, class, err.text);
    return false;
}

/* Clients are nobody's children and say no READY: their first word is it. And since a PEER_STATE can be lost when a
 * connection breaks, whoever may have missed one hears all of them again with its next heartbeat. */
static void hear(struct slot *slot, const struct tn_header *header)
{
    if (!slot->heard && TN_ADDRESS_ROLE(slot->address) == TN_ROLE_CLIENT) {
        char name[32];
        auto_free char *state =
            state_text(slot->address, slot->life, tn_address_name(slot->address, name, sizeof(name)), "up", NULL);

        note_state(slot, state, true);
    }
    slot->heard = true;
    slot->heard_ms = now_ms();
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
    tn_traffic_passed(&from->traffic, size);
    if (TN_ADDRESS_ROLE(header.destination) == TN_ROLE_EVENTS) {
        publish(router, message);
        return;
    }
    to = find(router, header.destination);
    if (to != NULL) {
        if (!deliver(to, from->index, message, size))
            note_drop(from, header.destination);
    } else if (TN_ADDRESS_ROLE(header.destination) == TN_ROLE_KERNEL) {
        if (!to_kernel(router, from->index, message, size))
            note_drop(from, header.destination);
    } else {
        router->config.transport->release(message);
    }
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
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

static void slot_close_socket(struct slot *slot)
{
    if (slot->endpoint == NULL)
        return;
    event_free(slot->readable); /* before nanomsg closes the descriptor */
    event_free(slot->writable);
    slot->readable = NULL;
    slot->writable = NULL;
    tn_queue_clear(slot->queue);
    slot->router->config.transport->close(slot->endpoint);
    slot->endpoint = NULL;
}

/* The largest message that a role may send to the bus: more is not even received. */
static size_t largest_of(enum tn_role role)
{
    size_t count;
    const struct tn_msg_info *list = tn_msg_list(&count);
    size_t largest = 0;

    for (size_t i = 0; i < count; i++)
        if (list[i].channel != TN_CHANNEL_DATA && (list[i].senders & 1u << role) != 0 && list[i].max_body > largest)
            largest = list[i].max_body;
    return TN_HEADER_SIZE + largest;
}

static int slot_open_socket(struct slot *slot, struct tn_err *err)
{
    struct tn_router *router = slot->router;
    const struct tn_transport *transport = router->config.transport;
    auto_free char *url = NULL;

    url = tn_fs_path("ipc://%s/%04x.%08x/s", router->config.folder, (unsigned)slot->address, (unsigned)slot->life);
    slot->endpoint = transport->open(url, TN_ENDPOINT_BIND, err);
    if (slot->endpoint == NULL)
        return -1;
    transport->limit(slot->endpoint, largest_of(TN_ADDRESS_ROLE(slot->address)));
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

static void bind_anew(struct slot *slot)
{
    struct tn_err err = TN_ERR_INIT;
    char name[32];

    tn_info("%s connects again and again: its socket is bound anew",
            tn_address_name(slot->address, name, sizeof(name)));
    event_free(slot->readable);
    event_free(slot->writable);
    slot->router->config.transport->close(slot->endpoint);
    slot->losses = 0;
    if (slot_open_socket(slot, &err) != 0)
        tn_fatal(3, "%s", err.text); /* tenond starts another bus */
    if (tn_queue_count(slot->queue) > 0)
        event_add(slot->writable, NULL);
}

/* A peer that comes again and again within a moment is refused by a socket that takes its dead connection for a living
 * one (transports/ipc/ipc.c): that socket is bound anew, and what waits for the peer stays in the queue. But if the peer
 * was heard just now, then it is somebody else who tries to get in, and must not be given the socket. */
static void check_socket(struct slot *slot)
{
    unsigned long losses = slot->endpoint != NULL ? slot->router->config.transport->losses(slot->endpoint) : 0;
    unsigned long before = slot->losses;
    char name[32];

    slot->restless = losses > before ? slot->restless + 1 : 0;
    slot->losses = losses;
    if (losses <= before + LOSSES_MAX && slot->restless <= RESTLESS_MAX)
        return;
    slot->restless = 0;
    if (slot->heard_ms == 0 || now_ms() - slot->heard_ms > ALIVE_MS)
        bind_anew(slot);
    else
        tn_warn("the socket of %s has its connection, and others to it are refused",
                tn_address_name(slot->address, name, sizeof(name)));
}

static void on_check(evutil_socket_t fd, short what, void *arg)
{
    struct tn_router *router = arg;

    if (--router->checks == 0)
        event_del(router->check);
    for (size_t i = 0; i < router->count; i++)
        check_socket(router->slots[i]);
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
    auto_free char *state = state_text(address, life, name, "added", NULL);
    struct slot *slot = slot_get(router, address);

    if (slot == NULL)
        return tn_err_set(err, TN_ERR_PROTOCOL, "address 0x%04x belongs to no role, or %d peers are there", address,
                          SLOT_MAX);
    if (slot->endpoint != NULL && slot->life == life)
        return 0;
    if (slot->cut != NULL && slot->life == life)
        return tn_err_set(err, TN_ERR_CONFLICT, "%s was cut off in life %u: %s", name, life, slot->cut);
    if (life < slot->life)
        return tn_err_set(err, TN_ERR_CONFLICT, "life %u of %s is over, it is in life %u", life, name, slot->life);
    slot_close_socket(slot);
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
        tn_queue_clear(slot->queue);
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
        (void)deliver(slot, LANE_KERNEL, new_message(router, header, body), TN_HEADER_SIZE + header->length);
}

/* ---- what tenond hears of the traffic ---- */

/* BUS_STATUS of those who said something, or (`faults`) something that was not let through, since the last one. */
static void tell_traffic(struct tn_router *router, bool faults)
{
    auto_json cJSON *body = cJSON_CreateObject();
    cJSON *list = cJSON_AddArrayToObject(body, "peers");
    auto_free char *text = NULL;

    for (size_t i = 0; i < router->count; i++) {
        struct slot *slot = router->slots[i];
        uint64_t now_faults = tn_traffic_refused_total(&slot->traffic) + slot->traffic.dropped;
        cJSON *item;

        if (now_faults == slot->told_faults && (faults || slot->traffic.messages == slot->told_messages))
            continue;
        slot->told_faults = now_faults;
        slot->told_messages = slot->traffic.messages;
        item = cJSON_CreateObject();
        cJSON_AddNumberToObject(item, "address", slot->address);
        tn_traffic_add(&slot->traffic, item);
        cJSON_AddItemToArray(list, item);
    }
    if (cJSON_GetArraySize(list) == 0)
        return;
    text = tn_json_print(body);
    tn_router_tell_kernel(router, TN_MSG_BUS_STATUS, text);
}

static void on_soon(evutil_socket_t fd, short what, void *arg)
{
    tell_traffic(arg, true);
}

void tn_router_beat(struct tn_router *router)
{
    tn_router_tell_kernel(router, TN_MSG_HEARTBEAT, "");
    tell_traffic(router, false);
    for (size_t i = 0; i < router->count; i++) {
        if (router->slots[i]->cut != NULL)
            tell_cut(router->slots[i]); /* the first word of it may have been lost */
        if (router->checks == 0)
            check_socket(router->slots[i]);
    }
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
    router->soon = evtimer_new(config->base, on_soon, router);
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
        slot_close_socket(router->slots[i]);
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
