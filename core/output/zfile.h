/* A stored tar: a file of zstd frames of at most 1 MiB of content each, a frame of digests, and a table of the frames
 * at its end (zstd's "seekable format", contrib/seekable_format; both are skippable frames that plain zstd tools pass
 * over). Frames are independent of each other, so a writer can be cut back to the end of any frame and go on, and a
 * reader gets any offset by decoding one frame. Each frame has a checksum of zstd's; the digest (SHA-256) is over all
 * of the file. Blocks on the disk only. */
#ifndef TN_OUTPUT_ZFILE_H
#define TN_OUTPUT_ZFILE_H

#include "core/lib/buf.h"
#include "core/lib/err.h"

#include <stdbool.h>
#include <stdint.h>

enum { TN_ZFILE_FRAME = 1 << 20, TN_ZFILE_LEVEL = 3, TN_ZFILE_DIGEST = 32 };

/* The compressor; one serves all writers of a loop, for its memory (about 2 MiB) is used only during a call. */
struct tn_zpack; /* opaque */
struct tn_zpack *tn_zpack_new(void);
void tn_zpack_free(struct tn_zpack *zpack);

struct tn_zwriter; /* opaque */

/* Makes the file, in place of one that is there. `zpack` is borrowed for the writer's life. */
struct tn_zwriter *tn_zwriter_create(struct tn_zpack *zpack, const char *path, struct tn_err *err) TN_MUST_CHECK;
/* Takes up a file that held `size` bytes of content in its first `stored` bytes: what is behind them is cut off. */
struct tn_zwriter *tn_zwriter_resume(struct tn_zpack *zpack, const char *path, uint64_t size, uint64_t stored,
                                     struct tn_err *err) TN_MUST_CHECK;
/* Takes all bytes or none. */
int tn_zwriter_write(struct tn_zwriter *writer, const void *bytes, size_t length, struct tn_err *err) TN_MUST_CHECK;
/* Everything taken is in the file afterwards (not synced). */
int tn_zwriter_flush(struct tn_zwriter *writer, struct tn_err *err) TN_MUST_CHECK;
/* Flush, digests, table, fsync. The file is complete; only closing is allowed afterwards. After a flush it does not
 * touch the compressor, so another thread than the loop's may call it. */
int tn_zwriter_finish(struct tn_zwriter *writer, struct tn_err *err) TN_MUST_CHECK;
/* Closes the file and leaves it. NULL is allowed. */
void tn_zwriter_close(struct tn_zwriter *writer);
uint64_t tn_zwriter_size(const struct tn_zwriter *writer);    /* content */
uint64_t tn_zwriter_stored(const struct tn_zwriter *writer);  /* the file, as of the last flush */
uint64_t tn_zwriter_waiting(const struct tn_zwriter *writer); /* content that is not in the file yet */

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
/* SHA-256 of the file (all but its frame of digests), as the file itself says it. */
const uint8_t *tn_zreader_digest(const struct tn_zreader *reader);
/* SHA-256 of the content, or NULL if it is not known: the file's writer was taken up. */
const uint8_t *tn_zreader_content(const struct tn_zreader *reader);
/* Reads the whole file: is it what was written? TN_ERR_PROTOCOL if not. */
int tn_zreader_verify(const struct tn_zreader *reader, struct tn_err *err) TN_MUST_CHECK;

#endif
