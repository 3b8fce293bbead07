/* The caches of a project: one folder, a *scope*, in which every cache has two files,
 *
 *     <SHA-256 of the key>.json                     its entry: key, base, the other file's name, sizes, when it was
 * made <SHA-256 of the key>.<digest>.tar.zst         its tar
 *
 * and `.project`, the project's name. Several runs use a scope at the same time, and any of them may be killed. The
 * entry is what counts: it is written aside and comes by link(2), so of two that save a key the first wins, and it
 * comes after its tar, whose name no other content has. It goes before its tar. So an entry without a tar and a tar
 * without an entry are what a kill left, and harmless. No lock is needed. */
#ifndef TN_OUTPUT_CACHE_H
#define TN_OUTPUT_CACHE_H

#include "core/lib/json.h"
#include "core/output/layout.h"

enum { TN_CACHE_KEY_MAX = 900, TN_CACHE_BASE_MAX = 16 };

struct tn_cache {
    char *entry; /* owned, as all texts: name of the entry's file in the scope */
    char *file;  /* name of the tar's */
    char *key;
    char *base; /* what its paths are relative to, a word of the runner's */
    uint64_t size;
    uint64_t stored;
    uint64_t created; /* ns since 1970 */
};

void tn_cache_clear(struct tn_cache *cache);
/* Is a cache with exactly this key there? */
bool tn_cache_exists(const struct tn_layout *layout, const char *project, const char *key);
/* Puts a finished stored file into the scope. `*kept` is false if the key was there already; that is no error.
 * `partial` is gone afterwards. Idempotent: a partial file that is gone because it was committed is no error. */
int tn_cache_commit(const struct tn_layout *layout, const char *project, const char *key, const char *base,
                    const char *partial, bool *kept, struct tn_err *err) TN_MUST_CHECK;

/* Reads one entry. TN_ERR_NOT_FOUND if it is not there, TN_ERR_PROTOCOL if it is damaged. */
int tn_cache_read(const char *scope, const char *entry, struct tn_cache *cache, struct tn_err *err) TN_MUST_CHECK;
/* Calls `each` for every entry of the scope; `damaged` (may be NULL) for those that cannot be read. */
typedef void tn_cache_each_cb(void *arg, const char *scope, const struct tn_cache *cache);
typedef void tn_cache_damaged_cb(void *arg, const char *path, const struct tn_err *err);
void tn_cache_each(const char *scope, tn_cache_each_cb *each, tn_cache_damaged_cb *damaged, void *arg);
/* The newest cache whose key begins with `prefix`, but none of those whose entries `without` names (an array of
 * texts). False: there is none. */
bool tn_cache_newest(const char *scope, const char *prefix, const cJSON *without, struct tn_cache *cache);
/* Removes a cache; adds to `*freed` what the disk got back. */
int tn_cache_remove(const char *scope, const struct tn_cache *cache, uint64_t *freed, struct tn_err *err) TN_MUST_CHECK;
/* Moves a damaged cache out of the way, into STORE/damaged. */
void tn_cache_set_aside(const struct tn_layout *layout, const char *scope, const struct tn_cache *cache);
/* The name of the project whose scope this is; of one without `.project` the folder's. The caller frees it. */
char *tn_cache_project(const char *scope);

/* Removes a file; adds to `*freed` its size if that was its last name. */
int tn_cache_unlink(const char *path, uint64_t *freed, struct tn_err *err) TN_MUST_CHECK;
/* fsync of the folder that `path` lies in. */
int tn_cache_sync_folder(const char *path, struct tn_err *err) TN_MUST_CHECK;

#endif
