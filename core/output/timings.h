/* The last known times of a job's tests, from run to run: what `circleci tests split --split-by=timings` goes by.
 *
 * One file a job in the shared store, STORE/timings/scope-<project>/<job>.tar: a tar of one file, as it is unpacked
 * into the job's task data, circle-test-results/results.json, in the form that CircleCI gives it,
 *     {"tests": [{"classname", "file", "name", "result", "run_time", "message", "source", "source_type", …}, …],
 *      "files": [], "exceptions": []}
 * with "run" and "day" of ours in each test and one line for each. It is replaced as a whole, by rename, under a lock.
 *
 * Merging. A test's new time takes the place of its old one. What else is known of the same file (without a file:
 * class; without either: test) is dropped unless it is of the same run, for that file was run as a whole and the test
 * is gone; tasks of a parallel job that split one file have the same run. A task that has failed adds only what nobody
 * knows. */
#ifndef TN_OUTPUT_TIMINGS_H
#define TN_OUTPUT_TIMINGS_H

#include "core/lib/buf.h"
#include "core/output/junit.h"

#include <time.h>

/* Tests of a job, bytes of their texts, and how long one is remembered that was not run again. */
enum { TN_TIMINGS_MAX = 100000, TN_TIMINGS_BYTES = 24 << 20, TN_TIMINGS_DAYS = 30 };

struct tn_timing {
    char *texts;                         /* owned: the three, one after the other */
    const char *file, *classname, *name; /* borrowed from it */
    double seconds;
    enum tn_junit_result result;
    bool known; /* a failed run leaves it as it is */
};

/* Times that were read. Zeroed is empty. */
struct tn_timings {
    struct tn_timing *all; /* owned */
    size_t count, room, bytes;
};

/* Adds a test; one without a time, and one that is too much, is passed over. */
void tn_timings_add(struct tn_timings *timings, const struct tn_junit_test *test, const char *file);
void tn_timings_free(struct tn_timings *timings);

struct tn_timings_run {
    const char *id; /* of the pipeline */
    bool failed;    /* the task has */
    time_t now;
    unsigned keep_days; /* what is older goes */
};

/* Merges what was read into the job's file; it is sorted meanwhile. Doing it again does no more. */
int tn_timings_keep(const char *path, struct tn_timings *timings, const struct tn_timings_run *run,
                    struct tn_err *err) TN_MUST_CHECK;
/* Makes `pin` the content that `path` has now, for ever: the tasks of a parallel job must all split by the same times,
 * those that begin when others have ended, too. Without a file it is empty. One that is there stays. */
int tn_timings_pin(const char *path, const char *pin, struct tn_err *err) TN_MUST_CHECK;
/* What names the file's present content, NULL if there is none; the caller frees it. */
char *tn_timings_version(const char *path);
/* Bytes of that content. TN_ERR_NOT_FOUND if it was replaced meanwhile. */
int tn_timings_read(const char *path, const char *version, uint64_t offset, size_t length, struct tn_buf *out,
                    bool *end, struct tn_err *err) TN_MUST_CHECK;

#endif
