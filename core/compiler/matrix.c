#include "core/compiler/matrix.h"

#include "core/compiler/limits.h"
#include "core/compiler/view.h"
#include "core/lib/buf.h"

#include <stdlib.h>
#include <string.h>

#define MOST_AXES 32

struct axis {
    const char *name;
    struct arg **values;
    size_t count;
};

struct axes {
    struct axis *list;
    size_t count;
    size_t *by_name; /* indexes, sorted by the names */
};

static void fault(struct compiler *c, const struct view *view, const char *expected, const char *message)
{
    compiler__report(c, view, &(struct report){.code = DIAG_MATRIX, .expected = expected}, "%s", message);
}

static struct arg *value_arg(struct compiler *c, const struct view *value)
{
    struct arg *arg = arena__alloc(c->arena, sizeof(*arg));

    arg->given = value->at != NULL ? value->at : value->node;
    arg->unknown = value->kind == VIEW_UNKNOWN;
    arg->text = value->kind == VIEW_SCALAR ? value->text : "";
    arg->len = value->kind == VIEW_SCALAR ? value->len : 0;
    arg->type = value->type;
    if (value->kind == VIEW_SEQ || value->kind == VIEW_MAP)
        arg->view = *value;
    return arg;
}

static void read_axis(struct compiler *c, const struct view *key, const struct view *values, struct axis *axis)
{
    axis->name = key->text;
    if (values->kind != VIEW_SEQ || view__count(values) == 0) {
        if (values->kind != VIEW_UNKNOWN)
            fault(c, values->kind == VIEW_SEQ ? key : values, "a list of values",
                  "a parameter of a matrix needs a list of values that is not empty");
        return;
    }
    axis->values = arena__alloc(c->arena, view__count(values) * sizeof(struct arg *));
    for (size_t i = 0; i < view__count(values) && !c->stop; i++) {
        struct view value = view__item(c, values, i);

        axis->values[axis->count++] = value_arg(c, &value);
    }
}

/* By insertion: there are at most MOST_AXES. */
static void sort_axes(struct compiler *c, struct axes *axes)
{
    axes->by_name = arena__alloc(c->arena, (axes->count + 1) * sizeof(*axes->by_name));
    for (size_t i = 0; i < axes->count; i++) {
        size_t at = i;

        while (at > 0 && strcmp(axes->list[axes->by_name[at - 1]].name, axes->list[i].name) > 0) {
            axes->by_name[at] = axes->by_name[at - 1];
            at--;
        }
        axes->by_name[at] = i;
    }
}

/* Returns the number of combinations, 0 after a report. */
static size_t read_axes(struct compiler *c, const struct view *parameters, const struct definition *job,
                        struct axes *axes)
{
    size_t total = 1;

    if (parameters->kind != VIEW_MAP || view__count(parameters) == 0 || view__count(parameters) > MOST_AXES) {
        fault(c, parameters, "a map of parameters to lists of values", "a matrix needs `parameters`");
        return 0;
    }
    axes->list = arena__alloc(c->arena, view__count(parameters) * sizeof(*axes->list));
    for (size_t i = 0; i < view__count(parameters) && !c->stop; i++) {
        struct view key;
        struct view values = view__pair(c, parameters, i, &key);

        if (job != NULL && table__get(&job->params.index, key.text) == NULL)
            compiler__report(c, &key,
                             &(struct report){.code = DIAG_UNEXPECTED_ARGUMENT,
                                              .note = job->key.node->place,
                                              .note_text = "the job is defined here",
                                              .hint = suggest__did_you_mean(c->diags, key.text, job->params.names,
                                                                            job->params.count)},
                             "Unexpected argument(s): %.100s (in the matrix of job `%.100s`)", key.text, job->name);
        read_axis(c, &key, &values, &axes->list[i]);
        axes->count++;
        total = axes->list[i].count * total;
        if (total > LIMIT_MATRIX) {
            compiler__report(c, parameters, &(struct report){.code = DIAG_MATRIX}, "the matrix makes more than %d jobs",
                             LIMIT_MATRIX);
            return 0;
        }
    }
    sort_axes(c, axes);
    return total;
}

/* Does one entry of `exclude` fit the combination? `chosen` holds an index for each axis. */
static bool excluded(struct compiler *c, const struct view *entry, const struct axes *axes, const size_t *chosen)
{
    for (size_t i = 0; i < axes->count; i++) {
        const struct arg *value = axes->list[i].values[chosen[i]];
        struct view wanted = view__get(c, entry, axes->list[i].name);

        if (wanted.kind == VIEW_UNKNOWN || value->unknown)
            return false;
        if (wanted.kind != VIEW_NONE && (wanted.kind != VIEW_SCALAR || strcmp(wanted.text, value->text) != 0))
            return false;
    }
    return view__count(entry) > 0;
}

static void check_exclude(struct compiler *c, const struct view *exclude, const struct axes *axes)
{
    for (size_t i = 0; i < view__count(exclude) && !c->stop; i++) {
        struct view entry = view__item(c, exclude, i);

        if (entry.kind != VIEW_MAP) {
            fault(c, &entry, "a map of parameters to values", "an entry of `exclude` must be a map");
            continue;
        }
        for (size_t j = 0; j < view__count(&entry) && compiler__step(c, &entry); j++) {
            struct view key = {.kind = VIEW_SCALAR, .node = entry.node->pairs[j].key, .at = entry.at};
            size_t axis = 0;

            while (axis < axes->count && strcmp(axes->list[axis].name, key.node->text) != 0)
                axis++;
            if (axis == axes->count)
                fault(c, &key, "the names under the matrix's `parameters`",
                      "`exclude` names a parameter that the matrix does not have");
        }
    }
}

static bool is_excluded(struct compiler *c, const struct view *exclude, const struct axes *axes, const size_t *chosen)
{
    for (size_t i = 0; i < view__count(exclude) && !c->stop; i++) {
        struct view entry = view__item(c, exclude, i);

        if (entry.kind == VIEW_MAP && excluded(c, &entry, axes, chosen))
            return true;
    }
    return false;
}

static struct combination make_combination(struct compiler *c, const struct axes *axes, const size_t *chosen)
{
    auto_buf struct tn_buf suffix = TN_BUF_INIT;
    struct combination made = {.scope = arena__alloc(c->arena, sizeof(*made.scope)), .suffix = ""};

    made.scope->parent = &c->top;
    made.scope->has_matrix = axes != NULL;
    for (size_t i = 0; axes != NULL && i < axes->count; i++) {
        const struct axis *axis = &axes->list[axes->by_name[i]];
        struct arg *value = axis->values[chosen[axes->by_name[i]]];

        table__put(c->arena, &made.scope->matrix, axis->name, value);
        if (suffix.len < 1000 && compiler__bytes(c, &(struct view){.node = value->given}, value->len + 1))
            tn_buf_addf(&suffix, "-%.200s", value->text);
    }
    if (suffix.len > 0)
        made.suffix = arena__text(c->arena, suffix.data, suffix.len);
    return made;
}

/* The next combination: the last parameter changes first. Returns false after the last. */
static bool advance(const struct axes *axes, size_t *chosen)
{
    for (size_t i = axes->count; i-- > 0;) {
        if (++chosen[i] < axes->list[i].count)
            return true;
        chosen[i] = 0;
    }
    return false;
}

void matrix__expand(struct compiler *c, const struct view *matrix, const struct definition *job, struct matrix *out)
{
    static const struct key_rule keys[] = {{"parameters", KEY_OK}, {"exclude", KEY_OK}, {"alias", KEY_OK}};
    struct axes axes = {0};
    struct view parameters;
    struct view exclude;
    struct view alias;
    struct view missing = *matrix;
    size_t total;
    size_t *chosen;

    missing.kind = VIEW_SCALAR;
    *out = (struct matrix){.given = matrix->kind != VIEW_NONE};
    if (matrix->kind == VIEW_NONE) {
        out->list = arena__alloc(c->arena, sizeof(*out->list));
        out->list[out->count++] = make_combination(c, NULL, NULL);
        return;
    }
    if (matrix->kind == VIEW_UNKNOWN || !view__check_keys(c, matrix, "a matrix", keys, 3))
        return;
    parameters = view__get(c, matrix, "parameters");
    exclude = view__get(c, matrix, "exclude");
    alias = view__get(c, matrix, "alias");
    if (alias.kind == VIEW_SCALAR)
        out->alias = alias.text;
    else if (alias.kind != VIEW_NONE)
        fault(c, &alias, "a text", "the `alias` of a matrix must be a text");
    total = parameters.kind == VIEW_UNKNOWN
                ? 0
                : read_axes(c, parameters.kind == VIEW_NONE ? &missing : &parameters, job, &axes);
    if (exclude.kind != VIEW_NONE && exclude.kind != VIEW_SEQ)
        fault(c, &exclude, "a list of maps", "`exclude` must be a list");
    if (total == 0 || c->stop)
        return;
    check_exclude(c, &exclude, &axes);
    out->list = arena__alloc(c->arena, total * sizeof(*out->list));
    chosen = arena__alloc(c->arena, axes.count * sizeof(*chosen));
    do {
        if (!is_excluded(c, &exclude, &axes, chosen))
            out->list[out->count++] = make_combination(c, &axes, chosen);
    } while (!c->stop && advance(&axes, chosen));
}
