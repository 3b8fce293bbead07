/* The client's picture of a pipeline: snapshot, events in and out of order, attempts, exit codes. */
#include "core/lib/json.h"
#include "tests/unit/check.h"
#include "tools/model.h"

#include <stdlib.h>

static char told[4096];

static void on_change(void *arg, const struct model_change *change)
{
    size_t used = strlen(told);
    const char *name = change->step != NULL       ? change->step->name
                       : change->task != NULL     ? change->task->id_text
                       : change->job != NULL      ? change->job->name
                       : change->workflow != NULL ? change->workflow->name
                                                  : "pipeline";
    const char *state = change->step != NULL       ? change->step->state
                        : change->task != NULL     ? change->task->state
                        : change->job != NULL      ? change->job->state
                        : change->workflow != NULL ? change->workflow->state
                                                   : ((const struct model *)arg)->state;

    snprintf(told + used, sizeof(told) - used, "%s=%s ", name, state);
}

static const char *take_told(void)
{
    static char copy[4096];

    memcpy(copy, told, sizeof(copy));
    told[0] = '\0';
    return copy;
}

static enum model_result event(struct model *model, const char *text)
{
    cJSON *json = cJSON_Parse(text);
    enum model_result result = model_event(model, json);

    CHECK(json != NULL);
    cJSON_Delete(json);
    return result;
}

static int snapshot(struct model *model, const char *text, struct tn_err *err)
{
    cJSON *json = cJSON_Parse(text);
    int rc = model_snapshot(model, json, err);

    CHECK(json != NULL);
    cJSON_Delete(json);
    return rc;
}

#define SNAPSHOT                                                                                                       \
    "{\"pipeline\":{\"id\":\"p\",\"number\":7,\"state\":\"running\",\"created\":\"1000\"},\"sequence\":\"10\","        \
    "\"workflows\":[{\"id\":\"w\",\"name\":\"main\",\"state\":\"running\",\"jobs\":[{\"id\":\"j\",\"name\":\"build\"," \
    "\"state\":\"queued\",\"reason\":\"waits for 2 vCPU\",\"tasks\":[{\"id\":\"99\",\"index\":0,\"total\":1,"          \
    "\"state\":\"queued\",\"attempt\":1,\"steps\":[]}]}]}]}"

static void follows_events(void)
{
    struct model model;
    struct model_change_sink sink = {on_change, &model};
    struct tn_err err = TN_ERR_INIT;
    struct model_task *task;

    model_init(&model, "p", &sink);
    CHECK_INT(event(&model, "{\"sequence\":\"1\",\"event\":\"job\",\"pipeline\":\"p\"}"), MODEL_GAP);
    CHECK_INT(snapshot(&model, SNAPSHOT, &err), 0);
    CHECK_STR(take_told(), "99=queued build=queued main=running pipeline=running ");
    CHECK_INT(snapshot(&model, SNAPSHOT, &err), 0);
    CHECK_STR(take_told(), "");
    CHECK_INT(model.number, 7);
    CHECK_INT(model.sequence, 10);
    CHECK(!model_ended(&model));
    CHECK_INT(event(&model,
                    "{\"sequence\":\"10\",\"event\":\"job\",\"pipeline\":\"p\",\"id\":\"j\",\"workflow_id\":\"w\","
                    "\"state\":\"failed\"}"),
              MODEL_STALE);
    CHECK_INT(event(&model,
                    "{\"sequence\":\"12\",\"event\":\"job\",\"pipeline\":\"p\",\"id\":\"j\",\"workflow_id\":\"w\","
                    "\"state\":\"failed\"}"),
              MODEL_GAP);
    CHECK_INT(event(&model, "{\"sequence\":\"11\",\"event\":\"task\",\"pipeline\":\"p\",\"id\":\"99\",\"job_id\":\"j\","
                            "\"state\":\"running\",\"attempt\":1,\"index\":0,\"total\":1}"),
              MODEL_APPLIED);
    CHECK_STR(take_told(), "99=running ");
    CHECK_INT(event(&model,
                    "{\"sequence\":\"12\",\"event\":\"job\",\"pipeline\":\"p\",\"id\":\"j\",\"workflow_id\":\"w\","
                    "\"state\":\"queued\"}"),
              MODEL_APPLIED);
    CHECK_STR(take_told(), "build=queued "); /* the reason went */
    CHECK_INT(event(&model,
                    "{\"sequence\":\"13\",\"event\":\"step\",\"pipeline\":\"p\",\"task_id\":\"99\",\"attempt\":1,"
                    "\"step\":1,\"name\":\"two\",\"state\":\"running\",\"started\":\"5\"}"),
              MODEL_APPLIED);
    CHECK_INT(event(&model,
                    "{\"sequence\":\"14\",\"event\":\"step\",\"pipeline\":\"p\",\"task_id\":\"99\",\"attempt\":1,"
                    "\"step\":0,\"name\":\"one\",\"state\":\"failed\",\"exit\":3,\"log\":\"/l\"}"),
              MODEL_APPLIED);
    CHECK_STR(take_told(), "two=running one=failed ");
    task = model_find_task(&model, 99);
    CHECK(task != NULL && task->step_count == 2);
    CHECK_STR(task->steps[0]->name, "one");
    CHECK(task->steps[0]->has_exit && task->steps[0]->exit == 3);
    CHECK_INT(task->steps[1]->started, 5);
    /* Another pipeline's event only counts. */
    CHECK_INT(
        event(&model, "{\"sequence\":\"15\",\"event\":\"task\",\"pipeline\":\"q\",\"id\":\"99\",\"state\":\"failed\"}"),
        MODEL_STALE);
    CHECK_INT(model.sequence, 15);
    /* A snapshot that events have overtaken takes nothing back. */
    CHECK_INT(snapshot(&model, SNAPSHOT, &err), 0);
    CHECK_STR(take_told(), "");
    CHECK_INT(model.sequence, 15);
    /* The next attempt begins without steps; a word about the former one is not taken. */
    CHECK_INT(event(&model, "{\"sequence\":\"16\",\"event\":\"task\",\"pipeline\":\"p\",\"id\":\"99\",\"job_id\":\"j\","
                            "\"state\":\"queued\",\"attempt\":2}"),
              MODEL_APPLIED);
    CHECK_INT(task->step_count, 0);
    CHECK_INT(event(&model,
                    "{\"sequence\":\"17\",\"event\":\"step\",\"pipeline\":\"p\",\"task_id\":\"99\",\"attempt\":1,"
                    "\"step\":0,\"name\":\"one\",\"state\":\"failed\"}"),
              MODEL_APPLIED);
    CHECK_INT(task->step_count, 0);
    take_told();
    CHECK_INT(event(&model, "{\"sequence\":\"18\",\"event\":\"pipeline\",\"pipeline\":\"p\",\"id\":\"p\","
                            "\"state\":\"success\",\"ended\":\"2000\"}"),
              MODEL_APPLIED);
    CHECK(model_ended(&model));
    CHECK_STR(take_told(), "pipeline=success ");
    model_free(&model);
}

static void refuses(void)
{
    struct model model;
    struct tn_err err = TN_ERR_INIT;

    model_init(&model, "p", NULL);
    CHECK_INT(snapshot(&model, "{}", &err), -1);
    CHECK_STR(err.text, "the scheduler's snapshot has no member \"pipeline\"");
    CHECK_INT(snapshot(&model, "{\"pipeline\":{\"id\":\"x\"}}", &err), -1);
    CHECK_STR(err.text, "the scheduler's snapshot is of pipeline x, asked was p");
    /* Rows without what they belong to, and numbers that are none, change nothing. */
    CHECK_INT(snapshot(&model, SNAPSHOT, &err), 0);
    CHECK_INT(
        event(&model, "{\"sequence\":\"11\",\"event\":\"task\",\"pipeline\":\"p\",\"id\":\"5\",\"job_id\":\"?\"}"),
        MODEL_APPLIED);
    CHECK_INT(
        event(&model, "{\"sequence\":\"12\",\"event\":\"step\",\"pipeline\":\"p\",\"task_id\":\"99\",\"step\":-1}"),
        MODEL_APPLIED);
    CHECK_INT(
        event(&model, "{\"sequence\":\"13\",\"event\":\"step\",\"pipeline\":\"p\",\"task_id\":\"99\",\"step\":\"x\"}"),
        MODEL_APPLIED);
    CHECK(model_find_task(&model, 5) == NULL);
    CHECK_INT(model_find_task(&model, 99)->step_count, 0);
    model_free(&model);
}

static int exit_code(const char *pipeline, const char *one, const char *two)
{
    struct model model;
    struct tn_err err = TN_ERR_INIT;
    char text[1024];
    int code;

    snprintf(
        text, sizeof(text),
        "{\"pipeline\":{\"id\":\"p\",\"state\":\"%s\",\"ended\":\"5\"},\"workflows\":[{\"id\":\"w\",\"name\":\"m\","
        "\"state\":\"\",\"jobs\":[{\"id\":\"1\",\"name\":\"a\",\"state\":\"%s\",\"tasks\":[{\"id\":\"1\",\"tests\":"
        "{\"total\":3,\"failed\":1,\"skipped\":1}},{\"id\":\"2\",\"tests\":{\"total\":2,\"failed\":0}}]},"
        "{\"id\":\"2\",\"name\":\"b\",\"state\":\"%s\"}]}]}",
        pipeline, one, two);
    model_init(&model, "p", NULL);
    CHECK_INT(snapshot(&model, text, &err), 0);
    CHECK_INT(model_job_tests(model.workflows[0]->jobs[0]).total, 5);
    CHECK_INT(model_job_tests(model.workflows[0]->jobs[0]).failed, 1);
    CHECK(!model_job_tests(model.workflows[0]->jobs[1]).known);
    code = model_exit_code(&model);
    model_free(&model);
    return code;
}

int main(void)
{
    follows_events();
    refuses();
    CHECK_INT(exit_code("success", "succeeded", "succeeded"), 0);
    CHECK_INT(exit_code("success", "succeeded", "not_run"), 0);
    CHECK_INT(exit_code("failed", "failed", "not_run"), 1);
    CHECK_INT(exit_code("failed", "timed_out", "succeeded"), 1);
    CHECK_INT(exit_code("failed", "infrastructure_failure", "not_run"), 3);
    CHECK_INT(exit_code("failed", "infrastructure_failure", "failed"), 1);
    CHECK_INT(exit_code("failed", "not_run", "not_run"), 1);
    CHECK_INT(exit_code("canceled", "canceled", "not_run"), 1);
    return tn_check_result();
}
