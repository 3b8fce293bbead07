#include "core/output/disk.h"
#include "core/lib/cleanup.h"
#include "core/lib/json.h"
#include "core/lib/log.h"

#include <string.h>

enum { PERIOD_S = 1, AGAIN = 5 }; /* ticks after which all is told again */

static void measure(struct tn_disk *disk, bool always)
{
    const struct tn_service *service = disk->service;
    uint64_t state = tn_room_free(service->state_dir);
    uint64_t store = tn_room_free(service->store_dir);
    uint64_t least = state < store ? state : store;
    bool low = least < disk->room->reserve;
    auto_json cJSON *body = NULL;
    auto_free char *text = NULL;

    if (!always && low == disk->low && !low && ++disk->silent < AGAIN)
        return;
    if (low != disk->low)
        tn_info("%s: %llu bytes free, %llu are to stay free", low ? "no further job begins" : "there is room again",
                (unsigned long long)least, (unsigned long long)disk->room->reserve);
    disk->low = low;
    disk->silent = 0;
    body = cJSON_CreateObject();
    cJSON_AddBoolToObject(body, "low", low);
    cJSON_AddStringToObject(body, "path", state < store ? service->state_dir : service->store_dir);
    tn_json_add_u64(body, "free", least);
    tn_json_add_u64(body, "reserve", disk->room->reserve);
    text = tn_json_print(body);
    tn_peer_notify(service->bus, TN_MSG_DISK_STATE, TN_ADDRESS(TN_ROLE_SCHEDULER, 0), 0, 0, text, strlen(text));
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    measure(arg, false);
}

int tn_disk_start(struct tn_disk *disk, struct tn_service *service, const struct tn_room *room, struct tn_err *err)
{
    static const struct timeval period = {PERIOD_S, 0};

    memset(disk, 0, sizeof(*disk));
    disk->service = service;
    disk->room = room;
    disk->timer = event_new(service->base, -1, EV_PERSIST, on_timer, disk);
    if (disk->timer == NULL || event_add(disk->timer, &period) != 0)
        return tn_err_set(err, TN_ERR_SYSTEM, "out of memory: a timer");
    return 0;
}

void tn_disk_tell(struct tn_disk *disk)
{
    measure(disk, true);
}

void tn_disk_stop(struct tn_disk *disk)
{
    if (disk->timer != NULL)
        event_free(disk->timer);
    disk->timer = NULL;
}
