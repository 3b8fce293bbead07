/* File trees as tar archives (POSIX ustar, with pax records where a name, a size or a time needs them).
 *
 * Packing and unpacking run in a child of the agent, reading stdin and writing stdout; what is to be told goes to the
 * side pipe. Unpacking trusts nobody: no absolute names, no "..", never through a link that lies inside the target,
 * no special files, no setuid bits; the owner is the agent's user. */
#ifndef TN_AGENT_TAR_H
#define TN_AGENT_TAR_H

#include "core/lib/buf.h"

#include <stddef.h>
#include <stdint.h>

#define TN_TAR_BLOCK 512u
#define TN_TAR_NAME_MAX 65536u         /* bytes in a name or a link's target */
#define TN_TAR_PAX_MAX (1024u * 1024u) /* bytes of pax records before one entry */

enum tn_tar_type {
    TN_TAR_FILE = '0',
    TN_TAR_HARD = '1',
    TN_TAR_LINK = '2',
    TN_TAR_DIR = '5',
    TN_TAR_PAX = 'x',
    TN_TAR_PAX_GLOBAL = 'g',
    TN_TAR_LONG_NAME = 'L', /* GNU's way, read only */
    TN_TAR_LONG_LINK = 'K',
};

struct tn_tar_entry {
    const char *name; /* borrowed */
    const char *link; /* borrowed; "" unless a link */
    char type;        /* enum tn_tar_type, or another letter when read */
    uint64_t size;
    uint32_t mode;
    int64_t mtime;
    long mtime_ns;
};

/* Appends the header blocks of an entry, pax records included. */
void tn_tar_header_put(struct tn_buf *out, const struct tn_tar_entry *entry);

struct tn_tar_names {
    char name[257]; /* prefix, '/', name */
    char link[101];
};

/* Reads one header block. The strings of `entry` point into `names`. 0, 1 for an empty block (the end), -1 if it is no
 * tar header or a number in it is malformed. */
int tn_tar_header_get(const uint8_t block[TN_TAR_BLOCK], struct tn_tar_names *names, struct tn_tar_entry *entry);

struct tn_tar_pax {
    char *name; /* owned or NULL */
    char *link; /* owned or NULL */
    int has_size;
    uint64_t size;
    int has_mtime;
    int64_t mtime;
    long mtime_ns;
};

/* Reads pax records ("LEN KEY=VALUE\n"…); keys that are not known are skipped. -1 if malformed. */
int tn_tar_pax_get(const char *text, size_t len, struct tn_tar_pax *pax);
void tn_tar_pax_free(struct tn_tar_pax *pax);

/* Unpacks the archive that `from` gives into the folder `base`, up to its end. Returns the exit status: 0, or 1 if
 * something was refused or failed (told on `side`). */
int tn_tar_unpack(int from, int base, int side);
/* Writes an archive of `paths` (relative to the current folder; patterns if `glob`) to `to`. Exit status as above. */
int tn_tar_pack(const char *const *paths, int glob, int to, int side);

/* The bodies of TREE_PUT, TREE_GET and FILE_GET; `arg` is a struct tn_agent_tree. They return the exit status. */
int tn_tar_put_work(void *arg, int side);
int tn_tar_get_work(void *arg, int side);
int tn_file_get_work(void *arg, int side);

#endif
