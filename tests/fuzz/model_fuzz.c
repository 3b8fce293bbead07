/* libFuzzer target: what the command is told of a pipeline: a snapshot and events, a line of JSON each.
 *
 * decodes: tools/model.c
 * max_len: 8192 */
#include "core/lib/json.h"
#include "tools/model.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void look(const char *text)
{
    if (text == NULL || strlen(text) > SIZE_MAX / 2)
        abort();
}

static void on_change(void *arg, const struct model_change *change)
{
    if (change->step != NULL)
        look(change->step->name);
    if (change->task != NULL)
        look(change->task->reason);
    if (change->job != NULL)
        look(change->job->name);
}

static void check(const struct model *model)
{
    for (size_t w = 0; w < model->workflow_count; w++)
        for (size_t j = 0; j < model->workflows[w]->job_count; j++) {
            const struct model_job *job = model->workflows[w]->jobs[j];
            struct model_tests tests = model_job_tests(job);

            if (tests.known && job->task_count == 0)
                abort();
            for (size_t t = 0; t < job->task_count; t++)
                for (size_t s = 1; s < job->tasks[t]->step_count; s++)
                    if (job->tasks[t]->steps[s - 1]->number >= job->tasks[t]->steps[s]->number)
                        abort();
        }
    model_ended(model);
    model_exit_code(model);
    model_find_task(model, 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct model_change_sink sink = {on_change, NULL};
    struct model model;
    char *text = strndup((const char *)data, size);
    char *rest = text;
    char *line;
    bool first = true;

    model_init(&model, "p", &sink);
    while ((line = strsep(&rest, "\n")) != NULL) {
        cJSON *body = tn_json_parse(line, strlen(line), "x", NULL);
        struct tn_err err = TN_ERR_INIT;

        if (body != NULL && (first || line[0] != '{')) {
            if (model_snapshot(&model, body, &err) != 0 && err.text[0] == '\0')
                abort();
        } else if (body != NULL) {
            model_event(&model, body);
        }
        first = false;
        cJSON_Delete(body);
    }
    check(&model);
    model_free(&model);
    free(text);
    return 0;
}
