#include "executors/agent/seen.h"

#include <string.h>

/* The first range that ends at or behind `number`. */
static unsigned find_range(const struct tn_seen *seen, uint32_t number)
{
    unsigned at = 0;

    while (at < seen->count && seen->ranges[at].last < number)
        at++;
    return at;
}

bool tn_seen_has(const struct tn_seen *seen, uint32_t number)
{
    unsigned at = find_range(seen, number);

    return at < seen->count && seen->ranges[at].first <= number;
}

bool tn_seen_add(struct tn_seen *seen, uint32_t number)
{
    unsigned at = find_range(seen, number);
    bool joins_left;
    bool joins_right;

    if (tn_seen_has(seen, number))
        return true;
    joins_left = at > 0 && seen->ranges[at - 1].last + 1 == number;
    joins_right = at < seen->count && seen->ranges[at].first == number + 1;
    if (joins_left && joins_right) {
        seen->ranges[at - 1].last = seen->ranges[at].last;
        memmove(&seen->ranges[at], &seen->ranges[at + 1], (--seen->count - at) * sizeof(seen->ranges[0]));
    } else if (joins_left) {
        seen->ranges[at - 1].last = number;
    } else if (joins_right) {
        seen->ranges[at].first = number;
    } else if (seen->count < TN_SEEN_RANGES) {
        memmove(&seen->ranges[at + 1], &seen->ranges[at], (seen->count++ - at) * sizeof(seen->ranges[0]));
        seen->ranges[at].first = seen->ranges[at].last = number;
    } else {
        return false;
    }
    return true;
}
