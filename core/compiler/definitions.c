#include "core/compiler/definitions.h"

#include "core/compiler/executor.h"
#include "core/compiler/jobs.h"
#include "core/compiler/params.h"
#include "core/compiler/steps.h"
#include "core/compiler/view.h"

#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const struct {
    const char *name;
    enum key_rule_kind kind;
    bool newer; /* needs version 2.1 */
} top_keys[] = {
    {"version", KEY_OK, false},           {"jobs", KEY_OK, false},          {"workflows", KEY_OK, false},
    {"commands", KEY_OK, true},           {"executors", KEY_OK, true},      {"parameters", KEY_OK, true},
    {"orbs", KEY_REFUSED, false},         {"setup", KEY_REFUSED, false},    {"job-groups", KEY_REFUSED, false},
    {"experimental", KEY_REFUSED, false}, {"examples", KEY_REFUSED, false}, {"display", KEY_REFUSED, false},
};

static const struct key_rule command_keys[] = {{"description", KEY_OK}, {"parameters", KEY_OK}, {"steps", KEY_OK}};

static bool check_version(struct compiler *c)
{
    struct view version = view__get(c, &c->root, "version");

    if (version.kind == VIEW_NONE) {
        compiler__report(c, &c->root,
                         &(struct report){.code = DIAG_VERSION_MISSING,
                                          .expected = "version: 2.1",
                                          .hint = "write `version: 2.1` in the first line"},
                         "the config does not say its version");
        return false;
    }
    if (version.kind == VIEW_SCALAR && strcmp(version.text, "2.1") == 0) {
        c->v21 = true;
        return true;
    }
    if (version.kind == VIEW_SCALAR && (strcmp(version.text, "2") == 0 || strcmp(version.text, "2.0") == 0))
        return true;
    compiler__report(c, &version, &(struct report){.code = DIAG_VERSION_WRONG, .expected = "2.1 (or 2)"},
                     "the config's version is %s", view__describe(c, &version));
    return false;
}

/* Other top-level keys are where configs keep their anchors. Without an anchor such a key does nothing: if it looks
 * like a known one it is a mistake. */
static void check_other_key(struct compiler *c, const struct pair *pair)
{
    struct view key = {.kind = VIEW_SCALAR, .node = pair->key, .at = pair->via};
    const char *names[COUNT(top_keys)];
    const char *hint;

    if (pair->value->has_anchor || strncmp(pair->key->text, "x-", 2) == 0)
        return;
    for (size_t i = 0; i < COUNT(top_keys); i++)
        names[i] = top_keys[i].name;
    hint = suggest__did_you_mean(c->diags, pair->key->text, names, COUNT(names));
    if (hint != NULL)
        compiler__report(c, &key, &(struct report){.code = DIAG_UNKNOWN_KEY, .hint = hint},
                         "unknown key `%.100s` at the top level", pair->key->text);
    else if (strcmp(pair->key->text, "description") != 0)
        compiler__report(c, &key, &(struct report){.code = DIAG_UNUSED_KEY},
                         "the top-level key `%.100s` is unknown, holds no anchor and has no effect", pair->key->text);
}

static void check_top_key(struct compiler *c, const struct pair *pair)
{
    struct view key = {.kind = VIEW_SCALAR, .node = pair->key, .at = pair->via};
    const struct node *value = yaml__target(pair->value);
    bool on = true;

    for (size_t i = 0; i < COUNT(top_keys); i++) {
        if (strcmp(top_keys[i].name, pair->key->text) != 0)
            continue;
        if (top_keys[i].newer && !c->v21)
            compiler__report(c, &key, &(struct report){.code = DIAG_NEEDS_21, .hint = "write `version: 2.1`"},
                             "`%s` needs version 2.1", pair->key->text);
        if (strcmp(pair->key->text, "setup") == 0 && value->kind == NODE_SCALAR && view__parse_bool(value->text, &on) &&
            !on)
            return;
        if (top_keys[i].kind == KEY_REFUSED)
            compiler__report(c, &key, &(struct report){.code = DIAG_UNSUPPORTED},
                             "`%s` is not supported by this version of Tenon yet", pair->key->text);
        return;
    }
    check_other_key(c, pair);
}

/* A key that stands twice is a warning; where it defines something, one definition would be lost: an error. */
void definitions__report_duplicates(struct compiler *c, const struct yaml_tree *tree)
{
    static const char *const owners[] = {"jobs", "commands", "executors", "workflows", "parameters"};

    for (size_t i = 0; i < tree->duplicate_count; i++) {
        const struct duplicate *twice = &tree->duplicates[i];
        struct view at = {.kind = VIEW_SCALAR, .node = twice->second};
        struct report report = {
            .code = DIAG_YAML_DUPLICATE_KEY, .note = twice->first->place, .note_text = "the first is here"};
        const char *text = yaml__target(twice->second)->text;
        const char *what = NULL;

        for (size_t j = 0; j < COUNT(owners); j++) {
            const struct pair *pair = yaml__find(tree->root, owners[j]);

            if (pair != NULL && yaml__target(pair->value) == twice->map)
                what = owners[j];
        }
        if (what == NULL) {
            compiler__report(c, &at, &report, "the key `%.100s` stands twice in this map; the last one counts", text);
            continue;
        }
        report.code = DIAG_DUPLICATE_NAME;
        compiler__report(c, &at, &report, "`%.100s` is defined twice under `%s`", text, what);
    }
}

bool definitions__check_top(struct compiler *c, const struct yaml_tree *tree)
{
    if (c->root.kind != VIEW_MAP) {
        compiler__report(c, &c->root, &(struct report){.code = DIAG_WRONG_TYPE, .expected = "a map with `version`"},
                         "a config must be a map, but is %s", view__describe(c, &c->root));
        return false;
    }
    definitions__report_duplicates(c, tree);
    if (!check_version(c))
        return false;
    c->has_orbs = yaml__find(c->root.node, "orbs") != NULL;
    for (size_t i = 0; i < c->root.node->pair_count; i++)
        check_top_key(c, &c->root.node->pairs[i]);
    return true;
}

static void load_one(struct compiler *c, const struct view *key, const struct view *body, const char *what,
                     struct definition *out)
{
    struct view params;

    *out = (struct definition){.what = what, .name = key->text, .key = *key, .body = *body};
    if (strcmp(what, "command") == 0 && steps__is_builtin(key->text))
        compiler__report(c, key, &(struct report){.code = DIAG_RESERVED_NAME},
                         "a command cannot be named `%s`: it is a step of the language", key->text);
    if (strcmp(what, "command") == 0 &&
        view__check_keys(c, body, arena__printf(c->arena, "command `%.100s`", key->text), command_keys,
                         COUNT(command_keys)) &&
        yaml__find(body->node, "steps") == NULL)
        compiler__report(c, key, &(struct report){.code = DIAG_NO_STEPS, .expected = "`steps`, a list of steps"},
                         "command `%.100s` has no `steps`", key->text);
    params = view__get(c, body, "parameters");
    params__declare(c, &params, strcmp(what, "job") == 0 ? PARAMS_JOB : PARAMS_OTHER, &out->params);
}

static void load(struct compiler *c, const char *section, const char *what, struct definitions *out)
{
    struct view list = view__get(c, &c->root, section);

    if (view__is_null(&list))
        return;
    if (list.kind != VIEW_MAP) {
        compiler__report(c, &list, &(struct report){.code = DIAG_WRONG_TYPE, .expected = "a map of names"},
                         "`%s` must be a map, but is %s", section, view__describe(c, &list));
        return;
    }
    out->list = arena__alloc(c->arena, view__count(&list) * sizeof(struct definition *) + 1);
    out->names = arena__alloc(c->arena, view__count(&list) * sizeof(*out->names) + 1);
    for (size_t i = 0; i < view__count(&list) && !c->stop; i++) {
        struct definition *definition = arena__alloc(c->arena, sizeof(*definition));
        struct view key;
        struct view body = view__pair(c, &list, i, &key);

        load_one(c, &key, &body, what, definition);
        out->names[out->count] = key.text;
        out->list[out->count++] = definition;
        table__put(c->arena, &out->index, key.text, definition);
    }
}

void definitions__load(struct compiler *c)
{
    load(c, "commands", "command", &c->commands);
    load(c, "executors", "executor", &c->executors);
    load(c, "jobs", "job", &c->jobs);
}

void definitions__check_unused(struct compiler *c)
{
    for (size_t i = 0; i < c->jobs.count && !c->stop; i++)
        if (!c->jobs.list[i]->used)
            jobs__check(c, c->jobs.list[i]);
    for (size_t i = 0; i < c->executors.count && !c->stop; i++)
        if (!c->executors.list[i]->used)
            executor__check(c, c->executors.list[i]);
    for (size_t i = 0; i < c->commands.count && !c->stop; i++)
        if (!c->commands.list[i]->used && c->commands.list[i]->body.kind == VIEW_MAP)
            steps__check_command(c, c->commands.list[i]);
}
