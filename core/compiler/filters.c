#include "core/compiler/filters.h"

#include "core/compiler/pipeline.h"
#include "core/compiler/regex.h"
#include "core/compiler/view.h"

#include <string.h>

/* One entry: a name, or /a regular expression/ for the whole name. `name` NULL: only check it. */
static bool entry_matches(struct compiler *c, const struct view *entry, const char *name)
{
    if (entry->kind == VIEW_UNKNOWN)
        return false;
    if (entry->kind != VIEW_SCALAR || entry->type == SCALAR_NULL) {
        compiler__report(c, entry, &(struct report){.code = DIAG_WRONG_TYPE, .expected = "a name or /a pattern/"},
                         "a filter must be a text, but is %s", view__describe(c, entry));
        return false;
    }
    if (entry->len >= 2 && entry->text[0] == '/' && entry->text[entry->len - 1] == '/')
        return regex__matches(c, entry, arena__text(c->arena, entry->text + 1, entry->len - 2), entry->len - 2, name) ==
               REGEX_YES;
    return name != NULL && strcmp(entry->text, name) == 0;
}

static bool any_matches(struct compiler *c, const struct view *entries, const char *name)
{
    bool matched = false;

    if (entries->kind != VIEW_SEQ)
        return entry_matches(c, entries, name);
    for (size_t i = 0; i < view__count(entries) && !c->stop; i++) {
        struct view entry = view__item(c, entries, i);

        matched = entry_matches(c, &entry, name) || matched;
    }
    return matched;
}

/* `only` before `ignore`; a side that is not there allows. */
static bool side_allows(struct compiler *c, const struct view *side, const char *what, const char *name)
{
    static const struct key_rule keys[] = {{"only", KEY_OK}, {"ignore", KEY_OK}};
    bool allowed = true;
    struct view only;
    struct view ignore;

    if (view__is_null(side) || side->kind == VIEW_UNKNOWN || !view__check_keys(c, side, what, keys, 2))
        return true;
    only = view__get(c, side, "only");
    ignore = view__get(c, side, "ignore");
    if (only.kind != VIEW_NONE && !any_matches(c, &only, name))
        allowed = false;
    if (ignore.kind != VIEW_NONE && any_matches(c, &ignore, name))
        allowed = false;
    return allowed;
}

bool filters__allow(struct compiler *c, const struct view *filters)
{
    static const struct key_rule keys[] = {{"branches", KEY_OK}, {"tags", KEY_OK}};
    const char *tag = pipeline__option(c, "git.tag");
    const char *branch = pipeline__option(c, "git.branch");
    struct view branches = {.kind = VIEW_NONE};
    struct view tags = {.kind = VIEW_NONE};
    bool on_branch;
    bool on_tag;

    if (filters->kind == VIEW_SCALAR && filters->type != SCALAR_NULL) {
        compiler__report(c, filters, &(struct report){.code = DIAG_EXPRESSION, .expected = "a map with branches, tags"},
                         "`filters` written as an expression is not supported by this version of Tenon yet");
        return true;
    }
    if (!view__is_null(filters) && filters->kind != VIEW_UNKNOWN) {
        if (!view__check_keys(c, filters, "`filters`", keys, 2))
            return true;
        branches = view__get(c, filters, "branches");
        tags = view__get(c, filters, "tags");
    }
    on_branch = side_allows(c, &branches, "`branches`", branch);
    on_tag = side_allows(c, &tags, "`tags`", tag);
    if (tag != NULL)
        return tags.kind != VIEW_NONE && on_tag;
    return branch == NULL || on_branch;
}

const char *filters__reason(struct compiler *c)
{
    const char *tag = pipeline__option(c, "git.tag");
    const char *branch = pipeline__option(c, "git.branch");

    if (tag != NULL)
        return arena__printf(
            c->arena, "no job has filters for the tag `%.100s`; jobs without filters for tags run for none", tag);
    if (branch != NULL)
        return arena__printf(c->arena, "its jobs' filters leave none for the branch `%.100s`", branch);
    return "its jobs' filters leave none";
}
