/* The live tree of a pipeline as lines of text that fit a terminal. Pure. */
#ifndef TN_TOOLS_TREE_H
#define TN_TOOLS_TREE_H

#include "core/lib/buf.h"
#include "tools/model.h"

enum { TREE_TAIL_MAX = 3 }; /* lines of output below a running step */

struct tree_options {
    unsigned width;  /* columns: no line is wider */
    unsigned height; /* lines: there are no more */
    bool colour;
    bool unicode;
    uint64_t now; /* milliseconds since 1970 */
    /* The last lines of a running step's output, oldest first, borrowed; at most TREE_TAIL_MAX. NULL: none. */
    size_t (*tail)(void *arg, const struct model_task *task, const struct model_step *step,
                   const char *lines[TREE_TAIL_MAX]);
    void *arg;
};

/* Appends the lines, each with "\n"; returns how many. When not all fit, what matters least is left out, and the last
 * line says how many. */
unsigned tree_render(const struct model *model, const struct tree_options *options, struct tn_buf *out);

#endif
