#include "core/scheduler/lease_key.h"
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

static int make(const char *path, uint8_t key[TN_GRANT_KEY], struct tn_err *err)
{
    char text[TN_GRANT_KEY_TEXT];
    int failed;

    if (getrandom(key, TN_GRANT_KEY, 0) != TN_GRANT_KEY)
        return tn_err_sys(err, errno, "no random bytes for %s", path);
    tn_grant_key_write(key, text);
    failed = tn_fs_write_atomic(path, text, strlen(text), 0600, err);
    explicit_bzero(text, sizeof(text));
    return failed;
}

int tn_lease_key_load(const char *state_dir, uint8_t key[TN_GRANT_KEY], struct tn_err *err)
{
    auto_free char *path = tn_fs_path("%s/lease.key", state_dir);
    auto_buf struct tn_buf text = TN_BUF_INIT;
    auto_json cJSON *nothing = cJSON_CreateObject();
    int failed;

    if (access(path, F_OK) != 0)
        failed = make(path, key, err);
    else if (tn_fs_read(path, TN_GRANT_KEY_TEXT, &text, err) != 0)
        failed = -1;
    else
        failed = tn_grant_key_read(text.data, key, err) != 0 ? tn_err_wrap(err, "%s", path) : 0;
    if (text.data != NULL)
        explicit_bzero(text.data, text.len);
    if (failed == 0)
        free(tn_grant_sign(key, nothing)); /* while OpenSSL may read its files */
    return failed;
}

void tn_lease_key_tell(struct tn_sched *sched, uint32_t life)
{
    struct tn_held_request request = {.kind = TN_MSG_LEASE_KEY, .destination = TN_ADDRESS(TN_ROLE_OUTPUT, 0)};
    auto_json cJSON *body = NULL;
    char text[TN_GRANT_KEY_TEXT];

    if (life == sched->key_told)
        return;
    sched->key_told = life;
    body = cJSON_CreateObject();
    tn_grant_key_write(sched->key, text);
    cJSON_AddStringToObject(body, "key", text);
    request.body = tn_json_print(body);
    explicit_bzero(text, sizeof(text));
    tn_outbox_request(&sched->outbox, &request);
}

char *tn_lease_key_grant(const uint8_t key[TN_GRANT_KEY], struct tn_task *task, const cJSON *upstream)
{
    const struct tn_job *job = task->job;
    const struct tn_pipeline *pipeline = job->workflow->pipeline;
    auto_json cJSON *claims = cJSON_CreateObject();

    tn_json_add_u64(claims, "task", task->id);
    cJSON_AddNumberToObject(claims, "attempt", task->attempt);
    cJSON_AddNumberToObject(claims, "executor", task->executor);
    cJSON_AddStringToObject(claims, "pipeline", pipeline->id);
    cJSON_AddStringToObject(claims, "workflow", job->workflow->name);
    cJSON_AddStringToObject(claims, "job", job->name);
    cJSON_AddNumberToObject(claims, "index", task->index);
    cJSON_AddNumberToObject(claims, "total", (double)job->task_count);
    cJSON_AddStringToObject(claims, "project",
                            tn_json_string(tn_json_get(pipeline->request, "project"), "slug", "local/project"));
    cJSON_AddItemToObject(claims, "upstream", cJSON_Duplicate(upstream, true));
    return tn_grant_sign(key, claims);
}
