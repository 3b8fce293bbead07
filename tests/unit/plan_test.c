/* A plan becomes workflows, jobs and tasks; what is wrong with one; how the ledger and others see the result. */
#include "core/lib/cleanup.h"
#include "core/scheduler/events.h"
#include "core/scheduler/plan.h"
#include "tests/unit/check.h"

#include <stdlib.h>

static const char good[] = "{\"version\":1,\"workflows\":[{\"name\":\"w\",\"jobs\":["
                           "{\"name\":\"b\",\"kind\":\"docker\",\"parallelism\":3,\"contexts\":[\"c\"],"
                           "\"requires\":[{\"job\":\"a\"},{\"job\":\"hold\",\"status\":[\"failed\",\"canceled\"]}]},"
                           "{\"name\":\"a\",\"kind\":\"machine\"},"
                           "{\"name\":\"hold\",\"type\":\"approval\",\"parallelism\":7}]}]}";

static struct tn_pipeline *pipeline_new(void)
{
    struct tn_pipeline *pipeline = tn_pipeline_new("p1");

    pipeline->request = cJSON_Parse("{\"executor_map\":{\"machine\":\"docker\"}}");
    pipeline->contexts = cJSON_Parse("{\"c\":{}}");
    return pipeline;
}

static void check_wrong(const char *plan, const char *expected)
{
    auto_json cJSON *parsed = cJSON_Parse(plan);
    struct tn_pipeline *pipeline = pipeline_new();
    struct tn_err err = TN_ERR_INIT;

    CHECK(tn_plan_read(pipeline, parsed, &err) != 0);
    CHECK(err.code == TN_ERR_CONFIG || err.code == TN_ERR_LIMIT);
    CHECK_STR(err.text, expected);
    tn_pipeline_free(pipeline);
}

#define JOBS(text) "{\"version\":1,\"workflows\":[{\"name\":\"w\",\"jobs\":[" text "]}]}"

static void test_wrong(void)
{
    check_wrong("{}", "the plan has version 0, expected version 1 with a list of workflows");
    check_wrong("{\"version\":2,\"workflows\":[]}",
                "the plan has version 2, expected version 1 with a list of workflows");
    check_wrong("{\"version\":1}", "the plan has version 1, expected version 1 with a list of workflows");
    check_wrong(JOBS("{}"), "the plan has a job without a name in workflow \"w\"");
    check_wrong(JOBS("{\"name\":\"a\"}"), "job \"a\" of the plan names no kind of executor");
    check_wrong(JOBS("{\"name\":\"a\",\"type\":\"x\"}"), "job \"a\" has the unknown type \"x\"");
    check_wrong(JOBS("{\"name\":\"a\",\"kind\":\"docker\",\"parallelism\":0}"),
                "job \"a\" has a parallelism of 0, expected 1 to 1000");
    check_wrong(JOBS("{\"name\":\"a\",\"kind\":\"docker\",\"parallelism\":1001}"),
                "job \"a\" has a parallelism of 1001, expected 1 to 1000");
    check_wrong(JOBS("{\"name\":\"a\",\"kind\":\"docker\"},{\"name\":\"a\",\"kind\":\"docker\"}"),
                "the plan has two jobs \"a\" in workflow \"w\"");
    check_wrong(JOBS("{\"name\":\"a\",\"kind\":\"docker\",\"requires\":[{\"job\":\"z\"}]}"),
                "job \"a\" requires \"z\", which workflow \"w\" does not have");
    check_wrong(JOBS("{\"name\":\"a\",\"kind\":\"docker\"},"
                     "{\"name\":\"b\",\"kind\":\"docker\",\"requires\":[{\"job\":\"a\",\"status\":[\"odd\"]}]}"),
                "job \"b\": the plan requires the unknown status \"odd\"");
}

static void test_read(struct tn_pipeline *pipeline)
{
    auto_json cJSON *plan = cJSON_Parse(good);
    struct tn_err err = TN_ERR_INIT;
    const struct tn_workflow *workflow;
    uint64_t jobs;
    uint64_t tasks;

    CHECK(tn_plan_read(pipeline, plan, &err) == 0);
    CHECK_STR(err.text, "");
    tn_plan_count(pipeline, &jobs, &tasks);
    CHECK(jobs == 3 && tasks == 5); /* an approval has one task, whatever it says */
    tn_plan_number(pipeline, 10, 100);
    workflow = &pipeline->workflows[0];
    CHECK_INT(workflow->jobs[1].number, 11);
    CHECK_INT(workflow->jobs[0].tasks[2].id, 102);
    CHECK_INT(workflow->jobs[2].tasks[0].id, 104);
    CHECK_STR(workflow->jobs[1].kind, "docker"); /* mapped */
    CHECK(workflow->jobs[0].fault == NULL && workflow->jobs[0].cpu_milli > 0 && workflow->jobs[0].memory_mb > 0);
    CHECK_INT(workflow->jobs[2].type, TN_JOB_APPROVAL);
    CHECK_INT(workflow->jobs[0].require_count, 2);
    CHECK_INT(workflow->jobs[0].requires[0].job, 1);
    CHECK_INT(workflow->jobs[0].requires[0].statuses, 1u << TN_OUTCOME_SUCCESS);
    CHECK_INT(workflow->jobs[0].requires[1].statuses, 1u << TN_OUTCOME_FAILED | 1u << TN_OUTCOME_CANCELED);
    CHECK_INT(workflow->jobs[1].dependent_count, 1);
}

/* A job that cannot run as asked is no fault of the plan: it ends at once and says why. */
static void test_faults(void)
{
    auto_json cJSON *plan = cJSON_Parse(JOBS("{\"name\":\"a\",\"kind\":\"docker\",\"contexts\":[\"none\"]},"
                                             "{\"name\":\"b\",\"kind\":\"docker\",\"resource_class\":\"huge\"}"));
    struct tn_pipeline *pipeline = pipeline_new();
    struct tn_err err = TN_ERR_INIT;

    CHECK(tn_plan_read(pipeline, plan, &err) == 0);
    CHECK_STR(pipeline->workflows[0].jobs[0].fault, "context none is not defined: pass --context none=FILE");
    CHECK(pipeline->workflows[0].jobs[0].unauthorized);
    CHECK(pipeline->workflows[0].jobs[1].fault != NULL && strstr(pipeline->workflows[0].jobs[1].fault, "huge") != NULL);
    CHECK(!pipeline->workflows[0].jobs[1].unauthorized);
    tn_pipeline_free(pipeline);
}

static void test_edges(struct tn_pipeline *pipeline)
{
    static const char *const wrong[] = {"",         "{}",          "[1]",   "[[]]",        "[[3,2]]",
                                        "[[-1,2]]", "[[\"0\",2]]", "[[0]]", "[[0,\"2\"]]", "[[1e300,2]]"};
    struct tn_job *job = &pipeline->workflows[0].jobs[0];
    auto_free char *before = tn_plan_write_edges(job);
    auto_free char *after = NULL;

    CHECK(tn_plan_read_edges(job, before) == 0);
    after = tn_plan_write_edges(job);
    CHECK_STR(after, before);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        CHECK(tn_plan_read_edges(job, wrong[i]) != 0);
    CHECK(tn_plan_read_edges(job, before) == 0);
}

static const char *why(void *arg, const struct tn_task *task, char *out, size_t size)
{
    snprintf(out, size, "waits for %s", (const char *)arg);
    return out;
}

static void check_text(const cJSON *object, const char *key, const char *expected)
{
    CHECK_STR(tn_json_string(object, key, "(none)"), expected);
}

static void test_events(struct tn_pipeline *pipeline)
{
    struct tn_view view = {.why = why, .arg = (char *)"room", .node = "host", .sequence = 9};
    struct tn_job *job = &pipeline->workflows[0].jobs[0];
    struct tn_task *task = &job->tasks[1];
    auto_json cJSON *queued = tn_event_task(&view, task);
    auto_json cJSON *running = NULL;
    auto_json cJSON *step = NULL;
    auto_json cJSON *snapshot = NULL;
    const cJSON *row;

    check_text(queued, "event", "task");
    check_text(queued, "pipeline", "p1");
    check_text(queued, "job_id", job->id);
    check_text(queued, "reason", "waits for room");
    check_text(queued, "node", "(none)"); /* nobody holds it */
    CHECK(tn_json_get(queued, "started") == NULL);
    task->state = TN_TASK_RUNNING;
    task->executor = 0x0700;
    task->attempt = 2;
    task->started = 5;
    tn_text_set(&task->tests, "{\"total\":3}");
    tn_text_set(&task->artifacts, "damaged [");
    running = tn_event_task(&view, task);
    check_text(running, "reason", "(none)");
    check_text(running, "node", "host");
    CHECK_INT(tn_json_number(tn_json_get(running, "tests"), "total", 0), 3);
    CHECK(tn_json_get(running, "artifacts") == NULL);

    step = tn_event_step(task, cJSON_Parse("{\"step\":1,\"pipeline\":\"of another\",\"task_id\":1,\"event\":\"job\"}"));
    check_text(step, "event", "step"); /* what an executor claims of others is not passed on */
    check_text(step, "pipeline", "p1");
    CHECK_INT(tn_json_u64(step, "task_id", 0), task->id);
    CHECK_INT(tn_json_number(step, "attempt", 0), 2);

    CHECK(tn_task_put_step(task, 1, false, "{\"step\":1,\"state\":\"running\"}"));
    snapshot = tn_event_snapshot(&view, pipeline);
    CHECK_INT(tn_json_u64(snapshot, "sequence", 0), 9);
    row = tn_json_get(cJSON_GetArrayItem(tn_json_get(snapshot, "workflows"), 0), "jobs");
    CHECK_INT(cJSON_GetArraySize(row), 3);
    row = cJSON_GetArrayItem(row, 0);
    CHECK_STR(cJSON_GetStringValue(cJSON_GetArrayItem(tn_json_get(row, "requires"), 1)), "hold");
    row = cJSON_GetArrayItem(tn_json_get(row, "tasks"), 1);
    check_text(cJSON_GetArrayItem(tn_json_get(row, "steps"), 0), "state", "running");
}

int main(void)
{
    struct tn_pipeline *pipeline = pipeline_new();

    test_wrong();
    test_faults();
    test_read(pipeline);
    test_edges(pipeline);
    test_events(pipeline);
    tn_pipeline_free(pipeline);
    return tn_check_result();
}
