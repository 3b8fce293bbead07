/* libFuzzer: any bytes as JUnit XML. */
#include "core/output/junit.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tn_junit_counts counts = {0};

    if (tn_junit_count(data, size, &counts, NULL) != 0)
        counts.total = 0;
    return 0;
}
