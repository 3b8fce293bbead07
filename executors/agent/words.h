/* A list of strings: paths found, names to split. */
#ifndef TN_AGENT_WORDS_H
#define TN_AGENT_WORDS_H

#include <stddef.h>

struct tn_words {
    char **all; /* owned, each owned */
    size_t count;
    size_t size;
};

/* Adds a copy of `len` bytes at `word`. Ends the process if there is no memory. */
void tn_words_add(struct tn_words *words, const char *word, size_t len);
/* By bytes, with '/' before every other character: what lies in a folder follows the folder at once. */
void tn_words_sort(struct tn_words *words);
/* Drops repetitions; the list is sorted. */
void tn_words_unique(struct tn_words *words);
void tn_words_free(struct tn_words *words);

#endif
