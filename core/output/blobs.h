/* Stored tars: caches, workspace layers, source trees. Knows where they lie, finds them, commits them, reads them.
 *
 * A cache lies under its key's hash in its project's scope, with the key in front of the file: one file, so commit is
 * one link(2), and of two that race the first wins. Which of several is the newest says the file's time of
 * modification. */
#ifndef TN_OUTPUT_BLOBS_H
#define TN_OUTPUT_BLOBS_H

#include "core/lib/json.h"
#include "core/output/layout.h"
#include "core/output/zfile.h"

enum { TN_CACHE_KEY_MAX = 900, TN_BLOB_READERS = 16 };

struct tn_blobs; /* opaque */

/* Makes the folders; removes partial files of runs that left them a day ago. `layout` is borrowed. */
struct tn_blobs *tn_blobs_new(const struct tn_layout *layout, struct tn_err *err) TN_MUST_CHECK;
void tn_blobs_free(struct tn_blobs *blobs);
struct tn_zpack *tn_blobs_zpack(struct tn_blobs *blobs);

/* What stands in front of a cache's file: what its paths are relative to (a word of the runner's), and its key. The
 * caller frees it. */
char *tn_blobs_label(const char *key, const char *base);
/* Is a cache with exactly this key there? */
bool tn_blobs_has_cache(struct tn_blobs *blobs, const char *project, const char *key);
/* Puts a finished partial file in its final place. With `keep_first`, and one there already, the partial file is
 * removed and `*kept` is false: no error. Idempotent: a partial file that is gone because it was committed before is no
 * error. */
int tn_blobs_commit(const char *partial, const char *path, bool keep_first, bool *kept,
                    struct tn_err *err) TN_MUST_CHECK;
/* Appends to the array `found` what a BLOB_FIND body asks for: {id, key?, size, created}. */
int tn_blobs_find(struct tn_blobs *blobs, const char *project, const cJSON *wanted, cJSON *found,
                  struct tn_err *err) TN_MUST_CHECK;
/* Appends bytes of the blob's tar. `owner` says who reads: a decoder is kept for each (owner, blob), a few in all.
 * `*end` is true when nothing follows. */
int tn_blobs_read(struct tn_blobs *blobs, const void *owner, const char *id, uint64_t offset, size_t length,
                  struct tn_buf *out, bool *end, struct tn_err *err) TN_MUST_CHECK;
/* Drops the decoders of an owner. */
void tn_blobs_forget(struct tn_blobs *blobs, const void *owner);

#endif
