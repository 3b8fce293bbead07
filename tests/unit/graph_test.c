#include "core/scheduler/graph.h"
#include "core/scheduler/plan.h"
#include "tests/unit/check.h"

#include <stdlib.h>

/* A pipeline from a plan of one workflow with these jobs; NULL and why. */
static struct tn_pipeline *plan(const char *jobs, struct tn_err *err)
{
    struct tn_pipeline *pipeline = tn_pipeline_new("p");
    char text[4096];
    cJSON *json;
    int result;

    snprintf(text, sizeof(text), "{\"version\":1,\"workflows\":[{\"name\":\"w\",\"jobs\":[%s]}]}", jobs);
    json = cJSON_Parse(text);
    result = tn_plan_read(pipeline, json, err);
    cJSON_Delete(json);
    if (result == 0) {
        tn_plan_number(pipeline, 1, 101);
        return pipeline;
    }
    tn_pipeline_free(pipeline);
    return NULL;
}

#define J(name, more) "{\"name\":\"" name "\",\"kind\":\"docker\"" more "}"
#define R(name) ",\"requires\":[{\"job\":\"" name "\"}]"

static void test_refused(void)
{
    struct tn_err err = TN_ERR_INIT;

    CHECK(plan(J("a", R("b")) "," J("b", R("a")), &err) == NULL);
    CHECK_STR(err.text, "job \"a\" of workflow \"w\" requires itself through other jobs: a cycle");
    CHECK(plan(J("a", R("x")), &err) == NULL);
    CHECK_STR(err.text, "job \"a\" requires \"x\", which workflow \"w\" does not have");
    CHECK(plan(J("a", "") "," J("a", ""), &err) == NULL);
    CHECK_STR(err.text, "the plan has two jobs \"a\" in workflow \"w\"");
    CHECK(plan(J("a", ",\"parallelism\":0"), &err) == NULL);
    CHECK_STR(err.text, "job \"a\" has a parallelism of 0, expected 1 to 1000");
    CHECK(plan(J("a", ",\"requires\":[{\"job\":\"a\",\"status\":[\"odd\"]}]"), &err) == NULL);
    CHECK_STR(err.text, "job \"a\": the plan requires the unknown status \"odd\"");
}

static void end_job(struct tn_job *job, enum tn_task_state state)
{
    for (size_t t = 0; t < job->task_count; t++)
        job->tasks[t].state = state;
    tn_graph_tally(&job->workflow->tally, job->state, state);
    job->state = tn_graph_job_state(job);
    job->outcome = tn_graph_outcome(job->state, job->unauthorized);
}

static void test_readiness(void)
{
    struct tn_err err = TN_ERR_INIT;
    /* d first, so that the plan's order is not the graph's */
    struct tn_pipeline *pipeline =
        plan(J("d", ",\"requires\":[{\"job\":\"b\"},{\"job\":\"c\"}]") "," J("a", ",\"parallelism\":2") "," J(
                 "b", R("a")) "," J("c", ",\"requires\":[{\"job\":\"a\",\"status\":[\"failed\",\"success\"]}]"),
             &err);
    struct tn_workflow *workflow;
    struct tn_job *jobs;
    struct tn_job **upstream;
    char text[200];

    CHECK(pipeline != NULL);
    if (pipeline == NULL)
        return;
    workflow = &pipeline->workflows[0];
    jobs = workflow->jobs;
    CHECK_INT(jobs[0].unresolved, 2);
    CHECK_STR(tn_graph_waits_text(&jobs[0], text, sizeof(text)), "waits for job b (queued) and 1 more");
    CHECK_INT(tn_graph_upstream(&jobs[0], &upstream), 3);
    CHECK(upstream[0] == &jobs[1] && upstream[1] == &jobs[2] && upstream[2] == &jobs[3]);
    free(upstream);
    CHECK_INT(jobs[1].dependent_count, 2);
    end_job(&jobs[1], TN_TASK_FAILED);
    CHECK_INT(tn_graph_resolve(workflow, &jobs[1], &jobs[1].dependents[0]), TN_EDGE_NEVER);
    CHECK_STR(tn_graph_never_text(&jobs[1], jobs[1].dependents[0].statuses, text, sizeof(text)),
              "needs a to be success, it ended failed");
    CHECK_INT(tn_graph_resolve(workflow, &jobs[1], &jobs[1].dependents[1]), TN_EDGE_READY);
    CHECK_STR(tn_graph_never_text(&jobs[1], jobs[1].dependents[1].statuses, text, sizeof(text)),
              "needs a to be success or failed, it ended failed");
    CHECK_STR(tn_graph_workflow_state(&workflow->tally), "failing");
    end_job(&jobs[2], TN_TASK_NOT_RUN);
    CHECK_INT(tn_graph_resolve(workflow, &jobs[2], &jobs[2].dependents[0]), TN_EDGE_NEVER);
    end_job(&jobs[0], TN_TASK_NOT_RUN);
    end_job(&jobs[3], TN_TASK_SUCCEEDED);
    CHECK_INT(tn_graph_resolve(workflow, &jobs[3], &jobs[3].dependents[0]), TN_EDGE_MOOT);
    CHECK_STR(tn_graph_workflow_state(&workflow->tally), "failed");
    tn_pipeline_free(pipeline);
}

static void test_job_state(void)
{
    struct tn_err err = TN_ERR_INIT;
    struct tn_pipeline *pipeline = plan(J("a", ",\"parallelism\":3"), &err);
    struct tn_job *job = &pipeline->workflows[0].jobs[0];

    CHECK_INT(tn_graph_job_state(job), TN_TASK_QUEUED);
    job->tasks[0].state = TN_TASK_LEASED;
    CHECK_INT(tn_graph_job_state(job), TN_TASK_PREPARING);
    job->tasks[0].state = TN_TASK_SUCCEEDED;
    CHECK_INT(tn_graph_job_state(job), TN_TASK_RUNNING);
    job->tasks[1].state = TN_TASK_CANCELED;
    job->tasks[2].state = TN_TASK_TIMED_OUT;
    CHECK_INT(tn_graph_job_state(job), TN_TASK_TIMED_OUT);
    CHECK_INT(tn_graph_outcome(TN_TASK_TIMED_OUT, false), TN_OUTCOME_FAILED);
    CHECK_INT(tn_graph_outcome(TN_TASK_INFRASTRUCTURE_FAILURE, true), TN_OUTCOME_UNAUTHORIZED);
    CHECK_INT(tn_graph_outcome(TN_JOB_ON_HOLD, false), TN_OUTCOME_NONE);
    tn_pipeline_free(pipeline);
}

int main(void)
{
    test_refused();
    test_readiness();
    test_job_state();
    return tn_check_result();
}
