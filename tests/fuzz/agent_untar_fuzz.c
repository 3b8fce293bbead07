/* libFuzzer target: any bytes as a tar that the agent unpacks, in a folder of its own beside a file that must stay as
 * it is.
 *
 * decodes: executors/agent/tar_put.c executors/agent/tar_format.c
 * max_len: 16384 */
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "executors/agent/tar.h"
#include "tests/fuzz/folder.h"
#include "tests/fuzz/tar_sums.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int guard = -1;
    static int side = -1;
    auto_free char *folder = NULL;
    auto_free uint8_t *tar = tar_sums_copy(data, size);
    auto_fd int base = -1;
    auto_fd int from = memfd_create("tar", MFD_CLOEXEC);
    struct stat status;

    if (guard < 0 && ((guard = open(fuzz_folder(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0 ||
                      (side = open("/dev/null", O_WRONLY | O_CLOEXEC)) < 0))
        abort();
    folder = tn_fs_path("%s/out", fuzz_folder());
    if (from < 0 || tn_fs_write_all(from, tar, size, NULL) != 0 || lseek(from, 0, SEEK_SET) != 0 ||
        tn_fs_make_dirs(folder, 0755, NULL) != 0 || (base = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
        abort();
    tn_tar_unpack(from, base, side);
    if (fstat(guard, &status) != 0 || status.st_nlink != 3) /* "out" and nothing else */
        abort();
    if (tn_fs_remove_tree(folder, NULL) != 0)
        abort();
    return 0;
}
