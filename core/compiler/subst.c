#include "core/compiler/subst.h"

#include "core/compiler/pipeline.h"
#include "core/compiler/view.h"

#include <string.h>

#define LONGEST_EXPRESSION 500
#define MOST_NARROWED 300

enum found { FOUND_NOTHING, FOUND_EXPRESSION, FOUND_UNSUPPORTED };

enum put {
    PUT_TEXT,    /* appended */
    PUT_WHOLE,   /* the view is now the argument */
    PUT_UNKNOWN, /* reported, or cannot be known */
};

/* One expression: text[start..end) holds it with its brackets. */
struct expression {
    size_t start;
    size_t end;
    const char *name;
    size_t name_len;
};

static bool has_prefix(const char *text)
{
    return strncmp(text, "parameters.", 11) == 0 || strncmp(text, "pipeline.", 9) == 0 ||
           strncmp(text, "matrix.", 7) == 0;
}

/* Is there a `>>` before the line ends? Not looked for far, so that many `<<` in a long line cost no more than few. */
static const char *closing(const char *text)
{
    for (size_t i = 0; i < LONGEST_EXPRESSION && text[i] != '\0' && text[i] != '\n'; i++)
        if (text[i] == '>' && text[i + 1] == '>')
            return text + i;
    return NULL;
}

static size_t name_length(const char *text)
{
    return strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-");
}

/* Looks at the `<<` at text[at]. */
static enum found parse(const char *text, size_t at, struct expression *out)
{
    const char *name = text + at + 2;
    const char *after;

    name += strspn(name, " \t");
    if (*name != '\0' && strchr("#/^!&{(", *name) != NULL && has_prefix(name + 1 + strspn(name + 1, " \t")) &&
        closing(name) != NULL)
        return FOUND_UNSUPPORTED;
    if (strncmp(name, "not ", 4) == 0 && has_prefix(name + 4) && closing(name) != NULL)
        return FOUND_UNSUPPORTED;
    if (!has_prefix(name))
        return FOUND_NOTHING;
    *out = (struct expression){.start = at, .name = name, .name_len = name_length(name)};
    after = name + out->name_len;
    after += strspn(after, " \t");
    if (after[0] == '>' && after[1] == '>') {
        out->end = (size_t)(after + 2 - text);
        return FOUND_EXPRESSION;
    }
    return closing(after) != NULL ? FOUND_UNSUPPORTED : FOUND_NOTHING;
}

/* The view for messages about one expression: its place within a long text is more use than the text's begin. */
static struct view narrow(struct compiler *c, const struct view *view, const char *text, size_t len)
{
    struct view narrowed = *view;
    struct node *node;
    struct place place = view->node->place;

    if (c->diags->narrowed++ >= MOST_NARROWED || !source__find(c->diags->source, text, len, &place.line, &place.column))
        return narrowed;
    node = arena__alloc(c->arena, sizeof(*node));
    node->kind = NODE_SCALAR;
    node->place = place;
    node->place.end_column = place.column + (uint32_t)len;
    narrowed.node = node;
    return narrowed;
}

static void undeclared(struct compiler *c, const struct view *view, const char *name, const struct params *params,
                       const char *full)
{
    const char *hint = NULL;

    if (params != NULL && params->count > 0)
        hint = suggest__did_you_mean(c->diags, name, params->names, params->count);
    compiler__report(c, view,
                     &(struct report){.code = DIAG_UNDECLARED_PARAMETER,
                                      .hint = hint != NULL ? hint : "declare it under `parameters`"},
                     "Arguments referenced without declared parameters: %.100s", full);
}

static const struct arg *look_up_parameter(struct compiler *c, const struct view *view, const char *name)
{
    const struct scope *scope = view->scope;
    const struct arg *arg = scope != NULL ? table__get(&scope->args, name) : NULL;
    bool declared =
        scope != NULL && scope->definition != NULL && table__get(&scope->definition->params.index, name) != NULL;

    if (arg == NULL && !declared) {
        if (scope != NULL && scope->definition == NULL)
            compiler__report(c, view,
                             &(struct report){.code = DIAG_UNDECLARED_PARAMETER,
                                              .hint =
                                                  "only commands, executors and jobs have parameters; elsewhere use "
                                                  "<< pipeline.parameters.NAME >>"},
                             "Arguments referenced without declared parameters: %.100s", name);
        else
            undeclared(c, view, name, scope != NULL ? &scope->definition->params : NULL, name);
    }
    return arg;
}

static const struct arg *look_up_at(struct compiler *c, const struct view *view, const char *name)
{
    if (strncmp(name, "parameters.", 11) == 0)
        return look_up_parameter(c, view, name + 11);
    if (strncmp(name, "pipeline.parameters.", 20) == 0) {
        const struct arg *arg = table__get(&c->pipeline_args, name + 20);

        if (arg == NULL && table__get(&c->pipeline_params.index, name + 20) == NULL)
            undeclared(c, view, name + 20, &c->pipeline_params, name);
        return arg;
    }
    if (strncmp(name, "matrix.", 7) == 0) {
        const struct arg *arg = view->scope != NULL ? table__get(&view->scope->matrix, name + 7) : NULL;

        if (arg == NULL && (view->scope == NULL || !view->scope->unknown))
            compiler__report(c, view, &(struct report){.code = DIAG_UNDECLARED_PARAMETER},
                             view->scope != NULL && view->scope->has_matrix
                                 ? "the matrix has no parameter `%.100s`"
                                 : "`matrix.%.100s` is used where there is no matrix",
                             name + 7);
        return arg;
    }
    return pipeline__value(c, view, name + 9);
}

static bool exists(struct compiler *c, const struct view *view, const char *name)
{
    const struct scope *scope = view->scope;

    if (strncmp(name, "parameters.", 11) == 0)
        return scope != NULL && scope->definition != NULL &&
               table__get(&scope->definition->params.index, name + 11) != NULL;
    if (strncmp(name, "pipeline.parameters.", 20) == 0)
        return table__get(&c->pipeline_args, name + 20) != NULL;
    if (strncmp(name, "matrix.", 7) == 0)
        return scope != NULL && table__get(&scope->matrix, name + 7) != NULL;
    return pipeline__is_value(name + 9);
}

/* The argument that an expression names, or NULL after a report (or if it cannot be known). */
static const struct arg *look_up(struct compiler *c, const struct view *view, const struct expression *e,
                                 const char *name)
{
    struct view narrowed;

    if (exists(c, view, name))
        return look_up_at(c, view, name);
    narrowed = narrow(c, view, view->text + e->start, e->end - e->start);
    return look_up_at(c, &narrowed, name);
}

static void whole_expression(struct view *view, const struct arg *arg)
{
    if (arg->view.kind != VIEW_NONE) {
        *view = arg->view;
        return;
    }
    view->given = arg->given;
    view->text = arg->text;
    view->len = arg->len;
    view->type = arg->type;
}

static bool append_arg(struct compiler *c, struct view *view, const struct arg *arg, const char *name,
                       struct tn_buf *out)
{
    if (arg->view.kind != VIEW_NONE && arg->view.kind != VIEW_SCALAR) {
        compiler__report(c, view, &(struct report){.code = DIAG_WRONG_TYPE},
                         "`<< %.100s >>` is %s and cannot stand inside a text", name,
                         arg->view.kind == VIEW_SEQ ? "a list of steps" : "a map");
        return false;
    }
    if (view->given == NULL)
        view->given = arg->given;
    if (arg->view.kind == VIEW_SCALAR) {
        tn_buf_add(out, arg->view.text, arg->view.len);
        return compiler__bytes(c, view, arg->view.len);
    }
    tn_buf_add(out, arg->text, arg->len);
    return compiler__bytes(c, view, arg->len);
}

/* Puts one expression's value behind `out`, or makes the whole view of it. */
static enum put put_expression(struct compiler *c, struct view *view, const struct expression *e, bool first,
                               struct tn_buf *out)
{
    const char *name = arena__text(c->arena, e->name, e->name_len);
    const struct arg *arg = compiler__step(c, view) ? look_up(c, view, e, name) : NULL;
    bool whole = first && e->start == strspn(view->text, " \t\r\n") &&
                 view->text[e->end + strspn(view->text + e->end, " \t\r\n")] == '\0';

    /* In a branch that does not run, values do not matter: `run: << parameters.x >>` under `when: << parameters.x >>`.
     */
    if (arg == NULL || arg->unknown || (c->unreached > 0 && strncmp(name, "matrix.", 7) != 0))
        return PUT_UNKNOWN;
    if (whole) {
        whole_expression(view, arg);
        return PUT_WHOLE;
    }
    return append_arg(c, view, arg, name, out) ? PUT_TEXT : PUT_UNKNOWN;
}

static void refuse_expression(struct compiler *c, const struct view *view, const char *text)
{
    const char *end = closing(text);
    struct view narrowed = narrow(c, view, text, end != NULL ? (size_t)(end - text) + 2 : 2);

    compiler__report(c, &narrowed,
                     &(struct report){.code = DIAG_EXPRESSION,
                                      .expected = "<< parameters.NAME >>, << pipeline.NAME >> or << matrix.NAME >>"},
                     "the expression `%.*s` is not supported by this version of Tenon yet",
                     end != NULL && end - text < 80 ? (int)(end - text) + 2 : 80, text);
}

void subst__fill(struct compiler *c, struct view *view)
{
    auto_buf struct tn_buf out = TN_BUF_INIT;
    const char *text = view->text;
    const char *found = text;
    size_t done = 0;
    bool unknown = false;

    if (!c->v21)
        return;
    while ((found = strstr(found, "<<")) != NULL) {
        size_t at = (size_t)(found - text);
        struct expression e;
        enum found kind = parse(text, at, &e);
        enum put put;

        if (at > 0 && text[at - 1] == '\\') {
            tn_buf_add(&out, text + done, at - 1 - done);
            done = at;
            found += 2;
            continue;
        }
        found++;
        if (kind == FOUND_NOTHING)
            continue;
        if (kind == FOUND_UNSUPPORTED) {
            refuse_expression(c, view, text + at);
            unknown = true;
            continue;
        }
        tn_buf_add(&out, text + done, at - done);
        put = put_expression(c, view, &e, done == 0 && at == out.len, &out);
        if (put == PUT_WHOLE)
            return;
        unknown = unknown || put == PUT_UNKNOWN;
        done = e.end;
        found = text + e.end;
    }
    if (unknown)
        view->kind = VIEW_UNKNOWN;
    if (unknown || (done == 0 && out.len == 0))
        return;
    tn_buf_add(&out, text + done, view->len - done);
    view->text = arena__text(c->arena, out.data, out.len);
    view->len = out.len;
    view->type = SCALAR_STRING;
}
