/* The steps store_artifacts and store_test_results. */
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/json.h"
#include "core/lib/log.h"
#include "executors/sdk/internal.h"
#include "executors/sdk/tests.h"
#include "executors/sdk/tree.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- artifacts and test results ---- */

static bool is_tests(const struct tn_task *task)
{
    return strcmp(tn_json_string(task->tree->step, "type", ""), "store_test_results") == 0;
}

static void on_files_closed(void *arg, const cJSON *answer, const struct tn_err *err)
{
    struct tn_task *task = arg;

    if (task->tree == NULL)
        return;
    if (err != NULL) {
        tn_tree_done(task, "cannot store %s: %s", task->tree->target, err->text);
        return;
    }
    if (is_tests(task)) {
        tn_tests_take(task, tn_json_get(answer, "tests"), tn_json_string(answer, "path", ""));
    } else {
        snprintf(task->progress.artifacts, sizeof(task->progress.artifacts), "%s", tn_json_string(answer, "path", ""));
        tn_runner_say(task, "Stored %.0f files below %s\n", tn_json_number(answer, "files", 0),
                      tn_json_string(answer, "path", "?"));
    }
    tn_tree_done(task, NULL);
}

static void files_got(struct tn_task *task)
{
    if (task->tree->missing) {
        tn_outlet_close_stream(task->outlet, task->tree->stream, true, NULL, NULL);
        tn_runner_say(task,
                      is_tests(task) ? "Unable to save test results from %s\nError stat %s: no such file or directory\n"
                                       "Found no path with test results, skipping\n"
                                     : "No artifact files found at %s\n",
                      task->tree->target, task->tree->target);
        tn_tree_done(task, NULL);
        return;
    }
    tn_outlet_close_stream(task->outlet, task->tree->stream, false, on_files_closed, task);
}

static void on_files_opened(void *arg, const cJSON *answer, const struct tn_err *err)
{
    struct tn_task *task = arg;
    auto_json cJSON *paths = cJSON_CreateArray();
    auto_free char *base = NULL;
    char *slash;

    if (task->tree == NULL)
        return;
    if (err != NULL) {
        tn_tree_done(task, "cannot store %s: %s", task->tree->target, err->text);
        return;
    }
    base = tn_fs_path("%s", task->tree->target);
    slash = strrchr(base, '/');
    cJSON_AddItemToArray(paths, cJSON_CreateString(slash[1] != '\0' ? slash + 1 : "."));
    slash[slash == base ? 1 : 0] = '\0';
    task->tree->get_done = files_got;
    tn_tree_get(task, base, paths, 0);
}

/* An absolute path without "." and ".." parts, by its text alone. */
static char *plain_path(const char *path)
{
    char *plain = tn_fs_path("%s", path);
    char *end = plain;

    while (*path != '\0') {
        size_t length = strcspn(path, "/");

        if (length == 2 && strncmp(path, "..", 2) == 0) {
            while (end > plain && *--end != '/')
                continue;
        } else if (length > 0 && (length != 1 || *path != '.')) {
            *end++ = '/';
            memmove(end, path, length);
            end += length;
        }
        path += length + (path[length] == '/');
    }
    *end = '\0';
    return plain;
}

/* Where a path without a destination goes: as it is written, or, if it leads out of the working directory, its absolute
 * form; what lies in a HOME that differs from job to job (this host) goes to home/. */
static char *default_destination(const struct tn_task *task, const char *path, const char *target)
{
    size_t home = task->home != NULL ? strlen(task->home) : 0;
    auto_free char *plain = NULL;

    if (path[0] != '~' && strncmp(path, "../", 3) != 0 && strstr(path, "/../") == NULL && strcmp(path, "..") != 0)
        return tn_fs_path("%s", path);
    plain = plain_path(target);
    if (home > 0 && strncmp(plain, task->home, home) == 0 && (plain[home] == '/' || plain[home] == '\0'))
        return tn_fs_path("home%s", plain + home);
    return steal_ptr(&plain);
}

void tn_tree_store_files(struct tn_task *task)
{
    auto_json cJSON *body = cJSON_CreateObject();
    const char *path = tn_json_string(task->tree->step, "path", ".");
    const char *destination = tn_json_string(task->tree->step, "destination", NULL);
    char *target = tn_runner_path(task, path);
    auto_free char *standard = default_destination(task, path, target);
    size_t length = strlen(target);

    while (length > 1 && target[length - 1] == '/')
        target[--length] = '\0';
    task->tree->target = target;
    cJSON_AddStringToObject(body, "type", is_tests(task) ? "test_results" : "artifacts");
    cJSON_AddNumberToObject(body, "step", task->progress.step);
    if (is_tests(task)) {
        cJSON_AddStringToObject(body, "root", task->cwd);
        cJSON_AddStringToObject(body, "pipeline", tn_json_string(tn_json_get(task->lease, "pipeline"), "id", ""));
        cJSON_AddBoolToObject(body, "failed", task->progress.failed);
    }
    if (destination == NULL)
        destination = standard;
    cJSON_AddStringToObject(body, "destination", destination + strspn(destination, "/"));
    tn_tree_new_stream(task);
    tn_outlet_open_stream(task->outlet, task->tree->stream, body, on_files_opened, task);
}
