/* A live tree at the bottom of the terminal; what was said and printed scrolls away above it.
 *
 * The newest lines of a running step stay below it in the tree until newer ones push them out upwards, or until the
 * step ends: so every line is seen once. The tree is taken away, what is new is written, and the tree is drawn again,
 * in one write(2), at most ten times a second. */
#include "core/lib/fs.h"
#include "core/lib/log.h"
#include "tools/text.h"
#include "tools/tree.h"
#include "tools/view_ops.h"

#include <langinfo.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

enum {
    FRAME_MS = 100,
    IDLE_MS = 1000, /* elapsed times go on when nothing happens */
    FLUSH_BYTES = 64 * 1024,
    COLUMNS = 80,
    ROWS = 24,
};

_Static_assert(sizeof(((struct view_step *)0)->held) / sizeof(char *) == TREE_TAIL_MAX,
               "a step holds what the tree shows");

struct terminal {
    struct event *frame;
    struct event *winch;
    struct tn_buf above; /* lines to be written above the tree */
    struct tn_buf tree;  /* the lines that are there */
    unsigned width;
    unsigned height;
    bool colour;
    bool unicode;
    bool due; /* a frame is on its way within FRAME_MS */
};

static void read_size(struct terminal *terminal)
{
    struct winsize size;

    terminal->width = COLUMNS;
    terminal->height = ROWS;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 && size.ws_row > 0) {
        terminal->width = size.ws_col;
        terminal->height = size.ws_row;
    }
}

static size_t tail_of(void *arg, const struct model_task *task, const struct model_step *step,
                      const char *lines[TREE_TAIL_MAX])
{
    const struct view *view = arg;
    const struct view_step *at;

    LIST_FOREACH (at, &view->steps, next) {
        if (at->source->row != task || at->source->attempt != step->attempt || at->source->number != step->number)
            continue;
        for (size_t i = 0; i < at->held_count; i++)
            lines[i] = at->held[i];
        return at->held_count;
    }
    return 0;
}

/* Moves to the tree's first line and clears from there. A terminal that became narrower has wrapped its lines. */
static void erase(struct terminal *terminal, struct tn_buf *out)
{
    unsigned rows = 0;

    for (size_t at = 0; at < terminal->tree.len; at += strcspn(terminal->tree.data + at, "\n") + 1) {
        unsigned columns = text_columns(terminal->tree.data + at);

        rows += columns == 0 ? 1 : (columns + terminal->width - 1) / terminal->width;
    }
    if (rows >= terminal->height)
        rows = terminal->height - 1;
    if (rows > 0)
        tn_buf_addf(out, "\r\033[%uA\033[J", rows);
    else if (terminal->tree.len > 0)
        tn_buf_adds(out, "\r\033[J");
    tn_buf_reset(&terminal->tree);
}

static void draw(struct view *view, bool with_tree)
{
    struct terminal *terminal = view->state;
    struct tn_buf out = TN_BUF_INIT;
    struct tree_options options = {.width = terminal->width > 1 ? terminal->width - 1 : 1,
                                   .height = terminal->height > 1 ? terminal->height - 1 : 1,
                                   .colour = terminal->colour,
                                   .unicode = terminal->unicode,
                                   .now = view_ops__now(),
                                   .tail = tail_of,
                                   .arg = view};

    erase(terminal, &out);
    tn_buf_add(&out, terminal->above.data, terminal->above.len);
    tn_buf_reset(&terminal->above);
    if (with_tree) {
        tree_render(view->model, &options, &terminal->tree);
        tn_buf_add(&out, terminal->tree.data, terminal->tree.len);
    }
    view_ops__write(out.data, out.len);
    tn_buf_free(&out);
}

static void schedule(struct terminal *terminal, unsigned ms)
{
    struct timeval wait = {ms / 1000, ms % 1000 * 1000};

    event_add(terminal->frame, &wait);
}

static void on_frame(evutil_socket_t fd, short what, void *arg)
{
    struct view *view = arg;
    struct terminal *terminal = view->state;

    terminal->due = false;
    draw(view, true);
    schedule(terminal, IDLE_MS);
}

static void changed(struct terminal *terminal)
{
    if (terminal->due)
        return;
    terminal->due = true;
    schedule(terminal, FRAME_MS);
}

static void on_winch(evutil_socket_t number, short what, void *arg)
{
    struct view *view = arg;

    read_size(view->state);
    changed(view->state);
}

static void terminal_open(struct view *view)
{
    struct terminal *terminal = calloc(1, sizeof(*terminal));

    if (terminal == NULL)
        tn_fatal(3, "out of memory: the terminal's view");
    view->state = terminal;
    terminal->colour = view_ops__colour();
    terminal->unicode = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
    read_size(terminal);
    terminal->frame = evtimer_new(view->base, on_frame, view);
    terminal->winch = evsignal_new(view->base, SIGWINCH, on_winch, view);
    if (terminal->frame == NULL || terminal->winch == NULL || event_add(terminal->winch, NULL) != 0)
        tn_fatal(3, "cannot watch the terminal");
    changed(terminal);
}

static void terminal_close(struct view *view)
{
    struct terminal *terminal = view->state;

    draw(view, false);
    event_free(terminal->frame);
    event_free(terminal->winch);
    tn_buf_free(&terminal->above);
    tn_buf_free(&terminal->tree);
    free(terminal);
    view->state = NULL;
}

static void wrote_above(struct view *view)
{
    struct terminal *terminal = view->state;

    if (terminal->above.len > FLUSH_BYTES)
        draw(view, true);
    changed(terminal);
}

static void terminal_change(struct view *view, const struct model_change *change)
{
    struct terminal *terminal = view->state;
    bool said = change->what == MODEL_JOB ? model_state_ended(change->job->state)
                                          : change->what == MODEL_STEP && model_state_ended(change->step->state);

    /* The tree shows the rest. */
    if (said && view_ops__describe(change, &terminal->above))
        tn_buf_adds(&terminal->above, "\n");
    wrote_above(view);
}

static void print_held(struct view *view, struct view_step *step, const char *line)
{
    struct terminal *terminal = view->state;

    view_ops__prefix(step->source->job, step->source->index, step->source->total, &terminal->above);
    tn_buf_adds(&terminal->above, line);
    tn_buf_adds(&terminal->above, "\n");
}

static void hold_line(struct view *view, struct view_step *step, const char *line, size_t length)
{
    struct tn_buf clean = TN_BUF_INIT;

    text_clean(line, length, ((const struct terminal *)view->state)->colour ? TEXT_COLOUR : 0, &clean);
    if (step->held_count == TREE_TAIL_MAX) {
        print_held(view, step, step->held[0]);
        free(step->held[0]);
        memmove(&step->held[0], &step->held[1], (TREE_TAIL_MAX - 1) * sizeof(step->held[0]));
        step->held_count--;
    }
    step->held[step->held_count++] = tn_buf_steal(&clean);
}

static void terminal_lines(struct view *view, struct view_step *step, const char *text, size_t length)
{
    while (length > 0) {
        const char *newline = memchr(text, '\n', length);
        size_t line = newline != NULL ? (size_t)(newline - text) + 1 : length;

        hold_line(view, step, text, line);
        text += line;
        length -= line;
    }
    wrote_above(view);
}

static void terminal_end(struct view *view, struct view_step *step)
{
    for (size_t i = 0; i < step->held_count; i++) {
        print_held(view, step, step->held[i]);
        free(step->held[i]);
    }
    step->held_count = 0;
    wrote_above(view);
}

static void terminal_notice(struct view *view, const char *text)
{
    struct terminal *terminal = view->state;

    tn_buf_addf(&terminal->above, "tenon: %s\n", text);
    wrote_above(view);
}

const struct view_ops view_terminal = {.shows = true,
                                       .open = terminal_open,
                                       .close = terminal_close,
                                       .change = terminal_change,
                                       .lines = terminal_lines,
                                       .end = terminal_end,
                                       .notice = terminal_notice};
