/* Runs a fuzz target on every file that is named, in builds without libFuzzer. Without any, on nothing at all. */
#include "core/lib/buf.h"
#include "core/lib/fs.h"

#include <stdint.h>
#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int main(int argc, char **argv)
{
    LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
    for (int i = 1; i < argc; i++) {
        auto_buf struct tn_buf input = TN_BUF_INIT;
        struct tn_err err = TN_ERR_INIT;

        if (tn_fs_read(argv[i], 16u << 20, &input, &err) != 0) {
            fprintf(stderr, "%s\n", err.text);
            return 1;
        }
        LLVMFuzzerTestOneInput((const uint8_t *)input.data, input.len);
    }
    fprintf(stderr, "%d inputs\n", argc);
    return 0;
}
