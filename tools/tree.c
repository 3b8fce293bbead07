#include "tools/tree.h"

#include "core/lib/fs.h"
#include "core/lib/log.h"
#include "tools/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What is left out last has the smallest number. */
enum importance {
    SHOW_WORKFLOW,
    SHOW_RUNNING,
    SHOW_FAILED,
    SHOW_TASK,
    SHOW_STEP,
    SHOW_WAITING,
    SHOW_TAIL,
    SHOW_QUEUED,
    SHOW_DONE,
    SHOW_DONE_STEP,
    SHOW_COUNT
};

struct line {
    char *text;        /* owned; clean */
    const char *state; /* borrowed; NULL: no symbol */
    unsigned indent;
    enum importance importance;
};

struct lines {
    struct line *items;
    size_t count;
    size_t size;
};

struct look {
    const char *state;
    const char *unicode;
    const char *ascii;
    const char *colour;
};

static const struct look looks[] = {
    {"running", "\xe2\x97\x8f", "*", "\033[36m"},
    {"preparing", "\xe2\x97\x8b", "~", "\033[36m"},
    {"leased", "\xe2\x97\x8b", "~", "\033[36m"},
    {"queued", "\xc2\xb7", ".", "\033[2m"},
    {"on_hold", "\xe2\x80\x96", "=", "\033[33m"},
    {"failing", "\xe2\x97\x8f", "*", "\033[31m"},
    {"succeeded", "\xe2\x9c\x93", "+", "\033[32m"},
    {"success", "\xe2\x9c\x93", "+", "\033[32m"},
    {"failed", "\xe2\x9c\x97", "x", "\033[31m"},
    {"timed_out", "\xe2\x9c\x97", "x", "\033[31m"},
    {"error", "\xe2\x9c\x97", "x", "\033[31m"},
    {"unauthorized", "\xe2\x9c\x97", "x", "\033[31m"},
    {"infrastructure_failure", "!", "!", "\033[35m"},
    {"canceled", "\xe2\x8a\x98", "o", "\033[33m"},
    {"not_run", "-", "-", "\033[2m"},
    {"skipped", "-", "-", "\033[2m"},
};

static const struct look *find_look(const char *state)
{
    static const struct look unknown = {"", "?", "?", ""};

    for (size_t i = 0; i < sizeof(looks) / sizeof(looks[0]); i++)
        if (strcmp(looks[i].state, state) == 0)
            return &looks[i];
    return &unknown;
}

static void add(struct lines *lines, unsigned indent, const char *state, enum importance importance, char *text)
{
    if (lines->count == lines->size) {
        size_t size = lines->size == 0 ? 64 : lines->size * 2;
        struct line *items = reallocarray(lines->items, size, sizeof(*items));

        if (items == NULL)
            tn_fatal(3, "out of memory: %zu lines of the tree", size);
        lines->items = items;
        lines->size = size;
    }
    lines->items[lines->count++] = (struct line){text, state, indent, importance};
}

/* "name  1m05s  reason" */
static char *describe(const char *name, const char *suffix, uint64_t started, uint64_t ended, uint64_t now,
                      const char *more)
{
    struct tn_buf text = TN_BUF_INIT;
    char duration[24];

    text_name(name, &text);
    tn_buf_adds(&text, suffix);
    if (started != 0) {
        uint64_t end = ended != 0 ? ended : now;

        tn_buf_addf(&text, "  %s", text_duration(end > started ? end - started : 0, duration));
    }
    if (more[0] != '\0') {
        tn_buf_adds(&text, "  ");
        text_clean(more, strcspn(more, "\n"), 0, &text);
    }
    return tn_buf_steal(&text);
}

static bool is_running(const char *state)
{
    return strcmp(state, "running") == 0 || strcmp(state, "preparing") == 0 || strcmp(state, "leased") == 0 ||
           strcmp(state, "failing") == 0;
}

static enum importance job_importance(const char *state, const char *reason)
{
    if (is_running(state))
        return SHOW_RUNNING;
    if (model_state_failed(state) || strcmp(state, "infrastructure_failure") == 0)
        return SHOW_FAILED;
    if (model_state_ended(state))
        return SHOW_DONE;
    return reason[0] != '\0' ? SHOW_WAITING : SHOW_QUEUED;
}

static void add_tail(struct lines *lines, const struct model_task *task, const struct model_step *step, unsigned indent,
                     const struct tree_options *options)
{
    const char *tail[TREE_TAIL_MAX];
    size_t count = options->tail != NULL ? options->tail(options->arg, task, step, tail) : 0;

    for (size_t i = 0; i < count; i++) {
        struct tn_buf text = TN_BUF_INIT;

        tn_buf_adds(&text, options->unicode ? "\xe2\x94\x82 " : "| ");
        text_clean(tail[i], strlen(tail[i]), 0, &text);
        add(lines, indent, NULL, SHOW_TAIL, tn_buf_steal(&text));
    }
}

static void add_steps(struct lines *lines, const struct model_task *task, unsigned indent,
                      const struct tree_options *options)
{
    for (size_t i = 0; i < task->step_count; i++) {
        const struct model_step *step = task->steps[i];
        bool running = strcmp(step->state, "running") == 0;
        bool failed = model_state_failed(step->state);
        char exit_text[32] = "";

        if (strcmp(step->state, "skipped") == 0)
            continue;
        if (failed && step->has_exit)
            snprintf(exit_text, sizeof(exit_text), "exit %d", step->exit);
        add(lines, indent, step->state, running || failed ? SHOW_STEP : SHOW_DONE_STEP,
            describe(step->name, "", step->started, step->ended, options->now,
                     exit_text[0] != '\0' ? exit_text : step->reason));
        if (running)
            add_tail(lines, task, step, indent + 2, options);
    }
}

/* A job that succeeded is one line; others show their tasks (if there are several) and their steps. */
static void add_job(struct lines *lines, const struct model_job *job, const struct tree_options *options)
{
    const char *reason = job->reason;
    size_t ended = 0;
    char suffix[48] = "";

    for (size_t i = 0; i < job->task_count; i++) {
        ended += model_state_ended(job->tasks[i]->state) ? 1 : 0;
        if (reason[0] == '\0')
            reason = job->tasks[i]->reason;
    }
    if (job->task_count > 1)
        snprintf(suffix, sizeof(suffix), " (%zu of %zu tasks)", ended, job->task_count);
    add(lines, 2, job->state, job_importance(job->state, reason),
        describe(job->name, suffix, job->started, job->ended, options->now, reason));
    if (strcmp(job->state, "succeeded") == 0 || strcmp(job->state, "success") == 0)
        return;
    for (size_t i = 0; i < job->task_count; i++) {
        const struct model_task *task = job->tasks[i];
        unsigned indent = 4;

        if (job->task_count > 1) {
            snprintf(suffix, sizeof(suffix), "task %u of %u", task->index + 1, task->total);
            add(lines, 4, task->state, is_running(task->state) ? SHOW_TASK : SHOW_DONE_STEP,
                describe(suffix, "", task->started, task->ended, options->now, task->reason));
            indent = 6;
        }
        if (strcmp(task->state, "succeeded") != 0)
            add_steps(lines, task, indent, options);
    }
}

static void collect(struct lines *lines, const struct model *model, const struct tree_options *options)
{
    for (size_t i = 0; i < model->workflow_count; i++) {
        const struct model_workflow *workflow = model->workflows[i];

        add(lines, 0, workflow->state, SHOW_WORKFLOW, describe(workflow->name, "", 0, 0, options->now, ""));
        for (size_t j = 0; j < workflow->job_count; j++)
            add_job(lines, workflow->jobs[j], options);
    }
}

/* Marks what does not fit by dropping its text, the least important and the lowest first. Returns how many. */
static size_t drop(struct lines *lines, size_t height)
{
    size_t shown = lines->count;
    size_t dropped = 0;

    if (shown <= height)
        return 0;
    for (int importance = SHOW_COUNT - 1; importance >= 0; importance--)
        for (size_t i = lines->count; i-- > 0;) {
            if (shown - dropped < height)
                return dropped; /* and there is room for the line that says so */
            if ((int)lines->items[i].importance != importance)
                continue;
            free(lines->items[i].text);
            lines->items[i].text = NULL;
            dropped++;
        }
    return dropped;
}

static void render_line(const struct line *line, const struct tree_options *options, struct tn_buf *out)
{
    unsigned used = line->indent;
    bool dim = options->colour && line->state == NULL;

    if (used + 3 > options->width)
        used = options->width > 3 ? options->width - 3 : 0;
    tn_buf_addf(out, "%*s", (int)used, "");
    if (line->state != NULL && used + 2 < options->width) {
        const struct look *look = find_look(line->state);

        tn_buf_addf(out, "%s%s%s ", options->colour ? look->colour : "", options->unicode ? look->unicode : look->ascii,
                    options->colour && look->colour[0] != '\0' ? "\033[0m" : "");
        used += 2;
    }
    if (dim)
        tn_buf_adds(out, "\033[2m");
    text_cut(line->text, options->width > used ? options->width - used : 0, options->unicode, out);
    tn_buf_adds(out, dim ? "\033[0m\n" : "\n");
}

unsigned tree_render(const struct model *model, const struct tree_options *options, struct tn_buf *out)
{
    struct lines lines = {NULL, 0, 0};
    unsigned rendered = 0;
    size_t dropped;

    if (options->height == 0)
        return 0;
    collect(&lines, model, options);
    dropped = drop(&lines, options->height);
    for (size_t i = 0; i < lines.count; i++) {
        if (lines.items[i].text == NULL)
            continue;
        render_line(&lines.items[i], options, out);
        free(lines.items[i].text);
        rendered++;
    }
    if (dropped > 0) {
        char text[64];

        snprintf(text, sizeof(text), "  (%zu more lines)", dropped);
        text_cut(text, options->width, options->unicode, out);
        tn_buf_adds(out, "\n");
        rendered++;
    }
    free(lines.items);
    return rendered;
}
