/* Path patterns as `circleci tests glob` has them:
 *   *        any characters but '/'            ?       one character but '/'
 *   **       any characters, '/' too           [a-z]   one of these, [!a-z] and [^a-z] one but these, never '/'
 *   {a,b}    either, nesting allowed           \x      x itself
 * "**" and '/' at the start of a component also stand for no folder at all: "a/" "**" "/b" matches "a/b".
 * Names that begin with a dot are like others (the original is written in Go, whose patterns do that too). */
#ifndef TN_AGENT_GLOB_H
#define TN_AGENT_GLOB_H

#include "core/lib/err.h"
#include "executors/agent/words.h"

#include <stdbool.h>

/* Matches the whole of `path`. No braces: expand them first. */
bool tn_glob_match(const char *pattern, const char *path);

/* The patterns that the braces of `pattern` stand for, added to `out`. At most 4096. */
TN_MUST_CHECK int tn_glob_expand(const char *pattern, struct tn_words *out, struct tn_err *err);

/* `pattern` as Go's path/filepath.Match means it (no braces, "**" is "*", "!" in a class is a character), written as a
 * pattern of this file. The caller frees it; NULL: out of memory. */
char *tn_glob_of_match(const char *pattern);

/* Adds what matches to `found`, unsorted. Relative patterns are relative to the current folder. Links to folders are
 * followed where the pattern names them, but not by "**". Folders are found too, except that with `files_only` a
 * pattern that holds "**" finds none. */
TN_MUST_CHECK int tn_glob_find(const char *pattern, bool files_only, struct tn_words *found, struct tn_err *err);

#endif
