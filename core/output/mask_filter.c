#include "core/output/mask_filter.h"
#include "core/lib/log.h"

#include <stdlib.h>
#include <string.h>

enum { WINDOW = 4, BITS_MIN = 16, BITS_MAX = 22, WINDOWS_PER_LINE = 384, MANY = 1000, MANY_SPAN = 6 };

/* One place of a base64 pattern: the bytes that can stand there. */
struct place {
    uint8_t bytes[2];
    unsigned count;
};

static inline uint32_t hash(const uint8_t *bytes, unsigned shift)
{
    uint32_t word;

    memcpy(&word, bytes, sizeof(word));
    return (uint32_t)(word * 0x9e3779b1u) >> shift;
}

void tn_filter_init(struct tn_filter *filter, size_t shortest, size_t lines)
{
    /* A wider span looks at fewer windows, but has more of them to know. */
    size_t widest = lines > MANY ? MANY_SPAN : TN_FILTER_SPAN_MAX;
    unsigned bits = BITS_MIN;

    while (bits < BITS_MAX && ((size_t)1 << bits) < lines * WINDOWS_PER_LINE * 8)
        bits++;
    filter->bits = calloc(1, (size_t)1 << (bits - 3));
    if (filter->bits == NULL)
        tn_fatal(3, "out of memory: the filter of a masker");
    filter->shift = 32 - bits;
    filter->span = (unsigned)(shortest < widest ? shortest : widest);
}

void tn_filter_free(struct tn_filter *filter)
{
    free(filter->bits);
    filter->bits = NULL;
}

static void add_window(struct tn_filter *filter, const uint8_t window[WINDOW])
{
    uint32_t at = hash(window, filter->shift);

    filter->bits[at >> 3] |= (uint8_t)(1u << (at & 7));
}

void tn_filter_add(struct tn_filter *filter, const uint8_t *bytes, size_t length)
{
    for (size_t i = 0; i + WINDOW <= filter->span && i + WINDOW <= length; i++)
        add_window(filter, bytes + i);
}

static struct place digit_place(uint8_t digit)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    if (digit < 62)
        return (struct place){{(uint8_t)digits[digit]}, 1};
    return (struct place){{(uint8_t)digits[digit], digit == 62 ? '-' : '_'}, 2};
}

static void add_places(struct tn_filter *filter, const struct place *places)
{
    for (unsigned way = 0; way < 1u << WINDOW; way++) {
        uint8_t window[WINDOW];
        unsigned i;

        for (i = 0; i < WINDOW; i++) {
            unsigned which = way >> i & 1;

            if (which >= places[i].count)
                break;
            window[i] = places[i].bytes[which];
        }
        if (i == WINDOW)
            add_window(filter, window);
    }
}

/* The pattern's first digits with `end` before the digit number `at`; only windows that the end is in are new. */
static void add_broken(struct tn_filter *filter, const uint8_t *digits, unsigned at, const char *end)
{
    struct place places[TN_FILTER_SPAN_MAX + 2];
    unsigned end_length = (unsigned)strlen(end);
    unsigned count = 0;

    for (unsigned i = 0; i < filter->span; i++) {
        for (unsigned e = 0; i == at && e < end_length; e++)
            places[count++] = (struct place){{(uint8_t)end[e]}, 1};
        places[count++] = digit_place(digits[i]);
    }
    for (unsigned i = 0; i + WINDOW <= count; i++)
        if (at == filter->span || (i < at + end_length && i + WINDOW > at))
            add_places(filter, places + i);
}

void tn_filter_add_base64(struct tn_filter *filter, const uint8_t *digits, size_t length)
{
    if (length < filter->span)
        return;
    add_broken(filter, digits, filter->span, "");
    for (unsigned at = 1; at < filter->span; at++) {
        add_broken(filter, digits, at, "\n");
        add_broken(filter, digits, at, "\r\n");
    }
}

size_t tn_filter_skip(const struct tn_filter *filter, const uint8_t *bytes, size_t at, size_t length, size_t *until)
{
    const uint8_t *bits = filter->bits;
    unsigned shift = filter->shift;
    size_t stride = filter->span - WINDOW + 1;
    size_t x = at + stride - 1;

    for (; x + WINDOW <= length; x += stride) {
        uint32_t place = hash(bytes + x, shift);

        if ((bits[place >> 3] >> (place & 7) & 1) != 0) {
            *until = x + 1;
            return x - (stride - 1);
        }
    }
    *until = length;
    at = x - (stride - 1);
    return at < length ? at : length;
}
