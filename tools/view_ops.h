/* What view.c shares with the three ways to print. Only for view*.c. */
#ifndef TN_TOOLS_VIEW_OPS_H
#define TN_TOOLS_VIEW_OPS_H

#include "core/lib/buf.h"
#include "tools/view.h"

#include <sys/queue.h>

/* Output of one step that was not printed yet. */
struct view_step {
    LIST_ENTRY(view_step) next;
    const struct follow_source *source; /* borrowed */
    struct tn_buf partial;              /* what follows the last newline */
    char *held[3];                      /* owned; terminal: the newest lines, oldest first; TREE_TAIL_MAX of them */
    size_t held_count;
};

struct view_ops {
    bool shows; /* lines as a terminal shows them at last: of what "\r" overwrites, nothing is needed */
    void (*open)(struct view *view);
    void (*close)(struct view *view);
    void (*change)(struct view *view, const struct model_change *change);
    /* Whole lines, each with its newline but perhaps the last one at the end. */
    void (*lines)(struct view *view, struct view_step *step, const char *text, size_t length);
    void (*end)(struct view *view, struct view_step *step);
    void (*notice)(struct view *view, const char *text);
};

struct view {
    const struct view_ops *ops;
    struct event_base *base;   /* borrowed */
    const struct model *model; /* borrowed */
    LIST_HEAD(, view_step) steps;
    char *said;  /* owned; plain: the last change that was said */
    void *state; /* of the way to print; owned by it */
};

extern const struct view_ops view_plain;
extern const struct view_ops view_json;
extern const struct view_ops view_terminal;

/* Writes all of it to standard output. A reader that went away ends the printing, not the run. */
void view_ops__write(const void *bytes, size_t length);
/* May colours be printed (NO_COLOR)? */
bool view_ops__colour(void);
/* "[job] " or, for one of several tasks, "[job 2/4] ". */
void view_ops__prefix(const char *job, unsigned index, unsigned total, struct tn_buf *out);
/* The line (without newline) that says what changed; false if nothing need be said. */
bool view_ops__describe(const struct model_change *change, struct tn_buf *out);
/* Milliseconds since 1970. */
uint64_t view_ops__now(void);

#endif
