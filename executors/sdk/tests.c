#include "executors/sdk/tests.h"
#include "core/lib/fs.h"
#include "core/lib/json.h"
#include "core/lib/log.h"
#include "executors/sdk/internal.h"
#include "executors/sdk/tree.h"

#include <stdlib.h>

/* ---- results ---- */

static void add_count(cJSON *sum, const cJSON *more, const char *key)
{
    cJSON *count = cJSON_GetObjectItemCaseSensitive(sum, key);

    if (count == NULL)
        count = cJSON_AddNumberToObject(sum, key, 0);
    if (count == NULL)
        tn_fatal(3, "out of memory: a sum of tests");
    cJSON_SetNumberValue(count, count->valuedouble + tn_json_number(more, key, 0));
}

static void add_failures(cJSON *sum, const cJSON *more)
{
    cJSON *failures = cJSON_GetObjectItemCaseSensitive(sum, "failures");
    const cJSON *failure;

    if (failures == NULL)
        failures = cJSON_AddArrayToObject(sum, "failures");
    cJSON_ArrayForEach (failure, tn_json_get(more, "failures"))
        if (cJSON_GetArraySize(failures) < TN_TESTS_FAILURES)
            cJSON_AddItemToArray(failures, cJSON_Duplicate(failure, true));
}

void tn_tests_take(struct tn_task *task, const cJSON *tests, const char *folder)
{
    static const char *const counts[] = {"total", "failed", "errors", "skipped", "flaky"};
    double total = tn_json_number(tests, "total", 0);
    double files = tn_json_number(tests, "files", 0);
    const cJSON *note;

    cJSON_ArrayForEach (note, tn_json_get(tests, "notes"))
        if (cJSON_IsString(note))
            tn_runner_say(task, "%s\n", note->valuestring);
    if (files == 0) {
        tn_runner_say(task, "Found no test results in %s, skipping\n", task->tree->target);
        return;
    }
    if (task->tests == NULL)
        task->tests = cJSON_CreateObject();
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++)
        add_count(task->tests, tests, counts[i]);
    add_failures(task->tests, tests);
    cJSON_DeleteItemFromObjectCaseSensitive(task->tests, "folder");
    cJSON_AddStringToObject(task->tests, "folder", folder);
    tn_runner_say(task, "Stored %.0f test results of %.0f file%s: %.0f failed, %.0f skipped\n", total, files,
                  files == 1 ? "" : "s", tn_json_number(tests, "failed", 0), tn_json_number(tests, "skipped", 0));
}

/* ---- times ---- */

static void timings_put(struct tn_task *task)
{
    void (*then)(struct tn_task *) = task->tree->optional;

    tn_tree_free(task);
    then(task);
}

void tn_tests_put_timings(struct tn_task *task, void (*then)(struct tn_task *task))
{
    cJSON *blob;

    if (task->timings == NULL) {
        then(task);
        return;
    }
    task->tree = calloc(1, sizeof(*task->tree));
    if (task->tree == NULL)
        tn_fatal(3, "out of memory: the times of tests");
    task->tree->optional = then;
    task->tree->target = tn_fs_path("%s", task->scratch);
    task->tree->put_done = timings_put;
    task->tree->blobs = cJSON_CreateArray();
    blob = cJSON_CreateObject();
    cJSON_AddStringToObject(blob, "id", task->timings);
    cJSON_AddItemToArray(task->tree->blobs, blob);
    tn_tree_put_next(task);
}
