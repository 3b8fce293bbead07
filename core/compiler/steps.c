#include "core/compiler/steps.h"

#include "core/compiler/builtin_steps.h"
#include "core/compiler/logic.h"
#include "core/compiler/params.h"
#include "core/compiler/view.h"
#include "core/lib/buf.h"

#include <string.h>

static void expand_list(struct compiler *c, const struct view *list, const char *what, cJSON *out);

bool steps__is_builtin(const char *name)
{
    return builtin_steps__find(name) != NULL || strcmp(name, "when") == 0 || strcmp(name, "unless") == 0 ||
           strcmp(name, "steps") == 0;
}

static void unknown_command(struct compiler *c, const struct view *at, const char *name)
{
    size_t most = c->commands.count + 16;
    const char **names = arena__alloc(c->arena, most * sizeof(*names));
    size_t count = builtin_steps__names(names, 13);
    const char *hint;

    names[count++] = "when";
    names[count++] = "unless";
    for (size_t i = 0; i < c->commands.count; i++)
        names[count++] = c->commands.names[i];
    hint = suggest__did_you_mean(c->diags, name, names, count);
    if (c->has_orbs && strchr(name, '/') != NULL)
        return; /* `orbs` itself was refused */
    if (hint == NULL && strchr(name, '/') != NULL)
        hint = "commands of orbs are not supported by this version of Tenon yet";
    compiler__report(c, at, &(struct report){.code = DIAG_UNKNOWN_COMMAND, .hint = hint},
                     "Cannot find a definition for command named %.100s", name);
}

/* A command that is called inside its own body, directly or through others: names the circle. */
static bool check_recursion(struct compiler *c, const struct definition *command, const struct view *at)
{
    auto_buf struct tn_buf chain = TN_BUF_INIT;
    const struct scope *scope = at->scope;
    const char *names[128];
    size_t count = 0;

    while (scope != NULL && scope->definition != command && count < 128) {
        names[count++] = scope->definition != NULL ? scope->definition->name : "";
        scope = scope->parent;
    }
    if (scope == NULL || scope->definition != command)
        return true;
    tn_buf_adds(&chain, command->name);
    while (count > 0)
        tn_buf_addf(&chain, " → %.60s", names[--count]);
    compiler__report(c, at,
                     &(struct report){.code = DIAG_RECURSION,
                                      .note = command->key.node->place,
                                      .note_text = "the command is defined here"},
                     "command `%.100s` calls itself: %.600s → %.60s", command->name, chain.data, command->name);
    return false;
}

static void expand_command(struct compiler *c, struct definition *command, const struct view *at,
                           const struct view *args, cJSON *out)
{
    struct scope *scope;
    struct view steps;

    command->used = true;
    if (args->kind == VIEW_UNKNOWN || !check_recursion(c, command, at))
        return;
    if (!view__is_null(args) && args->kind != VIEW_MAP) {
        compiler__report(c, args, &(struct report){.code = DIAG_WRONG_TYPE, .expected = "a map of arguments"},
                         "the arguments of command `%.100s` must be a map, but are %s", command->name,
                         view__describe(c, args));
        return;
    }
    scope = params__bind(c, command, at, args, at->scope, NULL);
    if (command->body.kind != VIEW_MAP)
        return;
    steps = view__of(c, command->body.node, scope);
    steps = view__get(c, &steps, "steps");
    expand_list(c, &steps, arena__printf(c->arena, "command `%.100s`", command->name), out);
}

/* Steps that do not run are checked all the same, as far as that does not depend on values. */
static void check_unreached(struct compiler *c, const struct view *steps, const char *what)
{
    cJSON *dropped = cJSON_CreateArray();

    c->unreached++;
    expand_list(c, steps, what, dropped);
    c->unreached--;
    cJSON_Delete(dropped);
}

static void expand_condition(struct compiler *c, const struct view *body, bool wanted, const char *name, cJSON *out)
{
    static const struct key_rule keys[] = {{"condition", KEY_OK}, {"steps", KEY_OK}};
    const char *what = arena__printf(c->arena, "the %s step", name);
    struct view condition;
    struct view steps;
    enum truth truth;

    if (body->kind == VIEW_UNKNOWN || !view__check_keys(c, body, what, keys, 2))
        return;
    condition = view__get(c, body, "condition");
    steps = view__get(c, body, "steps");
    if (condition.kind == VIEW_NONE)
        compiler__report(c, body, &(struct report){.code = DIAG_MISSING_KEY}, "%s has no `condition`", what);
    if (steps.kind == VIEW_NONE)
        compiler__report(c, body, &(struct report){.code = DIAG_NO_STEPS}, "%s has no `steps`", what);
    truth = logic__evaluate(c, &condition);
    if (truth != TRUTH_UNKNOWN && (truth == TRUTH_TRUE) == wanted)
        expand_list(c, &steps, what, out);
    else
        check_unreached(c, &steps, what);
}

static void expand_named(struct compiler *c, const struct view *item, const struct view *at, const struct view *value,
                         cJSON *out)
{
    const char *name = at->text;
    const struct builtin_step *builtin = builtin_steps__find(name);
    struct definition *command;

    if (builtin != NULL) {
        builtin_steps__add(c, builtin, item, value, out);
        return;
    }
    if (strcmp(name, "when") == 0 || strcmp(name, "unless") == 0) {
        expand_condition(c, value, strcmp(name, "when") == 0, name, out);
        return;
    }
    if (strcmp(name, "steps") == 0) {
        expand_list(c, value, "a list of steps", out);
        return;
    }
    command = table__get(&c->commands.index, name);
    if (command != NULL)
        expand_command(c, command, at, value, out);
    else
        unknown_command(c, at, name);
}

static void refuse_many_keys(struct compiler *c, const struct view *item)
{
    const char *first = item->node->pair_count > 0 ? item->node->pairs[0].key->text : NULL;
    bool misplaced = first != NULL && steps__is_builtin(first) && item->node->pairs[0].value->kind == NODE_SCALAR &&
                     item->node->pairs[0].value->len == 0;

    compiler__report(
        c, item,
        &(struct report){.code = DIAG_BAD_STEP,
                         .expected = "a name, or a map with one key",
                         .hint = misplaced ? arena__printf(c->arena, "indent the lines below `%.60s:` further", first)
                                 : first != NULL && strcmp(first, "run") == 0
                                     ? "put the other keys and `command:` deeper, under `run:`"
                                     : NULL},
        "a step has one key, but here are %zu", item->node->pair_count);
}

static void expand_item(struct compiler *c, const struct view *item, cJSON *out)
{
    static const struct view nothing = {.kind = VIEW_NONE};
    struct view key;
    struct view value;

    switch (item->kind) {
    case VIEW_SCALAR:
        if (item->type == SCALAR_NULL)
            compiler__report(c, item, &(struct report){.code = DIAG_BAD_STEP}, "this step is empty");
        else
            expand_named(c, item, item, &nothing, out);
        break;
    case VIEW_MAP:
        if (view__count(item) != 1) {
            refuse_many_keys(c, item);
            break;
        }
        value = view__pair(c, item, 0, &key);
        expand_named(c, item, &key, &value, out);
        break;
    case VIEW_SEQ:
        compiler__report(c, item,
                         &(struct report){.code = DIAG_BAD_STEP,
                                          .expected = "a name, or a map with one key",
                                          .hint = "for a shared list of steps write a command, or `steps:` with it"},
                         "a step cannot be a list");
        break;
    case VIEW_NONE:
    case VIEW_UNKNOWN:
        break;
    }
}

static void expand_list(struct compiler *c, const struct view *list, const char *what, cJSON *out)
{
    if (list->kind == VIEW_UNKNOWN || view__is_null(list))
        return;
    if (list->kind == VIEW_MAP && view__count(list) == 1) {
        expand_item(c, list, out);
        return;
    }
    if (list->kind != VIEW_SEQ) {
        compiler__report(c, list, &(struct report){.code = DIAG_WRONG_TYPE, .expected = "a list of steps"},
                         "the steps of %s must be a list, but are %s", what, view__describe(c, list));
        return;
    }
    if (!compiler__enter(c, list))
        return;
    for (size_t i = 0; i < view__count(list) && !c->stop; i++) {
        struct view item = view__item(c, list, i);

        expand_item(c, &item, out);
    }
    compiler__leave(c);
}

void steps__expand(struct compiler *c, const struct view *list, const char *what, cJSON *out)
{
    expand_list(c, list, what, out);
}

void steps__check_command(struct compiler *c, struct definition *command)
{
    struct view body = command->body;
    struct view steps;

    body.scope = params__bind_unknown(c, command);
    steps = view__get(c, &body, "steps");
    check_unreached(c, &steps, arena__printf(c->arena, "command `%.100s`", command->name));
}
