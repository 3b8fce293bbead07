#include "core/peer/seen.h"

#include <stdlib.h>
#include <string.h>

struct entry {
    uint64_t sequence; /* 0: empty */
    uint16_t kind;     /* of the answer; 0: in progress */
    uint16_t length;
    char *body; /* owned */
};

struct source {
    uint16_t address;
    uint32_t life;
    size_t bytes;  /* of kept answers */
    size_t oldest; /* entry from which on to look for the oldest of them */
    struct entry entries[TN_SEEN_WINDOW];
};

struct tn_seen {
    size_t count;
    struct source *sources[TN_SEEN_SOURCES];
};

struct tn_seen *tn_seen_new(void)
{
    return calloc(1, sizeof(struct tn_seen));
}

static void source_reset(struct source *source)
{
    for (size_t i = 0; i < TN_SEEN_WINDOW; i++)
        free(source->entries[i].body);
    memset(source->entries, 0, sizeof(source->entries));
    source->bytes = 0;
}

void tn_seen_free(struct tn_seen *seen)
{
    if (seen == NULL)
        return;
    for (size_t i = 0; i < seen->count; i++) {
        source_reset(seen->sources[i]);
        free(seen->sources[i]);
    }
    free(seen);
}

static struct source *source_find(struct tn_seen *seen, uint16_t address)
{
    struct source *source;

    for (size_t i = 0; i < seen->count; i++)
        if (seen->sources[i]->address == address)
            return seen->sources[i];
    if (seen->count == TN_SEEN_SOURCES || (source = calloc(1, sizeof(*source))) == NULL)
        return NULL;
    source->address = address;
    seen->sources[seen->count++] = source;
    return source;
}

static void forget(struct source *source, struct entry *entry)
{
    source->bytes -= entry->body != NULL ? entry->length : 0;
    free(entry->body);
    *entry = (struct entry){.sequence = 0};
}

/* Room for an answer of that length: numbers grow by one, so the oldest lie in the order of the entries. */
static void make_room(struct source *source, size_t length)
{
    for (size_t i = 0; i < TN_SEEN_WINDOW && source->bytes + length > TN_SEEN_BYTES; i++) {
        struct entry *entry = &source->entries[source->oldest++ % TN_SEEN_WINDOW];

        if (entry->body != NULL)
            forget(source, entry);
    }
}

enum tn_seen_verdict tn_seen_enter(struct tn_seen *seen, uint16_t address, uint64_t sequence,
                                   struct tn_seen_answer *answer)
{
    struct source *source = source_find(seen, address);
    uint32_t life = (uint32_t)(sequence >> 32);
    struct entry *entry;

    if (source == NULL)
        return TN_SEEN_NEW; /* no room to remember: handlers are idempotent */
    if (life < source->life)
        return TN_SEEN_STALE;
    if (life > source->life) {
        source_reset(source);
        source->life = life;
    }
    entry = &source->entries[sequence % TN_SEEN_WINDOW];
    if (entry->sequence == sequence) {
        if (entry->kind == 0)
            return TN_SEEN_IN_PROGRESS;
        *answer = (struct tn_seen_answer){entry->kind, entry->body, entry->length};
        return TN_SEEN_ANSWERED;
    }
    forget(source, entry);
    entry->sequence = sequence;
    return TN_SEEN_NEW;
}

void tn_seen_answered(struct tn_seen *seen, uint16_t address, uint64_t sequence, uint16_t kind, const void *body,
                      size_t length)
{
    struct source *source = source_find(seen, address);
    struct entry *entry = source != NULL ? &source->entries[sequence % TN_SEEN_WINDOW] : NULL;

    if (entry == NULL || entry->sequence != sequence)
        return;
    forget(source, entry);
    if (length > TN_SEEN_ANSWER_MAX)
        return;
    make_room(source, length);
    entry->body = malloc(length + 1);
    if (entry->body == NULL)
        return;
    entry->sequence = sequence;
    source->bytes += length;
    if (length > 0)
        memcpy(entry->body, body, length);
    entry->kind = kind;
    entry->length = (uint16_t)length;
}
