/* libFuzzer target: the stored times of a job's tests, which a run merges its own into.
 *
 * decodes: core/output/timings.c
 * max_len: 8192 */
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/output/timings.h"
#include "tests/fuzz/folder.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What was kept can be read, and keeping the same again changes nothing. */
static void keep(const char *path, bool failed)
{
    struct tn_timings timings = {NULL, 0, 0, 0};
    struct tn_junit_test test = {.result = TN_JUNIT_PASSED,
                                 .name = "n",
                                 .classname = "c",
                                 .file = "f",
                                 .suite = "",
                                 .message = "",
                                 .seconds = 1};
    struct tn_timings_run run = {"p", failed, 1700000000, TN_TIMINGS_DAYS};
    auto_buf struct tn_buf first = TN_BUF_INIT;
    auto_buf struct tn_buf second = TN_BUF_INIT;

    for (int i = 0; i < 2; i++) {
        tn_timings_add(&timings, &test, "f");
        if (tn_timings_keep(path, &timings, &run, NULL) != 0)
            abort();
        tn_timings_free(&timings);
        timings = (struct tn_timings){NULL, 0, 0, 0};
        if (access(path, F_OK) == 0 && tn_fs_read(path, 1 << 20, i == 0 ? &first : &second, NULL) != 0)
            abort();
    }
    if (first.len != second.len || (first.len > 0 && memcmp(first.data, second.data, first.len) != 0))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char *path;
    static char *pin;

    if (path == NULL) {
        path = tn_fs_path("%s/j.tar", fuzz_folder());
        pin = tn_fs_path("%s/pin.tar", fuzz_folder());
    }
    if (size == 0 || tn_fs_write_atomic(path, data + 1, size - 1, 0600, NULL) != 0)
        return 0;
    free(tn_timings_version(path));
    if (tn_timings_pin(path, pin, NULL) == 0)
        unlink(pin);
    keep(path, data[0] % 2 == 1);
    return 0;
}
