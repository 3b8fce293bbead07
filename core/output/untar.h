/* Unpacks a stored tar below a folder. The tar comes out of a job, so nothing in it is trusted: no entry leaves the
 * folder (each part of a path is opened without following links), and hard links, devices, sockets and links that lead
 * out are skipped and counted. Reads with libarchive, tar only. Blocks until done. */
#ifndef TN_OUTPUT_UNTAR_H
#define TN_OUTPUT_UNTAR_H

#include "core/lib/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct tn_untar_limits {
    uint64_t bytes; /* of all files together, as their sizes say (holes included) */
    uint64_t files; /* entries, skipped ones included */
};

struct tn_untar_result {
    uint64_t files;   /* regular files and links made */
    uint64_t skipped; /* entries that were not taken */
    uint64_t bytes;
};

/* Where the tar's bytes come from: sets `*bytes` (borrowed until the next call), returns their number, 0 at the end, -1
 * with the error set. */
typedef ssize_t tn_untar_read_cb(void *arg, const void **bytes, struct tn_err *err);
/* Called for each regular file when it is complete. `fd` is open for reading and writing. */
typedef void tn_untar_file_cb(void *arg, int fd, const char *name);

struct tn_untar {
    const char *folder;  /* made if missing */
    const char *prefix;  /* a cleaned relative path below it, "" for none: tn_untar_clean(). The tar holds one file or
                          * one  folder; this path takes the place of its name, the first part of every entry's */
    bool keep_file_name; /* of a tar that holds one file: it keeps its name, below the prefix */
    struct tn_untar_limits limits;
    tn_untar_read_cb *read;
    tn_untar_file_cb *on_file; /* may be NULL */
    void *arg;
};

/* Unpacks all of it; blocks on the disk. -1: the tar is damaged or the disk full, and what came before it stays. */
int tn_untar(const struct tn_untar *untar, struct tn_untar_result *result, struct tn_err *err) TN_MUST_CHECK;

/* A path as a clean relative one: no leading or double slashes, no "." parts. NULL if it has a ".." part or is longer
 * than 4,000 bytes or deeper than 200 parts. The caller frees it. */
char *tn_untar_clean(const char *path);
/* May a link in the folder of `name` (clean) point to `target` without ever leading out? */
bool tn_untar_link_stays(const char *name, const char *target);

#endif
