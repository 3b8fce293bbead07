/* libFuzzer target: any bytes as a tar that tenon-output unpacks, in a folder of its own beside a file that must stay
 * as it is.
 *
 * decodes: core/output/untar.c
 * max_len: 16384 */
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/output/untar.h"
#include "tests/fuzz/folder.h"
#include "tests/fuzz/tar_sums.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

struct input {
    const uint8_t *data;
    size_t size;
};

static ssize_t read_input(void *arg, const void **bytes, struct tn_err *err)
{
    struct input *input = arg;
    size_t size = input->size;

    *bytes = input->data;
    input->size = 0;
    return (ssize_t)size;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int guard = -1;
    auto_free char *folder = NULL;
    auto_free uint8_t *tar = tar_sums_copy(data, size);
    struct input input = {tar, size};
    struct tn_untar_result result;
    struct stat status;
    struct tn_untar untar = {
        .prefix = "in", .limits = {.bytes = 1 << 20, .files = 100}, .read = read_input, .arg = &input};

    if (guard < 0 && (guard = open(fuzz_folder(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
        abort();
    folder = tn_fs_path("%s/out", fuzz_folder());
    untar.folder = folder;
    if (tn_untar(&untar, &result, NULL) != 0)
        result.files = 0;
    if (fstat(guard, &status) != 0 || status.st_nlink != 3) /* "out" and nothing else */
        abort();
    if (tn_fs_remove_tree(folder, NULL) != 0)
        abort();
    return 0;
}
