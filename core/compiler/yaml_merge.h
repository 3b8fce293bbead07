/* Flattening of maps: merge keys and duplicate keys. */
#ifndef TN_COMPILER_YAML_MERGE_H
#define TN_COMPILER_YAML_MERGE_H

#include "core/compiler/yaml_tree.h"

/* Growing lists of the composer; owned by it, freed at its end. */
struct merger {
    struct diags *diags; /* borrowed */
    struct duplicate *duplicates;
    size_t duplicate_count;
    size_t duplicate_size;
    size_t steps;
    bool full; /* the limit of expansion was reached and reported */
};

/* Makes `map->pairs` and `map->index` of `count` nodes: key, value, key, value. */
void yaml__flatten(struct merger *merger, struct node *map, struct node **flat, size_t count);

#endif
