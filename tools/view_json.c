/* One JSON object a line: tools/README.md lists them. */
#include "core/lib/json.h"
#include "tools/text.h"
#include "tools/view_ops.h"

#include <stdlib.h>
#include <string.h>

static void print(cJSON *object)
{
    struct tn_buf line = TN_BUF_INIT;
    char *text = tn_json_print(object);

    tn_buf_adds(&line, text);
    tn_buf_adds(&line, "\n");
    view_ops__write(line.data, line.len);
    tn_buf_free(&line);
    free(text);
    cJSON_Delete(object);
}

static cJSON *object_of(const char *type)
{
    cJSON *object = cJSON_CreateObject();

    cJSON_AddStringToObject(object, "type", type);
    return object;
}

static void add_state(cJSON *object, const char *state, const char *reason)
{
    cJSON_AddStringToObject(object, "state", state);
    if (reason[0] != '\0')
        cJSON_AddStringToObject(object, "reason", reason);
}

static void add_seconds(cJSON *object, uint64_t started, uint64_t ended)
{
    if (started != 0 && ended >= started)
        cJSON_AddNumberToObject(object, "seconds", (double)(ended - started) / 1000);
}

static void add_place(cJSON *object, const struct model_change *change)
{
    if (change->workflow != NULL)
        cJSON_AddStringToObject(object, "workflow", change->workflow->name);
    if (change->job != NULL)
        cJSON_AddStringToObject(object, "job", change->job->name);
    if (change->task != NULL)
        cJSON_AddNumberToObject(object, "index", change->task->index);
}

static cJSON *step_object(const struct model_change *change)
{
    const struct model_step *step = change->step;
    cJSON *object = object_of("step");

    add_place(object, change);
    cJSON_AddNumberToObject(object, "step", step->number);
    cJSON_AddStringToObject(object, "name", step->name);
    add_state(object, step->state, step->reason);
    if (step->has_exit)
        cJSON_AddNumberToObject(object, "exit", step->exit);
    if (step->signal != 0)
        cJSON_AddNumberToObject(object, "signal", step->signal);
    if (step->dropped > 0)
        cJSON_AddNumberToObject(object, "dropped", (double)step->dropped);
    add_seconds(object, step->started, step->ended);
    return object;
}

static void json_change(struct view *view, const struct model_change *change)
{
    cJSON *object = NULL;

    switch (change->what) {
    case MODEL_PIPELINE:
        object = object_of("pipeline");
        cJSON_AddStringToObject(object, "id", view->model->id);
        cJSON_AddNumberToObject(object, "number", (double)view->model->number);
        add_state(object, view->model->state, "");
        break;
    case MODEL_WORKFLOW:
        object = object_of("workflow");
        add_place(object, change);
        add_state(object, change->workflow->state, "");
        break;
    case MODEL_JOB:
        object = object_of("job");
        add_place(object, change);
        add_state(object, change->job->state, change->job->reason);
        break;
    case MODEL_TASK:
        object = object_of("task");
        add_place(object, change);
        cJSON_AddNumberToObject(object, "total", change->task->total);
        cJSON_AddNumberToObject(object, "attempt", change->task->attempt);
        add_state(object, change->task->state, change->task->reason);
        break;
    case MODEL_STEP:
        object = step_object(change);
        break;
    }
    print(object);
}

static void json_lines(struct view *view, struct view_step *step, const char *text, size_t length)
{
    const struct follow_source *source = step->source;
    struct tn_buf valid = TN_BUF_INIT;
    cJSON *object = object_of("output");

    text_utf8(text, length, &valid);
    cJSON_AddStringToObject(object, "workflow", source->workflow);
    cJSON_AddStringToObject(object, "job", source->job);
    cJSON_AddNumberToObject(object, "index", source->index);
    cJSON_AddNumberToObject(object, "step", source->number);
    cJSON_AddStringToObject(object, "name", source->step);
    cJSON_AddStringToObject(object, "text", valid.data);
    print(object);
    tn_buf_free(&valid);
}

static void json_notice(struct view *view, const char *text)
{
    cJSON *object = object_of("notice");

    cJSON_AddStringToObject(object, "text", text);
    print(object);
}

const struct view_ops view_json = {.change = json_change, .lines = json_lines, .notice = json_notice};
