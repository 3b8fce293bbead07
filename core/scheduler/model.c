#include "core/scheduler/model.h"
#include "core/lib/log.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

static const char *const outcomes[] = {
#define ROW(name, text) [TN_OUTCOME_##name] = text,
    TN_OUTCOMES(ROW)
#undef ROW
};

static const char *const job_types[] = {
    [TN_JOB_BUILD] = "build", [TN_JOB_APPROVAL] = "approval", [TN_JOB_NO_OP] = "no-op"};

/* The first three are not ends. */
static const char *const states[] = {"compiling", "running", "failing",  "on_hold",
                                     "success",   "failed",  "canceled", "error"};
enum { FIRST_END = 4, STATES = sizeof(states) / sizeof(states[0]) };

static int find(const char *const *names, size_t count, const char *name)
{
    for (size_t i = 0; name != NULL && i < count; i++)
        if (strcmp(names[i], name) == 0)
            return (int)i;
    return -1;
}

const char *tn_outcome_name(enum tn_outcome outcome)
{
    return (unsigned)outcome < TN_OUTCOME_COUNT ? outcomes[outcome] : "?";
}

int tn_outcome_parse(const char *name)
{
    return find(outcomes, TN_OUTCOME_COUNT, name);
}

const char *tn_job_state_name(int state)
{
    return state == TN_JOB_ON_HOLD ? "on_hold" : tn_task_state_name((enum tn_task_state)state);
}

int tn_job_state_parse(const char *name)
{
    return name != NULL && strcmp(name, "on_hold") == 0 ? TN_JOB_ON_HOLD : tn_task_state_parse(name);
}

const char *tn_job_type_name(enum tn_job_type type)
{
    return job_types[type];
}

int tn_job_type_parse(const char *name)
{
    return find(job_types, sizeof(job_types) / sizeof(job_types[0]), name);
}

const char *tn_state_text(const char *text)
{
    int i = find(states, STATES, text);

    return i >= 0 ? states[i] : NULL;
}

bool tn_state_ended(const char *text)
{
    return find(states, STATES, text) >= FIRST_END;
}

void *tn_model_alloc(size_t count, size_t size)
{
    void *memory = calloc(count != 0 ? count : 1, size);

    if (memory == NULL)
        tn_fatal(3, "out of memory: %zu rows of %zu bytes", count, size);
    return memory;
}

void tn_text_set(char **place, const char *text)
{
    char *copy = text != NULL ? strdup(text) : NULL;

    if (text != NULL && copy == NULL)
        tn_fatal(3, "out of memory: a text of %zu bytes", strlen(text));
    free(*place);
    *place = copy;
}

void tn_id_make(char out[TN_ID_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    uint8_t bytes[16];
    char *to = out;

    if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
        tn_fatal(3, "the system gives no random bytes (getrandom)");
    bytes[6] = (uint8_t)((bytes[6] & 0x0fu) | 0x40u);
    bytes[8] = (uint8_t)((bytes[8] & 0x3fu) | 0x80u);
    for (size_t i = 0; i < sizeof(bytes); i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *to++ = '-';
        *to++ = digits[bytes[i] >> 4];
        *to++ = digits[bytes[i] & 15u];
    }
    *to = '\0';
}

struct tn_pipeline *tn_pipeline_new(const char *id)
{
    struct tn_pipeline *pipeline = tn_model_alloc(1, sizeof(*pipeline));

    tn_text_set(&pipeline->id, id);
    pipeline->state = tn_state_text("compiling");
    return pipeline;
}

void tn_pipeline_set_workflows(struct tn_pipeline *pipeline, size_t count)
{
    pipeline->workflows = tn_model_alloc(count, sizeof(*pipeline->workflows));
    pipeline->workflow_count = count;
    for (size_t i = 0; i < count; i++) {
        pipeline->workflows[i].pipeline = pipeline;
        pipeline->workflows[i].position = i;
        pipeline->workflows[i].state = tn_state_text("running");
        TAILQ_INIT(&pipeline->workflows[i].ready);
    }
}

void tn_workflow_set_jobs(struct tn_workflow *workflow, size_t count)
{
    workflow->jobs = tn_model_alloc(count, sizeof(*workflow->jobs));
    workflow->job_count = count;
    for (size_t i = 0; i < count; i++) {
        workflow->jobs[i].workflow = workflow;
        workflow->jobs[i].position = i;
    }
}

void tn_job_set_tasks(struct tn_job *job, size_t count)
{
    job->tasks = tn_model_alloc(count, sizeof(*job->tasks));
    job->task_count = count;
    for (size_t i = 0; i < count; i++) {
        job->tasks[i].job = job;
        job->tasks[i].index = (unsigned)i;
        job->tasks[i].attempt = 1;
    }
}

bool tn_task_put_step(struct tn_task *task, unsigned number, bool ended, const char *body)
{
    size_t at = task->step_count;

    while (at > 0 && task->steps[at - 1].number >= number)
        at--;
    if (at == task->step_count || task->steps[at].number != number) {
        struct tn_step *grown = realloc(task->steps, (task->step_count + 1) * sizeof(*grown));

        if (grown == NULL)
            tn_fatal(3, "out of memory: %zu steps", task->step_count + 1);
        task->steps = grown;
        memmove(grown + at + 1, grown + at, (task->step_count - at) * sizeof(*grown));
        grown[at] = (struct tn_step){.number = number};
        task->step_count++;
    }
    if (task->steps[at].ended && !ended)
        return false;
    task->steps[at].ended = ended;
    tn_text_set(&task->steps[at].body, body);
    return true;
}

void tn_task_clear_steps(struct tn_task *task)
{
    for (size_t i = 0; i < task->step_count; i++)
        free(task->steps[i].body);
    free(task->steps);
    task->steps = NULL;
    task->step_count = 0;
}

static void free_job(struct tn_job *job)
{
    for (size_t i = 0; i < job->task_count; i++) {
        struct tn_task *task = &job->tasks[i];

        tn_task_clear_steps(task);
        free(task->reason);
        free(task->folder);
        free(task->artifacts);
        free(task->tests);
    }
    free(job->tasks);
    free(job->requires);
    free(job->dependents);
    free(job->name);
    free(job->kind);
    free(job->definition);
    free(job->reason);
    free(job->fault);
}

void tn_pipeline_drop_workflows(struct tn_pipeline *pipeline)
{
    for (size_t w = 0; w < pipeline->workflow_count; w++) {
        struct tn_workflow *workflow = &pipeline->workflows[w];

        for (size_t j = 0; j < workflow->job_count; j++)
            free_job(&workflow->jobs[j]);
        free(workflow->jobs);
        free(workflow->name);
    }
    free(pipeline->workflows);
    pipeline->workflows = NULL;
    pipeline->workflow_count = 0;
}

void tn_pipeline_free(struct tn_pipeline *pipeline)
{
    if (pipeline == NULL)
        return;
    tn_pipeline_drop_workflows(pipeline);
    cJSON_Delete(pipeline->request);
    cJSON_Delete(pipeline->environment);
    cJSON_Delete(pipeline->contexts);
    free(pipeline->diagnostics);
    free(pipeline->id);
    free(pipeline);
}
