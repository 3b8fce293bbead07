/* `circleci tests split`: the share of a list of tests that one of several parallel tasks runs.
 *
 * By name (the default): the list is sorted by bytes and dealt out in turn, so task I of N gets elements I, I+N, …
 * By filesize and by timings: the largest first, each to the task that has least so far; ties go to the first name and
 * the lowest task, so every task computes the same split.
 *
 * Timings come from a file of lines "SECONDS<TAB>FILE[<TAB>CLASS[<TAB>TEST]]"; lines of the same name add up. */
#ifndef TN_AGENT_SPLIT_H
#define TN_AGENT_SPLIT_H

#include "core/lib/buf.h"
#include "executors/agent/words.h"

struct tn_split_item {
    const char *name; /* borrowed */
    double weight;    /* bytes or seconds */
    int task;         /* result */
};

/* Sets `task` of each item (which are sorted by name) so that the weights of `total` tasks are about equal. */
void tn_split_even(struct tn_split_item *items, size_t count, int total);

enum tn_timing_type { TN_TIMING_AUTO = 0, TN_TIMING_FILE = 1, TN_TIMING_CLASS = 2, TN_TIMING_TEST = 3 };

/* Looks the items up in `text` (a timings file; is changed) and sets their weight, or -1 where nothing is known.
 * Returns how many are known. With TN_TIMING_AUTO the column that knows most decides and is stored in *type. */
size_t tn_split_timings(char *text, enum tn_timing_type *type, struct tn_split_item *items, size_t count);

/* Names from text: one a line; if there is one line only, words separated by blanks. */
void tn_split_names(const char *text, struct tn_words *names);

/* The command, without "circleci tests split". */
int tn_split_command(int argc, char **argv);

/* Reads a whole descriptor, bounded; `what` names it in errors. */
TN_MUST_CHECK int tn_read_all(int fd, const char *what, struct tn_buf *out, struct tn_err *err);

#endif
