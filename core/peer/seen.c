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
    free(entry->body);
    *entry = (struct entry){.sequence = sequence};
    return TN_SEEN_NEW;
}

void tn_seen_answered(struct tn_seen *seen, uint16_t address, uint64_t sequence, uint16_t kind, const void *body,
                      size_t length)
{
    struct source *source = source_find(seen, address);
    struct entry *entry = source != NULL ? &source->entries[sequence % TN_SEEN_WINDOW] : NULL;

    if (entry == NULL || entry->sequence != sequence)
        return;
    free(entry->body);
    entry->body = NULL;
    if (length <= TN_SEEN_ANSWER_MAX)
        entry->body = malloc(length + 1);
    if (entry->body == NULL) {
        *entry = (struct entry){.sequence = 0};
        return;
    }
    if (length > 0)
        memcpy(entry->body, body, length);
    entry->kind = kind;
    entry->length = (uint16_t)length;
}
