#include "core/compiler/yaml_merge.h"

#include "core/compiler/limits.h"
#include "core/lib/log.h"

#include <stdlib.h>
#include <string.h>

static bool is_merge_key(const struct node *key)
{
    return key->kind == NODE_SCALAR && key->plain && strcmp(key->text, "<<") == 0;
}

static void note_duplicate(struct merger *merger, const struct node *map, const struct node *first,
                           const struct node *second)
{
    if (merger->duplicate_count == merger->duplicate_size) {
        merger->duplicate_size = merger->duplicate_size == 0 ? 16 : merger->duplicate_size * 2;
        merger->duplicates = reallocarray(merger->duplicates, merger->duplicate_size, sizeof(*merger->duplicates));
        if (merger->duplicates == NULL)
            tn_fatal(3, "out of memory: %zu duplicate keys", merger->duplicate_size);
    }
    merger->duplicates[merger->duplicate_count++] = (struct duplicate){map, first, second};
}

static void append_pair(struct merger *merger, struct node *map, struct pair pair)
{
    map->pairs[map->pair_count] = pair;
    table__put(merger->diags->arena, &map->index, pair.key->text, &map->pairs[map->pair_count]);
    map->pair_count++;
}

/* The map that one merge value names, or NULL after a report. */
static const struct node *merge_source(struct merger *merger, const struct node *value)
{
    const struct node *target = yaml__target(value);

    if (target->kind == NODE_MAP)
        return target;
    diag__add(merger->diags,
              &(struct report){.code = DIAG_YAML_MERGE,
                               .at = value->place,
                               .note = value != target ? target->place : (struct place){0},
                               .expected = "a map, an alias of a map, or a list of them"},
              "the merge key `<<` cannot merge %s", target->kind == NODE_SEQ ? "a list here" : "a single value");
    return NULL;
}

/* Calls `use` for each map that the merge value names, in order. */
static void each_source(struct merger *merger, struct node *map, const struct node *value,
                        void (*use)(struct merger *, struct node *, const struct node *, const struct node *))
{
    const struct node *target = yaml__target(value);
    const struct node *list_alias = value != target ? value : NULL;

    if (target->kind != NODE_SEQ) {
        const struct node *from = merge_source(merger, value);

        if (from != NULL)
            use(merger, map, from, list_alias);
        return;
    }
    for (size_t i = 0; i < target->item_count && !merger->full; i++) {
        const struct node *item = target->items[i];
        const struct node *from = merge_source(merger, item);

        if (from != NULL)
            use(merger, map, from, list_alias != NULL ? list_alias : item->kind == NODE_ALIAS ? item : NULL);
        merger->steps++;
    }
}

/* Counts the pairs that a merge can bring, so that their array is allocated once and stays where it is. */
static void count_pairs(struct merger *merger, struct node *map, const struct node *from, const struct node *via)
{
    (void)via;
    map->pair_count += from->pair_count;
    merger->steps += from->pair_count + 1;
    if (merger->steps <= LIMIT_STEPS || merger->full)
        return;
    merger->full = true;
    diag__add(merger->diags, &(struct report){.code = DIAG_EXPANSION_STEPS, .at = map->place},
              "merge keys expand the config to more than %d values", LIMIT_STEPS);
}

static void merge_pairs(struct merger *merger, struct node *map, const struct node *from, const struct node *via)
{
    for (size_t i = 0; i < from->pair_count; i++) {
        struct pair pair = from->pairs[i];

        if (table__get(&map->index, pair.key->text) != NULL)
            continue;
        if (via != NULL)
            pair.via = via;
        append_pair(merger, map, pair);
    }
}

/* Own keys go into the index first, so that they win; a merged key keeps the place where its merge stands. */
static void index_own_keys(struct merger *merger, struct node *map, struct node **flat, size_t count)
{
    for (size_t i = 0; i < count; i += 2) {
        const struct node *key = yaml__target(flat[i]);
        const struct node *first;

        if (is_merge_key(flat[i]))
            continue;
        first = table__get(&map->index, key->text);
        if (first != NULL)
            note_duplicate(merger, map, first, flat[i]);
        else
            table__put(merger->diags->arena, &map->index, key->text, flat[i]);
    }
}

/* An own pair takes the place of its key's first appearance; the last value counts. */
static void put_own_pair(struct merger *merger, struct node *map, struct table *own, struct pair pair)
{
    struct pair *there = table__get(own, pair.key->text);

    if (there != NULL) {
        *there = pair;
        return;
    }
    append_pair(merger, map, pair);
    table__put(merger->diags->arena, own, pair.key->text, &map->pairs[map->pair_count - 1]);
}

void yaml__flatten(struct merger *merger, struct node *map, struct node **flat, size_t count)
{
    struct table own = {0};

    map->pair_count = count / 2;
    for (size_t i = 0; i < count; i += 2) {
        if (is_merge_key(flat[i]) && !merger->full)
            each_source(merger, map, flat[i + 1], count_pairs);
    }
    map->pairs = arena__alloc(merger->diags->arena, (map->pair_count + 1) * sizeof(*map->pairs));
    map->pair_count = 0;
    index_own_keys(merger, map, flat, count);
    for (size_t i = 0; i < count; i += 2) {
        if (is_merge_key(flat[i])) {
            if (!merger->full)
                each_source(merger, map, flat[i + 1], merge_pairs);
            continue;
        }
        put_own_pair(merger, map, &own, (struct pair){.key = yaml__target(flat[i]), .value = flat[i + 1], .via = NULL});
    }
}
