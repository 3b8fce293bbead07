/* Replaces secret values by "****" in a stream of bytes. Pure: no files, no loop.
 *
 * Aho-Corasick over all values at once, so the time is linear in the bytes whatever the values are. Values that overlap
 * in the stream are covered by one "****" as a whole, so the end of one never shows because another began before it.
 * Held back at any time is only the longest suffix that could still become a value; all else passes at once. Every
 * other byte passes unchanged. A value of several lines is masked line by line. Values (or lines) under four bytes
 * and "true"/"false" are left alone (COMPATIBILITY.md, Environment). */
#ifndef TN_OUTPUT_MASK_H
#define TN_OUTPUT_MASK_H

#include "core/lib/buf.h"
#include "core/lib/err.h"

#include <stdbool.h>
#include <stdint.h>

enum { TN_MASK_VALUE_MIN = 4, TN_MASK_BYTES_MAX = 1 << 20 };

struct tn_mask; /* opaque: the values; shared by any number of streams */

/* Where one stream stands. Zero-initialise; fields are private. */
struct tn_mask_state {
    uint64_t pos;        /* bytes fed */
    uint64_t out;        /* bytes passed on or covered */
    uint32_t node;       /* of the automaton */
    struct tn_buf carry; /* the bytes from out to pos, between two feeds */
    struct tn_mask_range {
        uint64_t start;
        uint64_t end;
        bool starred; /* its "****" is out already */
    } * ranges;       /* what is to be covered from out on, in order, disjoint; owned */
    size_t head;
    size_t count;
    size_t room;
};

/* TN_ERR_LIMIT when the values are longer than TN_MASK_BYTES_MAX together. */
struct tn_mask *tn_mask_new(const char *const *values, size_t count, struct tn_err *err) TN_MUST_CHECK;
void tn_mask_free(struct tn_mask *mask);
/* No value is masked: bytes need not be fed. */
bool tn_mask_is_empty(const struct tn_mask *mask);

/* Feeds bytes; what may pass is appended to `out`. */
void tn_mask_feed(const struct tn_mask *mask, struct tn_mask_state *state, const void *bytes, size_t length,
                  struct tn_buf *out);
/* The stream is over: what was held back is appended to `out`. */
void tn_mask_finish(struct tn_mask_state *state, struct tn_buf *out);

/* What a state holds back is gone; the state can be used again. */
void tn_mask_state_free(struct tn_mask_state *state);
/* `to` becomes a copy; its former content is freed. */
void tn_mask_state_copy(struct tn_mask_state *to, const struct tn_mask_state *from);
/* The state as a text of its own ("" when nothing is held back), and back. */
void tn_mask_state_export(const struct tn_mask_state *state, struct tn_buf *text);
int tn_mask_state_import(const struct tn_mask *mask, struct tn_mask_state *state, const char *text,
                         struct tn_err *err) TN_MUST_CHECK;

#endif
