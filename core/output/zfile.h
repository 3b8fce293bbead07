/* A stored tar: a file of zstd frames of at most 1 MiB of content each, and a table of them at its end (zstd's
 * "seekable format", contrib/seekable_format: a skippable frame that plain zstd tools pass over). In front there may be
 * a skippable frame with a short text, the cache's key. Frames are independent of each other, so a writer can be cut
 * back to the end of any frame and go on, and a reader gets any offset by decoding one frame. Blocks on the disk only.
 */
#ifndef TN_OUTPUT_ZFILE_H
#define TN_OUTPUT_ZFILE_H

#include "core/lib/buf.h"
#include "core/lib/err.h"

#include <stdbool.h>
#include <stdint.h>

enum { TN_ZFILE_FRAME = 1 << 20, TN_ZFILE_LABEL_MAX = 1024, TN_ZFILE_LEVEL = 3 };

/* The compressor; one serves all writers of a loop, for its memory (about 2 MiB) is used only during a call. */
struct tn_zpack; /* opaque */
struct tn_zpack *tn_zpack_new(void);
void tn_zpack_free(struct tn_zpack *zpack);

struct tn_zwriter; /* opaque */

/* Makes (or empties) the file. `label` may be NULL. `zpack` is borrowed for the writer's life. */
struct tn_zwriter *tn_zwriter_create(struct tn_zpack *zpack, const char *path, const char *label,
                                     struct tn_err *err) TN_MUST_CHECK;
/* Takes up a file that held `size` bytes of content in its first `stored` bytes: what is behind them is cut off. */
struct tn_zwriter *tn_zwriter_resume(struct tn_zpack *zpack, const char *path, uint64_t size, uint64_t stored,
                                     struct tn_err *err) TN_MUST_CHECK;
/* Takes all bytes or none. */
int tn_zwriter_write(struct tn_zwriter *writer, const void *bytes, size_t length, struct tn_err *err) TN_MUST_CHECK;
/* Everything taken is in the file afterwards (not synced). */
int tn_zwriter_flush(struct tn_zwriter *writer, struct tn_err *err) TN_MUST_CHECK;
/* Flush, table, fsync. The file is complete; only closing is allowed afterwards. */
int tn_zwriter_finish(struct tn_zwriter *writer, struct tn_err *err) TN_MUST_CHECK;
/* Closes the file and leaves it. NULL is allowed. */
void tn_zwriter_close(struct tn_zwriter *writer);
uint64_t tn_zwriter_size(const struct tn_zwriter *writer);   /* content */
uint64_t tn_zwriter_stored(const struct tn_zwriter *writer); /* the file, as of the last flush */

struct tn_zreader; /* opaque */

/* Opens a finished file. Trusts nothing in it: lengths are checked against the file's and the frame's bounds. */
struct tn_zreader *tn_zreader_open(const char *path, struct tn_err *err) TN_MUST_CHECK;
void tn_zreader_close(struct tn_zreader *reader);
uint64_t tn_zreader_size(const struct tn_zreader *reader);
/* Appends up to `length` bytes from `offset`; fewer only at the end. */
int tn_zreader_read(struct tn_zreader *reader, uint64_t offset, size_t length, struct tn_buf *out,
                    struct tn_err *err) TN_MUST_CHECK;
/* Borrows the decoded bytes from `offset` to the end of their frame; 0 bytes at the end. Valid until the next call. */
int tn_zreader_peek(struct tn_zreader *reader, uint64_t offset, const void **bytes, size_t *length,
                    struct tn_err *err) TN_MUST_CHECK;
/* The text in front of a file; -1 if there is none. */
int tn_zfile_label(const char *path, struct tn_buf *label, struct tn_err *err) TN_MUST_CHECK;

#endif
