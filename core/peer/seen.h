/* Which requests a peer has already had: duplicates dropped, answers repeated, earlier lives fenced. Pure.
 *
 * For each source: its newest life, and a window of its last 4,096 sequences with the answers that are small. A sender
 * has far fewer requests open at once, and its answers are kept up to TN_SEEN_BYTES, the oldest forgotten first; what
 * falls out of the window is treated as new, and handlers are idempotent. */
#ifndef TN_SEEN_H
#define TN_SEEN_H

#include <stddef.h>
#include <stdint.h>

enum { TN_SEEN_WINDOW = 4096, TN_SEEN_ANSWER_MAX = 4096, TN_SEEN_BYTES = 1024 * 1024, TN_SEEN_SOURCES = 256 };

enum tn_seen_verdict {
    TN_SEEN_NEW,         /* handle it */
    TN_SEEN_IN_PROGRESS, /* being handled: drop the duplicate */
    TN_SEEN_ANSWERED,    /* `answer` is set: send it again */
    TN_SEEN_STALE,       /* from an earlier life: drop it */
};

struct tn_seen_answer {
    uint16_t kind;
    const void *body; /* borrowed until the next call */
    size_t length;
};

struct tn_seen; /* opaque */

/* NULL when there is no memory. */
struct tn_seen *tn_seen_new(void);
void tn_seen_free(struct tn_seen *seen);
enum tn_seen_verdict tn_seen_enter(struct tn_seen *seen, uint16_t source, uint64_t sequence,
                                   struct tn_seen_answer *answer);
/* Notes the answer. One longer than TN_SEEN_ANSWER_MAX is not kept: a duplicate counts as new then. */
void tn_seen_answered(struct tn_seen *seen, uint16_t source, uint64_t sequence, uint16_t kind, const void *body,
                      size_t length);

#endif
