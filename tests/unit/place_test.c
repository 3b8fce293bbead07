#include "core/scheduler/place.h"
#include "tests/unit/check.h"

int main(void)
{
    struct tn_capacity host = {.cpu_milli = 2000, .memory_mb = 8192};
    const struct tn_share small = {1000, 2048};
    const struct tn_share medium = {2000, 4096};
    const struct tn_share large = {4000, 8192};
    const struct tn_share fat = {1000, 16384};
    char why[160];

    CHECK_INT(tn_place_fit(&host, medium), TN_FIT_NOW);
    CHECK_STR(tn_place_reason(&host, medium, why, sizeof(why)), "");
    tn_place_take(&host, small);
    CHECK_INT(tn_place_fit(&host, medium), TN_FIT_LATER);
    CHECK_STR(tn_place_reason(&host, medium, why, sizeof(why)), "waits for 2 vCPU: 1 of 2 free");
    CHECK_INT(tn_place_fit(&host, small), TN_FIT_NOW);
    /* What is larger than the host waits until nothing else runs, then takes all of it. */
    CHECK_INT(tn_place_fit(&host, large), TN_FIT_LATER);
    CHECK_STR(tn_place_reason(&host, large, why, sizeof(why)),
              "needs 4 vCPU, this host has 2: runs alone, once what runs has ended");
    tn_place_give(&host, small);
    CHECK_INT(host.running, 0);
    CHECK_INT(tn_place_fit(&host, large), TN_FIT_ALONE);
    CHECK_STR(tn_place_reason(&host, large, why, sizeof(why)), "needs 4 vCPU, this host has 2: runs alone");
    CHECK_STR(tn_place_reason(&host, fat, why, sizeof(why)), "needs 16 GB of memory, this host has 8: runs alone");
    tn_place_take(&host, large);
    CHECK_INT(tn_place_fit(&host, small), TN_FIT_LATER);
    CHECK_INT(tn_place_clip(&host, large).cpu_milli, 2000);
    CHECK_INT(tn_place_clip(&host, fat).memory_mb, 8192);
    tn_place_give(&host, large);
    CHECK_INT(host.used_cpu, 0);
    CHECK_INT(host.used_mb, 0);
    tn_place_take(&host, (struct tn_share){500, 7000});
    CHECK_STR(tn_place_reason(&host, small, why, sizeof(why)), "waits for 2 GB of memory: 1.16 of 8 free");
    host = tn_place_host();
    CHECK(host.cpu_milli >= 1000 && host.memory_mb >= 64);
    return tn_check_result();
}
