#include "core/output/mask.h"
#include "core/lib/cleanup.h"
#include "core/lib/log.h"
#include "core/output/mask_filter.h"
#include "core/output/mask_forms.h"
#include "core/output/mask_trie.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { RANGES_MAX = 256, NO_DIGIT = 64, LINE_FEED, CARRIAGE_RETURN };

struct tn_mask {
    struct tn_trie texts;
    struct tn_trie base64; /* its bytes are digits, 0 to 63 */
    struct tn_filter filter;
    uint8_t digits[256]; /* a byte's digit, or NO_DIGIT, LINE_FEED, CARRIAGE_RETURN */
};

/* ---- building ---- */

typedef int line_cb(struct tn_mask *mask, const char *line, size_t length, void *arg);

static bool is_secret(const char *line, size_t length)
{
    return length >= TN_MASK_VALUE_MIN && !(length == 4 && memcmp(line, "true", 4) == 0) &&
           !(length == 5 && memcmp(line, "false", 5) == 0) && strspn(line, " \t\r") < length;
}

static int each_line(struct tn_mask *mask, const char *const *values, size_t count, line_cb *cb, void *arg)
{
    for (size_t i = 0; i < count; i++) {
        const char *line = values[i];

        while (*line != '\0') {
            size_t whole = strcspn(line, "\n");
            size_t length = whole;

            while (length > 0 && line[length - 1] == '\r')
                length--;
            if (is_secret(line, length) && cb(mask, line, length, arg) != 0)
                return -1;
            line += whole + (line[whole] == '\n');
        }
    }
    return 0;
}

struct measure {
    size_t shortest;
    size_t lines;
};

static int measure_line(struct tn_mask *mask, const char *line, size_t length, void *arg)
{
    struct measure *measure = arg;

    (void)mask;
    (void)line;
    measure->shortest = length < measure->shortest ? length : measure->shortest;
    measure->lines++;
    return 0;
}

static int add_text(void *arg, const char *bytes, size_t length)
{
    struct tn_mask *mask = arg;

    tn_filter_add(&mask->filter, (const uint8_t *)bytes, length);
    return tn_trie_add(&mask->texts, (const uint8_t *)bytes, length, false);
}

static int add_line(struct tn_mask *mask, const char *line, size_t length, void *arg)
{
    auto_free uint8_t *digits = malloc(length * 4 / 3 + 1);

    (void)arg;
    if (digits == NULL)
        tn_fatal(3, "out of memory: %zu digits", length);
    if (add_text(mask, line, length) != 0 || tn_mask_forms(line, length, add_text, mask) != 0)
        return -1;
    for (unsigned before = 0; before < 3; before++) {
        bool open;
        size_t count = tn_mask_base64(line, length, before, digits, &open);

        tn_filter_add_base64(&mask->filter, digits, count);
        if (tn_trie_add(&mask->base64, digits, count, open) != 0)
            return -1;
    }
    return 0;
}

static void sort_bytes(struct tn_mask *mask)
{
    for (unsigned byte = 0; byte < 256; byte++) {
        int digit = tn_mask_base64_digit((uint8_t)byte);

        mask->digits[byte] = digit >= 0 ? (uint8_t)digit : NO_DIGIT;
    }
    mask->digits['\n'] = LINE_FEED;
    mask->digits['\r'] = CARRIAGE_RETURN;
}

struct tn_mask *tn_mask_new(const char *const *values, size_t count, struct tn_err *err)
{
    struct measure measure = {.shortest = SIZE_MAX};
    struct tn_mask *mask;
    size_t total = 0;

    for (size_t i = 0; i < count; i++)
        total += strlen(values[i]);
    if (total > TN_MASK_BYTES_MAX) {
        tn_err_set(err, TN_ERR_LIMIT, "the values to mask have %zu bytes together, at most %d are allowed", total,
                   TN_MASK_BYTES_MAX);
        return NULL;
    }
    mask = calloc(1, sizeof(*mask));
    if (mask == NULL)
        tn_fatal(3, "out of memory: a masker");
    sort_bytes(mask);
    tn_trie_init(&mask->texts);
    tn_trie_init(&mask->base64);
    (void)each_line(mask, values, count, measure_line, &measure);
    if (measure.lines == 0)
        return mask;
    tn_filter_init(&mask->filter, measure.shortest, measure.lines);
    if (each_line(mask, values, count, add_line, NULL) != 0) {
        tn_err_set(err, TN_ERR_LIMIT,
                   "the values to mask have %zu bytes together; with their encoded forms that is too much, at most %d "
                   "bytes of all are allowed: use shorter values, or fewer characters that encoders escape",
                   total, TN_TRIE_NODES_MAX);
        tn_mask_free(mask);
        return NULL;
    }
    tn_trie_link(&mask->texts);
    tn_trie_link(&mask->base64);
    return mask;
}

void tn_mask_free(struct tn_mask *mask)
{
    if (mask == NULL)
        return;
    tn_trie_free(&mask->texts);
    tn_trie_free(&mask->base64);
    tn_filter_free(&mask->filter);
    free(mask);
}

bool tn_mask_is_empty(const struct tn_mask *mask)
{
    return mask->texts.count == 1;
}

/* ---- covering ---- */

/* Bytes of the stream by position: those before `start` lie in the carry, the others in the chunk. */
struct view {
    const struct tn_buf *carry;
    const uint8_t *chunk;
    uint64_t start;
    unsigned before; /* base64 digits before the carry */
};

static void pass(const struct view *view, uint64_t from, uint64_t to, struct tn_buf *out)
{
    if (from < view->start) {
        uint64_t end = to < view->start ? to : view->start;

        tn_buf_add(out, view->carry->data + (view->carry->len - (view->start - from)), end - from);
        from = end;
    }
    if (from < to)
        tn_buf_add(out, view->chunk + (from - view->start), to - from);
}

/* Everything before `safe` is decided: no value that is still to end begins before it. */
static void settle(struct tn_mask_state *state, const struct view *view, uint64_t safe, struct tn_buf *out)
{
    while (state->out < safe) {
        struct tn_mask_range *range = state->ranges.count > 0 ? &state->ranges.at[state->ranges.head] : NULL;

        if (range == NULL || range->start > state->out) {
            uint64_t end = range != NULL && range->start < safe ? range->start : safe;

            pass(view, state->out, end, out);
            state->out = end;
            continue;
        }
        if (!range->starred)
            tn_buf_adds(out, "****");
        range->starred = true;
        state->out = range->end < safe ? range->end : safe;
        if (range->end <= state->out) {
            state->ranges.head++;
            if (--state->ranges.count == 0)
                state->ranges.head = 0;
        }
    }
}

/* Adds a range that ends last of all; those that it overlaps become one with it. */
static void cover(struct tn_mask_state *state, uint64_t start, uint64_t end, bool starred)
{
    struct tn_mask_range range = {start, end, starred};

    while (state->ranges.count > 0) {
        const struct tn_mask_range *last = &state->ranges.at[state->ranges.head + state->ranges.count - 1];

        if (last->end <= start)
            break;
        if (last->start < range.start)
            range.start = last->start;
        range.starred = range.starred || last->starred;
        state->ranges.count--;
    }
    if (state->ranges.head + state->ranges.count == state->ranges.room) {
        if (state->ranges.count > 0)
            memmove(state->ranges.at, state->ranges.at + state->ranges.head, state->ranges.count * sizeof(range));
        state->ranges.head = 0;
        if (state->ranges.count * 2 >= state->ranges.room) {
            state->ranges.room = state->ranges.room * 2 + 8;
            state->ranges.at = reallocarray(state->ranges.at, state->ranges.room, sizeof(range));
            if (state->ranges.at == NULL)
                tn_fatal(3, "out of memory: %zu ranges to mask", state->ranges.room);
        }
    }
    state->ranges.at[state->ranges.head + state->ranges.count++] = range;
}

/* ---- base64 ---- */

static uint8_t byte_at(const struct view *view, uint64_t at)
{
    if (at < view->start)
        return (uint8_t)view->carry->data[view->carry->len - (view->start - at)];
    return view->chunk[at - view->start];
}

/* How many digits stand directly before a position, as far as that matters. */
static unsigned digits_before(const struct tn_mask *mask, const struct view *view, uint64_t at)
{
    uint64_t first = view->start - view->carry->len;
    unsigned count = 0;

    while (count < TN_MASK_BASE64_LINE) {
        if (at == first) {
            count += view->before;
            break;
        }
        if (mask->digits[byte_at(view, --at)] >= NO_DIGIT)
            break;
        count++;
    }
    return count < TN_MASK_BASE64_LINE ? count : TN_MASK_BASE64_LINE;
}

static void leave_base64(struct tn_mask_state *state)
{
    state->base64 = 0;
    state->digits = 0;
    state->open = 0;
    state->cr = false;
    state->breaks.count = 0;
}

static void add_break(const struct tn_mask *mask, struct tn_mask_state *state, unsigned length)
{
    uint64_t skipped = state->breaks.count > 0 ? state->breaks.at[state->breaks.count - 1].skipped : 0;
    uint64_t needed = state->digits - mask->base64.nodes[state->base64].depth;
    size_t unused = 0;

    if (state->breaks.count == state->breaks.room) {
        /* The first of those that are left is the base of the sums. */
        while (unused + 1 < state->breaks.count && state->breaks.at[unused + 1].digits <= needed)
            unused++;
        state->breaks.count -= unused;
        if (unused > 0)
            memmove(state->breaks.at, state->breaks.at + unused, state->breaks.count * sizeof(*state->breaks.at));
        if (state->breaks.count * 2 >= state->breaks.room) {
            state->breaks.room = state->breaks.room * 2 + 8;
            state->breaks.at = reallocarray(state->breaks.at, state->breaks.room, sizeof(*state->breaks.at));
            if (state->breaks.at == NULL)
                tn_fatal(3, "out of memory: %zu lines of base64", state->breaks.room);
        }
    }
    state->breaks.at[state->breaks.count++] = (struct tn_mask_break){state->digits, skipped + length};
}

/* Where the last `count` digits before `end` begin; ends of lines lie between them and perhaps behind them. */
static uint64_t digits_start(const struct tn_mask_state *state, uint64_t end, uint64_t count)
{
    uint64_t first = state->digits - count;
    size_t low = 0;
    size_t high = state->breaks.count;
    uint64_t skipped;

    if (high == 0)
        return end - count;
    skipped = state->breaks.at[high - 1].skipped;
    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (state->breaks.at[middle].digits > first)
            high = middle;
        else
            low = middle + 1;
    }
    return end - count - (skipped - (low > 0 ? state->breaks.at[low - 1].skipped : 0));
}

static void step_digit(const struct tn_mask *mask, struct tn_mask_state *state, uint8_t digit, uint64_t end, bool known)
{
    const struct tn_trie_node *node;

    if (state->cr)
        leave_base64(state);
    if (state->open != 0 && !known)
        cover(state, state->open - 1, end, false);
    state->open = 0;
    state->base64 = tn_trie_step(&mask->base64, state->base64, digit);
    if (state->base64 == 0) {
        leave_base64(state);
        return;
    }
    state->digits++;
    node = &mask->base64.nodes[state->base64];
    if (node->match == 0)
        return;
    if (!known)
        cover(state, digits_start(state, end, node->match), end, false);
    if (node->open != 0)
        state->open = 1 + digits_start(state, end, node->match);
}

/* A byte that is no digit: the end of a long line of digits goes on, all else does not. */
static void step_other(const struct tn_mask *mask, struct tn_mask_state *state, const struct view *view, unsigned kind,
                       uint64_t at)
{
    if (state->base64 == 0 && state->open == 0)
        return;
    if (kind == LINE_FEED && (state->cr || digits_before(mask, view, at) >= TN_MASK_BASE64_LINE)) {
        add_break(mask, state, 1);
        state->cr = false;
    } else if (kind == CARRIAGE_RETURN && !state->cr && digits_before(mask, view, at) >= TN_MASK_BASE64_LINE) {
        add_break(mask, state, 1);
        state->cr = true;
    } else {
        leave_base64(state);
    }
}

/* ---- the stream ---- */

/* Where the first value that can still end begins, when everything before `at` was stepped through. */
static uint64_t first_start(const struct tn_mask *mask, const struct tn_mask_state *state, uint64_t at)
{
    uint64_t start = at - mask->texts.nodes[state->text].depth;

    if (state->base64 != 0) {
        uint64_t begin = digits_start(state, at, mask->base64.nodes[state->base64].depth);

        start = begin < start ? begin : start;
    }
    return state->open != 0 && state->open - 1 < start ? state->open - 1 : start;
}

/* Steps over the byte at `at`; `known`: what ends there was covered before. */
static void step(const struct tn_mask *mask, struct tn_mask_state *state, const struct view *view, uint64_t at,
                 bool known)
{
    uint8_t byte = view->chunk[at - view->start];
    uint8_t digit = mask->digits[byte];

    if (state->text != 0 || mask->texts.root[byte] != 0) {
        state->text = tn_trie_step(&mask->texts, state->text, byte);
        if (mask->texts.nodes[state->text].match != 0 && !known)
            cover(state, at + 1 - mask->texts.nodes[state->text].match, at + 1, false);
    }
    if (digit >= NO_DIGIT)
        step_other(mask, state, view, digit, at);
    else if (state->base64 != 0 || state->open != 0 || mask->base64.root[digit] != 0)
        step_digit(mask, state, digit, at + 1, known);
}

/* The filter names places where a value could begin; from each on the automata step, until all that they follow began
 * behind what the filter was sure of. Then both forget it: the filter looks again from there. So `known` may be ahead.
 */
static void scan(const struct tn_mask *mask, struct tn_mask_state *state, const struct view *view, size_t length,
                 struct tn_buf *out)
{
    uint64_t known = view->start;
    size_t until = 0; /* places before it are done with */
    size_t at = 0;

    while (at < length) {
        if (at >= until) {
            uint64_t start = first_start(mask, state, view->start + at);

            if (start >= view->start + until && view->start + at - start < mask->filter.span) {
                state->text = 0;
                leave_base64(state);
                at = tn_filter_skip(&mask->filter, view->chunk, start - view->start, length, &until);
                if (at == length)
                    break;
            }
        }
        step(mask, state, view, view->start + at, view->start + at < known);
        at++;
        if (view->start + at > known)
            known = view->start + at;
        if (state->ranges.count >= RANGES_MAX)
            settle(state, view, first_start(mask, state, view->start + at), out);
    }
}

void tn_mask_feed(const struct tn_mask *mask, struct tn_mask_state *state, const void *chunk, size_t length,
                  struct tn_buf *out)
{
    struct view view = {&state->carry, chunk, state->pos, state->before};
    struct tn_buf carry = TN_BUF_INIT;

    if (tn_mask_is_empty(mask)) {
        tn_buf_add(out, chunk, length);
        return;
    }
    tn_buf_reserve(out, state->carry.len + length);
    scan(mask, state, &view, length, out);
    state->pos += length;
    settle(state, &view, first_start(mask, state, state->pos), out);
    state->before = digits_before(mask, &view, state->out);
    pass(&view, state->out, state->pos, &carry);
    tn_buf_free(&state->carry);
    state->carry = carry;
}

void tn_mask_finish(struct tn_mask_state *state, struct tn_buf *out)
{
    struct view view = {&state->carry, NULL, state->pos, 0};

    settle(state, &view, state->pos, out);
    tn_buf_reset(&state->carry);
    leave_base64(state);
    state->text = 0;
    state->before = 0;
}

void tn_mask_cut(struct tn_mask_state *state, struct tn_buf *out)
{
    const struct tn_mask_range *range = state->ranges.count > 0 ? &state->ranges.at[state->ranges.head] : NULL;

    if (range == NULL && state->carry.len < TN_MASK_VALUE_MIN)
        tn_buf_add(out, state->carry.data, state->carry.len);
    else if (range == NULL || range->start > state->out || !range->starred)
        tn_buf_adds(out, "****");
    tn_mask_state_free(state);
}

/* ---- keeping ---- */

void tn_mask_state_free(struct tn_mask_state *state)
{
    tn_buf_free(&state->carry);
    free(state->breaks.at);
    free(state->ranges.at);
    memset(state, 0, sizeof(*state));
}

void tn_mask_state_copy(struct tn_mask_state *to, const struct tn_mask_state *from)
{
    tn_mask_state_free(to);
    *to = *from;
    memset(&to->carry, 0, sizeof(to->carry));
    memset(&to->breaks, 0, sizeof(to->breaks));
    memset(&to->ranges, 0, sizeof(to->ranges));
    if (from->carry.len > 0)
        tn_buf_add(&to->carry, from->carry.data, from->carry.len);
    if (from->breaks.count > 0) {
        to->breaks.at = calloc(from->breaks.count, sizeof(*to->breaks.at));
        if (to->breaks.at == NULL)
            tn_fatal(3, "out of memory: %zu lines of base64", from->breaks.count);
        memcpy(to->breaks.at, from->breaks.at, from->breaks.count * sizeof(*to->breaks.at));
        to->breaks.count = to->breaks.room = from->breaks.count;
    }
    for (size_t i = 0; i < from->ranges.count; i++) {
        const struct tn_mask_range *range = &from->ranges.at[from->ranges.head + i];

        cover(to, range->start, range->end, range->starred);
    }
}

void tn_mask_state_export(const struct tn_mask_state *state, struct tn_buf *text)
{
    if (state->before > 0)
        tn_buf_addf(text, "%u:", state->before);
    for (size_t i = 0; i < state->carry.len; i++)
        tn_buf_addf(text, "%02x", (unsigned)(uint8_t)state->carry.data[i]);
    for (size_t i = 0; i < state->ranges.count; i++) {
        const struct tn_mask_range *range = &state->ranges.at[state->ranges.head + i];
        uint64_t start = range->start > state->out ? range->start - state->out : 0;

        tn_buf_addf(text, " %" PRIu64 ",%" PRIu64 ",%d", start, range->end - state->out, range->starred);
    }
}

static int hex_digit(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

static int import_ranges(struct tn_mask_state *state, const char *text)
{
    uint64_t last = 0;

    while (*text == ' ') {
        char *end;
        uint64_t start = strtoull(text + 1, &end, 10);
        uint64_t stop = *end == ',' ? strtoull(end + 1, &end, 10) : 0;
        unsigned long starred = *end == ',' ? strtoul(end + 1, &end, 10) : 2;

        if (start < last || stop <= start || stop > state->pos || starred > 1)
            return -1;
        cover(state, start, stop, starred == 1);
        last = stop;
        text = end;
    }
    return *text == '\0' ? 0 : -1;
}

static const char *import_before(struct tn_mask_state *state, const char *text)
{
    size_t length = strspn(text, "0123456789");

    if (text[length] != ':')
        return text;
    if (length > 0 && length <= 2)
        state->before = (unsigned)strtoul(text, NULL, 10);
    if (state->before > TN_MASK_BASE64_LINE)
        state->before = TN_MASK_BASE64_LINE;
    return text + length + 1;
}

int tn_mask_state_import(const struct tn_mask *mask, struct tn_mask_state *state, const char *text, struct tn_err *err)
{
    static const struct tn_buf nothing = TN_BUF_INIT;
    struct view view = {&nothing, NULL, 0, 0};

    tn_mask_state_free(state);
    text = import_before(state, text);
    for (; hex_digit(text[0]) >= 0 && hex_digit(text[1]) >= 0; text += 2) {
        uint8_t byte = (uint8_t)((unsigned)hex_digit(text[0]) << 4 | (unsigned)hex_digit(text[1]));

        tn_buf_add(&state->carry, &byte, 1);
    }
    state->pos = state->carry.len;
    if (import_ranges(state, text) != 0) {
        tn_mask_state_free(state);
        return tn_err_set(err, TN_ERR_PROTOCOL, "a masker's kept state is damaged");
    }
    /* What is held back leads the automata to where they were. */
    view.chunk = (const uint8_t *)state->carry.data;
    view.before = state->before;
    for (uint64_t at = 0; at < state->pos; at++)
        step(mask, state, &view, at, true);
    return 0;
}
