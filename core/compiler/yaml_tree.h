/* The YAML tree: libyaml's events composed into nodes that know their place.
 *
 * An alias stays a node of its own: its place is the place of use, its target the place of definition. Nothing is
 * copied. Maps are flattened when they close: merge keys are applied (own keys win; of several merges the first wins)
 * and of duplicate keys the last counts. An alias can only name a value that is complete, so there are no cycles. */
#ifndef TN_COMPILER_YAML_TREE_H
#define TN_COMPILER_YAML_TREE_H

#include "core/compiler/diag.h"

enum node_kind { NODE_SCALAR, NODE_SEQ, NODE_MAP, NODE_ALIAS };

struct pair;

struct node {
    enum node_kind kind;
    bool plain;      /* a scalar without quotes: its type comes from its spelling */
    bool broken;     /* stands in for something that was reported */
    bool has_anchor; /* it or something in it carries an anchor */
    struct place place;
    union {
        struct {
            const char *text; /* NUL-terminated, without NUL bytes inside */
            size_t len;
        };
        struct {
            struct node **items; /* may be aliases */
            size_t item_count;
        };
        struct {
            struct pair *pairs; /* flattened */
            size_t pair_count;
            struct table index; /* key text to struct pair */
        };
        struct node *target; /* never an alias */
    };
};

struct pair {
    const struct node *key;   /* a scalar */
    const struct node *value; /* may be an alias */
    const struct node *via;   /* the alias in a merge key through which the pair came, or NULL */
};

struct duplicate {
    const struct node *map;
    const struct node *first;
    const struct node *second;
};

struct yaml_tree {
    const struct node *root; /* NULL after an error that left nothing to look at */
    struct duplicate *duplicates;
    size_t duplicate_count;
    size_t steps; /* merge pairs made */
};

/* Reads the one document of `source`. Everything lives in the arena of `diags`. Reports all that is wrong; the tree is
 * then partial, and `root` is NULL if the parser itself gave up. */
void yaml__compose(struct yaml_tree *tree, const struct source *source, struct diags *diags);

/* The pair of `map` with this key, or NULL. */
const struct pair *yaml__find(const struct node *map, const char *key);

/* The node behind an alias; others return themselves. */
const struct node *yaml__target(const struct node *node);

#endif
