/* What a run prints while it lasts: a live tree on a terminal, plain lines elsewhere, or JSON.
 *
 * The three are tables of functions (view_ops); view.c keeps what they share: for each step the output that is not a
 * whole line yet. Writing blocks. */
#ifndef TN_TOOLS_VIEW_H
#define TN_TOOLS_VIEW_H

#include "tools/follow.h"
#include "tools/model.h"

#include <event2/event.h>
#include <stdbool.h>

enum view_mode { VIEW_TERMINAL, VIEW_PLAIN, VIEW_JSON };

struct view; /* opaque */

/* The mode that fits standard output; `json` was asked for. */
enum view_mode view_choose(bool json);
/* `model` is borrowed. */
struct view *view_open(enum view_mode mode, struct event_base *base, const struct model *model);
/* Takes the live tree away and frees everything; NULL is allowed. */
void view_close(struct view *view);
/* A state or reason changed. */
void view_change(struct view *view, const struct model_change *change);
/* Output of a step; `end`: there is no more of it. */
void view_output(struct view *view, struct follow_source *source, const uint8_t *bytes, size_t length, bool end);
/* One line about the run itself. */
void view_notice(struct view *view, const char *fmt, ...) TN_PRINTF(2, 3);

#endif
