/* A command line as users write it (a step's `shell`, an image's `entrypoint`), split into words. Pure. */
#ifndef TN_ARGV_H
#define TN_ARGV_H

#include <stddef.h>

/* Words separated by blanks; quotes and backslashes as in sh(1), nothing is expanded. NULL if a quote is not closed, a
 * backslash stands at the end, or there is no word. The result ends with NULL; free it with tn_argv_free(). */
char **tn_argv_split(const char *line);
/* Appends a copy; returns the (moved) vector, which may be NULL before the first word. */
char **tn_argv_add(char **words, const char *word);
/* 0 for NULL. */
size_t tn_argv_count(char *const *words);
/* NULL is allowed. */
void tn_argv_free(char **words);

#endif
