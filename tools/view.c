#include "tools/view.h"

#include "core/lib/fs.h"
#include "core/lib/log.h"
#include "tools/text.h"
#include "tools/view_ops.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { PARTIAL_MAX = 64 * 1024 /* a line longer than this is printed in pieces */ };

enum view_mode view_choose(bool json)
{
    const char *term = getenv("TERM");

    if (json)
        return VIEW_JSON;
    if (!isatty(STDOUT_FILENO) || term == NULL || term[0] == '\0' || strcmp(term, "dumb") == 0)
        return VIEW_PLAIN;
    return VIEW_TERMINAL;
}

struct view *view_open(enum view_mode mode, struct event_base *base, const struct model *model)
{
    static const struct view_ops *const ways[] = {
        [VIEW_TERMINAL] = &view_terminal, [VIEW_PLAIN] = &view_plain, [VIEW_JSON] = &view_json};
    struct view *view = calloc(1, sizeof(*view));

    if (view == NULL)
        tn_fatal(3, "out of memory: the view");
    view->ops = ways[mode];
    view->base = base;
    view->model = model;
    LIST_INIT(&view->steps);
    if (view->ops->open != NULL)
        view->ops->open(view);
    return view;
}

static void free_step(struct view_step *step)
{
    LIST_REMOVE(step, next);
    tn_buf_free(&step->partial);
    for (size_t i = 0; i < step->held_count; i++)
        free(step->held[i]);
    free(step);
}

void view_close(struct view *view)
{
    struct view_step *step;

    if (view == NULL)
        return;
    if (view->ops->close != NULL)
        view->ops->close(view);
    while ((step = LIST_FIRST(&view->steps)) != NULL)
        free_step(step);
    free(view->said);
    free(view);
}

void view_change(struct view *view, const struct model_change *change)
{
    view->ops->change(view, change);
}

static struct view_step *step_of(struct view *view, struct follow_source *source)
{
    struct view_step *step = source->user;

    if (step != NULL)
        return step;
    step = calloc(1, sizeof(*step));
    if (step == NULL)
        tn_fatal(3, "out of memory: output of a step");
    step->source = source;
    source->user = step;
    LIST_INSERT_HEAD(&view->steps, step, next);
    return step;
}

void view_output(struct view *view, struct follow_source *source, const uint8_t *bytes, size_t length, bool end)
{
    struct view_step *step = step_of(view, source);
    const char *newline;
    size_t whole;

    if (length > 0)
        tn_buf_add(&step->partial, bytes, length);
    if (view->ops->shows && step->partial.len > PARTIAL_MAX && memchr(bytes, '\n', length) == NULL)
        tn_buf_consume(&step->partial, text_overwritten(step->partial.data, step->partial.len));
    newline = step->partial.len > 0 ? memrchr(step->partial.data, '\n', step->partial.len) : NULL;
    whole = newline != NULL ? (size_t)(newline - step->partial.data) + 1 : 0;
    if (end)
        whole = step->partial.len;
    else if (step->partial.len - whole > PARTIAL_MAX)
        whole = step->partial.len - text_incomplete(step->partial.data, step->partial.len);
    if (whole > 0) {
        view->ops->lines(view, step, step->partial.data, whole);
        tn_buf_consume(&step->partial, whole);
    }
    if (!end)
        return;
    if (view->ops->end != NULL)
        view->ops->end(view, step);
    source->user = NULL;
    free_step(step);
}

void view_notice(struct view *view, const char *fmt, ...)
{
    char text[2048];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    view->ops->notice(view, text);
}

void view_ops__write(const void *bytes, size_t length)
{
    static bool broken;
    struct tn_err err = TN_ERR_INIT;

    if (broken || length == 0)
        return;
    if (tn_fs_write_all(STDOUT_FILENO, bytes, length, &err) != 0) {
        broken = true;
        if (err.sys != EPIPE)
            tn_warn("standard output: %s; the run goes on", err.text);
    }
}

uint64_t view_ops__now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u;
}

bool view_ops__colour(void)
{
    const char *no_colour = getenv("NO_COLOR");

    return no_colour == NULL || no_colour[0] == '\0';
}

void view_ops__prefix(const char *job, unsigned index, unsigned total, struct tn_buf *out)
{
    tn_buf_adds(out, "[");
    text_name(job, out);
    if (total > 1)
        tn_buf_addf(out, " %u/%u", index + 1, total);
    tn_buf_adds(out, "] ");
}

static void add_time(uint64_t started, uint64_t ended, struct tn_buf *out)
{
    char duration[24];

    if (started != 0 && ended >= started)
        tn_buf_addf(out, " (%s)", text_duration(ended - started, duration));
}

static void add_reason(const char *reason, struct tn_buf *out)
{
    if (reason[0] == '\0')
        return;
    tn_buf_adds(out, ": ");
    text_clean(reason, strcspn(reason, "\n"), 0, out);
}

static bool describe_step(const struct model_change *change, struct tn_buf *out)
{
    const struct model_step *step = change->step;

    view_ops__prefix(change->job->name, change->task->index, change->task->total, out);
    if (strcmp(step->state, "running") == 0) {
        tn_buf_adds(out, "> ");
        text_name(step->name, out);
        return true;
    }
    tn_buf_addf(out, "%s: ", step->state);
    text_name(step->name, out);
    if (model_state_failed(step->state) && step->has_exit)
        tn_buf_addf(out, ", exit %d", step->exit);
    else if (step->signal != 0)
        tn_buf_addf(out, ", signal %d", step->signal);
    add_time(step->started, step->ended, out);
    if (step->dropped > 0)
        tn_buf_addf(out, ", %llu bytes of output dropped", (unsigned long long)step->dropped);
    if (!step->has_exit)
        add_reason(step->reason, out);
    return true;
}

/* One task is the job itself: then only why it waits is said of it. What waits for the job's reason is said of the job.
 */
static bool describe_task(const struct model_change *change, struct tn_buf *out)
{
    const struct model_task *task = change->task;
    bool ended = model_state_ended(task->state);

    if (task->total <= 1 && (ended || task->reason[0] == '\0'))
        return false;
    if (!ended && strcmp(task->reason, task->job->reason) == 0 && strcmp(task->state, "running") != 0)
        return false;
    view_ops__prefix(change->job->name, task->index, task->total, out);
    tn_buf_adds(out, task->state);
    if (ended)
        add_time(task->started, task->ended, out);
    add_reason(task->reason, out);
    return true;
}

static bool describe_job(const struct model_change *change, struct tn_buf *out)
{
    const struct model_job *job = change->job;
    const char *reason = job->reason;

    if (strcmp(job->state, "leased") == 0 || job->state[0] == '\0')
        return false;
    if (reason[0] == '\0' && model_state_ended(job->state) && job->task_count == 1)
        reason = job->tasks[0]->reason;
    view_ops__prefix(job->name, 0, 1, out);
    tn_buf_adds(out, job->state);
    if (model_state_ended(job->state))
        add_time(job->started, job->ended, out);
    add_reason(reason, out);
    return true;
}

bool view_ops__describe(const struct model_change *change, struct tn_buf *out)
{
    switch (change->what) {
    case MODEL_PIPELINE:
        return false;
    case MODEL_WORKFLOW:
        tn_buf_adds(out, "workflow ");
        text_name(change->workflow->name, out);
        tn_buf_addf(out, ": %s", change->workflow->state);
        return change->workflow->state[0] != '\0';
    case MODEL_JOB:
        return describe_job(change, out);
    case MODEL_TASK:
        return describe_task(change, out);
    case MODEL_STEP:
        return describe_step(change, out);
    }
    return false;
}
