#include "core/compiler/context.h"

#include "core/compiler/limits.h"
#include "core/lib/buf.h"

#include <stdarg.h>
#include <stdio.h>

void compiler__report(struct compiler *c, const struct view *view, const struct report *report, const char *fmt, ...)
{
    struct report full = *report;
    const struct node *at = view->at != NULL ? view->at : view->node;
    char message[1024];
    va_list ap;

    if (view->kind == VIEW_UNKNOWN)
        return;
    c->faults++;
    if (full.at.line == 0)
        full.at = at != NULL ? at->place : (struct place){1, 1, 0};
    if (full.note.line == 0 && view->given != NULL && view->given != at) {
        full.note = view->given->place;
        full.note_text = "the value comes from here";
    } else if (full.note.line == 0 && view->at != NULL && view->node != NULL && view->node != view->at) {
        full.note = view->node->place;
        full.note_text = "defined here";
        full.fault_in_note = true;
    }
    va_start(ap, fmt);
    vsnprintf(message, sizeof(message), fmt, ap);
    va_end(ap);
    diag__add(c->diags, &full, "%s", message);
}

static bool reached(struct compiler *c, const struct view *view, enum diag_code code, const char *what, unsigned limit)
{
    if (!c->stop)
        compiler__report(c, view, &(struct report){.code = code}, "the config expands to more than %u %s", limit, what);
    c->stop = true;
    return false;
}

bool compiler__step(struct compiler *c, const struct view *view)
{
    if (c->stop)
        return false;
    return ++c->steps <= LIMIT_STEPS || reached(c, view, DIAG_EXPANSION_STEPS, "values", LIMIT_STEPS);
}

bool compiler__job(struct compiler *c, const struct view *view)
{
    return ++c->job_count <= LIMIT_JOBS || reached(c, view, DIAG_EXPANSION_STEPS, "jobs", LIMIT_JOBS);
}

bool compiler__bytes(struct compiler *c, const struct view *view, size_t len)
{
    if (c->stop)
        return false;
    c->bytes += len;
    return c->bytes <= LIMIT_EXPANDED_BYTES ||
           reached(c, view, DIAG_EXPANSION_STEPS, "bytes of text", LIMIT_EXPANDED_BYTES);
}

bool compiler__enter(struct compiler *c, const struct view *view)
{
    if (c->stop)
        return false;
    if (c->depth >= LIMIT_EXPANSION_DEPTH)
        return reached(c, view, DIAG_EXPANSION_DEPTH, "levels of nested commands, conditions and steps",
                       LIMIT_EXPANSION_DEPTH);
    c->depth++;
    return true;
}

void compiler__leave(struct compiler *c)
{
    c->depth--;
}

const char *compiler__list(struct compiler *c, const char *const *names, size_t count)
{
    auto_buf struct tn_buf text = TN_BUF_INIT;

    for (size_t i = 0; i < count && i < 40; i++)
        tn_buf_addf(&text, "%s`%s`", i == 0 ? "" : ", ", names[i]);
    if (count > 40)
        tn_buf_adds(&text, ", …");
    return arena__text(c->arena, text.data != NULL ? text.data : "", text.len);
}
