#include "core/output/mask_trie.h"
#include "core/lib/secret.h"
#include "core/lib/log.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { WIDE_FROM = 4 };

static void grow(struct tn_trie *trie)
{
    trie->room = trie->room * 2 + 64;
    trie->nodes = reallocarray(trie->nodes, trie->room, sizeof(*trie->nodes));
    if (trie->nodes == NULL)
        tn_fatal(3, "out of memory: %" PRIu32 " nodes of a masker", trie->room);
}

void tn_trie_init(struct tn_trie *trie)
{
    memset(trie, 0, sizeof(*trie));
    grow(trie);
    trie->nodes[0] = (struct tn_trie_node){0};
    trie->count = 1;
}

void tn_trie_free(struct tn_trie *trie)
{
    tn_secret_free(trie->nodes);
    tn_secret_free(trie->wide);
    trie->nodes = NULL;
    trie->wide = NULL;
    trie->count = 0;
}

static uint32_t add_child(struct tn_trie *trie, uint32_t parent, uint8_t byte)
{
    struct tn_trie_node *node;

    if (trie->count == trie->room)
        grow(trie);
    node = &trie->nodes[trie->count];
    *node = (struct tn_trie_node){
        .sibling = trie->nodes[parent].child, .depth = (trie->nodes[parent].depth + 1) & 0xffffffu, .byte = byte};
    trie->nodes[parent].child = trie->count;
    if (parent == 0)
        trie->root[byte] = trie->count;
    return trie->count++;
}

int tn_trie_add(struct tn_trie *trie, const uint8_t *bytes, size_t length, bool open)
{
    uint32_t node = 0;

    if (length >= TN_TRIE_NODES_MAX - trie->count)
        return -1;
    for (size_t i = 0; i < length; i++) {
        uint32_t next = tn_trie_child(trie, node, bytes[i]);

        node = next != 0 ? next : add_child(trie, node, bytes[i]);
    }
    trie->nodes[node].match = trie->nodes[node].depth;
    trie->nodes[node].open |= open;
    return 0;
}

/* Many children are looked up in a table. Nodes near the root come first: they have the most and are used most. */
static void widen(struct tn_trie *trie, uint32_t parent)
{
    uint32_t children = 0;
    uint32_t *table;

    for (uint32_t child = trie->nodes[parent].child; child != 0; child = trie->nodes[child].sibling)
        children++;
    if (children < WIDE_FROM || parent == 0 || trie->wide_count == TN_TRIE_WIDE_MAX)
        return;
    if ((trie->wide_count & (trie->wide_count - 1)) == 0) {
        trie->wide = reallocarray(trie->wide, trie->wide_count > 0 ? trie->wide_count * 2 : 1, sizeof(*trie->wide));
        if (trie->wide == NULL)
            tn_fatal(3, "out of memory: %" PRIu32 " tables of a masker", trie->wide_count);
    }
    table = trie->wide[trie->wide_count];
    memset(table, 0, sizeof(*trie->wide));
    for (uint32_t child = trie->nodes[parent].child; child != 0; child = trie->nodes[child].sibling)
        table[trie->nodes[child].byte] = child;
    trie->nodes[parent].child = trie->wide_count++;
    trie->nodes[parent].wide = 1;
}

/* Breadth first: a node's failure link leads to a node of smaller depth, which is complete by then. */
void tn_trie_link(struct tn_trie *trie)
{
    uint32_t *queue = malloc(trie->count * sizeof(*queue));
    uint32_t head = 0;
    uint32_t tail = 0;

    if (queue == NULL)
        tn_fatal(3, "out of memory: %" PRIu32 " nodes of a masker", trie->count);
    queue[tail++] = 0;
    while (head < tail) {
        uint32_t parent = queue[head++];

        for (uint32_t child = trie->nodes[parent].child; child != 0; child = trie->nodes[child].sibling) {
            struct tn_trie_node *node = &trie->nodes[child];

            node->fail = parent == 0 ? 0 : tn_trie_step(trie, trie->nodes[parent].fail, (uint8_t)node->byte);
            if (node->match == 0)
                node->match = trie->nodes[node->fail].match;
            node->open |= trie->nodes[node->fail].open;
            queue[tail++] = child;
        }
        widen(trie, parent);
    }
    free(queue);
}
