/* A small heap for the static agent: musl's own takes 9 KB. The agent has one thread and few, long-lived buffers, so
 * free lists of power-of-two blocks do; what is large is mapped by itself and goes back at once. Only the static build
 * links this file. */
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define HEAD 16u   /* before each block, so that blocks are aligned for every type */
#define SMALLEST 5 /* 32 bytes with the head */
#define LARGEST 16
#define ARENA (256u * 1024u)
#define PAGE 4096u

struct block {
    size_t size;        /* with the head: 1 << class, or a mapping's length */
    struct block *next; /* while it is free */
};

_Static_assert(sizeof(struct block) <= HEAD, "the head has room");

static struct block *free_blocks[LARGEST + 1];
static char *arena;
static size_t arena_left;

static void *map(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return memory != MAP_FAILED ? memory : NULL;
}

static struct block *take_small(int class)
{
    size_t size = (size_t)1 << class;
    struct block *block = free_blocks[class];

    if (block != NULL) {
        free_blocks[class] = block->next;
        return block;
    }
    if (arena_left < size) {
        char *more = map(ARENA); /* the rest of the old one, less than a block, is given up */

        if (more == NULL)
            return NULL;
        arena = more;
        arena_left = ARENA;
    }
    block = (struct block *)(void *)arena;
    arena += size;
    arena_left -= size;
    block->size = size;
    return block;
}

void *malloc(size_t len)
{
    struct block *block;
    int class = SMALLEST;

    if (len > PTRDIFF_MAX - HEAD - PAGE) {
        errno = ENOMEM;
        return NULL;
    }
    len += HEAD;
    while (class <= LARGEST && (size_t)1 << class < len)
        class ++;
    if (class <= LARGEST) {
        block = take_small(class);
    } else {
        len = (len + PAGE - 1) & ~(size_t)(PAGE - 1);
        block = map(len);
        if (block != NULL)
            block->size = len;
    }
    return block != NULL ? (char *)block + HEAD : NULL; /* mmap has set errno */
}

static struct block *block_of(void *memory)
{
    return (struct block *)(void *)((char *)memory - HEAD);
}

void free(void *memory)
{
    struct block *block;
    int error = errno;
    int class = SMALLEST;

    if (memory == NULL)
        return;
    block = block_of(memory);
    if (block->size > (size_t)1 << LARGEST) {
        munmap(block, block->size);
        errno = error;
        return;
    }
    while ((size_t)1 << class < block->size)
        class ++;
    block->next = free_blocks[class];
    free_blocks[class] = block;
}

void *calloc(size_t count, size_t size)
{
    size_t len;
    void *memory;

    if (__builtin_mul_overflow(count, size, &len)) {
        errno = ENOMEM;
        return NULL;
    }
    memory = malloc(len);
    if (memory != NULL)
        memset(memory, 0, len);
    return memory;
}

void *realloc(void *memory, size_t len)
{
    struct block *block;
    void *bigger;
    size_t room;

    if (memory == NULL)
        return malloc(len);
    block = block_of(memory);
    room = block->size - HEAD;
    if (len <= room)
        return memory;
    if (block->size > (size_t)1 << LARGEST && len < PTRDIFF_MAX - HEAD - PAGE) {
        size_t size = (len + HEAD + PAGE - 1) & ~(size_t)(PAGE - 1);

        block = mremap(block, block->size, size, MREMAP_MAYMOVE);
        if (block == MAP_FAILED)
            return NULL;
        block->size = size;
        return (char *)block + HEAD;
    }
    bigger = malloc(len);
    if (bigger == NULL)
        return NULL;
    memcpy(bigger, memory, room);
    free(memory);
    return bigger;
}
