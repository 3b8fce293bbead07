/* States on their way to the scheduler: one at a time, so that they arrive in order whatever happens to the bus. */
#include "core/lib/cleanup.h"
#include "core/lib/json.h"
#include "core/lib/log.h"
#include "core/output/mask.h"
#include "executors/sdk/companion.h"

#include <stdlib.h>
#include <string.h>

static void send_next(struct tn_task *task);

/* ---- masking ---- */

static void mask_texts(const struct tn_mask *mask, cJSON *item)
{
    struct tn_mask_state state = {0};
    auto_buf struct tn_buf out = TN_BUF_INIT;

    for (cJSON *child = item->child; child != NULL; child = child->next)
        mask_texts(mask, child);
    if (!cJSON_IsString(item))
        return;
    tn_mask_feed(mask, &state, item->valuestring, strlen(item->valuestring), &out);
    tn_mask_finish(&state, &out);
    tn_mask_state_free(&state);
    if (out.len > 0 && strcmp(out.data, item->valuestring) != 0)
        cJSON_SetValuestring(item, out.data);
}

void tn_task_mask_names(struct tn_task *task, const cJSON *masks)
{
    int count = cJSON_GetArraySize(masks);
    auto_free const char **values = calloc((size_t)count + 1, sizeof(*values));
    struct tn_err err = TN_ERR_INIT;
    const cJSON *item;
    size_t used = 0;

    if (values == NULL)
        tn_fatal(3, "out of memory: %d values to mask", count);
    if (task->mask != NULL)
        return;
    cJSON_ArrayForEach (item, masks)
        if (cJSON_IsString(item))
            values[used++] = item->valuestring;
    task->mask = tn_mask_new(values, used, &err);
    if (task->mask == NULL || tn_mask_is_empty(task->mask))
        return; /* too many: the output service refuses the attempt for the same reason */
    cJSON_ArrayForEach (item, task->steps) {
        cJSON *name = cJSON_GetObjectItemCaseSensitive(item, "name");

        if (name != NULL)
            mask_texts(task->mask, name);
    }
}

static void mask_report(const struct tn_task *task, cJSON *body)
{
    static const char *const members[] = {"name", "reason", "tests"};

    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
        cJSON *item = cJSON_GetObjectItemCaseSensitive(body, members[i]);

        if (item != NULL && task->mask != NULL && !tn_mask_is_empty(task->mask))
            mask_texts(task->mask, item);
    }
}

/* ---- sending ---- */

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

static void add(struct tn_task *task, enum tn_msg_kind kind, cJSON *body)
{
    struct tn_report *report = calloc(1, sizeof(*report));

    if (report == NULL)
        tn_fatal(3, "out of memory: a report");
    report->kind = kind;
    mask_report(task, body);
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

/* The output service leaves out what is over the limit: how much is known here, too, and needs no answer of it. */
static void add_dropped(const struct tn_task *task, unsigned step, cJSON *body)
{
    uint64_t size = task->outlet != NULL ? tn_outlet_offset(task->outlet, tn_runner_stream(step)) : 0;

    if (task->log_limit != 0 && size > task->log_limit)
        tn_json_add_u64(body, "dropped", size - task->log_limit);
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
    if (strcmp(state, "running") != 0)
        add_dropped(task, step, body);
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
