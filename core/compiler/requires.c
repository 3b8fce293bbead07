#include "core/compiler/requires.h"

#include "core/compiler/view.h"
#include "core/lib/buf.h"

#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    unsigned bits;
} statuses[] = {
    {"success", STATUS_SUCCESS},           {"failed", STATUS_FAILED},   {"canceled", STATUS_CANCELED},
    {"unauthorized", STATUS_UNAUTHORIZED}, {"not_run", STATUS_NOT_RUN}, {"terminal", STATUS_TERMINAL},
};

#define STATUS_COUNT (sizeof(statuses) / sizeof(statuses[0]))

/* The jobs that a name stands for. */
struct group {
    struct wf_job **jobs;
    size_t count;
    size_t size;
};

struct resolver {
    struct compiler *c;
    struct workflow *workflow;
    struct table by_name; /* struct wf_job */
    struct table groups;  /* struct group */
    const char **names;
    size_t name_count;
    bool some_unknown; /* a job's name cannot be told, so neither can whether a requirement exists */
};

static void add_to_group(struct resolver *r, struct wf_job *job)
{
    struct group *group = table__get(&r->groups, job->group);

    if (group == NULL) {
        group = arena__alloc(r->c->arena, sizeof(*group));
        table__put(r->c->arena, &r->groups, job->group, group);
    }
    if (group->count == group->size) {
        size_t size = group->size == 0 ? 4 : group->size * 2;
        struct wf_job **jobs = arena__alloc(r->c->arena, size * sizeof(*jobs));

        if (group->count > 0)
            memcpy(jobs, group->jobs, group->count * sizeof(*jobs));
        group->jobs = jobs;
        group->size = size;
    }
    group->jobs[group->count++] = job;
}

static unsigned one_status(struct compiler *c, const struct view *value)
{
    const char *names[STATUS_COUNT];

    for (size_t i = 0; i < STATUS_COUNT; i++) {
        names[i] = statuses[i].name;
        if (value->kind == VIEW_SCALAR && strcmp(statuses[i].name, value->text) == 0)
            return statuses[i].bits;
    }
    compiler__report(c, value,
                     &(struct report){.code = DIAG_BAD_VALUE,
                                      .expected = compiler__list(c, names, STATUS_COUNT),
                                      .hint = value->kind == VIEW_SCALAR
                                                  ? suggest__did_you_mean(c->diags, value->text, names, STATUS_COUNT)
                                                  : NULL},
                     "%s is not a status that a job can end with", view__describe(c, value));
    return STATUS_SUCCESS;
}

static unsigned read_statuses(struct compiler *c, const struct view *value)
{
    unsigned bits = 0;

    if (value->kind != VIEW_SEQ || view__count(value) == 0)
        return one_status(c, value);
    for (size_t i = 0; i < view__count(value) && !c->stop; i++) {
        struct view item = view__item(c, value, i);

        bits |= one_status(c, &item);
    }
    return bits;
}

/* Room for `more` further requirements of the job. */
static void reserve(struct compiler *c, struct wf_job *job, size_t *size, size_t more)
{
    struct requirement *list;

    if (job->requirement_count + more <= *size)
        return;
    *size = (job->requirement_count + more) * 2;
    list = arena__alloc(c->arena, *size * sizeof(*list));
    if (job->requirement_count > 0)
        memcpy(list, job->requirements, job->requirement_count * sizeof(*list));
    job->requirements = list;
}

static void unknown_requirement(struct resolver *r, const struct view *name, const struct wf_job *job)
{
    bool defined = table__get(&r->c->jobs.index, name->text) != NULL;
    const char *hint = suggest__did_you_mean(r->c->diags, name->text, r->names, r->name_count);

    if (r->some_unknown)
        return;
    if (hint == NULL && defined)
        hint = "the job is defined, but not in this workflow's list (or under another `name`)";
    compiler__report(r->c, name, &(struct report){.code = DIAG_UNKNOWN_REQUIREMENT, .hint = hint},
                     "job `%.100s` requires `%.100s`, which is not a job of workflow `%.100s`", job->name, name->text,
                     r->workflow->name);
}

/* Adds what one name stands for. `seen` holds the requirements so far, by job name. */
static void add_requirement(struct resolver *r, struct wf_job *job, const struct view *name, unsigned bits,
                            struct table *seen, size_t *size)
{
    struct wf_job *one = table__get(&r->by_name, name->text);
    struct group *group = one == NULL ? table__get(&r->groups, name->text) : NULL;
    size_t count = one != NULL ? 1 : group != NULL ? group->count : 0;

    if (count == 0) {
        unknown_requirement(r, name, job);
        return;
    }
    reserve(r->c, job, size, count);
    for (size_t i = 0; i < count && compiler__step(r->c, name); i++) {
        struct wf_job *target = one != NULL ? one : group->jobs[i];
        /* Index plus one, so that it is never NULL. */
        size_t there = (size_t)(uintptr_t)table__get(seen, target->name);

        if (there != 0) {
            job->requirements[there - 1].statuses |= bits;
            continue;
        }
        job->requirements[job->requirement_count++] =
            (struct requirement){target, bits, name->at != NULL ? name->at : name->node};
        table__put(r->c->arena, seen, target->name, (void *)(uintptr_t)job->requirement_count);
    }
}

static void resolve_item(struct resolver *r, struct wf_job *job, const struct view *item, struct table *seen,
                         size_t *size)
{
    struct view key;
    struct view value;

    if (item->kind == VIEW_UNKNOWN)
        return;
    if (item->kind == VIEW_SCALAR && item->type != SCALAR_NULL) {
        add_requirement(r, job, item, STATUS_SUCCESS, seen, size);
        return;
    }
    if (item->kind != VIEW_MAP || view__count(item) != 1) {
        compiler__report(r->c, item,
                         &(struct report){.code = DIAG_WRONG_TYPE,
                                          .expected = "a job's name, or `name: status`, or `name: [statuses]`"},
                         "an entry of `requires` cannot be %s", view__describe(r->c, item));
        return;
    }
    value = view__pair(r->c, item, 0, &key);
    key = view__of(r->c, key.node, item->scope);
    if (key.kind == VIEW_SCALAR && value.kind != VIEW_UNKNOWN)
        add_requirement(r, job, &key, read_statuses(r->c, &value), seen, size);
}

static void resolve_job(struct resolver *r, struct wf_job *job)
{
    struct table seen = {0};
    size_t size = 0;

    if (view__is_null(&job->requires) || job->requires.kind == VIEW_UNKNOWN)
        return;
    if (job->requires.kind != VIEW_SEQ) {
        compiler__report(r->c, &job->requires,
                         &(struct report){.code = DIAG_WRONG_TYPE,
                                          .expected = "a list of job names",
                                          .hint = "write `requires: [NAME]`"},
                         "`requires` must be a list, but is %s", view__describe(r->c, &job->requires));
        return;
    }
    for (size_t i = 0; i < view__count(&job->requires) && !r->c->stop; i++) {
        struct view item = view__item(r->c, &job->requires, i);

        resolve_item(r, job, &item, &seen, &size);
    }
}

/* ---- circles ---- */

enum colour { WHITE, GREY, BLACK };

struct visit {
    struct wf_job *job;
    size_t next;
};

static void report_circle(struct resolver *r, const struct visit *stack, size_t depth, const struct requirement *back)
{
    auto_buf struct tn_buf chain = TN_BUF_INIT;
    size_t start = depth;

    while (start > 0 && stack[start - 1].job != back->job)
        start--;
    for (size_t i = start > 0 ? start - 1 : 0; i < depth && chain.len < 700; i++)
        tn_buf_addf(&chain, "%.60s → ", stack[i].job->name);
    compiler__report(
        r->c, &(struct view){.kind = VIEW_SCALAR, .node = back->node},
        &(struct report){.code = DIAG_REQUIRES_CYCLE, .hint = "a job can only require jobs that do not wait for it"},
        "jobs of workflow `%.100s` wait for each other in a circle: %s%.60s", r->workflow->name,
        chain.data != NULL ? chain.data : "", back->job->name);
}

/* Depth first with a stack of its own. Puts jobs into `order`, what is required before what requires it. Returns how
 * many circles it found. */
static size_t visit_from(struct resolver *r, struct wf_job *root, struct visit *stack, struct wf_job **order,
                         size_t *done)
{
    size_t circles = 0;
    size_t depth = 0;

    stack[depth++] = (struct visit){root, 0};
    root->colour = GREY;
    while (depth > 0) {
        struct visit *top = &stack[depth - 1];

        if (top->next == top->job->requirement_count) {
            top->job->colour = BLACK;
            order[(*done)++] = top->job;
            depth--;
            continue;
        }
        const struct requirement *edge = &top->job->requirements[top->next++];

        if (edge->job->colour == GREY) {
            report_circle(r, stack, depth, edge);
            circles++;
        } else if (edge->job->colour == WHITE) {
            edge->job->colour = GREY;
            stack[depth++] = (struct visit){edge->job, 0};
        }
    }
    return circles;
}

/* A job all of whose requirements are removed is removed too; `order` has requirements first. */
static void remove_dependents(struct wf_job **order, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        bool left = order[i]->requirement_count == 0;

        for (size_t j = 0; j < order[i]->requirement_count && !left; j++)
            left = !order[i]->requirements[j].job->removed;
        if (!left)
            order[i]->removed = true;
    }
}

void requires__resolve(struct compiler *c, struct workflow *workflow)
{
    struct resolver r = {.c = c, .workflow = workflow};
    struct visit *stack = arena__alloc(c->arena, (workflow->count + 1) * sizeof(*stack));
    struct wf_job **order = arena__alloc(c->arena, (workflow->count + 1) * sizeof(struct wf_job *));
    size_t circles = 0;
    size_t done = 0;

    r.names = arena__alloc(c->arena, (workflow->count + 1) * sizeof(*r.names));
    for (size_t i = 0; i < workflow->count; i++) {
        struct wf_job *job = workflow->jobs[i];

        r.some_unknown = r.some_unknown || job->name_unknown;
        if (table__get(&r.by_name, job->name) == NULL)
            table__put(c->arena, &r.by_name, job->name, job);
        r.names[r.name_count++] = job->name;
        if (job->group != NULL)
            add_to_group(&r, job);
    }
    for (size_t i = 0; i < workflow->count && !c->stop; i++)
        resolve_job(&r, workflow->jobs[i]);
    for (size_t i = 0; i < workflow->count && !c->stop; i++)
        if (workflow->jobs[i]->colour == WHITE)
            circles += visit_from(&r, workflow->jobs[i], stack, order, &done);
    if (circles == 0 && !c->stop)
        remove_dependents(order, done);
}

cJSON *requires__json(const struct wf_job *job)
{
    cJSON *list = cJSON_CreateArray();

    for (size_t i = 0; i < job->requirement_count; i++) {
        const struct requirement *requirement = &job->requirements[i];
        cJSON *entry;
        cJSON *status;

        if (requirement->job->removed)
            continue;
        entry = cJSON_CreateObject();
        cJSON_AddStringToObject(entry, "job", requirement->job->name);
        status = cJSON_AddArrayToObject(entry, "status");
        for (size_t j = 0; j + 1 < STATUS_COUNT; j++)
            if (requirement->statuses & statuses[j].bits)
                cJSON_AddItemToArray(status, cJSON_CreateString(statuses[j].name));
        cJSON_AddItemToArray(list, entry);
    }
    return list;
}
