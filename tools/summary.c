#include "tools/summary.h"

#include "core/lib/buf.h"
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/json.h"
#include "core/lib/log.h"
#include "tools/tail.h"
#include "tools/text.h"

#include <libsmartcols.h>
#include <stdlib.h>
#include <string.h>

enum { TAIL_LINES = 20, FAILURES_MAX = 50 };

static double seconds(uint64_t started, uint64_t ended)
{
    return started != 0 && ended > started ? (double)(ended - started) / 1000 : 0;
}

static void add_text(cJSON *object, const char *key, const char *text)
{
    if (text[0] != '\0')
        cJSON_AddStringToObject(object, key, text);
}

static void add_tests(cJSON *object, const struct model_tests *tests)
{
    cJSON *item;

    if (!tests->known)
        return;
    item = cJSON_AddObjectToObject(object, "tests");
    cJSON_AddNumberToObject(item, "total", tests->total);
    cJSON_AddNumberToObject(item, "failed", tests->failed);
    cJSON_AddNumberToObject(item, "skipped", tests->skipped);
    cJSON_AddNumberToObject(item, "flaky", tests->flaky);
    if (tests->folder != NULL)
        add_text(item, "folder", tests->folder);
    if (tests->failures != NULL)
        cJSON_AddItemToObject(item, "failures", cJSON_Duplicate(tests->failures, true));
}

static cJSON *step_json(const struct model_step *step)
{
    cJSON *object = cJSON_CreateObject();

    cJSON_AddStringToObject(object, "name", step->name);
    cJSON_AddStringToObject(object, "state", step->state);
    if (step->has_exit)
        cJSON_AddNumberToObject(object, "exit", step->exit);
    if (step->signal != 0)
        cJSON_AddNumberToObject(object, "signal", step->signal);
    add_text(object, "reason", step->reason);
    add_text(object, "log", step->log);
    if (step->dropped > 0)
        cJSON_AddNumberToObject(object, "dropped", (double)step->dropped);
    cJSON_AddNumberToObject(object, "seconds", seconds(step->started, step->ended));
    return object;
}

static cJSON *task_json(const struct model_task *task)
{
    cJSON *object = cJSON_CreateObject();
    cJSON *steps;

    cJSON_AddNumberToObject(object, "index", task->index);
    cJSON_AddStringToObject(object, "state", task->state);
    add_text(object, "reason", task->reason);
    cJSON_AddNumberToObject(object, "attempt", task->attempt);
    add_text(object, "logs", task->folder);
    add_text(object, "artifacts", task->artifacts);
    add_tests(object, &task->tests);
    steps = cJSON_AddArrayToObject(object, "steps");
    for (size_t i = 0; i < task->step_count; i++)
        cJSON_AddItemToArray(steps, step_json(task->steps[i]));
    return object;
}

/* The folder of a job's artifacts, or NULL: its task's, or the one above, which holds one folder a task. */
static char *job_artifacts(const struct model_job *job)
{
    for (size_t i = 0; i < job->task_count; i++) {
        const char *path = job->tasks[i]->artifacts;
        const char *slash = strrchr(path, '/');

        if (path[0] != '\0')
            return tn_fs_path("%.*s", job->task_count > 1 && slash != NULL ? (int)(slash - path) : (int)strlen(path),
                              path);
    }
    return NULL;
}

static const char *job_reason(const struct model_job *job)
{
    if (job->reason[0] != '\0')
        return job->reason;
    for (size_t i = 0; i < job->task_count; i++)
        if (job->tasks[i]->reason[0] != '\0' && strcmp(job->tasks[i]->state, "succeeded") != 0)
            return job->tasks[i]->reason;
    return "";
}

/* The failed tests of all its tasks, as far as they are known by name. */
static void add_failures(cJSON *object, const struct model_job *job)
{
    cJSON *tests = cJSON_GetObjectItemCaseSensitive(object, "tests");
    cJSON *failures = tests != NULL ? cJSON_AddArrayToObject(tests, "failures") : NULL;
    const cJSON *failure;

    for (size_t i = 0; failures != NULL && i < job->task_count; i++)
        cJSON_ArrayForEach (failure, job->tasks[i]->tests.failures)
            if (cJSON_GetArraySize(failures) < FAILURES_MAX)
                cJSON_AddItemToArray(failures, cJSON_Duplicate(failure, true));
}

static cJSON *job_json(const struct model_job *job)
{
    cJSON *object = cJSON_CreateObject();
    struct model_tests tests = model_job_tests(job);
    auto_free char *artifacts = job_artifacts(job);
    cJSON *tasks;

    cJSON_AddStringToObject(object, "name", job->name);
    cJSON_AddStringToObject(object, "workflow", job->workflow->name);
    cJSON_AddStringToObject(object, "state", job->state);
    add_text(object, "reason", job_reason(job));
    cJSON_AddNumberToObject(object, "seconds", seconds(job->started, job->ended));
    tasks = cJSON_AddArrayToObject(object, "tasks");
    for (size_t i = 0; i < job->task_count; i++)
        cJSON_AddItemToArray(tasks, task_json(job->tasks[i]));
    if (artifacts != NULL)
        cJSON_AddStringToObject(object, "artifacts", artifacts);
    add_tests(object, &tests);
    add_failures(object, job);
    return object;
}

cJSON *summary_json(const struct summary *summary)
{
    const struct model *model = summary->model;
    cJSON *object = cJSON_CreateObject();
    cJSON *jobs;

    cJSON_AddStringToObject(object, "type", "summary");
    cJSON_AddStringToObject(object, "state", model->state);
    cJSON_AddNumberToObject(object, "exit_code", summary->exit_code);
    cJSON_AddNumberToObject(object, "seconds", (double)summary->ms / 1000);
    cJSON_AddNumberToObject(object, "number", (double)model->number);
    jobs = cJSON_AddArrayToObject(object, "jobs");
    for (size_t i = 0; i < model->workflow_count; i++)
        for (size_t j = 0; j < model->workflows[i]->job_count; j++)
            cJSON_AddItemToArray(jobs, job_json(model->workflows[i]->jobs[j]));
    cJSON_AddStringToObject(object, "folder", summary->folder);
    return object;
}

/* ---- for people ---- */

typedef void each_job_fn(void *arg, const struct model_job *job);

static void each_job(const struct model *model, each_job_fn *fn, void *arg)
{
    for (size_t i = 0; i < model->workflow_count; i++)
        for (size_t j = 0; j < model->workflows[i]->job_count; j++)
            fn(arg, model->workflows[i]->jobs[j]);
}

static void set_cell(struct libscols_line *line, size_t column, struct tn_buf *text)
{
    if (scols_line_set_data(line, column, text->len > 0 ? text->data : "") != 0)
        tn_fatal(3, "out of memory: the summary's table");
    tn_buf_reset(text);
}

static void add_row(void *arg, const struct model_job *job)
{
    struct libscols_table *table = arg;
    struct libscols_line *line = scols_table_new_line(table, NULL);
    struct model_tests tests = model_job_tests(job);
    struct tn_buf text = TN_BUF_INIT;
    char duration[24];
    size_t column = 0;

    if (line == NULL)
        tn_fatal(3, "out of memory: the summary's table");
    text_name(job->workflow->name, &text);
    set_cell(line, column++, &text);
    text_name(job->name, &text);
    set_cell(line, column++, &text);
    tn_buf_adds(&text, job->state);
    set_cell(line, column++, &text);
    if (job->started != 0 && job->ended >= job->started)
        tn_buf_adds(&text, text_duration(job->ended - job->started, duration));
    set_cell(line, column++, &text);
    if (tests.known)
        tn_buf_addf(&text, "%u, %u failed, %u skipped", tests.total, tests.failed, tests.skipped);
    if (tests.flaky > 0)
        tn_buf_addf(&text, ", %u flaky", tests.flaky);
    set_cell(line, column++, &text);
    text_name(job_reason(job), &text);
    set_cell(line, column++, &text);
    tn_buf_free(&text);
}

static void print_table(const struct model *model, FILE *out)
{
    static const struct {
        const char *name;
        double width;
        int flags;
    } columns[] = {
        {"WORKFLOW", 0, 0},          {"JOB", 0, 0},   {"STATE", 0, 0},
        {"TIME", 0, SCOLS_FL_RIGHT}, {"TESTS", 0, 0}, {"REASON", 0.3, SCOLS_FL_WRAP},
    };
    struct libscols_table *table = scols_new_table();

    if (table == NULL)
        tn_fatal(3, "out of memory: the summary's table");
    for (size_t i = 0; i < sizeof(columns) / sizeof(columns[0]); i++)
        if (scols_table_new_column(table, columns[i].name, columns[i].width, columns[i].flags) == NULL)
            tn_fatal(3, "out of memory: the summary's table");
    scols_table_set_stream(table, out);
    each_job(model, add_row, table);
    if (!scols_table_is_empty(table))
        scols_print_table(table);
    scols_unref_table(table);
}

static void print_failed_step(FILE *out, const struct model_job *job, const struct model_task *task,
                              const struct model_step *step)
{
    struct tn_buf text = TN_BUF_INIT;

    tn_buf_adds(&text, "\n");
    text_name(job->name, &text);
    if (task->total > 1)
        tn_buf_addf(&text, " %u/%u", task->index + 1, task->total);
    tn_buf_adds(&text, ", step \"");
    text_name(step->name, &text);
    tn_buf_addf(&text, "\" %s", step->state);
    if (step->has_exit)
        tn_buf_addf(&text, " with exit status %d", step->exit);
    if (step->signal != 0)
        tn_buf_addf(&text, " by signal %d", step->signal);
    if (step->reason[0] != '\0' && !step->has_exit) {
        tn_buf_adds(&text, ": ");
        text_name(step->reason, &text);
    }
    tn_buf_adds(&text, "\n");
    if (step->log[0] != '\0') {
        tail_file(step->log, TAIL_LINES, "  ", &text);
        tn_buf_addf(&text, "  (all of it: %s)\n", step->log);
    }
    (void)fwrite(text.data, 1, text.len, out);
    tn_buf_free(&text);
}

static void print_failed(void *arg, const struct model_job *job)
{
    for (size_t i = 0; i < job->task_count; i++)
        for (size_t j = 0; j < job->tasks[i]->step_count; j++) {
            const struct model_step *step = job->tasks[i]->steps[j];

            if (strcmp(step->state, "failed") == 0 || strcmp(step->state, "timed_out") == 0)
                print_failed_step(arg, job, job->tasks[i], step);
        }
}

static void print_dropped(void *arg, const struct model_job *job)
{
    for (size_t i = 0; i < job->task_count; i++)
        for (size_t j = 0; j < job->tasks[i]->step_count; j++) {
            const struct model_step *step = job->tasks[i]->steps[j];
            struct tn_buf text = TN_BUF_INIT;

            if (step->dropped == 0)
                continue;
            text_name(job->name, &text);
            tn_buf_adds(&text, ", step \"");
            text_name(step->name, &text);
            fprintf(arg, "%s\": %llu bytes of output were dropped (store.log_limit)\n", text.data,
                    (unsigned long long)step->dropped);
            tn_buf_free(&text);
        }
}

/* "name (class, file)"; a name may be everything, then that is not said twice. */
static void add_test_name(const cJSON *failure, struct tn_buf *text)
{
    static const char *const more[] = {"classname", "file"};
    const char *name = tn_json_string(failure, "name", "");
    const char *before = " (";

    text_name(name[0] != '\0' ? name : "a test without a name", text);
    for (size_t i = 0; i < sizeof(more) / sizeof(more[0]); i++) {
        const char *part = tn_json_string(failure, more[i], "");

        if (part[0] == '\0' || strcmp(part, name) == 0)
            continue;
        tn_buf_adds(text, before);
        text_name(part, text);
        before = ", ";
    }
    tn_buf_adds(text, before[0] == ',' ? ")\n" : "\n");
}

static void add_message(const char *message, struct tn_buf *text)
{
    while (*message != '\0') {
        size_t length = strcspn(message, "\n");

        tn_buf_adds(text, "      ");
        text_clean(message, length, 0, text);
        tn_buf_adds(text, "\n");
        message += length + (message[length] == '\n');
    }
}

static void print_task_tests(FILE *out, const struct model_task *task)
{
    const struct model_tests *tests = &task->tests;
    unsigned told = (unsigned)cJSON_GetArraySize(tests->failures);
    auto_buf struct tn_buf text = TN_BUF_INIT;
    const cJSON *failure;

    tn_buf_adds(&text, "\n");
    text_name(task->job->name, &text);
    if (task->total > 1)
        tn_buf_addf(&text, " %u/%u", task->index + 1, task->total);
    tn_buf_addf(&text, ": %u of %u tests failed\n", tests->failed, tests->total);
    cJSON_ArrayForEach (failure, tests->failures) {
        tn_buf_adds(&text, "  ");
        add_test_name(failure, &text);
        add_message(tn_json_string(failure, "message", ""), &text);
    }
    if (tests->failed > told && told > 0)
        tn_buf_addf(&text, "  … and %u more\n", tests->failed - told);
    if (tests->folder != NULL && tests->folder[0] != '\0')
        tn_buf_addf(&text, "  (all of them: %s)\n", tests->folder);
    (void)fwrite(text.data, 1, text.len, out);
}

static void print_failed_tests(void *arg, const struct model_job *job)
{
    for (size_t i = 0; i < job->task_count; i++)
        if (job->tasks[i]->tests.failed > 0)
            print_task_tests(arg, job->tasks[i]);
}

static void print_artifacts(void *arg, const struct model_job *job)
{
    auto_free char *artifacts = job_artifacts(job);

    if (artifacts != NULL)
        fprintf(arg, "artifacts of %s: %s\n", job->name, artifacts);
}

void summary_print(const struct summary *summary, FILE *out)
{
    const struct model *model = summary->model;
    char duration[24];

    fputs("\n", out);
    print_table(model, out);
    each_job(model, print_failed, out);
    each_job(model, print_failed_tests, out);
    fputs("\n", out);
    each_job(model, print_dropped, out);
    each_job(model, print_artifacts, out);
    fprintf(out, "logs and test results: %s\n", summary->folder);
    fprintf(out, "pipeline %llu %s in %s\n", (unsigned long long)model->number,
            model->state[0] != '\0' ? model->state : "has not started", text_duration(summary->ms, duration));
}
