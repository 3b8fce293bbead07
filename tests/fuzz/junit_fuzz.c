/* JUnit XML from jobs: never crashes, never runs away, tells whole UTF-8 texts within their bounds, and counts itself.
 *
 * decodes: core/output/junit.c core/output/junit_text.c
 * max_len: 32768 */
#include "core/output/junit.h"

#include <stdlib.h>
#include <string.h>

static uint64_t told;

static void check(void *arg, const struct tn_junit_test *test)
{
    told++;
    if (strlen(test->name) >= TN_JUNIT_NAME_MAX || strlen(test->classname) >= TN_JUNIT_NAME_MAX ||
        strlen(test->file) >= TN_JUNIT_NAME_MAX || strlen(test->suite) >= TN_JUNIT_NAME_MAX ||
        strlen(test->message) >= TN_JUNIT_MESSAGE_MAX || !(test->seconds <= 1e8))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tn_junit_counts counts = {0};
    int failed;

    told = 0;
    failed = tn_junit_read(data, size, "x", check, NULL, &counts, NULL);
    if ((failed != 0) != (counts.damaged + counts.foreign == 1) || (told > 0 && counts.total != told) ||
        counts.failed + counts.skipped > counts.total + 2000000000u)
        abort();
    return 0;
}
