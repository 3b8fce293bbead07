/* Reading and writing a few small files in the environment, for steps that need no shell there. One operation at a
 * time, of the current step, whose tn_tree_state it uses. */
#ifndef TN_SDK_SMALL_FILES_H
#define TN_SDK_SMALL_FILES_H

#include "executors/sdk/tree.h"

enum { TN_SMALL_FILE_MAX = 64 * 1024 }; /* bytes that are read of one */

/* Reads a file; `then` gets NULL if there is none. The text is borrowed for the call. Another failure ends the step. */
void tn_small_read(struct tn_task *task, const char *path,
                   void (*then)(struct tn_task *task, const char *text, size_t length));

/* Adds a file, or with a name that ends with '/' a folder, to an archive. Names have at most 100 bytes. */
void tn_small_add(struct tn_buf *tar, const char *name, unsigned mode, const void *bytes, size_t length);
/* Unpacks the archive in `folder`, which is made if it is missing; `then` goes on. A failure ends the step. */
void tn_small_put(struct tn_task *task, const char *folder, struct tn_buf *tar, void (*then)(struct tn_task *task));

#endif
