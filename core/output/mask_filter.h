/* Finds the few places of a stream where a pattern could begin. Pure.
 *
 * All patterns have at least `span` bytes. Windows of four bytes are looked at, so far apart that each place where a
 * pattern begins has one whole window in the pattern's first `span` bytes; those windows are known as a hashed set. */
#ifndef TN_OUTPUT_MASK_FILTER_H
#define TN_OUTPUT_MASK_FILTER_H

#include <stddef.h>
#include <stdint.h>

enum { TN_FILTER_SPAN_MIN = 4, TN_FILTER_SPAN_MAX = 12 };

struct tn_filter {
    uint8_t *bits; /* owned */
    unsigned shift;
    unsigned span;
};

/* `shortest`: no pattern will have fewer bytes. `lines`: how many are to be masked, each with its forms; it decides
 * about memory (8 to 512 KiB) and speed only. */
void tn_filter_init(struct tn_filter *filter, size_t shortest, size_t lines);
void tn_filter_free(struct tn_filter *filter);
void tn_filter_add(struct tn_filter *filter, const uint8_t *bytes, size_t length);
/* A pattern of base64 digits, in either alphabet and with a line's end ("\n" or "\r\n") anywhere among the first. */
void tn_filter_add_base64(struct tn_filter *filter, const uint8_t *digits, size_t length);
/* No pattern begins from `at` on before the returned place. `*until`: where the window that stopped it begins, plus
 * one; `length` if none did, and the pattern that could begin at the returned place would be longer than what is left.
 */
size_t tn_filter_skip(const struct tn_filter *filter, const uint8_t *bytes, size_t at, size_t length, size_t *until);

#endif
