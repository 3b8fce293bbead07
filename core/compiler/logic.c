#include "core/compiler/logic.h"

#include "core/compiler/regex.h"
#include "core/compiler/view.h"

#include <stdlib.h>
#include <string.h>

static const char *const operators[] = {"and", "or", "not", "equal", "matches"};

static enum truth from_bool(bool value)
{
    return value ? TRUTH_TRUE : TRUTH_FALSE;
}

static enum truth fault(struct compiler *c, const struct view *view, const char *expected, const char *message)
{
    compiler__report(c, view, &(struct report){.code = DIAG_CONDITION, .expected = expected}, "%s", message);
    return TRUTH_UNKNOWN;
}

static enum truth scalar_truth(struct compiler *c, const struct view *view)
{
    bool flag = false;

    switch (view->type) {
    case SCALAR_NULL:
        return TRUTH_FALSE;
    case SCALAR_BOOL:
        view__parse_bool(view->text, &flag);
        return from_bool(flag);
    case SCALAR_INT:
    case SCALAR_FLOAT:
        return from_bool(strtod(view->text, NULL) != 0 && strcasecmp(view->text, ".nan") != 0);
    case SCALAR_STRING:
        break;
    }
    if (view->len == 0)
        return TRUTH_FALSE;
    /* A text that was written as it is, without `<< >>`, is an expression in the newer language. */
    if (view->given == NULL && strstr(view->node->text, "<<") == NULL) {
        compiler__report(c, view,
                         &(struct report){.code = DIAG_EXPRESSION,
                                          .expected = "a boolean, << parameters.NAME >>, or one of and, or, not, "
                                                      "equal, matches"},
                         "a condition written as an expression is not supported by this version of Tenon yet");
        return TRUTH_UNKNOWN;
    }
    return TRUTH_TRUE;
}

/* `and` and `or` look at all their parts, so that faults behind the deciding one are said too. */
static enum truth evaluate_list(struct compiler *c, const struct view *list, enum truth decisive)
{
    enum truth result = decisive == TRUTH_FALSE ? TRUTH_TRUE : TRUTH_FALSE;

    if (list->kind == VIEW_UNKNOWN)
        return TRUTH_UNKNOWN;
    if (list->kind != VIEW_SEQ || view__count(list) == 0)
        return fault(c, list, "a list of conditions", "`and` and `or` need a list that is not empty");
    for (size_t i = 0; i < view__count(list) && !c->stop; i++) {
        struct view item = view__item(c, list, i);
        enum truth truth = logic__evaluate(c, &item);

        if (truth == decisive)
            result = decisive;
        else if (truth == TRUTH_UNKNOWN && result != decisive)
            result = TRUTH_UNKNOWN;
    }
    return result;
}

/* A part of `equal`: a value, or a condition whose truth is the value. */
static bool operand(struct compiler *c, struct view *item)
{
    if (item->kind == VIEW_MAP) {
        enum truth truth = logic__evaluate(c, item);

        if (truth == TRUTH_UNKNOWN)
            return false;
        item->kind = VIEW_SCALAR;
        item->type = SCALAR_BOOL;
        item->text = truth == TRUTH_TRUE ? "true" : "false";
        item->len = strlen(item->text);
    } else if (item->kind == VIEW_SEQ) {
        fault(c, item, "a single value", "`equal` cannot compare lists");
        return false;
    }
    return item->kind == VIEW_SCALAR;
}

static bool same(const struct view *a, const struct view *b)
{
    bool x = false;
    bool y = false;
    bool numbers =
        (a->type == SCALAR_INT || a->type == SCALAR_FLOAT) && (b->type == SCALAR_INT || b->type == SCALAR_FLOAT);

    if (a->type == SCALAR_BOOL && b->type == SCALAR_BOOL)
        return view__parse_bool(a->text, &x) && view__parse_bool(b->text, &y) && x == y;
    if (numbers)
        return strcmp(a->text, b->text) == 0 || strtod(a->text, NULL) == strtod(b->text, NULL);
    return a->type == b->type && (a->type == SCALAR_NULL || strcmp(a->text, b->text) == 0);
}

static enum truth evaluate_equal(struct compiler *c, const struct view *list)
{
    struct view first = {.kind = VIEW_NONE};
    bool unknown = false;
    bool equal = true;

    if (list->kind == VIEW_UNKNOWN)
        return TRUTH_UNKNOWN;
    if (list->kind != VIEW_SEQ || view__count(list) == 0)
        return fault(c, list, "a list of values", "`equal` needs a list that is not empty");
    for (size_t i = 0; i < view__count(list) && !c->stop; i++) {
        struct view item = view__item(c, list, i);

        if (!operand(c, &item))
            unknown = true;
        else if (first.kind == VIEW_NONE)
            first = item;
        else if (!same(&first, &item))
            equal = false;
    }
    return unknown ? TRUTH_UNKNOWN : from_bool(equal);
}

static enum truth evaluate_matches(struct compiler *c, const struct view *map)
{
    static const struct key_rule keys[] = {{"pattern", KEY_OK}, {"value", KEY_OK}};
    struct view pattern = view__get(c, map, "pattern");
    struct view value = view__get(c, map, "value");
    enum regex_result result;

    if (!view__check_keys(c, map, "`matches`", keys, 2))
        return TRUTH_UNKNOWN;
    if (pattern.kind == VIEW_NONE || value.kind == VIEW_NONE)
        return fault(c, map, "pattern: a regular expression, value: a text", "`matches` needs `pattern` and `value`");
    if (pattern.kind == VIEW_UNKNOWN || value.kind == VIEW_UNKNOWN)
        return TRUTH_UNKNOWN;
    if (pattern.kind != VIEW_SCALAR || value.kind != VIEW_SCALAR)
        return fault(c, pattern.kind != VIEW_SCALAR ? &pattern : &value, "a text",
                     "`pattern` and `value` must be texts");
    result = regex__matches(c, &pattern, pattern.text, pattern.len, value.text);
    return result == REGEX_FAILED ? TRUTH_UNKNOWN : from_bool(result == REGEX_YES);
}

static enum truth evaluate_map(struct compiler *c, const struct view *map)
{
    struct view key;
    struct view value;
    enum truth truth;

    if (view__count(map) != 1)
        return fault(c, map, "exactly one of and, or, not, equal, matches",
                     view__count(map) == 0 ? "this condition is empty" : "a condition has one operator, here are more");
    value = view__pair(c, map, 0, &key);
    if (strcmp(key.text, "and") == 0)
        return evaluate_list(c, &value, TRUTH_FALSE);
    if (strcmp(key.text, "or") == 0)
        return evaluate_list(c, &value, TRUTH_TRUE);
    if (strcmp(key.text, "equal") == 0)
        return evaluate_equal(c, &value);
    if (strcmp(key.text, "matches") == 0)
        return evaluate_matches(c, &value);
    if (strcmp(key.text, "not") == 0) {
        truth = logic__evaluate(c, &value);
        return truth == TRUTH_UNKNOWN ? truth : from_bool(truth == TRUTH_FALSE);
    }
    compiler__report(c, &key,
                     &(struct report){.code = DIAG_CONDITION,
                                      .expected = compiler__list(c, operators, 5),
                                      .hint = suggest__did_you_mean(c->diags, key.text, operators, 5)},
                     "unknown operator `%.100s` in a condition", key.text);
    return TRUTH_UNKNOWN;
}

enum truth logic__evaluate(struct compiler *c, const struct view *condition)
{
    enum truth truth;

    switch (condition->kind) {
    case VIEW_NONE:
        return TRUTH_FALSE;
    case VIEW_SCALAR:
        return scalar_truth(c, condition);
    case VIEW_SEQ:
        return fault(c, condition, "a value, or a map with and, or, not, equal, matches",
                     "a condition cannot be a list");
    case VIEW_MAP:
        if (!compiler__enter(c, condition))
            return TRUTH_UNKNOWN;
        truth = evaluate_map(c, condition);
        compiler__leave(c);
        return truth;
    case VIEW_UNKNOWN:
        break;
    }
    return TRUTH_UNKNOWN;
}
