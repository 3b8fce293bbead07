/* Aho-Corasick: all patterns at once, a byte a step, in time that is linear whatever the patterns are. Pure.
 *
 * Nodes are numbers, 0 is the root. After a text, the node stands for the longest suffix of it that begins a pattern.
 */
#ifndef TN_OUTPUT_MASK_TRIE_H
#define TN_OUTPUT_MASK_TRIE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    TN_TRIE_NODES_MAX = 16 << 20, /* 20 bytes each */
    TN_TRIE_WIDE_MAX = 4096,      /* 1 KiB each */
};

struct tn_trie_node {
    uint32_t child;   /* first child, 0: none; of a wide node: which table */
    uint32_t sibling; /* next child of the same parent, 0: none */
    uint32_t fail;
    uint32_t depth : 24;
    uint32_t byte : 8;
    uint32_t match : 24; /* length of the longest pattern that ends here, 0: none */
    uint32_t open : 1;   /* one of those that end here was added as open */
    uint32_t wide : 1;   /* it has many children: a table of them */
};

struct tn_trie {
    struct tn_trie_node *nodes; /* owned */
    uint32_t count;
    uint32_t room;
    uint32_t root[256];    /* the root's children */
    uint32_t (*wide)[256]; /* owned; children by byte, 0: none */
    uint32_t wide_count;
};

void tn_trie_init(struct tn_trie *trie);
void tn_trie_free(struct tn_trie *trie);
/* Adds a pattern of at least one byte; `open` is handed back with its matches. -1: TN_TRIE_NODES_MAX is reached. */
int tn_trie_add(struct tn_trie *trie, const uint8_t *bytes, size_t length, bool open);
/* To be called once, after the last pattern. */
void tn_trie_link(struct tn_trie *trie);

static inline uint32_t tn_trie_child(const struct tn_trie *trie, uint32_t node, uint8_t byte)
{
    uint32_t child;

    if (node == 0)
        return trie->root[byte];
    if (trie->nodes[node].wide)
        return trie->wide[trie->nodes[node].child][byte];
    for (child = trie->nodes[node].child; child != 0; child = trie->nodes[child].sibling)
        if (trie->nodes[child].byte == byte)
            return child;
    return 0;
}

static inline uint32_t tn_trie_step(const struct tn_trie *trie, uint32_t node, uint8_t byte)
{
    for (;;) {
        uint32_t next = tn_trie_child(trie, node, byte);

        if (next != 0 || node == 0)
            return next;
        node = trie->nodes[node].fail;
    }
}

#endif
