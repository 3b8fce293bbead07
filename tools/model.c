#include "tools/model.h"

#include "core/lib/fs.h"
#include "core/lib/json.h"
#include "core/lib/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS_MAX = 100000 }; /* workflows, jobs, tasks or steps in one list */

static void grow(void *list, size_t count, const void *item)
{
    void ***pointers = list;
    void **grown = reallocarray(*pointers, count + 1, sizeof(void *));

    if (grown == NULL)
        tn_fatal(3, "out of memory: %zu rows of a pipeline", count);
    memcpy(&grown[count], &item, sizeof(item));
    *pointers = grown;
}

static void *fresh(size_t size)
{
    void *memory = calloc(1, size);

    if (memory == NULL)
        tn_fatal(3, "out of memory: a row of a pipeline");
    return memory;
}

static char *copy(const char *text)
{
    return tn_fs_path("%s", text);
}

/* Takes the member over if it is there; true if that changed the text. */
static bool take(char **text, const cJSON *row, const char *key)
{
    const cJSON *member = cJSON_GetObjectItemCaseSensitive(row, key);
    const char *value = cJSON_IsString(member) ? member->valuestring : "";

    if (member == NULL || strcmp(*text, value) == 0)
        return false;
    free(*text);
    *text = copy(value);
    return true;
}

/* A reason that is missing is gone: unlike the other members it does not outlive the state that it explains. */
static bool take_reason(char **text, const cJSON *row)
{
    const char *value = tn_json_string(row, "reason", "");

    if (strcmp(*text, value) == 0)
        return false;
    free(*text);
    *text = copy(value);
    return true;
}

static void set_empty(char ***texts, size_t count)
{
    for (size_t i = 0; i < count; i++)
        *texts[i] = copy("");
}
#define SET_EMPTY(...) set_empty((char **[]){__VA_ARGS__}, sizeof((char **[]){__VA_ARGS__}) / sizeof(char **))

static void take_time(uint64_t *time, const cJSON *row, const char *key)
{
    if (cJSON_GetObjectItemCaseSensitive(row, key) != NULL)
        *time = tn_json_u64(row, key, 0);
}

static void tell(struct model *model, struct model_change change)
{
    if (model->sink != NULL)
        model->sink->on_change(model->sink->arg, &change);
}

/* An id is text (a UUID) or a number; both are compared as text. */
static const char *id_text(const cJSON *row, const char *key, char *room, size_t size)
{
    const char *text = tn_json_string(row, key, NULL);

    if (text != NULL)
        return text;
    snprintf(room, size, "%llu", (unsigned long long)tn_json_u64(row, key, 0));
    return room;
}

void model_init(struct model *model, const char *pipeline, struct model_change_sink *sink)
{
    memset(model, 0, sizeof(*model));
    model->id = copy(pipeline);
    model->state = copy("");
    model->sink = sink;
}

static void free_steps(struct model_step **steps, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct model_step *step = steps[i];

        free(step->name);
        free(step->type);
        free(step->state);
        free(step->reason);
        free(step->log);
        free(step);
    }
    free(steps);
}

static void free_job(struct model_job *job)
{
    for (size_t i = 0; i < job->task_count; i++) {
        struct model_task *task = job->tasks[i];

        free_steps(task->steps, task->step_count);
        free_steps(task->former, task->former_count);
        free(task->id_text);
        free(task->state);
        free(task->reason);
        free(task->node);
        free(task->folder);
        free(task->artifacts);
        free(task->tests.folder);
        cJSON_Delete(task->tests.failures);
        free(task);
    }
    free(job->tasks);
    free(job->id);
    free(job->name);
    free(job->state);
    free(job->reason);
    free(job);
}

void model_free(struct model *model)
{
    for (size_t i = 0; i < model->workflow_count; i++) {
        struct model_workflow *workflow = model->workflows[i];

        for (size_t j = 0; j < workflow->job_count; j++)
            free_job(workflow->jobs[j]);
        free(workflow->jobs);
        free(workflow->id);
        free(workflow->name);
        free(workflow->state);
        free(workflow);
    }
    free(model->workflows);
    free(model->id);
    free(model->state);
    memset(model, 0, sizeof(*model));
}

static struct model_workflow *find_workflow(const struct model *model, const char *id)
{
    for (size_t i = 0; i < model->workflow_count; i++)
        if (strcmp(model->workflows[i]->id, id) == 0)
            return model->workflows[i];
    return NULL;
}

static struct model_job *find_job(const struct model *model, const char *id)
{
    for (size_t i = 0; i < model->workflow_count; i++)
        for (size_t j = 0; j < model->workflows[i]->job_count; j++)
            if (strcmp(model->workflows[i]->jobs[j]->id, id) == 0)
                return model->workflows[i]->jobs[j];
    return NULL;
}

static struct model_task *find_task_text(const struct model *model, const char *id)
{
    for (size_t i = 0; i < model->workflow_count; i++)
        for (size_t j = 0; j < model->workflows[i]->job_count; j++)
            for (size_t k = 0; k < model->workflows[i]->jobs[j]->task_count; k++)
                if (strcmp(model->workflows[i]->jobs[j]->tasks[k]->id_text, id) == 0)
                    return model->workflows[i]->jobs[j]->tasks[k];
    return NULL;
}

struct model_task *model_find_task(const struct model *model, uint64_t id)
{
    char text[24];

    snprintf(text, sizeof(text), "%llu", (unsigned long long)id);
    return find_task_text(model, text);
}

static struct model_step *find_step(const struct model_task *task, unsigned number)
{
    for (size_t i = 0; i < task->step_count; i++)
        if (task->steps[i]->number == number)
            return task->steps[i];
    return NULL;
}

static struct model_step *add_step(struct model_task *task, unsigned number)
{
    struct model_step *step = fresh(sizeof(*step));
    size_t at;

    step->number = number;
    step->attempt = task->attempt;
    SET_EMPTY(&step->name, &step->type, &step->state, &step->reason, &step->log);
    grow(&task->steps, task->step_count, step);
    for (at = task->step_count++; at > 0 && task->steps[at - 1]->number > number; at--)
        task->steps[at] = task->steps[at - 1];
    task->steps[at] = step;
    return step;
}

static void update_step(struct model *model, struct model_task *task, const cJSON *row)
{
    double number = tn_json_number(row, "step", -1);
    struct model_step *step;
    bool changed;

    if (number < 0 || number >= ROWS_MAX)
        return;
    step = find_step(task, (unsigned)number);
    if (step == NULL)
        step = add_step(task, (unsigned)number);
    take(&step->name, row, "name");
    take(&step->type, row, "type");
    take(&step->log, row, "log");
    if (cJSON_GetObjectItemCaseSensitive(row, "exit") != NULL) {
        step->has_exit = true;
        step->exit = tn_json_int(row, "exit", 0);
    }
    step->signal = tn_json_int(row, "signal", 0);
    step->dropped = tn_json_u64(row, "dropped", 0);
    take_time(&step->started, row, "started");
    take_time(&step->ended, row, "ended");
    changed = take(&step->state, row, "state");
    take_reason(&step->reason, row);
    if (changed)
        tell(model, (struct model_change){MODEL_STEP, task->job->workflow, task->job, task, step});
}

static void take_tests(struct model_tests *tests, const cJSON *row)
{
    const cJSON *object = tn_json_get(row, "tests");

    if (object == NULL)
        return;
    tests->known = true;
    tests->total = (unsigned)tn_json_u64(object, "total", 0);
    tests->failed = (unsigned)tn_json_u64(object, "failed", 0);
    tests->skipped = (unsigned)tn_json_u64(object, "skipped", 0);
    tests->flaky = (unsigned)tn_json_u64(object, "flaky", 0);
    free(tests->folder);
    cJSON_Delete(tests->failures);
    tests->folder = copy(tn_json_string(object, "folder", ""));
    tests->failures = cJSON_Duplicate(tn_json_get(object, "failures"), true);
}

static void update_task(struct model *model, struct model_job *job, const cJSON *row)
{
    char room[24];
    const char *id = id_text(row, "id", room, sizeof(room));
    struct model_task *task = find_task_text(model, id);
    uint32_t attempt = (uint32_t)tn_json_u64(row, "attempt", 0);
    bool changed;
    bool ended;
    const cJSON *step;

    if (task == NULL) {
        if (job == NULL || job->task_count >= ROWS_MAX)
            return;
        task = fresh(sizeof(*task));
        task->job = job;
        task->id_text = copy(id);
        SET_EMPTY(&task->state, &task->reason, &task->node, &task->folder, &task->artifacts);
        task->id = strtoull(id, NULL, 10);
        grow(&job->tasks, job->task_count++, task);
    }
    if (attempt > task->attempt) {
        for (size_t i = 0; i < task->step_count; i++)
            grow(&task->former, task->former_count++, task->steps[i]);
        task->step_count = 0;
        task->started = task->ended = 0;
        task->attempt = attempt;
    }
    task->index = (unsigned)tn_json_u64(row, "index", task->index);
    task->total = (unsigned)tn_json_u64(row, "total", task->total != 0 ? task->total : 1);
    take(&task->node, row, "node");
    take(&task->folder, row, "folder");
    take(&task->artifacts, row, "artifacts");
    take_tests(&task->tests, row);
    take_time(&task->started, row, "started");
    take_time(&task->ended, row, "ended");
    ended = model_state_ended(task->state);
    changed = take(&task->state, row, "state");
    changed |= take_reason(&task->reason, row) && !ended;
    if (changed)
        tell(model, (struct model_change){MODEL_TASK, task->job->workflow, task->job, task, NULL});
    cJSON_ArrayForEach (step, tn_json_get(row, "steps"))
        update_step(model, task, step);
}

static void update_job(struct model *model, struct model_workflow *workflow, const cJSON *row)
{
    char room[24];
    const char *id = id_text(row, "id", room, sizeof(room));
    struct model_job *job = find_job(model, id);
    bool changed;
    const cJSON *task;

    if (job == NULL) {
        if (workflow == NULL || workflow->job_count >= ROWS_MAX)
            return;
        job = fresh(sizeof(*job));
        job->workflow = workflow;
        job->id = copy(id);
        SET_EMPTY(&job->name, &job->state, &job->reason);
        grow(&workflow->jobs, workflow->job_count++, job);
    }
    take(&job->name, row, "name");
    take_time(&job->started, row, "started");
    take_time(&job->ended, row, "ended");
    changed = take_reason(&job->reason, row) && !model_state_ended(job->state);
    /* What happened in a job is told before the job's end. */
    cJSON_ArrayForEach (task, tn_json_get(row, "tasks"))
        update_task(model, job, task);
    changed |= take(&job->state, row, "state");
    if (changed)
        tell(model, (struct model_change){MODEL_JOB, job->workflow, job, NULL, NULL});
}

static void update_workflow(struct model *model, const cJSON *row)
{
    char room[24];
    const char *id = id_text(row, "id", room, sizeof(room));
    struct model_workflow *workflow = find_workflow(model, id);
    const cJSON *job;

    if (workflow == NULL) {
        if (model->workflow_count >= ROWS_MAX)
            return;
        workflow = fresh(sizeof(*workflow));
        workflow->id = copy(id);
        SET_EMPTY(&workflow->name, &workflow->state);
        grow(&model->workflows, model->workflow_count++, workflow);
    }
    take(&workflow->name, row, "name");
    cJSON_ArrayForEach (job, tn_json_get(row, "jobs"))
        update_job(model, workflow, job);
    if (take(&workflow->state, row, "state"))
        tell(model, (struct model_change){MODEL_WORKFLOW, workflow, NULL, NULL, NULL});
}

static void update_pipeline(struct model *model, const cJSON *row)
{
    model->number = tn_json_u64(row, "number", model->number);
    take_time(&model->created, row, "created");
    take_time(&model->ended, row, "ended");
    if (take(&model->state, row, "state"))
        tell(model, (struct model_change){MODEL_PIPELINE, NULL, NULL, NULL, NULL});
}

int model_snapshot(struct model *model, const cJSON *body, struct tn_err *err)
{
    const cJSON *pipeline = tn_json_get(body, "pipeline");
    const cJSON *workflow;

    if (pipeline == NULL)
        return tn_err_set(err, TN_ERR_PROTOCOL, "the scheduler's snapshot has no member \"pipeline\"");
    if (strcmp(tn_json_string(pipeline, "id", ""), model->id) != 0)
        return tn_err_set(err, TN_ERR_PROTOCOL, "the scheduler's snapshot is of pipeline %s, asked was %s",
                          tn_json_string(pipeline, "id", "(none)"), model->id);
    /* An answer that was overtaken by events would take jobs back to states that they have left. */
    if (model->known && tn_json_u64(body, "sequence", UINT64_MAX) < model->sequence)
        return 0;
    cJSON_ArrayForEach (workflow, tn_json_get(body, "workflows"))
        update_workflow(model, workflow);
    update_pipeline(model, pipeline);
    model->sequence = tn_json_u64(body, "sequence", model->sequence);
    model->known = true;
    return 0;
}

static void apply(struct model *model, const char *what, const cJSON *event)
{
    char room[24];

    if (strcmp(what, "pipeline") == 0) {
        update_pipeline(model, event);
    } else if (strcmp(what, "workflow") == 0) {
        update_workflow(model, event);
    } else if (strcmp(what, "job") == 0) {
        update_job(model, find_workflow(model, id_text(event, "workflow_id", room, sizeof(room))), event);
    } else if (strcmp(what, "task") == 0) {
        update_task(model, find_job(model, id_text(event, "job_id", room, sizeof(room))), event);
    } else if (strcmp(what, "step") == 0) {
        struct model_task *task = find_task_text(model, id_text(event, "task_id", room, sizeof(room)));
        uint32_t attempt = (uint32_t)tn_json_u64(event, "attempt", task != NULL ? task->attempt : 0);

        if (task != NULL && attempt == task->attempt)
            update_step(model, task, event);
    }
}

enum model_result model_event(struct model *model, const cJSON *event)
{
    uint64_t sequence = tn_json_u64(event, "sequence", 0);
    const char *pipeline = tn_json_string(event, "pipeline", "");

    if (!model->known)
        return MODEL_GAP;
    if (sequence <= model->sequence)
        return MODEL_STALE;
    if (sequence > model->sequence + 1)
        return MODEL_GAP;
    model->sequence = sequence;
    if (strcmp(pipeline, model->id) != 0)
        return MODEL_STALE;
    apply(model, tn_json_string(event, "event", ""), event);
    return MODEL_APPLIED;
}

bool model_ended(const struct model *model)
{
    return model->known && model->ended != 0;
}

bool model_state_failed(const char *state)
{
    return strcmp(state, "failed") == 0 || strcmp(state, "timed_out") == 0 || strcmp(state, "canceled") == 0 ||
           strcmp(state, "error") == 0 || strcmp(state, "unauthorized") == 0;
}

bool model_state_ended(const char *state)
{
    return model_state_failed(state) || strcmp(state, "succeeded") == 0 || strcmp(state, "success") == 0 ||
           strcmp(state, "skipped") == 0 || strcmp(state, "not_run") == 0 ||
           strcmp(state, "infrastructure_failure") == 0;
}

int model_exit_code(const struct model *model)
{
    bool failed = false;
    bool infrastructure = false;
    bool succeeded = strcmp(model->state, "succeeded") == 0 || strcmp(model->state, "success") == 0;

    for (size_t i = 0; i < model->workflow_count; i++)
        for (size_t j = 0; j < model->workflows[i]->job_count; j++) {
            const char *state = model->workflows[i]->jobs[j]->state;

            failed |= model_state_failed(state);
            infrastructure |= strcmp(state, "infrastructure_failure") == 0;
        }
    if (failed)
        return 1;
    if (infrastructure)
        return 3;
    return succeeded ? 0 : 1;
}

struct model_tests model_job_tests(const struct model_job *job)
{
    struct model_tests sum = {0};

    for (size_t i = 0; i < job->task_count; i++) {
        const struct model_tests *tests = &job->tasks[i]->tests;

        sum.known |= tests->known;
        sum.total += tests->total;
        sum.failed += tests->failed;
        sum.skipped += tests->skipped;
        sum.flaky += tests->flaky;
    }
    return sum;
}
