/* `circleci tests split`: the share of a list of tests that one of several parallel tasks runs.
 *
 * By name (the default): the list is sorted by bytes and dealt out in turn, so task I of N gets elements I, I+N, …
 * By filesize and by timings: the largest first, each to the task that has least so far; ties go to the first name and
 * the lowest task, so every task computes the same split.
 *
 * Timings come from a file as timings.h has it; tests of the same file, class or name add up.
 *
 * `circleci tests run` gives that share to a command. */
#ifndef TN_AGENT_SPLIT_H
#define TN_AGENT_SPLIT_H

#include "core/lib/buf.h"
#include "executors/agent/timings.h"
#include "executors/agent/words.h"

#include <stdbool.h>

struct tn_split_item {
    const char *name; /* borrowed */
    double weight;    /* bytes or seconds */
    int task;         /* result */
    const char *key;  /* borrowed: the name as tn_split_key() has it; items are sorted by it */
};

/* A file's name without "./" in front, and relative to `cwd` (a folder, or "") where it lies below it: jest and others
 * list absolute names. Points into `name`. */
const char *tn_split_key(const char *name, const char *cwd);

/* Sets `task` of each item so that the weights of `total` tasks are about equal. */
void tn_split_even(struct tn_split_item *items, size_t count, int total);

/* Looks the items up in `text` (timings; is changed) and sets their weight, or -1 where nothing is known. Returns how
 * many are known. With TN_TIMING_AUTO the field that knows most decides and is stored in *type. */
size_t tn_split_timings(char *text, const char *cwd, enum tn_timing_type *type, struct tn_split_item *items,
                        size_t count);

/* Names from text: one a line; with `blanks`, or if there is one line only, also separated by blanks, unless a file has
 * the line as its name. */
void tn_split_names(const char *text, bool blanks, struct tn_words *names);

/* The commands, without "circleci tests split" and "circleci tests run". */
int tn_split_command(int argc, char **argv);
int tn_run_command(int argc, char **argv);

/* Reads a whole descriptor, bounded; `what` names it in errors. */
TN_MUST_CHECK int tn_read_all(int fd, const char *what, struct tn_buf *out, struct tn_err *err);

#endif
