#include "core/kernel/traffic.h"

#include <string.h>

static const char *const names[] = {
#define NAME(name, text) [TN_REFUSAL_##name] = text,
    TN_REFUSALS(NAME)
#undef NAME
};

const char *tn_refusal_name(enum tn_refusal why)
{
    return (unsigned)why < TN_REFUSAL_COUNT ? names[why] : "?";
}

void tn_traffic_new_life(struct tn_traffic *traffic)
{
    traffic->recent = 0;
    traffic->recent_drops = 0;
    traffic->window_ms = 0;
    memset(traffic->times_ms, 0, sizeof(traffic->times_ms));
}

void tn_traffic_passed(struct tn_traffic *traffic, uint64_t bytes)
{
    traffic->messages++;
    traffic->bytes += bytes;
}

/* The place of this one in the ring still has the time of the one that was TN_TRAFFIC_REFUSED_MAX before it. */
bool tn_traffic_refused(struct tn_traffic *traffic, enum tn_refusal why, uint64_t now_ms)
{
    uint64_t *place = &traffic->times_ms[traffic->recent % TN_TRAFFIC_REFUSED_MAX];
    bool too_many = traffic->recent >= TN_TRAFFIC_REFUSED_MAX && now_ms - *place < TN_TRAFFIC_WINDOW_MS;

    traffic->refused[why]++;
    traffic->recent++;
    if (traffic->recent == 2 * TN_TRAFFIC_REFUSED_MAX)
        traffic->recent = TN_TRAFFIC_REFUSED_MAX; /* the same place in the ring */
    *place = now_ms;
    return too_many;
}

bool tn_traffic_dropped(struct tn_traffic *traffic, uint64_t now_ms)
{
    traffic->dropped++;
    if (now_ms - traffic->window_ms >= TN_TRAFFIC_WINDOW_MS) {
        traffic->window_ms = now_ms;
        traffic->recent_drops = 0;
    }
    return ++traffic->recent_drops > TN_TRAFFIC_DROPPED_MAX;
}

uint64_t tn_traffic_refused_total(const struct tn_traffic *traffic)
{
    uint64_t sum = 0;

    for (int why = 0; why < TN_REFUSAL_COUNT; why++)
        sum += traffic->refused[why];
    return sum;
}

/* Numbers in JSON are exact up to 2^53: counts of messages and bytes of one bus stay below that. */
void tn_traffic_add(const struct tn_traffic *traffic, cJSON *object)
{
    uint64_t refused = tn_traffic_refused_total(traffic);

    cJSON_AddNumberToObject(object, "messages", (double)traffic->messages);
    cJSON_AddNumberToObject(object, "bytes", (double)traffic->bytes);
    cJSON_AddNumberToObject(object, "refused", (double)refused);
    cJSON_AddNumberToObject(object, "dropped", (double)traffic->dropped);
    if (refused > 0) {
        cJSON *why = cJSON_AddObjectToObject(object, "refused_why");

        for (int i = 0; i < TN_REFUSAL_COUNT; i++)
            cJSON_AddNumberToObject(why, names[i], (double)traffic->refused[i]);
    }
}
