#include "core/lib/cleanup.h"
#include "core/scheduler/plan.h"
#include "core/scheduler/task_env.h"
#include "tests/unit/check.h"

#include <stdlib.h>

static const uint8_t key[TN_GRANT_KEY] = {1, 2, 3};

static const char *value_of(const cJSON *pairs, const char *name)
{
    const char *value = NULL;
    const cJSON *pair;

    cJSON_ArrayForEach (pair, pairs)
        if (strcmp(cJSON_GetArrayItem(pair, 0)->valuestring, name) == 0)
            value = cJSON_GetArrayItem(pair, 1)->valuestring; /* later ones win */
    return value;
}

static struct tn_pipeline *example(void)
{
    struct tn_pipeline *pipeline = tn_pipeline_new("pipe-1");
    auto_json cJSON *plan =
        cJSON_Parse("{\"version\":1,\"workflows\":[{\"name\":\"w\",\"jobs\":[{\"name\":\"up\",\"kind\":\"docker\"},"
                    "{\"name\":\"j\",\"kind\":\"docker\",\"resource_class\":\"xlarge\",\"parallelism\":2,"
                    "\"contexts\":[\"one\",\"two\"],\"requires\":[{\"job\":\"up\",\"status\":[\"success\"]}]}]}]}");
    struct tn_err err = TN_ERR_INIT;

    pipeline->number = 7;
    pipeline->request =
        cJSON_Parse("{\"git\":{\"branch\":\"main\",\"revision\":\"abc\",\"tag\":\"\"},\"source\":true,\"project\":"
                    "{\"slug\":\"gh/o/r\",\"username\":\"o\",\"reponame\":\"r\",\"repository_url\":\"u\"}}");
    pipeline->environment = cJSON_Parse("{\"P\":\"x\"}");
    pipeline->contexts =
        cJSON_Parse("{\"two\":{\"K\":\"second\"},\"one\":{\"K\":\"first\",\"L\":\"\"},\"three\":{\"M\":\"m\"}}");
    CHECK(tn_plan_read(pipeline, plan, &err) == 0);
    tn_plan_number(pipeline, 41, 900);
    return pipeline;
}

/* A pipeline of a remote repository hands on what to check out; one of a pull request says so to its jobs. */
static void test_checkout(void)
{
    struct tn_pipeline *pipeline = example();
    const struct tn_job *job = &pipeline->workflows[0].jobs[0];
    auto_json cJSON *plain = tn_task_env(&job->tasks[0]);
    auto_json cJSON *wanted =
        cJSON_Parse("{\"url\":\"https://h/o/r\",\"ref\":\"refs/pull/7/head\",\"pull_request\":\"7\","
                    "\"pull_request_url\":\"https://h/o/r/pull/7\"}");
    auto_json cJSON *env = NULL;
    auto_json cJSON *lease = NULL;
    auto_free char *text = NULL;

    CHECK(value_of(plain, "CIRCLE_PULL_REQUEST") == NULL && value_of(plain, "CIRCLE_PR_NUMBER") == NULL);
    cJSON_AddItemToObject(pipeline->request, "checkout", cJSON_Duplicate(wanted, true));
    env = tn_task_env(&job->tasks[0]);
    CHECK_STR(value_of(env, "CIRCLE_PULL_REQUEST"), "https://h/o/r/pull/7");
    CHECK_STR(value_of(env, "CIRCLE_PULL_REQUESTS"), "https://h/o/r/pull/7");
    CHECK_STR(value_of(env, "CIRCLE_PR_NUMBER"), "7");
    CHECK(value_of(env, "CIRCLE_PR_USERNAME") == NULL);
    text = tn_task_lease(&pipeline->workflows[0].jobs[0].tasks[0], "inst", key, (struct tn_share){1000, 2048});
    lease = cJSON_Parse(text);
    CHECK(cJSON_Compare(tn_json_get(lease, "checkout"), wanted, true));
    tn_pipeline_free(pipeline);
}

int main(void)
{
    struct tn_pipeline *pipeline = example();
    struct tn_job *job = &pipeline->workflows[0].jobs[1];
    auto_json cJSON *env = tn_task_env(&job->tasks[1]);
    auto_free char *text = tn_task_lease(&job->tasks[1], "inst", key, (struct tn_share){2000, 4096});
    auto_json cJSON *lease = cJSON_Parse(text);
    const cJSON *contexts = tn_json_get(lease, "context_environment");
    char id[TN_ID_SIZE];
    char again[TN_ID_SIZE];

    CHECK(job->fault == NULL);
    CHECK_STR(value_of(env, "CI"), "true");
    CHECK_STR(value_of(env, "CIRCLE_BRANCH"), "main");
    CHECK(value_of(env, "CIRCLE_TAG") == NULL);
    CHECK_STR(value_of(env, "CIRCLE_SHA1"), "abc");
    CHECK_STR(value_of(env, "CIRCLE_BUILD_NUM"), "42");
    CHECK_STR(value_of(env, "CIRCLE_PREVIOUS_BUILD_NUM"), "41");
    CHECK_STR(value_of(env, "CIRCLE_BUILD_URL"), "https://tenon.invalid/gh/o/r/42");
    CHECK_STR(value_of(env, "CIRCLE_JOB"), "j");
    CHECK_STR(value_of(env, "CIRCLE_NODE_INDEX"), "1");
    CHECK_STR(value_of(env, "CIRCLE_NODE_TOTAL"), "2");
    CHECK_STR(value_of(env, "CIRCLE_PIPELINE_ID"), "pipe-1");
    CHECK_STR(value_of(env, "CIRCLE_PROJECT_USERNAME"), "o");
    CHECK_STR(value_of(env, "CIRCLE_WORKFLOW_WORKSPACE_ID"), pipeline->workflows[0].id);
    CHECK_STR(value_of(env, "CIRCLE_WORKFLOW_JOB_ID"), job->id);
    CHECK_STR(value_of(contexts, "K"), "second");
    CHECK_STR(value_of(contexts, "L"), "");
    CHECK(value_of(contexts, "M") == NULL);
    CHECK_STR(value_of(tn_json_get(lease, "project_environment"), "P"), "x");
    CHECK_INT(cJSON_GetArraySize(tn_json_get(lease, "upstream")), 1);
    CHECK_STR(cJSON_GetArrayItem(tn_json_get(lease, "upstream"), 0)->valuestring, "900");
    CHECK(tn_json_bool(lease, "source", false));
    CHECK_INT(tn_json_number(tn_json_get(lease, "limits"), "cpu_milli", 0), 2000);
    CHECK_STR(tn_json_string(tn_json_get(lease, "definition"), "resource_class", NULL), "xlarge");
    CHECK_STR(tn_json_string(lease, "installation", NULL), "inst");
    tn_task_stable_id("gh/o/r", id);
    tn_task_stable_id("gh/o/r", again);
    CHECK_STR(id, again);
    CHECK_INT(strlen(id), 36);
    tn_task_stable_id("gh/o/s", again);
    CHECK(strcmp(id, again) != 0);
    tn_pipeline_free(pipeline);
    test_checkout();
    return tn_check_result();
}
