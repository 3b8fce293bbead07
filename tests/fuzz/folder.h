/* For targets that need files: a folder of the process's own, below TMPDIR (the runner names one in memory), gone at
 * its end. */
#ifndef TN_FUZZ_FOLDER_H
#define TN_FUZZ_FOLDER_H

#include "core/lib/fs.h"

#include <stdlib.h>

static char *fuzz_folder_path;

static void fuzz_folder_leave(void)
{
    if (tn_fs_remove_tree(fuzz_folder_path, NULL) != 0)
        abort();
    free(fuzz_folder_path);
}

/* The same one at every call. */
static const char *fuzz_folder(void)
{
    const char *above = getenv("TMPDIR");

    if (fuzz_folder_path != NULL)
        return fuzz_folder_path;
    fuzz_folder_path = tn_fs_path("%s/tenon-fuzz-XXXXXX", above != NULL && above[0] == '/' ? above : "/tmp");
    if (mkdtemp(fuzz_folder_path) == NULL || atexit(fuzz_folder_leave) != 0)
        abort();
    return fuzz_folder_path;
}

#endif
