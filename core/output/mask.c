#include "core/output/mask.h"
#include "core/lib/log.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { RANGES_MAX = 256 };

struct node {
    uint32_t child;   /* first child, 0: none */
    uint32_t sibling; /* next child of the same parent, 0: none */
    uint32_t fail;
    uint32_t depth;
    uint32_t match; /* length of the longest value that ends here, 0: none */
    uint8_t byte;
};

struct tn_mask {
    struct node *nodes; /* owned; 0 is the root */
    uint32_t count;
    uint32_t room;
    uint32_t root[256];       /* the root's children */
    uint8_t pairs[65536 / 8]; /* the first two bytes of all values, as a set: what skips the bulk of the stream */
};

/* ---- building ---- */

static uint32_t child_of(const struct tn_mask *mask, uint32_t node, uint8_t byte)
{
    uint32_t child;

    if (node == 0)
        return mask->root[byte];
    for (child = mask->nodes[node].child; child != 0; child = mask->nodes[child].sibling)
        if (mask->nodes[child].byte == byte)
            return child;
    return 0;
}

static uint32_t add_child(struct tn_mask *mask, uint32_t parent, uint8_t byte)
{
    struct node *nodes = mask->nodes;

    if (mask->count == mask->room) {
        mask->room = mask->room * 2 + 64;
        nodes = mask->nodes = realloc(nodes, mask->room * sizeof(*nodes));
        if (nodes == NULL)
            tn_fatal(3, "out of memory: %" PRIu32 " nodes of a masker", mask->room);
    }
    nodes[mask->count] = (struct node){.sibling = nodes[parent].child, .depth = nodes[parent].depth + 1, .byte = byte};
    nodes[parent].child = mask->count;
    if (parent == 0)
        mask->root[byte] = mask->count;
    return mask->count++;
}

static bool is_secret(const char *line, size_t length)
{
    return length >= TN_MASK_VALUE_MIN && !(length == 4 && memcmp(line, "true", 4) == 0) &&
           !(length == 5 && memcmp(line, "false", 5) == 0);
}

static void add_line(struct tn_mask *mask, const char *line, size_t length)
{
    uint32_t node = 0;

    while (length > 0 && line[length - 1] == '\r')
        length--;
    if (!is_secret(line, length))
        return;
    for (size_t i = 0; i < length; i++) {
        uint32_t next = child_of(mask, node, (uint8_t)line[i]);

        node = next != 0 ? next : add_child(mask, node, (uint8_t)line[i]);
    }
    mask->nodes[node].match = mask->nodes[node].depth;
    unsigned pair = (unsigned)(uint8_t)line[0] << 8 | (uint8_t)line[1];
    mask->pairs[pair >> 3] |= (uint8_t)(1u << (pair & 7));
}

static uint32_t step(const struct tn_mask *mask, uint32_t node, uint8_t byte)
{
    for (;;) {
        uint32_t next = child_of(mask, node, byte);

        if (next != 0 || node == 0)
            return next;
        node = mask->nodes[node].fail;
    }
}

/* Breadth first: a node's failure link leads to a node of smaller depth, which is complete by then. */
static void link_nodes(struct tn_mask *mask)
{
    uint32_t *queue = malloc(mask->count * sizeof(*queue));
    uint32_t head = 0;
    uint32_t tail = 0;

    if (queue == NULL)
        tn_fatal(3, "out of memory: %" PRIu32 " nodes of a masker", mask->count);
    queue[tail++] = 0;
    while (head < tail) {
        uint32_t parent = queue[head++];

        for (uint32_t child = mask->nodes[parent].child; child != 0; child = mask->nodes[child].sibling) {
            struct node *node = &mask->nodes[child];

            node->fail = parent == 0 ? 0 : step(mask, mask->nodes[parent].fail, node->byte);
            if (node->match == 0)
                node->match = mask->nodes[node->fail].match;
            queue[tail++] = child;
        }
    }
    free(queue);
}

struct tn_mask *tn_mask_new(const char *const *values, size_t count, struct tn_err *err)
{
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
    if (mask == NULL || (mask->nodes = calloc(64, sizeof(*mask->nodes))) == NULL)
        tn_fatal(3, "out of memory: a masker");
    mask->room = 64;
    mask->count = 1;
    for (size_t i = 0; i < count; i++) {
        const char *line = values[i];

        while (*line != '\0') {
            size_t length = strcspn(line, "\n");

            add_line(mask, line, length);
            line += length + (line[length] == '\n');
        }
    }
    link_nodes(mask);
    return mask;
}

void tn_mask_free(struct tn_mask *mask)
{
    if (mask == NULL)
        return;
    free(mask->nodes);
    free(mask);
}

bool tn_mask_is_empty(const struct tn_mask *mask)
{
    return mask->count == 1;
}

/* ---- covering ---- */

/* Bytes of the stream by position: those before `start` lie in the carry, the others in the chunk. */
struct view {
    const struct tn_buf *carry;
    const uint8_t *chunk;
    uint64_t start;
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
        struct tn_mask_range *range = state->count > 0 ? &state->ranges[state->head] : NULL;

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
            state->head++;
            if (--state->count == 0)
                state->head = 0;
        }
    }
}

/* Adds a range that ends last of all; those that it overlaps become one with it. */
static void cover(struct tn_mask_state *state, uint64_t start, uint64_t end, bool starred)
{
    struct tn_mask_range range = {start, end, starred};

    while (state->count > 0) {
        const struct tn_mask_range *last = &state->ranges[state->head + state->count - 1];

        if (last->end <= start)
            break;
        if (last->start < range.start)
            range.start = last->start;
        range.starred = range.starred || last->starred;
        state->count--;
    }
    if (state->head + state->count == state->room) {
        if (state->count > 0)
            memmove(state->ranges, state->ranges + state->head, state->count * sizeof(range));
        state->head = 0;
        if (state->count * 2 >= state->room) {
            state->room = state->room * 2 + 8;
            state->ranges = realloc(state->ranges, state->room * sizeof(range));
            if (state->ranges == NULL)
                tn_fatal(3, "out of memory: %zu ranges to mask", state->room);
        }
    }
    state->ranges[state->head + state->count++] = range;
}

/* The first place from `at` on where a value could begin. Values have at least four bytes, so two can be asked at once.
 */
static size_t skip(const struct tn_mask *mask, const uint8_t *bytes, size_t at, size_t length)
{
    unsigned pair = bytes[at];

    for (; at + 1 < length; at++) {
        pair = (pair << 8 | bytes[at + 1]) & 0xffff;
        if ((mask->pairs[pair >> 3] >> (pair & 7) & 1) != 0)
            return at;
    }
    return mask->root[bytes[at]] != 0 ? at : length;
}

void tn_mask_feed(const struct tn_mask *mask, struct tn_mask_state *state, const void *chunk, size_t length,
                  struct tn_buf *out)
{
    const uint8_t *bytes = chunk;
    struct view view = {&state->carry, bytes, state->pos};
    struct tn_buf carry = TN_BUF_INIT;
    uint32_t node = state->node;
    size_t at = 0;

    tn_buf_reserve(out, state->carry.len + length);
    while (at < length) {
        const struct node *here;

        if (node == 0 && (at = skip(mask, bytes, at, length)) == length)
            break;
        node = step(mask, node, bytes[at++]);
        here = &mask->nodes[node];
        if (here->match == 0)
            continue;
        cover(state, view.start + at - here->match, view.start + at, false);
        if (state->count >= RANGES_MAX)
            settle(state, &view, view.start + at - here->depth, out);
    }
    state->node = node;
    state->pos += length;
    settle(state, &view, state->pos - mask->nodes[node].depth, out);
    pass(&view, state->out, state->pos, &carry);
    tn_buf_free(&state->carry);
    state->carry = carry;
}

void tn_mask_finish(struct tn_mask_state *state, struct tn_buf *out)
{
    struct view view = {&state->carry, NULL, state->pos};

    settle(state, &view, state->pos, out);
    tn_buf_reset(&state->carry);
    state->node = 0;
}

/* ---- keeping ---- */

void tn_mask_state_free(struct tn_mask_state *state)
{
    tn_buf_free(&state->carry);
    free(state->ranges);
    memset(state, 0, sizeof(*state));
}

void tn_mask_state_copy(struct tn_mask_state *to, const struct tn_mask_state *from)
{
    tn_mask_state_free(to);
    to->pos = from->pos;
    to->out = from->out;
    to->node = from->node;
    if (from->carry.len > 0)
        tn_buf_add(&to->carry, from->carry.data, from->carry.len);
    for (size_t i = 0; i < from->count; i++) {
        const struct tn_mask_range *range = &from->ranges[from->head + i];

        cover(to, range->start, range->end, range->starred);
    }
}

void tn_mask_state_export(const struct tn_mask_state *state, struct tn_buf *text)
{
    for (size_t i = 0; i < state->carry.len; i++)
        tn_buf_addf(text, "%02x", (unsigned)(uint8_t)state->carry.data[i]);
    for (size_t i = 0; i < state->count; i++) {
        const struct tn_mask_range *range = &state->ranges[state->head + i];
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

int tn_mask_state_import(const struct tn_mask *mask, struct tn_mask_state *state, const char *text, struct tn_err *err)
{
    tn_mask_state_free(state);
    for (; hex_digit(text[0]) >= 0 && hex_digit(text[1]) >= 0; text += 2) {
        uint8_t byte = (uint8_t)(hex_digit(text[0]) << 4 | hex_digit(text[1]));

        tn_buf_add(&state->carry, &byte, 1);
        state->node = step(mask, state->node, byte);
    }
    state->pos = state->carry.len;
    if (import_ranges(state, text) == 0)
        return 0;
    tn_mask_state_free(state);
    return tn_err_set(err, TN_ERR_PROTOCOL, "a masker's kept state is damaged");
}
