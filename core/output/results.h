/* The tests of one `store_test_results` step: read from its JUnit XML files, kept as a list (one JSON object a line),
 * and told to the runner as counts, the first failed ones and what is to be said of the files.
 *
 * A line of the list: {"result": "success"|"failure"|"error"|"skipped", "name", "classname"?, "file"?, "suite"?,
 * "seconds"?, "flaky"?: true, "message"?}. `file` is relative to the job's working directory where it lies below it. */
#ifndef TN_OUTPUT_RESULTS_H
#define TN_OUTPUT_RESULTS_H

#include "core/lib/json.h"
#include "core/output/timings.h"

enum { TN_RESULTS_FAILURES = 10, TN_RESULTS_NOTES = 10 };

struct tn_results; /* opaque */

/* Begins the list in a temporary file beside `path`. `root` is the job's working directory, "" if unknown; copied. */
struct tn_results *tn_results_new(const char *path, const char *root, struct tn_err *err) TN_MUST_CHECK;
/* A file that the job stored: a tn_untar_file_cb. Other files than XML are counted and passed over, but for one that
 * begins like JUnit XML. */
void tn_results_file(void *results, int fd, const char *name);
/* All files were seen: gives the list its name and makes the object of STREAM_CLOSED's `tests`. -1: it cannot be kept.
 */
int tn_results_finish(struct tn_results *results, cJSON **tests, struct tn_err *err) TN_MUST_CHECK;
/* The times; borrowed. */
struct tn_timings *tn_results_timings(struct tn_results *results);
/* Removes the temporary file, if there is one. NULL is allowed. */
void tn_results_free(struct tn_results *results);

#endif
