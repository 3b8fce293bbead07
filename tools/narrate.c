#include "tools/narrate.h"

#include "core/lib/log.h"

#include <stdlib.h>
#include <string.h>

static bool is_end(const struct model_change *change)
{
    switch (change->what) {
    case MODEL_PIPELINE:
        return false;
    case MODEL_WORKFLOW:
        return model_state_ended(change->workflow->state);
    case MODEL_JOB:
        return model_state_ended(change->job->state);
    case MODEL_TASK:
        return model_state_ended(change->task->state);
    case MODEL_STEP:
        return model_state_ended(change->step->state);
    }
    return false;
}

/* Is one a part of the other, or the same? */
static bool related(const struct model_change *a, const struct model_change *b)
{
    if (a->workflow == NULL || b->workflow == NULL)
        return false;
    if (a->workflow != b->workflow)
        return false;
    if (a->job == NULL || b->job == NULL)
        return true;
    if (a->job != b->job)
        return false;
    return a->task == NULL || b->task == NULL || a->task == b->task;
}

static bool must_wait(const struct narrator *narrator, const struct model_change *change, size_t before)
{
    if (is_end(change) && follow_pending(narrator->follow, change))
        return true;
    for (size_t i = 0; i < before; i++)
        if (related(&narrator->held[i], change))
            return true;
    return false;
}

/* A change names a row of the model and is told with the state that the row has then: two that wait for the same row
 * would tell its last state twice. */
static void drop_held(struct narrator *narrator, const struct model_change *change)
{
    size_t kept = 0;

    for (size_t i = 0; i < narrator->count; i++) {
        const struct model_change *held = &narrator->held[i];

        if (held->what != change->what || held->workflow != change->workflow || held->job != change->job ||
            held->task != change->task || held->step != change->step)
            narrator->held[kept++] = *held;
    }
    narrator->count = kept;
}

void narrate_change(struct narrator *narrator, const struct model_change *change)
{
    struct model_change *held;

    if (!must_wait(narrator, change, narrator->count)) {
        view_change(narrator->view, change);
        return;
    }
    drop_held(narrator, change);
    held = reallocarray(narrator->held, narrator->count + 1, sizeof(*held));
    if (held == NULL)
        tn_fatal(3, "out of memory: changes that wait for output");
    held[narrator->count++] = *change;
    narrator->held = held;
}

void narrate_flush(struct narrator *narrator)
{
    size_t kept = 0;

    for (size_t i = 0; i < narrator->count; i++) {
        struct model_change change = narrator->held[i];

        if (must_wait(narrator, &change, kept))
            narrator->held[kept++] = change;
        else
            view_change(narrator->view, &change);
    }
    narrator->count = kept;
}

void narrate_free(struct narrator *narrator)
{
    free(narrator->held);
    memset(narrator, 0, sizeof(*narrator));
}
