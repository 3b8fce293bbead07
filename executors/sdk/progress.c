#include "executors/sdk/progress.h"
#include "core/lib/fs.h"
#include "core/lib/json.h"
#include "core/lib/log.h"
#include "executors/sdk/companion.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BACKGROUND_MAX = sizeof(((struct tn_progress *)0)->background) / sizeof(unsigned) };

cJSON *tn_progress_save(const struct tn_task *task)
{
    const struct tn_progress *progress = &task->progress;
    cJSON *json = cJSON_CreateObject();
    cJSON *list = cJSON_AddArrayToObject(json, "background");
    const struct tn_report *report;

    cJSON_AddNumberToObject(json, "step", progress->step);
    cJSON_AddNumberToObject(json, "tries", progress->tries);
    cJSON_AddNumberToObject(json, "rerun", progress->rerun);
    cJSON_AddNumberToObject(json, "rerun_at", (double)progress->rerun_at);
    cJSON_AddBoolToObject(json, "open", task->step_open);
    cJSON_AddBoolToObject(json, "begun", progress->begun);
    cJSON_AddBoolToObject(json, "failed", progress->failed);
    cJSON_AddBoolToObject(json, "halted", progress->halted);
    cJSON_AddBoolToObject(json, "canceled", progress->canceled);
    cJSON_AddBoolToObject(json, "timed_out", progress->timed_out);
    cJSON_AddNumberToObject(json, "limit_at", (double)progress->limit_at);
    cJSON_AddBoolToObject(json, "final", progress->final);
    cJSON_AddNumberToObject(json, "started", (double)task->step_started_ms);
    if (task->step_log != NULL)
        cJSON_AddStringToObject(json, "log", task->step_log);
    if (task->shell != NULL)
        cJSON_AddStringToObject(json, "shell", task->shell);
    if (progress->ended >= 0)
        cJSON_AddStringToObject(json, "ended", tn_task_state_name((enum tn_task_state)progress->ended));
    cJSON_AddStringToObject(json, "reason", progress->reason);
    cJSON_AddStringToObject(json, "artifacts", progress->artifacts);
    for (size_t i = 0; i < progress->backgrounds; i++)
        cJSON_AddItemToArray(list, cJSON_CreateNumber(progress->background[i]));
    if (task->tests != NULL)
        cJSON_AddItemToObject(json, "tests", cJSON_Duplicate(task->tests, true));
    tn_companions_save(task, json);
    list = cJSON_AddArrayToObject(json, "reports");
    STAILQ_FOREACH (report, &task->reports, next) {
        cJSON *entry = cJSON_CreateObject();

        cJSON_AddNumberToObject(entry, "kind", report->kind);
        cJSON_AddStringToObject(entry, "body", report->body);
        cJSON_AddItemToArray(list, entry);
    }
    return json;
}

static void load_text(char **place, const cJSON *json, const char *key)
{
    const char *text = tn_json_string(json, key, NULL);

    free(*place);
    *place = text != NULL ? tn_fs_path("%s", text) : NULL;
}

static void load_reports(struct tn_task *task, const cJSON *list)
{
    const cJSON *entry;

    cJSON_ArrayForEach (entry, list) {
        struct tn_report *report;
        unsigned kind = (unsigned)tn_json_u64(entry, "kind", 0);
        const char *body = tn_json_string(entry, "body", NULL);

        if (body == NULL || (kind != TN_MSG_TASK_STATE && kind != TN_MSG_STEP_STATE))
            continue;
        report = calloc(1, sizeof(*report));
        if (report == NULL || (report->body = strdup(body)) == NULL)
            tn_fatal(3, "out of memory: a report");
        report->kind = (enum tn_msg_kind)kind;
        STAILQ_INSERT_TAIL(&task->reports, report, next);
    }
}

void tn_progress_load(struct tn_task *task, const cJSON *json)
{
    struct tn_progress *progress = &task->progress;
    const cJSON *background = tn_json_get(json, "background");
    const cJSON *tests = tn_json_get(json, "tests");
    const cJSON *item;

    memset(progress, 0, sizeof(*progress));
    progress->step = (unsigned)tn_json_u64(json, "step", 0);
    progress->tries = (unsigned)tn_json_u64(json, "tries", 0);
    progress->rerun = (unsigned)tn_json_u64(json, "rerun", 0);
    progress->rerun_at = tn_json_u64(json, "rerun_at", 0);
    task->step_open = tn_json_bool(json, "open", false);
    progress->begun = tn_json_bool(json, "begun", false);
    progress->failed = tn_json_bool(json, "failed", false);
    progress->halted = tn_json_bool(json, "halted", false);
    progress->canceled = tn_json_bool(json, "canceled", false);
    progress->timed_out = tn_json_bool(json, "timed_out", false);
    progress->limit_at = tn_json_u64(json, "limit_at", 0);
    progress->final = tn_json_bool(json, "final", false);
    progress->ended = tn_task_state_parse(tn_json_string(json, "ended", NULL));
    task->step_started_ms = tn_json_u64(json, "started", 0);
    load_text(&task->step_log, json, "log");
    load_text(&task->shell, json, "shell");
    snprintf(progress->reason, sizeof(progress->reason), "%s", tn_json_string(json, "reason", ""));
    snprintf(progress->artifacts, sizeof(progress->artifacts), "%s", tn_json_string(json, "artifacts", ""));
    cJSON_ArrayForEach (item, background)
        if (progress->backgrounds < BACKGROUND_MAX && cJSON_IsNumber(item))
            progress->background[progress->backgrounds++] = (unsigned)tn_json_item_u64(item, 0);
    cJSON_Delete(task->tests);
    task->tests = cJSON_IsObject(tests) ? cJSON_Duplicate(tests, true) : NULL;
    tn_companions_load(task, json);
    load_reports(task, tn_json_get(json, "reports"));
}
