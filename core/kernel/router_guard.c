#include "core/kernel/router_internal.h"
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/json.h"
#include "core/lib/log.h"

#include <stdlib.h>

enum {
    SAY_ALL = 16,  /* so many refusals of a life are logged, then one a second */
    SOON_MS = 100, /* between a refusal and what tenond hears of it */
};

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
    router__close_socket(slot);
    tell_traffic(slot->router, true);
    tell_cut(slot);
    if (TN_ADDRESS_ROLE(slot->address) == TN_ROLE_CLIENT) {
        auto_free char *state = router__state_text(slot->address, slot->life, name, "down", slot->cut, NULL);

        router__note_state(slot, state, false);
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
    bool too_many = tn_traffic_refused(&slot->traffic, class, router__now_ms());
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

void router__note_drop(struct slot *slot, uint16_t destination)
{
    char name[32];

    tell_soon(slot->router);
    if (tn_traffic_dropped(&slot->traffic, router__now_ms()))
        cut_off(slot, tn_fs_path("more than %d messages within %d s that %s does not take", TN_TRAFFIC_DROPPED_MAX,
                                 TN_TRAFFIC_WINDOW_MS / 1000, tn_address_name(destination, name, sizeof(name))));
}

bool router__check(struct slot *slot, const void *message, size_t size, struct tn_header *header)
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

/* ---- what tenond hears of the traffic ---- */

void router__on_soon(evutil_socket_t fd, short what, void *arg)
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
            router__check_socket(router->slots[i]);
    }
}
