/* Which files of a working tree go into the tar, and under which names. */
#ifndef TN_TOOLS_SOURCE_LIST_H
#define TN_TOOLS_SOURCE_LIST_H

#include "core/lib/err.h"
#include "tools/project.h"

#include <stdbool.h>
#include <stddef.h>

struct source_item {
    char *path;  /* owned; absolute */
    char *name;  /* owned; in the tar */
    bool config; /* a repository's config of which core.worktree is left out */
};

struct source_list {
    struct source_item *items; /* owned */
    size_t count;
    size_t size;
};

int source_list_make(struct source_list *list, const struct project *project, struct tn_err *err) TN_MUST_CHECK;
void source_list_free(struct source_list *list);

#endif
