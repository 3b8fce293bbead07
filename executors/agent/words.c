#include "executors/agent/words.h"
#include "core/lib/log.h"

#include <stdlib.h>
#include <string.h>

void tn_words_add(struct tn_words *words, const char *word, size_t len)
{
    if (words->count == words->size) {
        words->size = words->size != 0 ? words->size * 2 : 64;
        words->all = realloc(words->all, words->size * sizeof(*words->all));
        if (words->all == NULL)
            tn_fatal(3, "out of memory for a list of %zu names", words->size);
    }
    words->all[words->count] = strndup(word, len);
    if (words->all[words->count++] == NULL)
        tn_fatal(3, "out of memory for a name");
}

static int compare(const void *a, const void *b)
{
    const unsigned char *x = *(const unsigned char *const *)a;
    const unsigned char *y = *(const unsigned char *const *)b;

    while (*x != '\0' && *x == *y) {
        x++;
        y++;
    }
    if (*x == *y)
        return 0;
    if (*x == '\0' || *y == '\0')
        return *x == '\0' ? -1 : 1;
    if (*x == '/' || *y == '/')
        return *x == '/' ? -1 : 1;
    return *x < *y ? -1 : 1;
}

void tn_words_sort(struct tn_words *words)
{
    if (words->count > 1)
        qsort(words->all, words->count, sizeof(*words->all), compare);
}

void tn_words_unique(struct tn_words *words)
{
    size_t kept = 0;

    for (size_t i = 0; i < words->count; i++) {
        if (kept > 0 && strcmp(words->all[kept - 1], words->all[i]) == 0)
            free(words->all[i]);
        else
            words->all[kept++] = words->all[i];
    }
    words->count = kept;
}

void tn_words_free(struct tn_words *words)
{
    for (size_t i = 0; i < words->count; i++)
        free(words->all[i]);
    free(words->all);
    *words = (struct tn_words){NULL, 0, 0};
}
