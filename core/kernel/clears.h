/* PROGRAM_CLEAR: removing what a job left in a folder of its executor.
 *
 * It may belong to anybody, be read-only or marked, so it takes tenond's rights; a million files take their time. So a
 * child of tenond does it, never tenond itself, which never even opens a path that an executor names. The child has no
 * bus, low priority, limits, and of root's capabilities those alone that pass over modes and owners. It opens the
 * executor's own folder and goes from there without any symbolic link, so nothing outside can be meant, whatever the
 * executor or its job change meanwhile. It ends with tenond; the executor's next life asks again.
 *
 * A few run at once, fewer for one executor; the others wait their turn. Asking twice is no harm. */
#ifndef TN_KERNEL_CLEARS_H
#define TN_KERNEL_CLEARS_H

#include "proto/codec.h"

#include <cjson/cJSON.h>
#include <event2/event.h>

#include <stdbool.h>
#include <sys/types.h>

struct tn_clears; /* opaque */
struct tn_places; /* places.h */

struct tn_clears_config {
    struct event_base *base; /* borrowed */
    /* Answers a request: PROGRAM_CLEARED, or REFUSED with a code and a text. */
    void (*reply)(void *arg, const struct tn_header *request, enum tn_msg_kind kind, const cJSON *body);
    void *arg;
};

/* `config` is copied, what it points to is borrowed. */
struct tn_clears *tn_clears_open(const struct tn_clears_config *config);
/* What is not done yet stays for the next tenond. */
void tn_clears_close(struct tn_clears *clears);

/* The request of the executor whose folders are `own`. Answered through `reply`, maybe later. */
void tn_clears_request(struct tn_clears *clears, const char *executor, const struct tn_places *own,
                       const struct tn_header *request, const cJSON *body);

/* Is it a child of ours? */
bool tn_clears_knows(const struct tn_clears *clears, pid_t pid);
/* A child has ended. False if it was none of ours. */
bool tn_clears_reaped(struct tn_clears *clears, pid_t pid, int status);

#endif
