/* One compile's memory: everything that the compiler makes of a config lives in an arena and is freed at once.
 *
 * Nothing is freed singly. Running out of memory ends the process through tn_fatal(): the input is bounded before it
 * gets here (see limits.h), so it is a broken invariant of our own. */
#ifndef TN_COMPILER_ARENA_H
#define TN_COMPILER_ARENA_H

#include "core/lib/err.h"

#include <stddef.h>
#include <stdint.h>

struct arena {
    struct arena_chunk *chunks; /* owned, newest first */
};

/* Returns `size` zeroed bytes, aligned for any object. Never NULL. */
void *arena__alloc(struct arena *arena, size_t size);
/* A NUL-terminated copy of `len` bytes. */
char *arena__text(struct arena *arena, const char *bytes, size_t len);
char *arena__printf(struct arena *arena, const char *fmt, ...) TN_PRINTF(2, 3);
void arena__free(struct arena *arena);

/* A hash table from text to pointer, in an arena. Keys and values are borrowed. The hash is seeded by the process's
 * random bytes from the kernel, so that a config cannot choose keys that collide. */
struct table {
    struct table_slot *slots;
    size_t size; /* a power of two, or 0 */
    size_t count;
};

/* The value of a key, or NULL. */
void *table__get(const struct table *table, const char *key);
/* Sets or replaces. `value` must not be NULL. */
void table__put(struct arena *arena, struct table *table, const char *key, void *value);

#endif
