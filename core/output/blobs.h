/* Stored tars: caches, workspace layers, source trees. Knows where they lie, finds them, commits them, reads them. What
 * is found was read through before: its SHA-256 is right.
 *
 * Stored files of equal content are one file with several names. STORE/blobs holds one name of each, under the digest
 * of its content; when that name is the only one, the file is nobody's any more. */
#ifndef TN_OUTPUT_BLOBS_H
#define TN_OUTPUT_BLOBS_H

#include "core/lib/json.h"
#include "core/output/cache.h"
#include "core/output/layout.h"
#include "core/output/zfile.h"

enum { TN_BLOB_READERS = 16 };

struct tn_blobs; /* opaque */

/* Makes the folders. `layout` is borrowed. */
struct tn_blobs *tn_blobs_new(const struct tn_layout *layout, struct tn_err *err) TN_MUST_CHECK;
void tn_blobs_free(struct tn_blobs *blobs);
struct tn_zpack *tn_blobs_zpack(struct tn_blobs *blobs);

/* Puts a finished partial file in its final place (caches: cache.h). Idempotent: a partial file that is gone because it
 * was committed before is no error. */
int tn_blobs_commit(const char *partial, const char *path, struct tn_err *err) TN_MUST_CHECK;

/* These may be called in any thread; they read files through. */

/* Is the stored file what was written? A file that was found whole is not read again while it is unchanged. `*size` is
 * that of its content. */
int tn_blobs_verify(struct tn_blobs *blobs, const char *path, uint64_t *size, struct tn_err *err) TN_MUST_CHECK;
/* The whole stored file with the same content as the finished file `partial`, or NULL. `*shared` is its name among the
 * shared ones, NULL if the content's digest is not known. The caller frees both. */
char *tn_blobs_twin(struct tn_blobs *blobs, const char *partial, char **shared);
/* Fills the body of BLOB_FOUND for that of a BLOB_FIND. Damaged caches are set aside; a damaged layer or source is an
 * error. */
int tn_blobs_find(struct tn_blobs *blobs, const char *project, const cJSON *wanted, cJSON *answer,
                  struct tn_err *err) TN_MUST_CHECK;

/* Makes a finished file that nobody writes any more one with its twin, or, without one, known under `shared`. What is
 * not possible (another file system) is left. */
void tn_blobs_share(const char *partial, const char *twin, const char *shared);

/* Appends bytes of the blob's tar. `owner` says who reads: a decoder is kept for each (owner, blob), a few in all.
 * `*end` is true when nothing follows. */
int tn_blobs_read(struct tn_blobs *blobs, const void *owner, const char *id, uint64_t offset, size_t length,
                  struct tn_buf *out, bool *end, struct tn_err *err) TN_MUST_CHECK;
/* Drops the decoders of an owner. */
void tn_blobs_forget(struct tn_blobs *blobs, const void *owner);

#endif
