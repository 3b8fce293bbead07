#include "core/compiler/arena.h"

#include "core/lib/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>

#define CHUNK_SIZE 65536
#define ALIGNMENT 16

struct arena_chunk {
    struct arena_chunk *next;
    size_t used;
    size_t size;
    size_t padding;
    unsigned char bytes[];
};

struct table_slot {
    const char *key;
    void *value;
    uint64_t hash;
};

static struct arena_chunk *chunk_new(size_t size)
{
    struct arena_chunk *chunk = calloc(1, sizeof(*chunk) + size);

    if (chunk == NULL)
        tn_fatal(3, "out of memory: %zu bytes to compile a config", size);
    chunk->size = size;
    return chunk;
}

void *arena__alloc(struct arena *arena, size_t size)
{
    struct arena_chunk *chunk = arena->chunks;
    size_t rounded = (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    void *bytes;

    if (rounded < size)
        tn_fatal(3, "out of memory: %zu bytes to compile a config", size);
    if (chunk == NULL || chunk->size - chunk->used < rounded) {
        chunk = chunk_new(rounded > CHUNK_SIZE ? rounded : CHUNK_SIZE);
        /* A big block goes behind the current chunk, so that the rest of that one stays in use. */
        if (arena->chunks != NULL && rounded > CHUNK_SIZE) {
            chunk->next = arena->chunks->next;
            arena->chunks->next = chunk;
        } else {
            chunk->next = arena->chunks;
            arena->chunks = chunk;
        }
    }
    bytes = chunk->bytes + chunk->used;
    chunk->used += rounded;
    return bytes;
}

char *arena__text(struct arena *arena, const char *bytes, size_t len)
{
    char *text = arena__alloc(arena, len + 1);

    if (len > 0)
        memcpy(text, bytes, len);
    return text;
}

char *arena__printf(struct arena *arena, const char *fmt, ...)
{
    va_list ap;
    va_list again;
    char *text;
    int len;

    va_start(ap, fmt);
    va_copy(again, ap);
    len = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    text = arena__alloc(arena, len < 0 ? 1 : (size_t)len + 1);
    if (len > 0)
        vsnprintf(text, (size_t)len + 1, fmt, again);
    va_end(again);
    return text;
}

void arena__free(struct arena *arena)
{
    while (arena->chunks != NULL) {
        struct arena_chunk *next = arena->chunks->next;

        free(arena->chunks);
        arena->chunks = next;
    }
}

/* FNV-1a from a random start, with a final mix so that the low bits depend on all of them. */
static uint64_t hash_text(const char *text)
{
    uint64_t hash = 0xcbf29ce484222325u;
    const void *seed = (const void *)getauxval(AT_RANDOM);

    if (seed != NULL)
        memcpy(&hash, seed, sizeof(hash));
    for (; *text != '\0'; text++)
        hash = (hash ^ (unsigned char)*text) * 0x100000001b3u;
    hash ^= hash >> 32;
    hash *= 0x9fb21c651e98df25u;
    return hash ^ hash >> 28;
}

/* The slot that holds `key`, or the free one where it belongs. The table is never full. */
static struct table_slot *table_slot(const struct table *table, const char *key, uint64_t hash)
{
    size_t at = (size_t)hash & (table->size - 1);

    while (table->slots[at].key != NULL && (table->slots[at].hash != hash || strcmp(table->slots[at].key, key) != 0))
        at = (at + 1) & (table->size - 1);
    return &table->slots[at];
}

void *table__get(const struct table *table, const char *key)
{
    if (table->size == 0)
        return NULL;
    return table_slot(table, key, hash_text(key))->value;
}

static void table_grow(struct arena *arena, struct table *table)
{
    struct table bigger = {.size = table->size == 0 ? 8 : table->size * 2, .count = table->count};

    bigger.slots = arena__alloc(arena, bigger.size * sizeof(*bigger.slots));
    for (size_t i = 0; i < table->size; i++)
        if (table->slots[i].key != NULL)
            *table_slot(&bigger, table->slots[i].key, table->slots[i].hash) = table->slots[i];
    *table = bigger;
}

void table__put(struct arena *arena, struct table *table, const char *key, void *value)
{
    uint64_t hash = hash_text(key);
    struct table_slot *slot;

    if ((table->count + 1) * 4 > table->size * 3)
        table_grow(arena, table);
    slot = table_slot(table, key, hash);
    if (slot->key == NULL)
        table->count++;
    *slot = (struct table_slot){.key = key, .value = value, .hash = hash};
}
