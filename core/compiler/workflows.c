#include "core/compiler/workflows.h"

#include "core/compiler/fields.h"
#include "core/compiler/filters.h"
#include "core/compiler/jobs.h"
#include "core/compiler/logic.h"
#include "core/compiler/matrix.h"
#include "core/compiler/params.h"
#include "core/compiler/requires.h"
#include "core/compiler/triggers.h"
#include "core/compiler/view.h"

#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const struct view nothing = {.kind = VIEW_NONE};

/* What a workflow's entry for a job may hold beside the job's arguments. */
static const struct key_rule entry_keys[] = {
    {"name", KEY_OK},
    {"requires", KEY_OK},
    {"context", KEY_OK},
    {"type", KEY_OK},
    {"filters", KEY_OK},
    {"matrix", KEY_OK},
    {"pre-steps", KEY_OK},
    {"post-steps", KEY_OK},
    {"serial-group", KEY_REFUSED},
    {"override-with", KEY_REFUSED},
    {"max_auto_reruns", KEY_REFUSED},
};
static const struct key_rule workflow_keys[] = {
    {"jobs", KEY_OK}, {"when", KEY_OK}, {"unless", KEY_OK}, {"triggers", KEY_OK}, {"max_auto_reruns", KEY_REFUSED},
};

/* One entry of a workflow's list while it becomes jobs. */
struct entry {
    struct workflow *workflow;
    struct view key;
    struct view body; /* VIEW_NONE for a bare name */
    struct definition *job;
    const char *type;
};

static void add_job(struct compiler *c, struct workflow *workflow, struct wf_job *job)
{
    if (workflow->count == workflow->size) {
        size_t size = workflow->size == 0 ? 16 : workflow->size * 2;
        struct wf_job **jobs = arena__alloc(c->arena, size * sizeof(*jobs));

        if (workflow->count > 0)
            memcpy(jobs, workflow->jobs, workflow->count * sizeof(*jobs));
        workflow->jobs = jobs;
        workflow->size = size;
    }
    workflow->jobs[workflow->count++] = job;
}

static void add_contexts(struct compiler *c, const struct view *value, cJSON *out)
{
    static const struct field field = {.name = "contexts", .kind = FIELD_TEXTS};
    bool none = view__is_null(value) || (value->kind == VIEW_SEQ && view__count(value) == 0);

    if (!none)
        fields__read_one(c, value, "a job in a workflow", &field, out);
    if (!cJSON_HasObjectItem(out, "contexts"))
        cJSON_AddArrayToObject(out, "contexts");
}

/* The job's own part: for a build job what its definition says with this entry's arguments. */
static void add_definition(struct compiler *c, const struct entry *entry, const struct view *body,
                           const struct scope *outer, cJSON *out)
{
    const char *others[COUNT(entry_keys)];
    struct bind_extra extra = {.other_keys = others, .other_count = COUNT(entry_keys), .matrix = &outer->matrix};
    struct view pre = view__get(c, body, "pre-steps");
    struct view post = view__get(c, body, "post-steps");
    struct scope *scope;
    struct view job;

    for (size_t i = 0; i < COUNT(entry_keys); i++)
        others[i] = entry_keys[i].name;
    scope = params__bind(c, entry->job, &entry->key, body, outer, &extra);
    job = view__of(c, entry->job->body.node, scope);
    jobs__compile(c, entry->job, &job, &pre, &post, out);
}

static const char *job_name(struct compiler *c, const struct entry *entry, const struct view *body, const char *suffix,
                            struct wf_job *job)
{
    struct view name = view__get(c, body, "name");

    job->named = name.kind != VIEW_NONE;
    if (name.kind == VIEW_UNKNOWN)
        job->name_unknown = true;
    else if (name.kind == VIEW_SCALAR && name.type != SCALAR_NULL && name.len > 0)
        return name.text;
    else if (name.kind != VIEW_NONE)
        compiler__report(c, &name, &(struct report){.code = DIAG_WRONG_TYPE, .expected = "a text"},
                         "`name` of a job must be a text, but is %s", view__describe(c, &name));
    return suffix[0] != '\0' ? arena__printf(c->arena, "%s%s", entry->key.text, suffix) : entry->key.text;
}

static void compile_combination(struct compiler *c, const struct entry *entry, const struct matrix *matrix,
                                const struct combination *combination)
{
    struct wf_job *job = arena__alloc(c->arena, sizeof(*job));
    struct view body = entry->body;
    struct view context;

    body.scope = combination->scope;
    job->place = entry->key;
    job->definition = entry->key.text;
    job->name = job_name(c, entry, &body, combination->suffix, job);
    if (matrix->given)
        job->group = matrix->alias != NULL ? matrix->alias : entry->key.text;
    job->requires = view__get(c, &body, "requires");
    job->filters = view__get(c, &body, "filters");
    job->removed = !filters__allow(c, &job->filters) && c->options->job == NULL;
    job->json = cJSON_CreateObject();
    cJSON_AddStringToObject(job->json, "name", job->name);
    cJSON_AddStringToObject(job->json, "definition", job->definition);
    cJSON_AddStringToObject(job->json, "type", entry->type != NULL ? entry->type : "build");
    cJSON_AddArrayToObject(job->json, "requires");
    context = view__get(c, &body, "context");
    add_contexts(c, &context, job->json);
    if (entry->job != NULL && entry->type != NULL && strcmp(entry->type, "build") == 0)
        add_definition(c, entry, &body, combination->scope, job->json);
    add_job(c, entry->workflow, job);
}

static void unknown_job(struct compiler *c, const struct entry *entry)
{
    const char *name = entry->key.text;
    const char *hint = suggest__did_you_mean(c->diags, name, c->jobs.names, c->jobs.count);

    if ((c->has_orbs && strchr(name, '/') != NULL) || yaml__find(c->root.node, "job-groups") != NULL)
        return; /* `orbs` or `job-groups` itself was refused */
    if (hint == NULL && strchr(name, '/') != NULL)
        hint = "jobs of orbs are not supported by this version of Tenon yet";
    compiler__report(c, &entry->key, &(struct report){.code = DIAG_UNKNOWN_JOB, .hint = hint},
                     "workflow `%.100s` names the job `%.100s`, which is not defined under `jobs`",
                     entry->workflow->name, name);
}

/* Keys that are neither the language's nor the job's parameters are reported by params__bind(), as arguments; here what
 * the language has and Tenon not yet, and all of it for jobs without a definition. */
static void check_entry_keys(struct compiler *c, const struct entry *entry)
{
    bool build = entry->job != NULL && entry->type != NULL && strcmp(entry->type, "build") == 0;

    if (entry->body.kind == VIEW_NONE || entry->body.kind == VIEW_UNKNOWN)
        return;
    if (!build) {
        if (entry->job != NULL || (entry->type != NULL && strcmp(entry->type, "build") != 0))
            view__check_keys(c, &entry->body, arena__printf(c->arena, "job `%.100s`", entry->key.text), entry_keys,
                             COUNT(entry_keys));
        return;
    }
    for (size_t i = 0; i < view__count(&entry->body); i++) {
        const struct pair *pair = &entry->body.node->pairs[i];
        struct view key = {
            .kind = VIEW_SCALAR, .node = pair->key, .at = entry->body.at != NULL ? entry->body.at : pair->via};

        for (size_t j = 0; j < COUNT(entry_keys); j++)
            if (entry_keys[j].kind == KEY_REFUSED && strcmp(entry_keys[j].name, pair->key->text) == 0)
                compiler__report(c, &key, &(struct report){.code = DIAG_UNSUPPORTED},
                                 "`%s` of job `%.100s` is not supported by this version of Tenon yet",
                                 entry_keys[j].name, entry->key.text);
    }
}

static void compile_entry(struct compiler *c, struct workflow *workflow, const struct view *item)
{
    struct entry entry = {.workflow = workflow, .key = *item};
    struct matrix matrix;
    struct view type;
    struct view spread;

    if (item->kind == VIEW_MAP && view__count(item) == 1)
        entry.body = view__pair(c, item, 0, &entry.key);
    else if (item->kind != VIEW_SCALAR || item->type == SCALAR_NULL) {
        compiler__report(c, item,
                         &(struct report){.code = DIAG_WRONG_TYPE,
                                          .expected = "a job's name, or a map with the name as its one key",
                                          .hint = item->kind == VIEW_MAP && view__count(item) > 1
                                                      ? "indent the keys below the job's name further"
                                                      : NULL},
                         "an entry of a workflow's `jobs` cannot be %s", view__describe(c, item));
        return;
    }
    if (view__is_null(&entry.body))
        entry.body = nothing;
    if (entry.body.kind != VIEW_NONE && entry.body.kind != VIEW_MAP) {
        compiler__report(c, &entry.body, &(struct report){.code = DIAG_WRONG_TYPE, .expected = "a map"},
                         "what stands under job `%.100s` must be a map, but is %s", entry.key.text,
                         view__describe(c, &entry.body));
        entry.body = nothing;
    }
    entry.job = table__get(&c->jobs.index, entry.key.text);
    type = view__get(c, &entry.body, "type");
    entry.type = jobs__type(c, &type, entry.job != NULL ? &entry.job->body : &nothing);
    if (entry.job != NULL)
        entry.job->used = true;
    else if (entry.type == NULL || strcmp(entry.type, "build") == 0)
        unknown_job(c, &entry);
    check_entry_keys(c, &entry);
    spread = view__get(c, &entry.body, "matrix");
    matrix__expand(c, &spread, entry.type != NULL && strcmp(entry.type, "build") == 0 ? entry.job : NULL, &matrix);
    for (size_t i = 0; i < matrix.count && !c->stop && compiler__job(c, &entry.key); i++)
        compile_combination(c, &entry, &matrix, &matrix.list[i]);
}

/* ---- names ---- */

/* Unnamed jobs that come out with one name become NAME-1, NAME-2, ... */
static void number_repeats(struct compiler *c, struct workflow *workflow)
{
    struct table counts = {0};
    struct table used = {0};

    for (size_t i = 0; i < workflow->count; i++) {
        struct wf_job *job = workflow->jobs[i];
        uintptr_t count = (uintptr_t)table__get(&counts, job->name);

        if (!job->named && !job->name_unknown)
            table__put(c->arena, &counts, job->name, (void *)(count + 1));
    }
    for (size_t i = 0; i < workflow->count; i++) {
        struct wf_job *job = workflow->jobs[i];
        uintptr_t number;

        if (job->named || job->name_unknown || (uintptr_t)table__get(&counts, job->name) < 2)
            continue;
        number = (uintptr_t)table__get(&used, job->name) + 1;
        table__put(c->arena, &used, job->name, (void *)number);
        if (job->group == NULL)
            job->group = job->name;
        job->name = arena__printf(c->arena, "%s-%u", job->name, (unsigned)number);
    }
}

static void check_unique(struct compiler *c, struct workflow *workflow)
{
    struct table seen = {0};

    for (size_t i = 0; i < workflow->count; i++) {
        struct wf_job *job = workflow->jobs[i];
        const struct wf_job *first = job->name_unknown ? NULL : table__get(&seen, job->name);

        if (first == NULL) {
            table__put(c->arena, &seen, job->name, job);
            continue;
        }
        compiler__report(c, &job->place,
                         &(struct report){.code = DIAG_DUPLICATE_JOB,
                                          .note = first->place.node->place,
                                          .note_text = "the first is here",
                                          .hint = "give one of them another `name`"},
                         "workflow `%.100s` has two jobs named `%.100s`", workflow->name, job->name);
    }
}

/* ---- workflows ---- */

static cJSON *workflow_json(struct workflow *workflow)
{
    cJSON *object = cJSON_CreateObject();
    cJSON *list;

    cJSON_AddStringToObject(object, "name", workflow->name);
    list = cJSON_AddArrayToObject(object, "jobs");
    for (size_t i = 0; i < workflow->count; i++) {
        struct wf_job *job = workflow->jobs[i];

        if (job->removed) {
            cJSON_Delete(job->json);
            continue;
        }
        cJSON_ReplaceItemInObjectCaseSensitive(job->json, "requires", requires__json(job));
        cJSON_ReplaceItemInObjectCaseSensitive(job->json, "name", cJSON_CreateString(job->name));
        cJSON_AddItemToArray(list, job->json);
    }
    return object;
}

/* Does the workflow run, as far as its `when` or `unless` says? */
static bool condition_holds(struct compiler *c, const struct view *body)
{
    struct view when = view__get(c, body, "when");
    struct view unless = view__get(c, body, "unless");

    if (when.kind != VIEW_NONE && unless.kind != VIEW_NONE)
        compiler__report(c, &unless, &(struct report){.code = DIAG_CONDITION, .hint = "use `when` with and, or, not"},
                         "a workflow cannot have both `when` and `unless`");
    if (when.kind != VIEW_NONE)
        return logic__evaluate(c, &when) == TRUTH_TRUE;
    return unless.kind == VIEW_NONE || logic__evaluate(c, &unless) == TRUTH_FALSE;
}

static void compile_jobs(struct compiler *c, struct workflow *workflow, const struct view *body)
{
    struct view jobs = view__get(c, body, "jobs");

    if (jobs.kind == VIEW_NONE || (jobs.kind == VIEW_SEQ && view__count(&jobs) == 0)) {
        compiler__report(c, jobs.kind == VIEW_NONE ? body : &jobs, &(struct report){.code = DIAG_MISSING_KEY},
                         "workflow `%.100s` has no `jobs`", workflow->name);
        return;
    }
    if (jobs.kind != VIEW_SEQ) {
        compiler__report(c, &jobs, &(struct report){.code = DIAG_WRONG_TYPE, .expected = "a list of jobs"},
                         "`jobs` of workflow `%.100s` must be a list, but is %s", workflow->name,
                         view__describe(c, &jobs));
        return;
    }
    for (size_t i = 0; i < view__count(&jobs) && !c->stop; i++) {
        struct view item = view__item(c, &jobs, i);

        compile_entry(c, workflow, &item);
    }
}

static bool wanted(const struct compiler *c, const char *name)
{
    return c->options->workflow == NULL || strcmp(c->options->workflow, name) == 0;
}

static void skipped(struct compiler *c, const struct view *key, const char *why)
{
    struct skip *skip = arena__alloc(c->arena, sizeof(*skip));

    *skip = (struct skip){.workflow = *key, .why = why, .next = c->skipped};
    c->skipped = skip;
}

/* That nothing runs at all needs a word; that one of several workflows does not is what conditions are for. */
static void report_skipped(struct compiler *c)
{
    if (c->diags->errors > 0 || c->options->job != NULL)
        return;
    for (const struct skip *skip = c->skipped; skip != NULL; skip = skip->next)
        compiler__report(c, &skip->workflow, &(struct report){.code = DIAG_WORKFLOW_SKIPPED},
                         "workflow `%.100s` does not run: %s", skip->workflow.text, skip->why);
}

static void compile_workflow(struct compiler *c, const struct view *key, const struct view *body, cJSON *out)
{
    struct workflow workflow = {.name = key->text};
    const char *why;
    bool runs;
    cJSON *object;

    if (!view__check_keys(c, body, arena__printf(c->arena, "workflow `%.100s`", key->text), workflow_keys,
                          COUNT(workflow_keys)))
        return;
    why = triggers__scheduled(c, body) ? "it is one that runs by its schedule (--workflow chooses it)" : NULL;
    if (c->options->workflow != NULL)
        why = NULL;
    if (!condition_holds(c, body))
        why = "its condition is false";
    runs = why == NULL || c->options->job != NULL;
    c->unreached += runs ? 0 : 1;
    compile_jobs(c, &workflow, body);
    number_repeats(c, &workflow);
    check_unique(c, &workflow);
    requires__resolve(c, &workflow);
    c->unreached -= runs ? 0 : 1;
    object = workflow_json(&workflow);
    if (!wanted(c, key->text)) {
        cJSON_Delete(object);
    } else if (runs && cJSON_GetArraySize(cJSON_GetObjectItem(object, "jobs")) > 0) {
        cJSON_AddItemToArray(out, object);
    } else {
        skipped(c, key, runs ? filters__reason(c) : why);
        cJSON_Delete(object);
    }
}

/* One job by itself: its workflow has its name. */
static void compile_alone(struct compiler *c, struct definition *job, cJSON *list)
{
    struct workflow workflow = {.name = job->name};
    struct view key = job->key;

    key.scope = &c->top;
    compile_entry(c, &workflow, &key);
    cJSON_AddItemToArray(list, workflow_json(&workflow));
}

cJSON *workflows__compile_alone(struct compiler *c, const char *name)
{
    struct definition *job = table__get(&c->jobs.index, name);
    cJSON *plan;

    if (job == NULL)
        return NULL;
    plan = cJSON_CreateObject();
    cJSON_AddNumberToObject(plan, "version", 1);
    compile_alone(c, job, cJSON_AddArrayToObject(plan, "workflows"));
    return plan;
}

/* Without workflows only the job `build` runs. */
static void compile_build(struct compiler *c, cJSON *out)
{
    struct definition *build = table__get(&c->jobs.index, "build");

    if (build != NULL)
        compile_alone(c, build, out);
    else if (c->options->job == NULL)
        compiler__report(
            c, &c->root,
            &(struct report){.code = DIAG_NO_WORKFLOW, .hint = "add `workflows`, or name the one job `build`"},
            "the config has neither workflows nor a job named `build`");
}

static void check_wanted_exists(struct compiler *c, const struct view *workflows)
{
    const char **names;

    if (c->options->workflow == NULL || yaml__find(c->root.node, "workflows") == NULL ||
        (workflows->kind == VIEW_MAP && yaml__find(workflows->node, c->options->workflow) != NULL))
        return;
    names = arena__alloc(c->arena, (view__count(workflows) + 1) * sizeof(*names));
    for (size_t i = 0; i < view__count(workflows); i++)
        names[i] = workflows->node->pairs[i].key->text;
    compiler__report(
        c, workflows,
        &(struct report){.code = DIAG_UNKNOWN_WORKFLOW,
                         .expected = compiler__list(c, names, view__count(workflows)),
                         .hint = suggest__did_you_mean(c->diags, c->options->workflow, names, view__count(workflows))},
        "there is no workflow named `%.100s`", c->options->workflow);
}

cJSON *workflows__compile(struct compiler *c)
{
    struct view workflows = view__get(c, &c->root, "workflows");
    cJSON *plan = cJSON_CreateObject();
    cJSON *list;
    size_t done = 0;

    cJSON_AddNumberToObject(plan, "version", 1);
    list = cJSON_AddArrayToObject(plan, "workflows");
    if (!view__is_null(&workflows) && workflows.kind != VIEW_MAP) {
        compiler__report(c, &workflows, &(struct report){.code = DIAG_WRONG_TYPE, .expected = "a map of workflows"},
                         "`workflows` must be a map, but is %s", view__describe(c, &workflows));
        return plan;
    }
    for (size_t i = 0; i < view__count(&workflows) && !c->stop; i++) {
        struct view key;
        struct view body = view__pair(c, &workflows, i, &key);

        if (strcmp(key.text, "version") == 0 && body.kind == VIEW_SCALAR)
            continue;
        compile_workflow(c, &key, &body, list);
        done++;
    }
    if (cJSON_GetArraySize(list) == 0)
        report_skipped(c);
    if (done == 0 && !c->stop)
        compile_build(c, list);
    else
        check_wanted_exists(c, &workflows);
    return plan;
}
