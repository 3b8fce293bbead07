/* The steps persist_to_workspace and attach_workspace. */
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/json.h"
#include "core/lib/log.h"
#include "core/lib/units.h"
#include "executors/sdk/internal.h"
#include "executors/sdk/tree.h"

#include <stdio.h>
#include <string.h>

enum { EMPTY_TAR = 1024 }; /* bytes of an archive that holds nothing */

/* ---- persist_to_workspace ---- */

static void on_layer_closed(void *arg, const cJSON *answer, const struct tn_err *err)
{
    struct tn_task *task = arg;
    char text[32];

    if (task->tree == NULL)
        return;
    if (err != NULL) {
        tn_tree_done(task, "the workspace layer cannot be stored: %s", err->text);
        return;
    }
    tn_runner_say(task, "Workspace layer stored (%s)\n",
                  tn_units_size_text(tn_json_u64(answer, "stored", task->tree->received), text, sizeof(text)));
    tn_tree_done(task, NULL);
}

/* A pattern that matches nothing is warned about; a step whose patterns all do has nothing to persist. */
static void layer_got(struct tn_task *task)
{
    if (task->tree->missing && task->tree->received <= EMPTY_TAR) {
        tn_outlet_close_stream(task->outlet, task->tree->stream, true, NULL, NULL);
        tn_tree_done(task, "The specified paths did not match any files in %s", task->tree->target);
        return;
    }
    tn_outlet_close_stream(task->outlet, task->tree->stream, false, on_layer_closed, task);
}

static void on_layer_opened(void *arg, const cJSON *answer, const struct tn_err *err)
{
    struct tn_task *task = arg;

    if (task->tree == NULL)
        return;
    if (err != NULL) {
        tn_tree_done(task, "the workspace layer cannot be stored: %s", err->text);
        return;
    }
    task->tree->get_done = layer_got;
    task->tree->no_base = "Error locating workspace root directory: stat";
    tn_tree_get(task, task->tree->target, tn_json_get(task->tree->step, "paths"), TN_AGENT_GLOB);
}

void tn_tree_persist(struct tn_task *task)
{
    auto_json cJSON *body = cJSON_CreateObject();

    task->tree->target = tn_runner_path(task, tn_json_string(task->tree->step, "root", "."));
    task->tree->what = "the workspace layer cannot be stored";
    cJSON_AddStringToObject(body, "type", "workspace");
    cJSON_AddNumberToObject(body, "step", task->progress.step);
    tn_tree_new_stream(task);
    tn_outlet_open_stream(task->outlet, task->tree->stream, body, on_layer_opened, task);
}

/* ---- attach_workspace ---- */

static void attach_done(struct tn_task *task)
{
    char text[32];

    tn_runner_say(task, "Workspace attached at %s: %d layer%s, %s\n", task->tree->target,
                  cJSON_GetArraySize(task->tree->blobs), cJSON_GetArraySize(task->tree->blobs) == 1 ? "" : "s",
                  tn_units_size_text(task->tree->total, text, sizeof(text)));
    tn_tree_done(task, NULL);
}

static void say_conflict(struct tn_task *task, const cJSON *conflict)
{
    const cJSON *first = cJSON_GetArrayItem(tn_json_get(conflict, "jobs"), 0);
    auto_buf struct tn_buf line = TN_BUF_INIT;
    const cJSON *name;

    tn_buf_addf(&line, "  - %s (%s ", tn_json_string(conflict, "path", "?"),
                first != NULL && first->next != NULL ? "jobs" : "tasks of job");
    cJSON_ArrayForEach (name, tn_json_get(conflict, "jobs"))
        tn_buf_addf(&line, "%s%s", name != first ? ", " : "", cJSON_IsString(name) ? name->valuestring : "?");
    tn_runner_say(task, "%.4000s)\n", line.data);
}

/* The text is the one that users know; the jobs are ours. */
static void refuse_conflicts(struct tn_task *task, const cJSON *conflicts, unsigned total)
{
    const cJSON *jobs = tn_json_get(cJSON_GetArrayItem(conflicts, 0), "jobs");
    const cJSON *last = cJSON_GetArrayItem(jobs, cJSON_GetArraySize(jobs) - 1);
    auto_free char *name = tn_fs_path("%.200s", cJSON_IsString(last) ? last->valuestring : "?");
    const cJSON *conflict;

    tn_runner_say(task, "Concurrent upstream jobs persisted the same file(s) into the workspace:\n");
    cJSON_ArrayForEach (conflict, conflicts)
        say_conflict(task, conflict);
    if (total > (unsigned)cJSON_GetArraySize(conflicts))
        tn_runner_say(task, "  and %u more\n", total - (unsigned)cJSON_GetArraySize(conflicts));
    tn_runner_say(task, "\n");
    tn_tree_done(task, "Error applying workspace layer for job %s: Concurrent upstream jobs persisted the same file(s)",
                 name);
}

static void on_layers(void *arg, const cJSON *answer, const struct tn_err *err)
{
    struct tn_task *task = arg;
    const cJSON *layer;
    char text[32];

    if (task->tree == NULL)
        return;
    if (err != NULL) {
        tn_tree_done(task, "the workspace cannot be read: %s", err->text);
        return;
    }
    if (cJSON_GetArraySize(tn_json_get(answer, "blobs")) > 0)
        tn_runner_say(task, "Downloading workspace layers\n");
    cJSON_ArrayForEach (layer, tn_json_get(answer, "blobs"))
        tn_runner_say(task, "  %s - %s\n", tn_json_string(layer, "job", "?"),
                      tn_units_size_text(tn_json_u64(layer, "size", 0), text, sizeof(text)));
    if (cJSON_GetArraySize(tn_json_get(answer, "conflicts")) > 0) {
        refuse_conflicts(task, tn_json_get(answer, "conflicts"), (unsigned)tn_json_u64(answer, "conflicting", 1));
        return;
    }
    tn_tree_take_blobs(task->tree, answer);
    task->tree->put_done = attach_done;
    tn_tree_put_next(task);
}

void tn_tree_attach(struct tn_task *task)
{
    auto_json cJSON *body = cJSON_CreateObject();
    cJSON *tasks = cJSON_Duplicate(tn_json_get(task->lease, "upstream"), true);
    cJSON *jobs = cJSON_Duplicate(tn_json_get(task->lease, "upstream_jobs"), true);

    task->tree->target = tn_runner_path(task, tn_json_string(task->tree->step, "at", "."));
    cJSON_AddStringToObject(body, "type", "workspace");
    cJSON_AddItemToObject(body, "tasks", tasks != NULL ? tasks : cJSON_CreateArray());
    cJSON_AddItemToObject(body, "jobs", jobs != NULL ? jobs : cJSON_CreateArray());
    tn_outlet_call(task->outlet, TN_MSG_BLOB_FIND, body, on_layers, task);
}
