/* libFuzzer target: what an executor reads of a checkpoint, and templates of cache keys. The first byte chooses. What
 * is read of a checkpoint is written, read and written again: it must be the same.
 *
 * decodes: executors/sdk/progress.c executors/sdk/cache_key.c executors/sdk/environ.c
 * max_len: 8192 */
#include "core/lib/json.h"
#include "executors/sdk/cache_key.h"
#include "executors/sdk/companion.h"
#include "executors/sdk/progress.h"
#include "executors/sdk/task.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void forget(struct tn_task *task)
{
    tn_task_reports_free(task);
    tn_companions_free(task);
    cJSON_Delete(task->tests);
    free(task->step_log);
    free(task->shell);
    *task = (struct tn_task){0};
    STAILQ_INIT(&task->reports);
}

static char *load_and_save(struct tn_task *task, const cJSON *json)
{
    auto_json cJSON *saved = NULL;

    tn_progress_load(task, json);
    saved = tn_progress_save(task);
    return tn_json_print(saved);
}

static void read_checkpoint(const char *text, size_t size)
{
    auto_json cJSON *json = tn_json_parse(text, size, "x", NULL);
    struct tn_task *task = calloc(1, sizeof(*task));
    char *first;
    char *second;
    auto_json cJSON *again = NULL;

    if (json == NULL || task == NULL) {
        free(task);
        return;
    }
    STAILQ_INIT(&task->reports);
    first = load_and_save(task, json);
    forget(task);
    again = cJSON_Parse(first);
    second = load_and_save(task, again);
    if (strcmp(first, second) != 0)
        abort();
    forget(task);
    free(first);
    free(second);
    free(task);
}

static const char *value_of(void *arg, const char *name)
{
    return name[0] != '\0' && name[strlen(name) - 1] == 'x' ? NULL : "value";
}

static const char *checksum_of(void *arg, const char *path)
{
    return path[0] == 'x' ? NULL : "sum";
}

static void render(const char *text)
{
    struct tn_cache_key_source source = {value_of, checksum_of, NULL};
    struct tn_err err = TN_ERR_INIT;
    char *out = NULL;
    int rc = tn_cache_key_render(text, &source, &out, &err);

    if (rc == 1 ? out == NULL || strlen(out) > TN_CACHE_KEY_MAX : out != NULL || (rc < 0 && err.text[0] == '\0'))
        abort();
    free(out);
}

static void set_environment(const char *text, size_t size)
{
    auto_json cJSON *json = tn_json_parse(text, size, "x", NULL);
    auto_environ struct tn_environ env = TN_ENVIRON_INIT;

    tn_environ_set_members(&env, json);
    tn_environ_set_pairs(&env, tn_json_get(json, "pairs"));
    for (size_t i = 0; i < env.count; i++)
        if (strchr(env.entries[i], '=') == NULL || env.entries[i][0] == '=')
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text;

    if (size == 0)
        return 0;
    text = strndup((const char *)data + 1, size - 1);
    if (data[0] % 4 == 1)
        render(text);
    else if (data[0] % 4 == 2)
        set_environment(text, strlen(text));
    else
        read_checkpoint(text, strlen(text));
    free(text);
    return 0;
}
