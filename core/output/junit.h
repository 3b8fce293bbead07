/* Counts the tests of a JUnit XML file. Reads with expat, in pieces and bounded: entity declarations and deep nesting
 * end it, external entities are never fetched. A file that is damaged counts as far as it could be read. */
#ifndef TN_OUTPUT_JUNIT_H
#define TN_OUTPUT_JUNIT_H

#include "core/lib/err.h"

#include <stddef.h>
#include <stdint.h>

struct tn_junit_counts {
    uint64_t total;
    uint64_t failed; /* with <failure> or <error> */
    uint64_t errors; /* those of `failed` with <error> */
    uint64_t skipped;
    uint64_t damaged; /* files that could not be read to their end */
};

/* Adds what is in a whole document. -1 says why it was not read to its end; it is counted as damaged then. */
int tn_junit_count(const void *bytes, size_t length, struct tn_junit_counts *counts, struct tn_err *err) TN_MUST_CHECK;
/* The same from a file, in pieces. */
int tn_junit_count_file(int fd, const char *name, struct tn_junit_counts *counts, struct tn_err *err) TN_MUST_CHECK;

#endif
