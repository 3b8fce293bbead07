/* Files and folders: the few operations that more than one module needs. */
#ifndef TN_FS_H
#define TN_FS_H

#include "core/lib/buf.h"
#include "core/lib/err.h"

#include <stddef.h>
#include <sys/types.h>

/* Makes a folder and what is missing above it, each with `mode`. An existing folder is no error. */
int tn_fs_make_dirs(const char *path, mode_t mode, struct tn_err *err) TN_MUST_CHECK;
/* Removes a file or a whole tree at once (core/lib/remove.h, which also does it in slices). A path that does not exist
 * is no error. Goes on after a failure and reports the first. */
int tn_fs_remove_tree(const char *path, struct tn_err *err) TN_MUST_CHECK;
/* Reads a whole file of at most `limit` bytes into `out`. TN_ERR_LIMIT names both sizes. */
int tn_fs_read(const char *path, size_t limit, struct tn_buf *out, struct tn_err *err) TN_MUST_CHECK;
/* Writes a file atomically: temporary beside it, fsync, rename, fsync of the folder. */
int tn_fs_write_atomic(const char *path, const void *bytes, size_t length, mode_t mode,
                       struct tn_err *err) TN_MUST_CHECK;
/* Writes all of it, over short writes and EINTR. */
int tn_fs_write_all(int fd, const void *bytes, size_t length, struct tn_err *err) TN_MUST_CHECK;
/* `name` with all but letters, digits and "._+-" replaced by "_", never empty, never "." or "..", at most 100 bytes:
 * what a config named becomes one safe part of a path. The caller frees it. */
char *tn_fs_safe_name(const char *name);
/* The path of `program`: itself if it has a slash, else the first executable file of that name in the folders of PATH.
 * NULL if there is none that we may run: the error names it and where it was looked for. The caller frees it. */
char *tn_fs_find_program(const char *program, struct tn_err *err) TN_MUST_CHECK;
/* printf into fresh memory that the caller frees; out of memory is fatal. */
char *tn_fs_path(const char *fmt, ...) TN_PRINTF(1, 2);

#endif
