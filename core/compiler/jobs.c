#include "core/compiler/jobs.h"

#include "core/compiler/executor.h"
#include "core/compiler/limits.h"
#include "core/compiler/params.h"
#include "core/compiler/steps.h"
#include "core/compiler/view.h"

#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const struct key_rule job_keys[] = {
    {"description", KEY_OK},    {"type", KEY_OK},
    {"parallelism", KEY_OK},    {"macos", KEY_REFUSED},
    {"docker", KEY_OK},         {"machine", KEY_OK},
    {"steps", KEY_OK},          {"resource_class", KEY_OK},
    {"executor", KEY_OK},       {"working_directory", KEY_OK},
    {"shell", KEY_OK},          {"environment", KEY_OK},
    {"parameters", KEY_OK},     {"circleci_ip_ranges", KEY_NO_EFFECT},
    {"branches", KEY_REFUSED},  {"retention", KEY_REFUSED},
    {"plan_name", KEY_REFUSED}, {"key", KEY_REFUSED},
};

const char *jobs__type(struct compiler *c, const struct view *use_type, const struct view *body)
{
    static const char *const types[] = {"build", "approval", "no-op"};
    static const char *const refused[] = {"release", "lock", "unlock"};
    struct view type = *use_type;

    if (type.kind == VIEW_NONE)
        type = view__get(c, body, "type");
    if (type.kind == VIEW_NONE || type.kind == VIEW_UNKNOWN)
        return "build";
    for (size_t i = 0; type.kind == VIEW_SCALAR && i < COUNT(types); i++)
        if (strcmp(type.text, types[i]) == 0)
            return types[i];
    for (size_t i = 0; type.kind == VIEW_SCALAR && i < COUNT(refused); i++)
        if (strcmp(type.text, refused[i]) == 0) {
            compiler__report(c, &type, &(struct report){.code = DIAG_UNSUPPORTED},
                             "jobs of type `%s` are not supported by this version of Tenon yet", type.text);
            return NULL;
        }
    compiler__report(c, &type,
                     &(struct report){.code = DIAG_BAD_VALUE,
                                      .expected = compiler__list(c, types, COUNT(types)),
                                      .hint = type.kind == VIEW_SCALAR
                                                  ? suggest__did_you_mean(c->diags, type.text, types, COUNT(types))
                                                  : NULL},
                     "a job's `type` cannot be %s", view__describe(c, &type));
    return NULL;
}

static void check_version(struct compiler *c, const struct view *body)
{
    static const char *const newer[] = {"parameters", "executor"};

    for (size_t i = 0; !c->v21 && i < COUNT(newer); i++) {
        const struct pair *pair = yaml__find(body->node, newer[i]);
        struct view key = {.kind = VIEW_SCALAR, .node = pair != NULL ? pair->key : NULL};

        if (pair != NULL)
            compiler__report(c, &key, &(struct report){.code = DIAG_NEEDS_21, .hint = "write `version: 2.1`"},
                             "`%s` of a job needs version 2.1", newer[i]);
    }
}

static void add_steps(struct compiler *c, const struct definition *job, const struct view *body, const struct view *pre,
                      const struct view *post, bool misspelt, cJSON *out)
{
    const char *what = arena__printf(c->arena, "job `%.100s`", job->name);
    struct view steps = view__get(c, body, "steps");
    cJSON *list = cJSON_AddArrayToObject(out, "steps");
    bool none = view__is_null(&steps) || (steps.kind == VIEW_SEQ && view__count(&steps) == 0);

    steps__expand(c, pre, "`pre-steps`", list);
    /* An unknown key may be the misspelt one. */
    if (none && !(misspelt && steps.kind == VIEW_NONE))
        compiler__report(c, &job->key, &(struct report){.code = DIAG_NO_STEPS, .expected = "`steps`, a list of steps"},
                         "%s has no `steps`", what);
    if (!none)
        steps__expand(c, &steps, what, list);
    steps__expand(c, post, "`post-steps`", list);
}

void jobs__compile(struct compiler *c, const struct definition *job, const struct view *body, const struct view *pre,
                   const struct view *post, cJSON *out)
{
    static const struct field parallelism = {
        .name = "parallelism", .kind = FIELD_INT, .min = 1, .max = LIMIT_PARALLELISM};
    const char *what = arena__printf(c->arena, "job `%.100s`", job->name);
    size_t faults = c->faults;
    bool misspelt;
    struct view tasks;

    if (body->kind == VIEW_UNKNOWN || !view__check_keys(c, body, what, job_keys, COUNT(job_keys)))
        return;
    misspelt = c->faults > faults;
    check_version(c, body);
    tasks = view__get(c, body, "parallelism");
    if (tasks.kind == VIEW_NONE)
        cJSON_AddNumberToObject(out, "parallelism", 1);
    else
        fields__read_one(c, &tasks, what, &parallelism, out);
    if (yaml__find(body->node, "macos") == NULL)
        executor__compile(c, job, body, misspelt, out);
    add_steps(c, job, body, pre, post, misspelt, out);
}

void jobs__check(struct compiler *c, struct definition *job)
{
    static const struct view nothing = {.kind = VIEW_NONE};
    cJSON *dropped = cJSON_CreateObject();
    struct view body = job->body;
    const char *type;

    body.scope = params__bind_unknown(c, job);
    c->unreached++;
    type = jobs__type(c, &nothing, &body);
    if (type != NULL && strcmp(type, "build") == 0)
        jobs__compile(c, job, &body, &nothing, &nothing, dropped);
    c->unreached--;
    cJSON_Delete(dropped);
}
