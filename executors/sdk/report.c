/* States on their way to the scheduler: one at a time, so that they arrive in order whatever happens to the bus. */
#include "core/lib/json.h"
#include "core/lib/log.h"
#include "executors/sdk/companion.h"

#include <stdlib.h>
#include <string.h>

static void send_next(struct tn_task *task);

static void on_recorded(void *arg, const struct tn_msg *reply)
{
    struct tn_task *task = arg;
    struct tn_report *report = STAILQ_FIRST(&task->reports);
    struct tn_err err = TN_ERR_INIT;

    task->report_sent = false;
    STAILQ_REMOVE_HEAD(&task->reports, next);
    free(report->body);
    free(report);
    if (reply->header.kind == TN_MSG_REFUSED) {
        auto_json cJSON *body = tn_json_parse(reply->body, reply->header.length, "REFUSED", &err);
        const char *code = tn_json_string(body, "code", "failed");

        tn_warn("task %llu.%u: the scheduler refused a state: %s", (unsigned long long)task->id, task->attempt,
                tn_json_string(body, "text", code));
        if (strcmp(code, "fenced") == 0) {
            /* Another attempt is the current one, or none: this one has nothing to say any more. */
            tn_task_abandon(task);
            return;
        }
    }
    if (STAILQ_EMPTY(&task->reports) && task->phase == TN_PHASE_REPORTING) {
        tn_task_free(task);
        return;
    }
    send_next(task);
}

static void send_next(struct tn_task *task)
{
    struct tn_report *report = STAILQ_FIRST(&task->reports);

    if (report == NULL || task->report_sent)
        return;
    task->report_sent = true;
    tn_peer_request(tn_executor_service(task->executor)->bus, report->kind, TN_ADDRESS(TN_ROLE_SCHEDULER, 0), task->id,
                    task->attempt, report->body, strlen(report->body), 0, on_recorded, task);
}

static void add(struct tn_task *task, enum tn_msg_kind kind, const cJSON *body)
{
    struct tn_report *report = calloc(1, sizeof(*report));

    if (report == NULL)
        tn_fatal(3, "out of memory: a report");
    report->kind = kind;
    report->body = tn_json_print(body);
    STAILQ_INSERT_TAIL(&task->reports, report, next);
    send_next(task);
}

void tn_task_report_state(struct tn_task *task, enum tn_task_state state, const char *reason)
{
    auto_json cJSON *body = cJSON_CreateObject();
    const struct tn_progress *progress = &task->progress;

    cJSON_AddStringToObject(body, "state", tn_task_state_name(state));
    if (reason != NULL && reason[0] != '\0')
        cJSON_AddStringToObject(body, "reason", reason);
    cJSON_AddBoolToObject(body, "steps_begun", progress->begun);
    cJSON_AddBoolToObject(body, "final", progress->final);
    if (task->folder != NULL)
        cJSON_AddStringToObject(body, "folder", task->folder);
    if (task->node != NULL)
        cJSON_AddStringToObject(body, "node", task->node);
    if (progress->artifacts[0] != '\0')
        cJSON_AddStringToObject(body, "artifacts", progress->artifacts);
    if (task->tests != NULL)
        cJSON_AddItemToObject(body, "tests", cJSON_Duplicate(task->tests, true));
    add(task, TN_MSG_TASK_STATE, body);
}

void tn_task_report_step(struct tn_task *task, unsigned step, const char *state, const cJSON *result)
{
    auto_json cJSON *body = result != NULL ? cJSON_Duplicate(result, true) : cJSON_CreateObject();
    const cJSON *definition = tn_runner_step(task, step);
    const struct tn_companion *companion = tn_companion_of_step(task, step);

    cJSON_AddNumberToObject(body, "step", step);
    cJSON_AddStringToObject(body, "name", companion != NULL ? companion->name : tn_runner_step_name(task, step));
    cJSON_AddStringToObject(body, "type",
                            companion != NULL ? "container" : tn_json_string(definition, "type", "environment"));
    cJSON_AddStringToObject(body, "state", state);
    add(task, TN_MSG_STEP_STATE, body);
}

void tn_task_reports_free(struct tn_task *task)
{
    struct tn_report *report;

    while ((report = STAILQ_FIRST(&task->reports)) != NULL) {
        STAILQ_REMOVE_HEAD(&task->reports, next);
        free(report->body);
        free(report);
    }
}
