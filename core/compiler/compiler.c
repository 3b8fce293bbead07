#include "core/compiler/compiler.h"

#include "core/compiler/context.h"
#include "core/compiler/definitions.h"
#include "core/compiler/pipeline.h"
#include "core/compiler/view.h"
#include "core/compiler/workflows.h"

#include <string.h>

static const char *text_of(const cJSON *object, const char *name)
{
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name));
}

/* Keeps of a workflow's jobs those whose `key` is `value`, without requirements. Returns how many. */
static size_t keep_jobs(cJSON *workflow, const char *key, const char *value)
{
    cJSON *jobs = cJSON_GetObjectItemCaseSensitive(workflow, "jobs");
    cJSON *job = jobs->child;
    size_t kept = 0;

    while (job != NULL) {
        cJSON *next = job->next;

        if (strcmp(text_of(job, key), value) == 0) {
            cJSON_ReplaceItemInObjectCaseSensitive(job, "requires", cJSON_CreateArray());
            kept++;
        } else {
            cJSON_Delete(cJSON_DetachItemViaPointer(jobs, job));
        }
        job = next;
    }
    return kept;
}

static bool has_job(const cJSON *workflow, const char *key, const char *value)
{
    const cJSON *job;

    cJSON_ArrayForEach (job, cJSON_GetObjectItemCaseSensitive(workflow, "jobs")) {
        if (strcmp(text_of(job, key), value) == 0)
            return true;
    }
    return false;
}

/* One job alone: by its name in a workflow, else by its definition's; of the first workflow that has it. Returns false
 * if no workflow has it. */
static bool choose_job(cJSON *plan, const char *name)
{
    static const char *const keys[] = {"name", "definition"};
    cJSON *list = cJSON_GetObjectItemCaseSensitive(plan, "workflows");
    cJSON *workflow;

    for (size_t i = 0; i < 2; i++) {
        cJSON_ArrayForEach (workflow, list) {
            if (!has_job(workflow, keys[i], name))
                continue;
            keep_jobs(workflow, keys[i], name);
            cJSON_DetachItemViaPointer(list, workflow);
            cJSON_ReplaceItemInObjectCaseSensitive(plan, "workflows", cJSON_CreateArray());
            cJSON_AddItemToArray(cJSON_GetObjectItemCaseSensitive(plan, "workflows"), workflow);
            return true;
        }
    }
    return false;
}

static cJSON *compile_plan(struct compiler *c)
{
    cJSON *plan = workflows__compile(c);
    const char *job = c->options->job;

    if (job != NULL && c->diags->errors == 0 && !choose_job(plan, job)) {
        cJSON *alone = c->options->workflow == NULL ? workflows__compile_alone(c, job) : NULL;

        if (alone != NULL) {
            cJSON_Delete(plan);
            plan = alone;
        } else if (c->diags->errors == 0) {
            compiler__report(
                c, &c->root,
                &(struct report){.code = DIAG_UNKNOWN_JOB,
                                 .expected = compiler__list(c, c->jobs.names, c->jobs.count),
                                 .hint = suggest__did_you_mean(c->diags, job, c->jobs.names, c->jobs.count)},
                "there is no job named `%.100s`%s%.100s", job, c->options->workflow != NULL ? " in workflow " : "",
                c->options->workflow != NULL ? c->options->workflow : "");
        }
    }
    definitions__check_unused(c);
    return plan;
}

static cJSON *compile_tree(struct compiler *c, const struct yaml_tree *tree)
{
    c->top.parent = NULL;
    c->steps = tree->steps;
    c->root = view__of(c, tree->root, &c->top);
    if (!definitions__check_top(c, tree))
        return NULL;
    pipeline__declare(c);
    definitions__load(c);
    return compile_plan(c);
}

cJSON *tn_compile(const char *text, size_t len, const struct tn_compile_options *options)
{
    static const struct tn_compile_options none = {0};
    struct arena arena = {0};
    struct source source = {.text = ""};
    struct diags diags = {.arena = &arena, .source = &source, .list = cJSON_CreateArray()};
    struct compiler c = {.options = options != NULL ? options : &none, .arena = &arena, .diags = &diags};
    struct yaml_tree tree;
    cJSON *result = cJSON_CreateObject();
    cJSON *plan = NULL;

    diags.file = c.options->file_name != NULL ? c.options->file_name : "config.yml";
    if (source__scan(&source, &arena, &diags, text, len)) {
        yaml__compose(&tree, &source, &diags);
        if (tree.root != NULL)
            plan = compile_tree(&c, &tree);
    }
    diag__sort(&diags);
    if (diags.errors > 0) {
        cJSON_Delete(plan);
        plan = NULL;
    }
    cJSON_AddItemToObject(result, "plan", plan != NULL ? plan : cJSON_CreateNull());
    cJSON_AddItemToObject(result, "diagnostics", diags.list);
    arena__free(&arena);
    return result;
}
