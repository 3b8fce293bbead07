/* Which channel numbers were ever used, as ranges: an executor that repeats a command must not start it twice.
 * Executors number their channels upwards, so a few ranges hold them all; the set is bounded all the same. */
#ifndef TN_AGENT_SEEN_H
#define TN_AGENT_SEEN_H

#include <stdbool.h>
#include <stdint.h>

#define TN_SEEN_RANGES 512

struct tn_seen {
    struct {
        uint32_t first;
        uint32_t last;
    } ranges[TN_SEEN_RANGES]; /* ascending, apart by at least one number */
    unsigned count;
};

/* Was the number ever added? */
bool tn_seen_has(const struct tn_seen *seen, uint32_t number);
/* False if the set is full; then `number` was not added. */
bool tn_seen_add(struct tn_seen *seen, uint32_t number);

#endif
