/* What the steps that move file trees share: sending blobs of the store into the environment, receiving a tree from it,
 * and ending the step. Between tree.c (these, checkout), tree_cache.c,
 * tree_files.c and tree_workspace.c. */
#ifndef TN_SDK_TREE_H
#define TN_SDK_TREE_H

#include "executors/sdk/task.h"

#include <openssl/evp.h>

enum { TN_TREE_VALUE_BYTES = 4096 };

struct tn_tree_state {
    const cJSON *step; /* borrowed */
    /* sending blobs into the environment, one after the other */
    cJSON *blobs; /* owned array */
    int blob;     /* index of the current one */
    char *target; /* folder in the environment */
    uint32_t channel;
    uint64_t read, sent, limit, total; /* bytes of the current blob; total of all */
    struct tn_buf buffer;              /* read and not sent, from `taken` on */
    size_t taken;
    bool reading, at_end, eof_sent;
    void (*put_done)(struct tn_task *task);
    void (*optional)(struct tn_task *task); /* not a step, and what follows whether it succeeds or not; else NULL */
    /* receiving a tree from the environment */
    uint32_t stream;
    uint64_t received;
    bool missing;
    const char *what;    /* "… cannot be stored", static; NULL: `target` is named */
    const char *no_base; /* how a folder that is not there is told of, static; NULL: as any failure */
    void (*get_done)(struct tn_task *task);
    /* the keys of a cache */
    cJSON *checksums; /* owned: path → base64 */
    cJSON *paths;     /* owned: what a cache is made of, relative to `target` */
    char *checksum_path;
    EVP_MD_CTX *digest;
    struct tn_environ env;
    char value[TN_TREE_VALUE_BYTES];
    void (*keys_done)(struct tn_task *task, cJSON *keys); /* keys: owned by the callee */
    /* small files, and what goes into ~/.ssh */
    void (*small_read)(struct tn_task *task, const char *text, size_t length);
    void (*small_put)(struct tn_task *task);
    struct tn_ssh_files *ssh; /* owned */
    char *key;
    char *base; /* "home" or "root": what the paths in a cache are relative to */
};

/* Ends the step; `fmt` NULL for success, else the reason of its failure. Frees the state. */
void tn_tree_done(struct tn_task *task, const char *fmt, ...) TN_PRINTF(2, 3);
/* A stream number of this step for bulk data that was never used. */
void tn_tree_new_stream(struct tn_task *task);
/* Keeps the blobs of a BLOB_FOUND. */
void tn_tree_take_blobs(struct tn_tree_state *tree, const cJSON *answer);
/* Unpacks the blobs one after the other into `target`, then calls `put_done`. */
void tn_tree_put_next(struct tn_task *task);
/* Packs `paths` (strings relative to `base`) into `stream`, then calls `get_done`. */
void tn_tree_get(struct tn_task *task, const char *base, const cJSON *paths, uint32_t flags);

/* The steps that have a file of their own. */
void tn_tree_save_cache(struct tn_task *task);
void tn_tree_restore_cache(struct tn_task *task);
void tn_tree_persist(struct tn_task *task);
void tn_tree_attach(struct tn_task *task);
void tn_tree_store_files(struct tn_task *task);

#endif
