#include "core/scheduler/plan.h"
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/scheduler/classes.h"
#include "core/scheduler/graph.h"

#include <stdlib.h>
#include <string.h>

/* ---- requirements ---- */

struct name {
    const char *text; /* borrowed */
    size_t job;
};

static int by_text(const void *left, const void *right)
{
    return strcmp(((const struct name *)left)->text, ((const struct name *)right)->text);
}

static struct name *sort_names(const struct tn_workflow *workflow, struct tn_err *err)
{
    struct name *names = tn_model_alloc(workflow->job_count, sizeof(*names));

    for (size_t j = 0; j < workflow->job_count; j++)
        names[j] = (struct name){workflow->jobs[j].name, j};
    qsort(names, workflow->job_count, sizeof(*names), by_text);
    for (size_t j = 1; j < workflow->job_count; j++)
        if (strcmp(names[j - 1].text, names[j].text) == 0) {
            tn_err_set(err, TN_ERR_CONFIG, "the plan has two jobs \"%s\" in workflow \"%s\"", names[j].text,
                       workflow->name);
            free(names);
            return NULL;
        }
    return names;
}

static int read_statuses(const cJSON *list, unsigned *statuses, struct tn_err *err)
{
    const cJSON *item;

    *statuses = 0;
    cJSON_ArrayForEach (item, list) {
        int outcome = cJSON_IsString(item) ? tn_outcome_parse(item->valuestring) : -1;

        if (outcome <= TN_OUTCOME_NONE)
            return tn_err_set(err, TN_ERR_CONFIG, "the plan requires the unknown status \"%s\"",
                              cJSON_IsString(item) ? item->valuestring : "?");
        *statuses |= 1u << outcome;
    }
    if (*statuses == 0)
        *statuses = 1u << TN_OUTCOME_SUCCESS;
    return 0;
}

static int read_requires(struct tn_job *job, const cJSON *list, const struct name *names, struct tn_err *err)
{
    size_t count = (size_t)cJSON_GetArraySize(list);
    const cJSON *item;

    job->requires = tn_model_alloc(count, sizeof(*job->requires));
    cJSON_ArrayForEach (item, list) {
        struct name key = {tn_json_string(item, "job", ""), 0};
        const struct name *found = bsearch(&key, names, job->workflow->job_count, sizeof(*names), by_text);
        struct tn_require *require = &job->requires[job->require_count];

        if (found == NULL)
            return tn_err_set(err, TN_ERR_CONFIG, "job \"%s\" requires \"%s\", which workflow \"%s\" does not have",
                              job->name, key.text, job->workflow->name);
        if (read_statuses(tn_json_get(item, "status"), &require->statuses, err) != 0)
            return tn_err_wrap(err, "job \"%s\"", job->name);
        require->job = found->job;
        job->require_count++;
    }
    return 0;
}

int tn_plan_read_edges(struct tn_job *job, const char *text)
{
    auto_json cJSON *list = cJSON_Parse(text);
    const cJSON *edge;

    if (!cJSON_IsArray(list))
        return -1;
    free(job->requires);
    job->requires = tn_model_alloc((size_t)cJSON_GetArraySize(list), sizeof(*job->requires));
    job->require_count = 0;
    cJSON_ArrayForEach (edge, list) {
        const cJSON *to = cJSON_GetArrayItem(edge, 0);
        const cJSON *statuses = cJSON_GetArrayItem(edge, 1);

        if (!cJSON_IsNumber(to) || !cJSON_IsNumber(statuses) || to->valuedouble < 0 ||
            to->valuedouble >= (double)job->workflow->job_count)
            return -1;
        job->requires[job->require_count++] =
            (struct tn_require){(size_t)to->valuedouble, (unsigned)statuses->valueint};
    }
    return 0;
}

char *tn_plan_write_edges(const struct tn_job *job)
{
    auto_buf struct tn_buf text = TN_BUF_INIT;

    tn_buf_adds(&text, "[");
    for (size_t r = 0; r < job->require_count; r++)
        tn_buf_addf(&text, "%s[%zu,%u]", r > 0 ? "," : "", job->requires[r].job, job->requires[r].statuses);
    tn_buf_adds(&text, "]");
    return tn_buf_steal(&text);
}

/* ---- jobs ---- */

/* The executor of a job: what the plan names, or what the user maps it to. */
static void set_kind(struct tn_job *job, const char *kind)
{
    const cJSON *map = tn_json_get(job->workflow->pipeline->request, "executor_map");

    tn_text_set(&job->kind, job->type == TN_JOB_BUILD ? tn_json_string(map, kind, kind) : "");
}

static void set_class(struct tn_job *job, const char *kind, const char *name)
{
    struct tn_err err = TN_ERR_INIT;
    const struct tn_class *class = tn_class_find(kind, name, &err);

    if (class == NULL) {
        tn_text_set(&job->fault, err.text);
        return;
    }
    job->cpu_milli = class->cpu_milli;
    job->memory_mb = class->memory_mb;
}

static void check_contexts(struct tn_job *job, const cJSON *names)
{
    const cJSON *item;

    cJSON_ArrayForEach (item, names) {
        const char *name = cJSON_IsString(item) ? item->valuestring : "";

        if (tn_json_get(job->workflow->pipeline->contexts, name) == NULL) {
            auto_free char *text = tn_fs_path("context %s is not defined: pass --context %s=FILE", name, name);

            tn_text_set(&job->fault, text);
            job->unauthorized = true;
            return;
        }
    }
}

static int read_job(struct tn_job *job, const cJSON *item, struct tn_err *err)
{
    const char *name = tn_json_string(item, "name", "");
    int type = tn_job_type_parse(tn_json_string(item, "type", "build"));
    double parallelism = tn_json_number(item, "parallelism", 1);
    const char *kind = tn_json_string(item, "kind", "");

    if (name[0] == '\0')
        return tn_err_set(err, TN_ERR_CONFIG, "the plan has a job without a name in workflow \"%s\"",
                          job->workflow->name);
    tn_text_set(&job->name, name);
    tn_id_make(job->id);
    if (type < 0)
        return tn_err_set(err, TN_ERR_CONFIG, "job \"%s\" has the unknown type \"%s\"", name,
                          tn_json_string(item, "type", "build"));
    if (parallelism < 1 || parallelism > TN_PLAN_PARALLELISM_MAX)
        return tn_err_set(err, TN_ERR_CONFIG, "job \"%s\" has a parallelism of %g, expected 1 to %d", name, parallelism,
                          TN_PLAN_PARALLELISM_MAX);
    job->type = (enum tn_job_type)type;
    job->state = TN_TASK_QUEUED;
    set_kind(job, kind);
    if (job->type == TN_JOB_BUILD) {
        if (kind[0] == '\0')
            return tn_err_set(err, TN_ERR_CONFIG, "job \"%s\" of the plan names no kind of executor", name);
        set_class(job, kind, tn_json_string(item, "resource_class", NULL));
        check_contexts(job, tn_json_get(item, "contexts"));
    }
    job->definition = tn_json_print(item);
    tn_job_set_tasks(job, job->type == TN_JOB_BUILD ? (size_t)parallelism : 1);
    return 0;
}

static int read_workflow(struct tn_workflow *workflow, const cJSON *item, struct tn_err *err)
{
    const cJSON *jobs = tn_json_get(item, "jobs");
    struct name *names;
    const cJSON *job;
    size_t j = 0;
    int result = 0;

    tn_text_set(&workflow->name, tn_json_string(item, "name", "workflow"));
    tn_id_make(workflow->id);
    tn_workflow_set_jobs(workflow, (size_t)cJSON_GetArraySize(jobs));
    cJSON_ArrayForEach (job, jobs)
        if (read_job(&workflow->jobs[j++], job, err) != 0)
            return -1;
    if ((names = sort_names(workflow, err)) == NULL)
        return -1;
    j = 0;
    cJSON_ArrayForEach (job, jobs) {
        if (result != 0)
            break;
        result = read_requires(&workflow->jobs[j++], tn_json_get(job, "requires"), names, err);
    }
    free(names);
    if (result != 0 || tn_graph_link(workflow, err) != 0)
        return -1;
    for (j = 0; j < workflow->job_count; j++)
        tn_graph_tally(&workflow->tally, -1, workflow->jobs[j].state);
    return 0;
}

int tn_plan_read(struct tn_pipeline *pipeline, const cJSON *plan, struct tn_err *err)
{
    const cJSON *workflows = tn_json_get(plan, "workflows");
    const cJSON *item;
    uint64_t jobs;
    uint64_t tasks;
    size_t w = 0;

    if (tn_json_number(plan, "version", 0) != 1 || !cJSON_IsArray(workflows))
        return tn_err_set(err, TN_ERR_CONFIG, "the plan has version %g, expected version 1 with a list of workflows",
                          tn_json_number(plan, "version", 0));
    tn_pipeline_set_workflows(pipeline, (size_t)cJSON_GetArraySize(workflows));
    cJSON_ArrayForEach (item, workflows)
        if (read_workflow(&pipeline->workflows[w++], item, err) != 0)
            return -1;
    tn_plan_count(pipeline, &jobs, &tasks);
    if (tasks > TN_PLAN_TASKS_MAX)
        return tn_err_set(err, TN_ERR_LIMIT, "the plan has %llu tasks, expected at most %d", (unsigned long long)tasks,
                          TN_PLAN_TASKS_MAX);
    return 0;
}

/* ---- rows ---- */

void tn_plan_count(const struct tn_pipeline *pipeline, uint64_t *jobs, uint64_t *tasks)
{
    *jobs = *tasks = 0;
    for (size_t w = 0; w < pipeline->workflow_count; w++)
        for (size_t j = 0; j < pipeline->workflows[w].job_count; j++) {
            ++*jobs;
            *tasks += pipeline->workflows[w].jobs[j].task_count;
        }
}

void tn_plan_number(struct tn_pipeline *pipeline, uint64_t first_job, uint64_t first_task)
{
    for (size_t w = 0; w < pipeline->workflow_count; w++)
        for (size_t j = 0; j < pipeline->workflows[w].job_count; j++) {
            struct tn_job *job = &pipeline->workflows[w].jobs[j];

            job->number = first_job++;
            for (size_t t = 0; t < job->task_count; t++)
                job->tasks[t].id = first_task++;
        }
}

static void put_job(const struct tn_job *job, struct tn_ledger *ledger)
{
    const struct tn_workflow *workflow = job->workflow;
    auto_free char *edges = tn_plan_write_edges(job);

    tn_ledger_put(ledger, TN_LEDGER_JOB_ADD, "iiiissssiiisss", (int64_t)job->number,
                  (int64_t)workflow->pipeline->number, (int64_t)workflow->position, (int64_t)job->position, job->id,
                  job->name, tn_job_type_name(job->type), job->kind, (int64_t)job->cpu_milli, (int64_t)job->memory_mb,
                  (int64_t)job->task_count, edges, job->definition, tn_job_state_name(job->state));
    for (size_t t = 0; t < job->task_count; t++)
        tn_ledger_put(ledger, TN_LEDGER_TASK_ADD, "iiis", (int64_t)job->tasks[t].id, (int64_t)job->number, (int64_t)t,
                      tn_task_state_name(job->tasks[t].state));
}

void tn_plan_put_rows(const struct tn_pipeline *pipeline, struct tn_ledger *ledger)
{
    for (size_t w = 0; w < pipeline->workflow_count; w++) {
        const struct tn_workflow *workflow = &pipeline->workflows[w];

        tn_ledger_put(ledger, TN_LEDGER_WORKFLOW_ADD, "iisssi", (int64_t)pipeline->number, (int64_t)w, workflow->id,
                      workflow->name, workflow->state, workflow->created);
        for (size_t j = 0; j < workflow->job_count; j++)
            put_job(&workflow->jobs[j], ledger);
    }
}
