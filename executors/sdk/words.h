/* A command line as users write it in `shell:`, split into words. Pure. */
#ifndef TN_WORDS_H
#define TN_WORDS_H

#include <stddef.h>

/* Words separated by blanks; single and double quotes and backslashes as in a shell, nothing is expanded. NULL if a
 * quote is not closed or there is no word. The result ends with NULL; free it with tn_words_free(). */
char **tn_words_split(const char *line);
/* Appends a copy; returns the (moved) vector. */
char **tn_words_add(char **words, const char *word);
size_t tn_words_count(char *const *words);
void tn_words_free(char **words);

#endif
