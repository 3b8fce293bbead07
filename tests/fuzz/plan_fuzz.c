/* libFuzzer target: what the scheduler reads of a plan, of the ledger's edges and of names of resource classes. The
 * first byte chooses.
 *
 * decodes: core/scheduler/plan.c core/scheduler/graph.c core/scheduler/classes.c core/scheduler/model.c
 * max_len: 8192 */
#include "core/lib/json.h"
#include "core/scheduler/classes.h"
#include "core/scheduler/graph.h"
#include "core/scheduler/plan.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void walk(struct tn_workflow *workflow)
{
    char text[300];

    for (size_t j = 0; j < workflow->job_count; j++) {
        struct tn_job *job = &workflow->jobs[j];
        struct tn_job **upstream = NULL;
        char *edges = tn_plan_write_edges(job);

        tn_graph_waits_text(job, text, sizeof(text));
        for (size_t n = tn_graph_upstream(job, &upstream); n > 0; n--)
            if (upstream[n - 1]->order >= job->order)
                abort();
        if (tn_plan_read_edges(job, edges) != 0)
            abort();
        free(upstream);
        free(edges);
    }
}

static void read_plan(const char *text, size_t size)
{
    auto_json cJSON *plan = tn_json_parse(text, size, "a plan", NULL);
    struct tn_pipeline *pipeline = tn_pipeline_new("p");
    struct tn_err err = TN_ERR_INIT;
    uint64_t jobs;
    uint64_t tasks;

    pipeline->request = cJSON_CreateObject();
    if (plan != NULL && tn_plan_read(pipeline, plan, &err) == 0) {
        tn_plan_count(pipeline, &jobs, &tasks);
        if (tasks > TN_PLAN_TASKS_MAX)
            abort();
        tn_plan_number(pipeline, 1, 1);
        for (size_t w = 0; w < pipeline->workflow_count; w++)
            walk(&pipeline->workflows[w]);
    } else if (plan != NULL && err.text[0] == '\0') {
        abort();
    }
    tn_pipeline_free(pipeline);
}

static void read_edges(const char *text)
{
    struct tn_pipeline *pipeline = tn_pipeline_new("p");
    struct tn_workflow *workflow;

    tn_pipeline_set_workflows(pipeline, 1);
    workflow = &pipeline->workflows[0];
    tn_workflow_set_jobs(workflow, 4);
    tn_text_set(&workflow->name, "w");
    for (size_t j = 0; j < 4; j++)
        tn_text_set(&workflow->jobs[j].name, "j");
    if (tn_plan_read_edges(&workflow->jobs[3], text) == 0 && tn_graph_link(workflow, NULL) == 0)
        walk(workflow);
    tn_pipeline_free(pipeline);
}

static void read_class(char *text)
{
    char *name = strchr(text, '\n');
    struct tn_err err = TN_ERR_INIT;

    if (name != NULL)
        *name++ = '\0';
    if (tn_class_find(text, name, &err) == NULL && err.text[0] == '\0')
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text;

    if (size == 0)
        return 0;
    text = strndup((const char *)data + 1, size - 1);
    if (data[0] % 4 == 1)
        read_edges(text);
    else if (data[0] % 4 == 2)
        read_class(text);
    else
        read_plan((const char *)data + 1, size - 1);
    free(text);
    return 0;
}
