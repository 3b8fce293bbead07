/* When a peer of the bus is cut off. */
#include "core/kernel/traffic.h"
#include "core/lib/cleanup.h"
#include "core/lib/json.h"
#include "tests/unit/check.h"

static void test_refused(void)
{
    struct tn_traffic traffic = {0};
    uint64_t now = 5000000;
    unsigned cut = 0;

    /* As many as are let pass in each window, for many windows: never. */
    for (unsigned i = 0; i < 10 * TN_TRAFFIC_REFUSED_MAX; i++, now += TN_TRAFFIC_WINDOW_MS / TN_TRAFFIC_REFUSED_MAX + 1)
        cut += tn_traffic_refused(&traffic, TN_REFUSAL_KIND, now) ? 1 : 0;
    CHECK_INT(cut, 0);
    /* One more than that. */
    now += TN_TRAFFIC_WINDOW_MS;
    for (unsigned i = 0; i < TN_TRAFFIC_REFUSED_MAX; i++)
        CHECK(!tn_traffic_refused(&traffic, TN_REFUSAL_SOURCE, now));
    CHECK(tn_traffic_refused(&traffic, TN_REFUSAL_SOURCE, now + TN_TRAFFIC_WINDOW_MS - 1));
    /* A new life begins anew; the totals stay. */
    tn_traffic_new_life(&traffic);
    CHECK(!tn_traffic_refused(&traffic, TN_REFUSAL_SIZE, now));
    CHECK_INT(tn_traffic_refused_total(&traffic), 11 * TN_TRAFFIC_REFUSED_MAX + 2);
}

static void test_dropped(void)
{
    struct tn_traffic traffic = {0};
    uint64_t now = 7000000;

    for (unsigned i = 0; i < TN_TRAFFIC_DROPPED_MAX; i++)
        CHECK(!tn_traffic_dropped(&traffic, now));
    CHECK(tn_traffic_dropped(&traffic, now));
    CHECK(!tn_traffic_dropped(&traffic, now + TN_TRAFFIC_WINDOW_MS));
}

static void test_json(void)
{
    struct tn_traffic traffic = {0};
    auto_json cJSON *object = cJSON_CreateObject();
    auto_free char *text = NULL;

    tn_traffic_passed(&traffic, 100);
    tn_traffic_passed(&traffic, 48);
    (void)tn_traffic_refused(&traffic, TN_REFUSAL_LIFE, 1);
    (void)tn_traffic_dropped(&traffic, 1);
    tn_traffic_add(&traffic, object);
    text = tn_json_print(object);
    CHECK_STR(text, "{\"messages\":2,\"bytes\":148,\"refused\":1,\"dropped\":1,"
                    "\"refused_why\":{\"malformed\":0,\"source\":0,\"life\":1,\"kind\":0,\"size\":0}}");
    CHECK_STR(tn_refusal_name(TN_REFUSAL_MALFORMED), "malformed");
}

int main(void)
{
    test_refused();
    test_dropped();
    test_json();
    return tn_check_result();
}
