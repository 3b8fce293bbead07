/* Removing a tree, whole or in slices, so that a loop can do something else in between.
 *
 * Nothing outside is touched: every folder is opened from its parent, without following a symbolic link and without
 * crossing into another mount. Folders that are read-only are made writable on the way; immutable and append-only
 * marks are taken off where we may. Trees may be deeper than PATH_MAX. What cannot be removed is left, the rest goes,
 * and the first failure is told with its path and what to do. */
#ifndef TN_REMOVE_H
#define TN_REMOVE_H

#include "core/lib/err.h"

#include <stdbool.h>
#include <stddef.h>

struct tn_removal; /* opaque */

/* Begins with the file or folder `path`; one that does not exist is removed already. */
struct tn_removal *tn_removal_begin(const char *path);
/* The same for `name` (one component) in the folder `parent_fd`, which is duplicated; `path` is for errors. */
struct tn_removal *tn_removal_begin_at(int parent_fd, const char *name, const char *path);
/* Looks at about `entries` of its entries. False when it is over. */
bool tn_removal_step(struct tn_removal *removal, size_t entries);
/* Frees. 0 if nothing is left. */
int tn_removal_end(struct tn_removal *removal, struct tn_err *err) TN_MUST_CHECK;

#endif
