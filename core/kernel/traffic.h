/* What one peer sends, counted, and when it is too much. Pure.
 *
 * An honest peer never sends what the bus refuses: more than TN_TRAFFIC_REFUSED_MAX of that within TN_TRAFFIC_WINDOW_MS
 * and it is to be cut off. What is dropped because its destination takes no more can happen to anybody (everything is
 * sent again when a stalled process goes on), so the bound for that lies far above what requests come to. */
#ifndef TN_KERNEL_TRAFFIC_H
#define TN_KERNEL_TRAFFIC_H

#include <cjson/cJSON.h>

#include <stdbool.h>
#include <stdint.h>

enum { TN_TRAFFIC_REFUSED_MAX = 64, TN_TRAFFIC_DROPPED_MAX = 65536, TN_TRAFFIC_WINDOW_MS = 10000 };

/* X(NAME, text) */
#define TN_REFUSALS(X)                                                                                                 \
    X(MALFORMED, "malformed") /* no message of this protocol */                                                        \
    X(SOURCE, "source")       /* says that it comes from somebody else */                                              \
    X(LIFE, "life")           /* of another life than the socket's */                                                  \
    X(KIND, "kind")           /* the list of messages does not allow it */                                             \
    X(SIZE, "size")           /* longer than its kind may be */

enum tn_refusal {
#define TN_REFUSAL_ENUM(name, text) TN_REFUSAL_##name,
    TN_REFUSALS(TN_REFUSAL_ENUM)
#undef TN_REFUSAL_ENUM
        TN_REFUSAL_COUNT
};

/* All public: read. Zeroed memory is a fresh one. */
struct tn_traffic {
    uint64_t messages; /* let through */
    uint64_t bytes;    /* of these, with headers */
    uint64_t refused[TN_REFUSAL_COUNT];
    uint64_t dropped; /* let through, but its destination takes no more */
    /* of the present life */
    unsigned recent;                           /* refusals so far */
    uint64_t times_ms[TN_TRAFFIC_REFUSED_MAX]; /* of the last ones, in a ring */
    uint64_t window_ms;                        /* when the present count of drops began */
    unsigned recent_drops;
};

const char *tn_refusal_name(enum tn_refusal why);
/* Forgets what counts towards a cut, not the totals: a new life begins. */
void tn_traffic_new_life(struct tn_traffic *traffic);
void tn_traffic_passed(struct tn_traffic *traffic, uint64_t bytes);
/* Each returns true when that was one too many. `now_ms` never goes back. */
bool tn_traffic_refused(struct tn_traffic *traffic, enum tn_refusal why, uint64_t now_ms);
bool tn_traffic_dropped(struct tn_traffic *traffic, uint64_t now_ms);
uint64_t tn_traffic_refused_total(const struct tn_traffic *traffic);
/* Adds `messages`, `bytes`, `refused`, `dropped` and, if anything was refused, `refused_why` {name: count}. */
void tn_traffic_add(const struct tn_traffic *traffic, cJSON *object);

#endif
