/* Tells changes to the view in an order that reads well: a step's end after the last line of its output, a task's after
 * its steps', a job's after its tasks'. */
#ifndef TN_TOOLS_NARRATE_H
#define TN_TOOLS_NARRATE_H

#include "tools/follow.h"
#include "tools/view.h"

/* All zero, and `view` set, is a narrator that has nothing to tell. */
struct narrator {
    struct view *view;           /* borrowed */
    const struct follow *follow; /* borrowed; may be NULL */
    struct model_change *held;   /* owned */
    size_t count;
};

/* Tells a change now, or holds it back until what must be told before it is; it is copied then. */
void narrate_change(struct narrator *narrator, const struct model_change *change);
/* Tells what was held back and need not be any more. To be called when a step's output ended. */
void narrate_flush(struct narrator *narrator);
void narrate_free(struct narrator *narrator);

#endif
