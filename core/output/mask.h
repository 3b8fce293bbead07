/* Replaces secret values by "****" in a stream of bytes. Pure: no files, no loop.
 *
 * Aho-Corasick over all values at once, so the time is linear in the bytes whatever the values are; a filter in front
 * of it skips what no value can begin in. Values that overlap in the stream are covered by one "****" as a whole, so
 * the end of one never shows because another began before it. Held back at any time is only the longest suffix that
 * could still become a value; all else passes at once. Every other byte passes unchanged, and the result does not
 * depend on how the stream is cut into chunks. A value of several lines is masked line by line. Values (or lines) under
 * four bytes, blank ones and "true"/"false" are left alone (COMPATIBILITY.md, Environment).
 *
 * Masked is each value as it is, in the textual forms of mask_forms.h, and in base64: either alphabet, at any place of
 * the encoded bytes, over the ends of lines ("\n" or "\r\n") that have at least TN_MASK_BASE64_LINE digits before
 * them. Of the digits that a value shares with its neighbours, the one after it is covered, too; of the one before it
 * at most four bits of the value can be learnt. */
#ifndef TN_OUTPUT_MASK_H
#define TN_OUTPUT_MASK_H

#include "core/lib/buf.h"
#include "core/lib/err.h"

#include <stdbool.h>
#include <stdint.h>

enum { TN_MASK_VALUE_MIN = 4, TN_MASK_BYTES_MAX = 1 << 20, TN_MASK_BASE64_LINE = 16 };

struct tn_mask; /* opaque: the values; shared by any number of streams */

/* What is to be covered, from out on. */
struct tn_mask_range {
    uint64_t start;
    uint64_t end;
    bool starred; /* its "****" is out already */
};

/* A line's end inside base64 digits. */
struct tn_mask_break {
    uint64_t digits;  /* how many were before it */
    uint64_t skipped; /* bytes of line ends up to and with this one */
};

/* Where one stream stands. Zero-initialise; fields are private. */
struct tn_mask_state {
    uint64_t pos;        /* bytes fed */
    uint64_t out;        /* bytes passed on or covered */
    struct tn_buf carry; /* the bytes from out to pos, between two feeds */
    unsigned before;     /* base64 digits directly before out, at most TN_MASK_BASE64_LINE */
    uint32_t text;       /* node of the automaton of texts */
    uint32_t base64;     /* node of that of base64 digits */
    bool cr;             /* "\r" came inside digits */
    uint64_t digits;     /* since base64 left its root */
    uint64_t open;       /* 1 + start of a match whose next digit belongs to it; 0: none */
    struct {
        struct tn_mask_break *at; /* owned; those that the node's text spans are the last ones */
        size_t count;
        size_t room;
    } breaks;
    struct {
        struct tn_mask_range *at; /* owned; in order, disjoint */
        size_t head;
        size_t count;
        size_t room;
    } ranges;
};

/* TN_ERR_LIMIT when the values are longer than TN_MASK_BYTES_MAX together, or too long in their forms. */
struct tn_mask *tn_mask_new(const char *const *values, size_t count, struct tn_err *err) TN_MUST_CHECK;
void tn_mask_free(struct tn_mask *mask);
/* No value is masked: bytes need not be fed. */
bool tn_mask_is_empty(const struct tn_mask *mask);

/* Feeds bytes; what may pass is appended to `out`. */
void tn_mask_feed(const struct tn_mask *mask, struct tn_mask_state *state, const void *bytes, size_t length,
                  struct tn_buf *out);
/* The stream is over: what was held back is appended to `out`. */
void tn_mask_finish(struct tn_mask_state *state, struct tn_buf *out);

/* The stream is cut here: a "****" stands for what was held back, for it may begin a value; less than
 * TN_MASK_VALUE_MIN bytes pass. */
void tn_mask_cut(struct tn_mask_state *state, struct tn_buf *out);

/* What a state holds back is gone; the state can be used again. */
void tn_mask_state_free(struct tn_mask_state *state);
/* `to` becomes a copy; its former content is freed. */
void tn_mask_state_copy(struct tn_mask_state *to, const struct tn_mask_state *from);
/* The state as a text of its own ("" when nothing is held back), and back. */
void tn_mask_state_export(const struct tn_mask_state *state, struct tn_buf *text);
int tn_mask_state_import(const struct tn_mask *mask, struct tn_mask_state *state, const char *text,
                         struct tn_err *err) TN_MUST_CHECK;

#endif
