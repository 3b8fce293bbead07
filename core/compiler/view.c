#include "core/compiler/view.h"

#include "core/compiler/subst.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MOST_RULES 64

bool view__parse_bool(const char *text, bool *out)
{
    static const struct {
        const char *word;
        bool value;
    } words[] = {{"true", true}, {"false", false}, {"yes", true}, {"no", false}, {"on", true}, {"off", false}};

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        const char *word = words[i].word;
        bool lower = strcmp(text, word) == 0;
        bool capital = text[0] == word[0] - 'a' + 'A' && strcmp(text + 1, word + 1) == 0;
        bool upper = strcasecmp(text, word) == 0 && text[strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ")] == '\0';

        if (lower || capital || upper) {
            *out = words[i].value;
            return true;
        }
    }
    return false;
}

bool view__parse_int(const char *text, long long *out)
{
    const char *digits = text[0] == '-' || text[0] == '+' ? text + 1 : text;
    char *end;

    if (digits[0] == '\0' || digits[strspn(digits, "0123456789")] != '\0')
        return false;
    errno = 0;
    *out = strtoll(text, &end, 10);
    return errno == 0 && *end == '\0';
}

static bool spelled_float(const char *text)
{
    size_t used = strspn(text, "0123456789.eE+-");
    char *end;

    if (used == 0 || text[used] != '\0' || strpbrk(text, "0123456789") == NULL)
        return strcmp(text, ".nan") == 0 || strcmp(text, ".NaN") == 0 || strcmp(text, ".inf") == 0;
    (void)strtod(text, &end);
    return *end == '\0';
}

enum scalar_type view__spelled_type(const char *text, bool plain)
{
    bool flag;
    long long number;

    if (!plain)
        return SCALAR_STRING;
    if (text[0] == '\0' || strcmp(text, "~") == 0 || strcmp(text, "null") == 0 || strcmp(text, "Null") == 0 ||
        strcmp(text, "NULL") == 0)
        return SCALAR_NULL;
    if (view__parse_bool(text, &flag))
        return SCALAR_BOOL;
    if (view__parse_int(text, &number))
        return SCALAR_INT;
    return spelled_float(text) ? SCALAR_FLOAT : SCALAR_STRING;
}

static struct view view_make(struct compiler *c, const struct node *node, const struct scope *scope,
                             const struct node *at)
{
    struct view view = {.node = yaml__target(node), .at = at, .scope = scope};

    if (view.at == NULL && view.node != node)
        view.at = node;
    if (!compiler__step(c, &view) || view.node->broken)
        return (struct view){.kind = VIEW_UNKNOWN, .node = view.node, .scope = scope};
    switch (view.node->kind) {
    case NODE_SEQ:
        view.kind = VIEW_SEQ;
        break;
    case NODE_MAP:
        view.kind = VIEW_MAP;
        break;
    case NODE_SCALAR:
    case NODE_ALIAS:
        view.kind = VIEW_SCALAR;
        view.text = view.node->text;
        view.len = view.node->len;
        view.type = view__spelled_type(view.text, view.node->plain);
        if (compiler__bytes(c, &view, view.len))
            subst__fill(c, &view);
        break;
    }
    return view;
}

struct view view__of(struct compiler *c, const struct node *node, const struct scope *scope)
{
    return view_make(c, node, scope, NULL);
}

static struct view child(struct compiler *c, const struct view *parent, const struct pair *pair)
{
    return view_make(c, pair->value, parent->scope, parent->at != NULL ? parent->at : pair->via);
}

struct view view__get(struct compiler *c, const struct view *map, const char *key)
{
    const struct pair *pair;

    if (map->kind != VIEW_MAP)
        return (struct view){.kind = map->kind == VIEW_UNKNOWN ? VIEW_UNKNOWN : VIEW_NONE};
    pair = yaml__find(map->node, key);
    return pair != NULL ? child(c, map, pair) : (struct view){.kind = VIEW_NONE};
}

struct view view__pair(struct compiler *c, const struct view *map, size_t i, struct view *key)
{
    const struct pair *pair = &map->node->pairs[i];

    if (key != NULL)
        *key = (struct view){.kind = VIEW_SCALAR,
                             .node = pair->key,
                             .at = map->at != NULL ? map->at : pair->via,
                             .scope = map->scope,
                             .text = pair->key->text,
                             .len = pair->key->len,
                             .type = SCALAR_STRING};
    return child(c, map, pair);
}

struct view view__item(struct compiler *c, const struct view *list, size_t i)
{
    return view_make(c, list->node->items[i], list->scope, list->at);
}

size_t view__count(const struct view *view)
{
    if (view->kind == VIEW_SEQ)
        return view->node->item_count;
    return view->kind == VIEW_MAP ? view->node->pair_count : 0;
}

bool view__is_null(const struct view *view)
{
    return view->kind == VIEW_NONE || (view->kind == VIEW_SCALAR && view->type == SCALAR_NULL);
}

const char *view__describe(struct compiler *c, const struct view *view)
{
    switch (view->kind) {
    case VIEW_SEQ:
        return "a list";
    case VIEW_MAP:
        return "a map";
    case VIEW_SCALAR:
        if (view->type == SCALAR_NULL || view->len == 0)
            return "empty";
        return arena__printf(c->arena, "`%.60s%s`", view->text, view->len > 60 ? "…" : "");
    case VIEW_NONE:
    case VIEW_UNKNOWN:
        break;
    }
    return "missing";
}

static void refuse_key(struct compiler *c, const struct view *key, const char *what, const struct key_rule *rules,
                       size_t count)
{
    const char *names[MOST_RULES];
    size_t used = 0;
    const char *hint;

    for (size_t i = 0; i < count && used < MOST_RULES; i++)
        if (rules[i].kind == KEY_OK)
            names[used++] = rules[i].name;
    hint = suggest__did_you_mean(c->diags, key->text, names, used);
    compiler__report(c, key,
                     &(struct report){.code = DIAG_UNKNOWN_KEY,
                                      .expected = c->diags->suggestions < 300 ? compiler__list(c, names, used) : NULL,
                                      .hint = hint},
                     "unknown key `%.100s` in %s", key->text, what);
}

bool view__check_keys(struct compiler *c, const struct view *map, const char *what, const struct key_rule *rules,
                      size_t count)
{
    if (map->kind != VIEW_MAP) {
        compiler__report(c, map, &(struct report){.code = DIAG_WRONG_TYPE, .expected = "a map"},
                         "%s must be a map, but is %s", what, view__describe(c, map));
        return false;
    }
    for (size_t i = 0; i < map->node->pair_count && !c->stop; i++) {
        const struct pair *pair = &map->node->pairs[i];
        struct view key = {.kind = VIEW_SCALAR,
                           .node = pair->key,
                           .at = map->at != NULL ? map->at : pair->via,
                           .text = pair->key->text,
                           .len = pair->key->len};
        size_t rule = 0;

        while (rule < count && strcmp(rules[rule].name, key.text) != 0)
            rule++;
        if (rule == count)
            refuse_key(c, &key, what, rules, count);
        else if (rules[rule].kind == KEY_REFUSED)
            compiler__report(c, &key, &(struct report){.code = DIAG_UNSUPPORTED},
                             "`%s` in %s is not supported by this version of Tenon yet", key.text, what);
        else if (rules[rule].kind == KEY_NO_EFFECT)
            compiler__report(c, &key, &(struct report){.code = DIAG_NO_EFFECT}, "`%s` in %s has no effect here",
                             key.text, what);
    }
    return true;
}
