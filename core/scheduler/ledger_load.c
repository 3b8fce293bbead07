#include "core/lib/log.h"
#include "core/scheduler/graph.h"
#include "core/scheduler/ledger_db.h"
#include "core/scheduler/plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *text(sqlite3_stmt *row, int column)
{
    return (const char *)sqlite3_column_text(row, column);
}

static int64_t number(sqlite3_stmt *row, int column)
{
    return sqlite3_column_int64(row, column);
}

/* A query about one pipeline; NULL and why. */
static sqlite3_stmt *query(struct tn_ledger *ledger, const char *sql, uint64_t pipeline, struct tn_err *err)
{
    sqlite3_stmt *row = ledger__prepare(ledger->db, sql, err);

    if (row != NULL)
        sqlite3_bind_int64(row, 1, (int64_t)pipeline);
    return row;
}

/* Ends a query; 0 if `step` says that all rows were read. */
static int finish(struct tn_ledger *ledger, sqlite3_stmt *row, int step, struct tn_err *err)
{
    if (step != SQLITE_DONE)
        ledger__fail(ledger->db, err, "be read");
    sqlite3_finalize(row);
    return step == SQLITE_DONE ? 0 : -1;
}

static int damaged(struct tn_err *err, const char *table, int64_t key)
{
    return tn_err_set(err, TN_ERR_CONFLICT, "the ledger's row %lld of table %s does not fit the others", (long long)key,
                      table);
}

int tn_ledger_each_open(struct tn_ledger *ledger, void (*cb)(void *arg, const char *id), void *arg, struct tn_err *err)
{
    sqlite3_stmt *row = ledger__prepare(ledger->db, "SELECT id FROM pipeline WHERE ended=0 ORDER BY number", err);
    int step;

    if (row == NULL)
        return -1;
    while ((step = sqlite3_step(row)) == SQLITE_ROW)
        cb(arg, text(row, 0));
    return finish(ledger, row, step, err);
}

int tn_ledger_find_task(struct tn_ledger *ledger, uint64_t id, struct tn_task_row *out)
{
    sqlite3_stmt *row = query(ledger, "SELECT attempt,state,executor FROM task WHERE id=?", id, NULL);
    bool found = row != NULL && sqlite3_step(row) == SQLITE_ROW;

    if (found) {
        int state = tn_task_state_parse(text(row, 1));

        out->attempt = (unsigned)number(row, 0);
        out->state = state >= 0 ? (enum tn_task_state)state : TN_TASK_NOT_RUN;
        out->executor = (uint16_t)number(row, 2);
    }
    sqlite3_finalize(row);
    return found ? 0 : -1;
}

static int load_secret(struct tn_ledger *ledger, struct tn_pipeline *pipeline, struct tn_err *err)
{
    sqlite3_stmt *row = query(ledger, "SELECT body FROM secret WHERE pipeline=?", pipeline->number, err);
    int step;

    if (row == NULL)
        return -1;
    if ((step = sqlite3_step(row)) == SQLITE_ROW) {
        cJSON *secret = cJSON_Parse(text(row, 0));

        pipeline->environment = cJSON_DetachItemFromObjectCaseSensitive(secret, "environment");
        pipeline->contexts = cJSON_DetachItemFromObjectCaseSensitive(secret, "contexts");
        cJSON_Delete(secret);
        step = sqlite3_step(row);
    }
    return finish(ledger, row, step, err);
}

static int load_workflows(struct tn_ledger *ledger, struct tn_pipeline *pipeline, struct tn_err *err)
{
    sqlite3_stmt *row =
        query(ledger,
              "SELECT position,id,name,state,created,ended,(SELECT count(*) FROM workflow WHERE pipeline=?1),"
              " (SELECT count(*) FROM job WHERE job.pipeline=?1 AND job.workflow=w.position)"
              " FROM workflow w WHERE pipeline=?1 ORDER BY position",
              pipeline->number, err);
    size_t next = 0;
    int step;

    if (row == NULL)
        return -1;
    while ((step = sqlite3_step(row)) == SQLITE_ROW) {
        struct tn_workflow *workflow;

        if (next == 0)
            tn_pipeline_set_workflows(pipeline, (size_t)number(row, 6));
        if (next >= pipeline->workflow_count || (size_t)number(row, 0) != next) {
            sqlite3_finalize(row);
            return damaged(err, "workflow", (int64_t)next);
        }
        workflow = &pipeline->workflows[next++];
        snprintf(workflow->id, sizeof(workflow->id), "%s", text(row, 1));
        tn_text_set(&workflow->name, text(row, 2));
        workflow->state = tn_state_text(text(row, 3));
        workflow->created = number(row, 4);
        workflow->ended = number(row, 5);
        tn_workflow_set_jobs(workflow, (size_t)number(row, 7));
        if (workflow->state == NULL)
            workflow->state = tn_state_text("error");
    }
    return finish(ledger, row, step, err);
}

static int load_job(sqlite3_stmt *row, struct tn_pipeline *pipeline, struct tn_err *err)
{
    size_t w = (size_t)number(row, 1);
    size_t j = (size_t)number(row, 2);
    int type = tn_job_type_parse(text(row, 5));
    int state = tn_job_state_parse(text(row, 12));
    int outcome = tn_outcome_parse(text(row, 13));
    struct tn_job *job;

    if (w >= pipeline->workflow_count || j >= pipeline->workflows[w].job_count || type < 0 || state < 0 ||
        outcome < 0 || number(row, 9) < 1)
        return damaged(err, "job", number(row, 0));
    job = &pipeline->workflows[w].jobs[j];
    if (job->name != NULL)
        return damaged(err, "job", number(row, 0));
    job->number = (uint64_t)number(row, 0);
    snprintf(job->id, sizeof(job->id), "%s", text(row, 3));
    tn_text_set(&job->name, text(row, 4));
    job->type = (enum tn_job_type)type;
    tn_text_set(&job->kind, text(row, 6));
    job->cpu_milli = (unsigned)number(row, 7);
    job->memory_mb = (unsigned)number(row, 8);
    tn_job_set_tasks(job, (size_t)number(row, 9));
    if (tn_plan_read_edges(job, text(row, 10)) != 0)
        return damaged(err, "job", number(row, 0));
    tn_text_set(&job->definition, text(row, 11));
    job->state = state;
    job->outcome = (enum tn_outcome)outcome;
    tn_text_set(&job->reason, text(row, 14));
    job->started = number(row, 15);
    job->ended = number(row, 16);
    return 0;
}

static int load_jobs(struct tn_ledger *ledger, struct tn_pipeline *pipeline, struct tn_err *err)
{
    sqlite3_stmt *row =
        query(ledger,
              "SELECT number,workflow,position,id,name,type,kind,cpu_milli,memory_mb,parallelism,requires,definition,"
              "state,outcome,reason,started,ended FROM job WHERE pipeline=?",
              pipeline->number, err);
    int step;

    if (row == NULL)
        return -1;
    while ((step = sqlite3_step(row)) == SQLITE_ROW)
        if (load_job(row, pipeline, err) != 0) {
            sqlite3_finalize(row);
            return -1;
        }
    return finish(ledger, row, step, err);
}

static int load_task(struct tn_ledger *ledger, sqlite3_stmt *row, struct tn_pipeline *pipeline, struct tn_err *err)
{
    size_t w = (size_t)number(row, 0);
    size_t j = (size_t)number(row, 1);
    size_t t = (size_t)number(row, 3);
    int state = tn_task_state_parse(text(row, 4));
    struct tn_task *task;
    sqlite3_stmt *steps;
    int step;

    if (w >= pipeline->workflow_count || j >= pipeline->workflows[w].job_count ||
        t >= pipeline->workflows[w].jobs[j].task_count || state < 0)
        return damaged(err, "task", number(row, 2));
    task = &pipeline->workflows[w].jobs[j].tasks[t];
    task->id = (uint64_t)number(row, 2);
    task->state = (enum tn_task_state)state;
    tn_text_set(&task->reason, text(row, 5));
    task->attempt = (unsigned)number(row, 6);
    task->executor = (uint16_t)number(row, 7);
    task->steps_begun = number(row, 8) != 0;
    task->not_before = number(row, 9);
    task->started = number(row, 10);
    task->ended = number(row, 11);
    tn_text_set(&task->folder, text(row, 12));
    tn_text_set(&task->artifacts, text(row, 13));
    tn_text_set(&task->tests, text(row, 14));
    steps = query(ledger, "SELECT number,body FROM step WHERE task=? AND attempt=? ORDER BY number", task->id, err);
    if (steps == NULL)
        return -1;
    sqlite3_bind_int64(steps, 2, task->attempt);
    while ((step = sqlite3_step(steps)) == SQLITE_ROW) {
        auto_json cJSON *body = cJSON_Parse(text(steps, 1));

        (void)tn_task_put_step(task, (unsigned)number(steps, 0),
                               strcmp(tn_json_string(body, "state", "running"), "running") != 0, text(steps, 1));
    }
    return finish(ledger, steps, step, err);
}

static int load_tasks(struct tn_ledger *ledger, struct tn_pipeline *pipeline, struct tn_err *err)
{
    sqlite3_stmt *row = query(
        ledger,
        "SELECT job.workflow,job.position,task.id,task.position,task.state,task.reason,attempt,executor,steps_begun,"
        "not_before,task.started,task.ended,folder,artifacts,tests FROM job JOIN task ON task.job=job.number"
        " WHERE job.pipeline=?",
        pipeline->number, err);
    int step;

    if (row == NULL)
        return -1;
    while ((step = sqlite3_step(row)) == SQLITE_ROW)
        if (load_task(ledger, row, pipeline, err) != 0) {
            sqlite3_finalize(row);
            return -1;
        }
    return finish(ledger, row, step, err);
}

static struct tn_pipeline *load_pipeline(struct tn_ledger *ledger, const char *id, struct tn_err *err)
{
    struct tn_pipeline *pipeline = NULL;
    sqlite3_stmt *row = ledger__prepare(
        ledger->db, "SELECT number,state,created,ended,cancel,request,diagnostics FROM pipeline WHERE id=?", err);
    int step;

    if (row == NULL)
        return NULL;
    sqlite3_bind_text(row, 1, id, -1, SQLITE_STATIC);
    step = sqlite3_step(row);
    if (step == SQLITE_ROW) {
        pipeline = tn_pipeline_new(id);
        pipeline->number = (uint64_t)number(row, 0);
        pipeline->state = tn_state_text(text(row, 1));
        pipeline->created = number(row, 2);
        pipeline->ended = number(row, 3);
        pipeline->cancel = number(row, 4) != 0;
        pipeline->force = number(row, 4) > 1;
        pipeline->request = cJSON_Parse(text(row, 5));
        pipeline->wait = tn_json_bool(pipeline->request, "wait", false);
        tn_text_set(&pipeline->diagnostics, text(row, 6));
        if (pipeline->state == NULL)
            pipeline->state = tn_state_text("error");
    } else if (step == SQLITE_DONE) {
        tn_err_set(err, TN_ERR_NOT_FOUND, "no pipeline has the id %s", id);
    } else {
        ledger__fail(ledger->db, err, "be read");
    }
    sqlite3_finalize(row);
    return pipeline;
}

/* What the rows do not say: edges' counts and the workflows' tallies. */
static int relink(struct tn_pipeline *pipeline, struct tn_err *err)
{
    for (size_t w = 0; w < pipeline->workflow_count; w++) {
        struct tn_workflow *workflow = &pipeline->workflows[w];

        for (size_t j = 0; j < workflow->job_count; j++)
            if (workflow->jobs[j].name == NULL)
                return damaged(err, "job", (int64_t)j);
        if (tn_graph_link(workflow, err) != 0)
            return -1;
        for (size_t j = 0; j < workflow->job_count; j++) {
            struct tn_job *job = &workflow->jobs[j];

            tn_graph_tally(&workflow->tally, -1, job->state);
            for (size_t d = 0; job->outcome != TN_OUTCOME_NONE && d < job->dependent_count; d++)
                (void)tn_graph_resolve(workflow, job, &job->dependents[d]);
        }
        for (size_t j = 0; j < workflow->job_count; j++)
            workflow->jobs[j].released =
                workflow->jobs[j].unresolved == 0 && workflow->jobs[j].outcome == TN_OUTCOME_NONE;
    }
    return 0;
}

struct tn_pipeline *tn_ledger_load(struct tn_ledger *ledger, const char *id, struct tn_err *err)
{
    struct tn_pipeline *pipeline = load_pipeline(ledger, id, err);

    if (pipeline == NULL)
        return NULL;
    if (load_secret(ledger, pipeline, err) != 0 || load_workflows(ledger, pipeline, err) != 0 ||
        load_jobs(ledger, pipeline, err) != 0 || load_tasks(ledger, pipeline, err) != 0 || relink(pipeline, err) != 0) {
        tn_err_wrap(err, "pipeline %s", id);
        tn_pipeline_free(pipeline);
        return NULL;
    }
    return pipeline;
}
