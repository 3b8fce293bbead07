#include "core/scheduler/events.h"
#include "core/scheduler/graph.h"

#include <stdlib.h>

static void add_text(cJSON *object, const char *key, const char *text)
{
    if (text != NULL && text[0] != '\0')
        cJSON_AddStringToObject(object, key, text);
}

static void add_time(cJSON *object, const char *key, int64_t time)
{
    if (time != 0)
        cJSON_AddNumberToObject(object, key, (double)time);
}

/* A member whose JSON text is kept. */
static void add_json(cJSON *object, const char *key, const char *text)
{
    cJSON *item = text != NULL ? cJSON_Parse(text) : NULL;

    if (item != NULL)
        cJSON_AddItemToObject(object, key, item);
}

/* ---- rows ---- */

static void add_pipeline(cJSON *row, const struct tn_pipeline *pipeline)
{
    cJSON_AddStringToObject(row, "id", pipeline->id);
    cJSON_AddNumberToObject(row, "number", (double)pipeline->number);
    cJSON_AddStringToObject(row, "state", pipeline->state);
    add_time(row, "created", pipeline->created);
    add_time(row, "ended", pipeline->ended);
}

static void add_workflow(cJSON *row, const struct tn_workflow *workflow)
{
    cJSON_AddStringToObject(row, "id", workflow->id);
    cJSON_AddStringToObject(row, "name", workflow->name);
    cJSON_AddStringToObject(row, "state", workflow->state);
    add_time(row, "created", workflow->created);
    add_time(row, "ended", workflow->ended);
}

/* A job says what it itself waits for; what its first waiting task waits for when that is all. */
static void add_job_reason(cJSON *row, const struct tn_view *view, const struct tn_job *job)
{
    char text[512] = "";

    if (job->reason == NULL && job->state == TN_TASK_QUEUED && view->why != NULL && job->task_count > 0)
        add_text(row, "reason", view->why(view->arg, &job->tasks[0], text, sizeof(text)));
    else
        add_text(row, "reason", job->reason);
}

static void add_job(cJSON *row, const struct tn_view *view, const struct tn_job *job)
{
    cJSON *requires;

    cJSON_AddStringToObject(row, "id", job->id);
    cJSON_AddStringToObject(row, "name", job->name);
    cJSON_AddNumberToObject(row, "number", (double)job->number);
    cJSON_AddStringToObject(row, "type", tn_job_type_name(job->type));
    add_text(row, "kind", job->kind);
    cJSON_AddStringToObject(row, "state", tn_job_state_name(job->state));
    add_job_reason(row, view, job);
    requires = cJSON_AddArrayToObject(row, "requires");
    for (size_t r = 0; r < job->require_count; r++)
        cJSON_AddItemToArray(requires, cJSON_CreateString(job->workflow->jobs[job->requires[r].job].name));
    add_time(row, "started", job->started);
    add_time(row, "ended", job->ended);
}

static void add_task(cJSON *row, const struct tn_view *view, const struct tn_task *task)
{
    char text[512] = "";

    tn_json_add_u64(row, "id", task->id);
    cJSON_AddNumberToObject(row, "index", task->index);
    cJSON_AddNumberToObject(row, "total", (double)task->job->task_count);
    cJSON_AddStringToObject(row, "state", tn_task_state_name(task->state));
    if (task->state == TN_TASK_QUEUED && view->why != NULL)
        add_text(row, "reason", view->why(view->arg, task, text, sizeof(text)));
    else
        add_text(row, "reason", task->reason);
    cJSON_AddNumberToObject(row, "attempt", task->attempt);
    if (task->executor != 0)
        add_text(row, "node", view->node);
    add_time(row, "started", task->started);
    add_time(row, "ended", task->ended);
    add_text(row, "folder", task->folder);
    add_json(row, "artifacts", task->artifacts);
    add_json(row, "tests", task->tests);
}

/* ---- events ---- */

static cJSON *event_new(const char *name, const struct tn_pipeline *pipeline)
{
    cJSON *event = cJSON_CreateObject();

    cJSON_AddStringToObject(event, "event", name);
    cJSON_AddStringToObject(event, "pipeline", pipeline->id);
    return event;
}

cJSON *tn_event_pipeline(const struct tn_pipeline *pipeline)
{
    cJSON *event = event_new("pipeline", pipeline);

    add_pipeline(event, pipeline);
    return event;
}

cJSON *tn_event_workflow(const struct tn_workflow *workflow)
{
    cJSON *event = event_new("workflow", workflow->pipeline);

    add_workflow(event, workflow);
    return event;
}

cJSON *tn_event_job(const struct tn_view *view, const struct tn_job *job)
{
    cJSON *event = event_new("job", job->workflow->pipeline);

    cJSON_AddStringToObject(event, "workflow_id", job->workflow->id);
    add_job(event, view, job);
    return event;
}

cJSON *tn_event_task(const struct tn_view *view, const struct tn_task *task)
{
    cJSON *event = event_new("task", task->job->workflow->pipeline);

    cJSON_AddStringToObject(event, "workflow_id", task->job->workflow->id);
    cJSON_AddStringToObject(event, "job_id", task->job->id);
    add_task(event, view, task);
    return event;
}

cJSON *tn_event_step(const struct tn_task *task, cJSON *body)
{
    static const char *const ours[] = {"event", "pipeline", "workflow_id", "job_id", "task_id", "attempt", "sequence"};

    for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
        cJSON_DeleteItemFromObjectCaseSensitive(body, ours[i]);
    cJSON_AddStringToObject(body, "event", "step");
    cJSON_AddStringToObject(body, "pipeline", task->job->workflow->pipeline->id);
    cJSON_AddStringToObject(body, "workflow_id", task->job->workflow->id);
    cJSON_AddStringToObject(body, "job_id", task->job->id);
    tn_json_add_u64(body, "task_id", task->id);
    cJSON_AddNumberToObject(body, "attempt", task->attempt);
    return body;
}

/* ---- snapshot ---- */

static cJSON *push(cJSON *array)
{
    cJSON *row = cJSON_CreateObject();

    cJSON_AddItemToArray(array, row);
    return row;
}

static void add_tasks(cJSON *row, const struct tn_view *view, const struct tn_job *job)
{
    cJSON *tasks = cJSON_AddArrayToObject(row, "tasks");

    for (size_t t = 0; t < job->task_count; t++) {
        const struct tn_task *task = &job->tasks[t];
        cJSON *at = push(tasks);
        cJSON *steps;

        add_task(at, view, task);
        steps = cJSON_AddArrayToObject(at, "steps");
        for (size_t i = 0; i < task->step_count; i++) {
            cJSON *step = cJSON_Parse(task->steps[i].body);

            if (step != NULL)
                cJSON_AddItemToArray(steps, step);
        }
    }
}

cJSON *tn_event_snapshot(const struct tn_view *view, const struct tn_pipeline *pipeline)
{
    cJSON *body = cJSON_CreateObject();
    cJSON *row = cJSON_AddObjectToObject(body, "pipeline");
    cJSON *workflows = cJSON_AddArrayToObject(body, "workflows");

    add_pipeline(row, pipeline);
    add_json(row, "diagnostics", pipeline->diagnostics);
    for (size_t w = 0; w < pipeline->workflow_count; w++) {
        const struct tn_workflow *workflow = &pipeline->workflows[w];
        cJSON *at = push(workflows);
        cJSON *jobs;

        add_workflow(at, workflow);
        jobs = cJSON_AddArrayToObject(at, "jobs");
        for (size_t j = 0; j < workflow->job_count; j++) {
            cJSON *job = push(jobs);

            add_job(job, view, &workflow->jobs[j]);
            add_tasks(job, view, &workflow->jobs[j]);
        }
    }
    tn_json_add_u64(body, "sequence", view->sequence);
    return body;
}
