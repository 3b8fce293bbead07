#include "core/scheduler/task_env.h"
#include "core/lib/cleanup.h"
#include "core/lib/log.h"
#include "core/scheduler/graph.h"
#include "core/scheduler/lease_key.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PIDS_MAX = 8192 }; /* processes of one environment: a fork bomb ends, a large build does not notice */

void tn_task_stable_id(const char *text, char out[TN_ID_SIZE])
{
    /* FNV-1a, twice with different beginnings; the version 8 says that the bits are our own. */
    uint64_t half[2] = {0xcbf29ce484222325u, 0x84222325cbf29ce4u};

    for (const char *at = text; *at != '\0'; at++)
        for (int i = 0; i < 2; i++)
            half[i] = (half[i] ^ (uint8_t)*at) * 0x100000001b3u;
    snprintf(out, TN_ID_SIZE, "%08x-%04x-8%03x-%04x-%012" PRIx64, (unsigned)(half[0] >> 32),
             (unsigned)(half[0] >> 16 & 0xffff), (unsigned)(half[0] & 0xfff),
             (unsigned)(0x8000u | (half[1] >> 48 & 0x3fff)), half[1] & 0xffffffffffffu);
}

static void add(cJSON *pairs, const char *name, const char *value)
{
    cJSON *pair;

    if (value == NULL || value[0] == '\0')
        return;
    pair = cJSON_CreateArray();
    cJSON_AddItemToArray(pair, cJSON_CreateString(name));
    cJSON_AddItemToArray(pair, cJSON_CreateString(value));
    cJSON_AddItemToArray(pairs, pair);
}

static void add_number(cJSON *pairs, const char *name, uint64_t value)
{
    char text[24];

    snprintf(text, sizeof(text), "%" PRIu64, value);
    add(pairs, name, text);
}

/* CircleCI sets CIRCLE_PR_USERNAME and _REPONAME of forks, too; no ref tells whose fork it is. */
static void add_pull_request(cJSON *pairs, const cJSON *checkout)
{
    const char *url = tn_json_string(checkout, "pull_request_url", "");

    add(pairs, "CIRCLE_PULL_REQUEST", url);
    add(pairs, "CIRCLE_PULL_REQUESTS", url);
    add(pairs, "CIRCLE_PR_NUMBER", tn_json_string(checkout, "pull_request", ""));
}

static void add_project(cJSON *pairs, const struct tn_job *job)
{
    const cJSON *project = tn_json_get(job->workflow->pipeline->request, "project");
    const char *slug = tn_json_string(project, "slug", "local/project");
    const char *username = tn_json_string(project, "username", "");
    char id[TN_ID_SIZE];
    char url[512];

    /* .invalid is a domain that never exists (RFC 2606): nothing serves this page yet, but tools parse the variable. */
    snprintf(url, sizeof(url), "https://tenon.invalid/%s/%" PRIu64, slug, job->number);
    add(pairs, "CIRCLE_BUILD_URL", url);
    add(pairs, "CIRCLE_PROJECT_USERNAME", username);
    add(pairs, "CIRCLE_PROJECT_REPONAME", tn_json_string(project, "reponame", ""));
    add(pairs, "CIRCLE_REPOSITORY_URL", tn_json_string(project, "repository_url", ""));
    add(pairs, "CIRCLE_USERNAME", tn_json_string(project, "user", username));
    tn_task_stable_id(slug, id);
    add(pairs, "CIRCLE_PROJECT_ID", id);
    tn_task_stable_id(username, id);
    add(pairs, "CIRCLE_ORGANIZATION_ID", id);
}

cJSON *tn_task_env(const struct tn_task *task)
{
    const struct tn_job *job = task->job;
    const struct tn_workflow *workflow = job->workflow;
    const cJSON *git = tn_json_get(workflow->pipeline->request, "git");
    cJSON *pairs = cJSON_CreateArray();

    add(pairs, "CI", "true");
    add(pairs, "CIRCLECI", "true");
    add(pairs, "CIRCLE_BRANCH", tn_json_string(git, "branch", ""));
    add(pairs, "CIRCLE_TAG", tn_json_string(git, "tag", ""));
    add(pairs, "CIRCLE_SHA1", tn_json_string(git, "revision", ""));
    add_number(pairs, "CIRCLE_BUILD_NUM", job->number);
    if (job->number > 1)
        add_number(pairs, "CIRCLE_PREVIOUS_BUILD_NUM", job->number - 1);
    add(pairs, "CIRCLE_JOB", job->name);
    add_number(pairs, "CIRCLE_NODE_INDEX", task->index);
    add_number(pairs, "CIRCLE_NODE_TOTAL", job->task_count);
    add(pairs, "CIRCLE_PIPELINE_ID", workflow->pipeline->id);
    add_project(pairs, job);
    add_pull_request(pairs, tn_json_get(workflow->pipeline->request, "checkout"));
    add(pairs, "CIRCLE_WORKFLOW_ID", workflow->id);
    add(pairs, "CIRCLE_WORKFLOW_JOB_ID", job->id);
    add(pairs, "CIRCLE_WORKFLOW_WORKSPACE_ID", workflow->id);
    return pairs;
}

/* {"N": "v"} as pairs, in its order. */
static void add_members(cJSON *pairs, const cJSON *object)
{
    const cJSON *item;

    cJSON_ArrayForEach (item, object)
        if (cJSON_IsString(item) && item->string != NULL) {
            cJSON *pair = cJSON_CreateArray();

            cJSON_AddItemToArray(pair, cJSON_CreateString(item->string));
            cJSON_AddItemToArray(pair, cJSON_CreateString(item->valuestring));
            cJSON_AddItemToArray(pairs, pair);
        }
}

/* The contexts in the order that the job lists them: later pairs win, so the later context does. */
static void add_contexts(cJSON *pairs, const cJSON *contexts, const cJSON *names)
{
    const cJSON *name;

    cJSON_ArrayForEach (name, names)
        if (cJSON_IsString(name))
            add_members(pairs, tn_json_get(contexts, name->valuestring));
}

static void add_names(cJSON *body, const struct tn_task *task)
{
    const struct tn_job *job = task->job;
    const struct tn_workflow *workflow = job->workflow;
    cJSON *item = cJSON_AddObjectToObject(body, "pipeline");

    cJSON_AddStringToObject(item, "id", workflow->pipeline->id);
    tn_json_add_u64(item, "number", workflow->pipeline->number);
    item = cJSON_AddObjectToObject(body, "workflow");
    cJSON_AddStringToObject(item, "id", workflow->id);
    cJSON_AddStringToObject(item, "name", workflow->name);
    item = cJSON_AddObjectToObject(body, "job");
    cJSON_AddStringToObject(item, "id", job->id);
    cJSON_AddStringToObject(item, "name", job->name);
    tn_json_add_u64(item, "number", job->number);
    item = cJSON_AddObjectToObject(body, "task");
    cJSON_AddNumberToObject(item, "index", task->index);
    cJSON_AddNumberToObject(item, "total", (double)job->task_count);
}

static void add_id(cJSON *ids, uint64_t id)
{
    char text[24];

    snprintf(text, sizeof(text), "%" PRIu64, id);
    cJSON_AddItemToArray(ids, cJSON_CreateString(text));
}

/* Which tasks this one's workspace is made of, and which of their jobs waited for which. */
static void add_upstream(cJSON *body, struct tn_job *job)
{
    cJSON *ids = cJSON_AddArrayToObject(body, "upstream");
    cJSON *list = cJSON_AddArrayToObject(body, "upstream_jobs");
    size_t *position = tn_model_alloc(job->workflow->job_count, sizeof(*position));
    struct tn_job **jobs;
    size_t count = tn_graph_upstream(job, &jobs);

    for (size_t i = 0; i < count; i++) {
        cJSON *item = cJSON_CreateObject();
        cJSON *tasks = cJSON_AddArrayToObject(item, "tasks");
        cJSON *requires = cJSON_AddArrayToObject(item, "requires");

        position[jobs[i]->position] = i;
        cJSON_AddStringToObject(item, "name", jobs[i]->name);
        for (size_t t = 0; t < jobs[i]->task_count; t++) {
            add_id(ids, jobs[i]->tasks[t].id);
            add_id(tasks, jobs[i]->tasks[t].id);
        }
        for (size_t r = 0; r < jobs[i]->require_count; r++)
            cJSON_AddItemToArray(requires, cJSON_CreateNumber((double)position[jobs[i]->requires[r].job]));
        cJSON_AddItemToArray(list, item);
    }
    free(position);
    free(jobs);
}

char *tn_task_lease(struct tn_task *task, const char *installation, const uint8_t key[TN_GRANT_KEY],
                    struct tn_share limits)
{
    struct tn_job *job = task->job;
    const struct tn_pipeline *pipeline = job->workflow->pipeline;
    auto_json cJSON *body = cJSON_CreateObject();
    cJSON *definition = cJSON_Parse(job->definition);
    const cJSON *values = tn_json_get(pipeline->request, "pipeline_values");
    auto_free char *signed_grant = NULL;
    cJSON *item;

    if (definition == NULL)
        tn_fatal(3, "job %s has a definition that is no JSON", job->name);
    add_names(body, task);
    cJSON_AddStringToObject(body, "installation", installation);
    cJSON_AddStringToObject(body, "project",
                            tn_json_string(tn_json_get(pipeline->request, "project"), "slug", "local/project"));
    cJSON_AddItemToObject(body, "environment", tn_task_env(task));
    add_members(cJSON_AddArrayToObject(body, "project_environment"), pipeline->environment);
    add_contexts(cJSON_AddArrayToObject(body, "context_environment"), pipeline->contexts,
                 tn_json_get(definition, "contexts"));
    cJSON_AddItemToObject(body, "definition", definition);
    add_upstream(body, job);
    signed_grant = tn_lease_key_grant(key, task, tn_json_get(body, "upstream"));
    cJSON_AddStringToObject(body, "grant", signed_grant);
    if (tn_json_get(pipeline->request, "checkout") != NULL)
        cJSON_AddItemToObject(body, "checkout", cJSON_Duplicate(tn_json_get(pipeline->request, "checkout"), true));
    cJSON_AddBoolToObject(body, "source", tn_json_bool(pipeline->request, "source", false));
    item = cJSON_AddObjectToObject(body, "limits");
    cJSON_AddNumberToObject(item, "cpu_milli", limits.cpu_milli);
    cJSON_AddNumberToObject(item, "memory_mb", limits.memory_mb);
    cJSON_AddNumberToObject(item, "pids", PIDS_MAX);
    cJSON_AddItemToObject(body, "pipeline_values",
                          values != NULL ? cJSON_Duplicate(values, true) : cJSON_CreateObject());
    return tn_json_print(body);
}
