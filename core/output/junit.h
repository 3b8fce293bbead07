/* Reads JUnit XML: the tests in it, one after the other, and their counts.
 *
 * There is no one JUnit XML. What is taken here is what pytest, jest-junit, gotestsum, go-junit-report, Gradle, Maven
 * Surefire, CTest, GoogleTest, PHPUnit, RSpec and Mocha write (samples: tests/unit/junit/):
 *   - `testsuites` or `testsuite` at the root, suites in suites, names with a prefix (`ns:testcase`)
 *   - `name`, `classname` or `class`, `file` (of the test, else of the suites around it), `time`
 *   - `failure`, `error`, `skipped`, `disabled`, `ignored` and `pending` elements; `status` or `result` attributes
 *   - `rerunFailure`, `rerunError` beside the first failure; `flakyFailure`, `flakyError` of a test that passed later
 *   - why a test failed: the element's `message` and text, else the end of `system-out` and `system-err`
 *
 * Reads with expat, in pieces and bounded: entity declarations, deep nesting and a tag of more than 4 MiB end it,
 * external entities are never fetched. Blanks before the XML declaration and control characters, which XML forbids and
 * tools write all the same, are tolerated. A file that is damaged counts as far as it could be read. */
#ifndef TN_OUTPUT_JUNIT_H
#define TN_OUTPUT_JUNIT_H

#include "core/lib/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TN_JUNIT_NAME_MAX = 1000, TN_JUNIT_MESSAGE_MAX = 4000 }; /* bytes that are kept of a name, of a message */

enum tn_junit_result { TN_JUNIT_PASSED, TN_JUNIT_FAILED, TN_JUNIT_ERROR, TN_JUNIT_SKIPPED };

/* One test. All texts are valid UTF-8, never NULL, and borrowed for the time of the call. */
struct tn_junit_test {
    const char *name, *classname, *file, *suite; /* "" where the file does not tell */
    enum tn_junit_result result;
    bool flaky;          /* passed, but not at the first try */
    double seconds;      /* below 0: not told */
    const char *message; /* why it failed or was skipped; lines */
};

struct tn_junit_counts {
    uint64_t total;
    uint64_t failed; /* with <failure> or <error> */
    uint64_t errors; /* those of `failed` with <error> */
    uint64_t skipped;
    uint64_t flaky;   /* of those that passed */
    uint64_t damaged; /* files that could not be read to their end */
    uint64_t foreign; /* XML files that hold no test results */
};

typedef void tn_junit_cb(void *arg, const struct tn_junit_test *test);

/* Reads a whole document, tells each test to `on_test` (may be NULL) and adds to `counts`. -1 says, with `name` in
 * front, why it was not read to its end (it is counted as damaged then) or that it holds no test results (foreign). */
int tn_junit_read(const void *bytes, size_t length, const char *name, tn_junit_cb *on_test, void *arg,
                  struct tn_junit_counts *counts, struct tn_err *err) TN_MUST_CHECK;
/* The same from a file, in pieces. */
int tn_junit_read_file(int fd, const char *name, tn_junit_cb *on_test, void *arg, struct tn_junit_counts *counts,
                       struct tn_err *err) TN_MUST_CHECK;

/* A `time` attribute: "1.5", "1,234.5" and "1.234,5" (thousands), "0,5" (decimal comma), "1.0E-4", "2s". Below 0 if it
 * is no such number or more than 10^8. */
double tn_junit_seconds(const char *text);
/* Copies at most `size - 1` bytes, never cutting a UTF-8 character. */
void tn_junit_clip(char *out, size_t size, const char *text, size_t length);

#endif
