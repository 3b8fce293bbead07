#include "core/scheduler/place.h"

#include <stdio.h>
#include <unistd.h>

struct tn_capacity tn_place_host(void)
{
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    long pages = sysconf(_SC_PHYS_PAGES);
    long page = sysconf(_SC_PAGESIZE);
    unsigned long long bytes = pages > 0 && page > 0 ? (unsigned long long)pages * (unsigned long long)page : 0;

    return (struct tn_capacity){.cpu_milli = cpus > 0 ? (unsigned)cpus * 1000u : 1000u,
                                .memory_mb = bytes > 0 ? (unsigned)(bytes >> 20) : 1024u};
}

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

static bool too_large(const struct tn_capacity *capacity, struct tn_share want)
{
    return want.cpu_milli > capacity->cpu_milli || want.memory_mb > capacity->memory_mb;
}

struct tn_share tn_place_clip(const struct tn_capacity *capacity, struct tn_share want)
{
    return (struct tn_share){.cpu_milli = least(want.cpu_milli, capacity->cpu_milli),
                             .memory_mb = least(want.memory_mb, capacity->memory_mb)};
}

enum tn_fit tn_place_fit(const struct tn_capacity *capacity, struct tn_share want)
{
    if (too_large(capacity, want))
        return capacity->running == 0 ? TN_FIT_ALONE : TN_FIT_LATER;
    return capacity->used_cpu + want.cpu_milli <= capacity->cpu_milli &&
                   capacity->used_mb + want.memory_mb <= capacity->memory_mb
               ? TN_FIT_NOW
               : TN_FIT_LATER;
}

/* A job that runs alone takes the whole host, so that nothing joins it. */
static struct tn_share taken(const struct tn_capacity *capacity, struct tn_share want)
{
    if (too_large(capacity, want))
        return (struct tn_share){capacity->cpu_milli, capacity->memory_mb};
    return want;
}

void tn_place_take(struct tn_capacity *capacity, struct tn_share want)
{
    struct tn_share share = taken(capacity, want);

    capacity->used_cpu += share.cpu_milli;
    capacity->used_mb += share.memory_mb;
    capacity->running++;
}

void tn_place_give(struct tn_capacity *capacity, struct tn_share want)
{
    struct tn_share share = taken(capacity, want);

    capacity->used_cpu -= least(share.cpu_milli, capacity->used_cpu);
    capacity->used_mb -= least(share.memory_mb, capacity->used_mb);
    capacity->running -= capacity->running > 0 ? 1 : 0;
}

static unsigned less(unsigned all, unsigned used)
{
    return all > used ? all - used : 0;
}

const char *tn_place_reason(const struct tn_capacity *capacity, struct tn_share want, char *out, size_t size)
{
    bool cpu = want.cpu_milli > capacity->cpu_milli;

    out[0] = '\0';
    if (too_large(capacity, want)) {
        snprintf(out, size, "needs %g %s, this host has %.3g: runs alone%s",
                 cpu ? want.cpu_milli / 1000.0 : want.memory_mb / 1024.0, cpu ? "vCPU" : "GB of memory",
                 cpu ? capacity->cpu_milli / 1000.0 : capacity->memory_mb / 1024.0,
                 capacity->running > 0 ? ", once what runs has ended" : "");
        return out;
    }
    if (tn_place_fit(capacity, want) != TN_FIT_LATER)
        return out;
    if (capacity->used_cpu + want.cpu_milli > capacity->cpu_milli)
        snprintf(out, size, "waits for %g vCPU: %g of %g free", want.cpu_milli / 1000.0,
                 less(capacity->cpu_milli, capacity->used_cpu) / 1000.0, capacity->cpu_milli / 1000.0);
    else
        snprintf(out, size, "waits for %.3g GB of memory: %.3g of %.3g free", want.memory_mb / 1024.0,
                 less(capacity->memory_mb, capacity->used_mb) / 1024.0, capacity->memory_mb / 1024.0);
    return out;
}
