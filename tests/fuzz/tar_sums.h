/* For targets that read tar: a copy of the input whose headers have the right sums, so that the search comes behind
 * that check. What has "ustar" where a header has it is taken for a header; the last byte of the input decides whether
 * sums are mended at all. */
#ifndef TN_FUZZ_TAR_SUMS_H
#define TN_FUZZ_TAR_SUMS_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TAR_SUMS_BLOCK = 512, TAR_SUMS_AT = 148, TAR_SUMS_DIGITS = 8, TAR_SUMS_MAGIC_AT = 257 };

static void tar_sums_mend(uint8_t *block)
{
    unsigned sum = TAR_SUMS_DIGITS * ' ';

    for (int i = 0; i < TAR_SUMS_BLOCK; i++)
        if (i < TAR_SUMS_AT || i >= TAR_SUMS_AT + TAR_SUMS_DIGITS)
            sum += block[i];
    snprintf((char *)block + TAR_SUMS_AT, TAR_SUMS_DIGITS, "%06o", sum);
    block[TAR_SUMS_AT + TAR_SUMS_DIGITS - 1] = ' ';
}

/* The caller frees it. */
static uint8_t *tar_sums_copy(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size + 1);

    if (copy == NULL)
        abort();
    if (size > 0)
        memcpy(copy, data, size);
    if (size > 0 && data[size - 1] == 0xff)
        return copy;
    for (size_t at = 0; at + TAR_SUMS_BLOCK <= size; at += TAR_SUMS_BLOCK)
        if (memcmp(copy + at + TAR_SUMS_MAGIC_AT, "ustar", 5) == 0)
            tar_sums_mend(copy + at);
    return copy;
}

#endif
