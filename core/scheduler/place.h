/* Placement on this host: does a job's share fit now, later, or only alone? Pure. */
#ifndef TN_SCHEDULER_PLACE_H
#define TN_SCHEDULER_PLACE_H

#include <stdbool.h>
#include <stddef.h>

struct tn_capacity {
    unsigned cpu_milli, memory_mb; /* of the host */
    unsigned used_cpu, used_mb;    /* taken by leases, clipped to the host */
    size_t running;                /* leases */
};

struct tn_share {
    unsigned cpu_milli, memory_mb;
};

enum tn_fit {
    TN_FIT_NOW,
    TN_FIT_LATER, /* it waits for shares that others hold */
    TN_FIT_ALONE, /* larger than the host: now, since nothing else runs */
};

/* Online CPUs and memory of this host. */
struct tn_capacity tn_place_host(void);
/* The share clipped to the host: what a lease takes and what its limits are. */
struct tn_share tn_place_clip(const struct tn_capacity *capacity, struct tn_share want);
enum tn_fit tn_place_fit(const struct tn_capacity *capacity, struct tn_share want);
void tn_place_take(struct tn_capacity *capacity, struct tn_share want);
void tn_place_give(struct tn_capacity *capacity, struct tn_share want);
/* Why it waits, or why it runs alone: "waits for 2 vCPU: 1 of 2 free"; "needs 4 vCPU, this host has 2: runs alone, …".
 * Empty when it fits now. Returns out. */
const char *tn_place_reason(const struct tn_capacity *capacity, struct tn_share want, char *out, size_t size);

#endif
