#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/log.h"
#include "core/output/task_internal.h"
#include "core/output/timings.h"
#include "core/output/work.h"

#include <stdlib.h>
#include <string.h>

/* What the id of the times of the attempt's job begins with; the rest is their version. */
const char task__timings_prefix[] = "timings/";

/* The file with the times that the attempt goes by. */
char *task__timings_path(const struct tn_attempt *attempt)
{
    const struct tn_stream_home *home = &attempt->home;
    auto_free char *path = tn_layout_timings(home->layout, attempt->project, home->place.job);
    auto_free char *pin = NULL;
    struct tn_err err = TN_ERR_INIT;

    if (home->place.total <= 1)
        return steal_ptr(&path);
    pin = tn_layout_timings_pin(home->layout, tn_json_string(attempt->record, "pipeline", ""), home->place.job);
    if (tn_timings_pin(path, pin, &err) != 0)
        tn_warn("the job splits its tests without times: %s", err.text);
    return steal_ptr(&pin);
}

/* ---- reading ---- */

static size_t read_length(const struct call *call)
{
    const size_t most = TN_MIB(1) - TN_CHUNK_SIZE;
    uint64_t length = tn_json_u64(call->body, "length", most);

    return length < most ? (size_t)length : most;
}

/* A BLOB_FIND: what is found is read through, so a thread does it. */
struct tn_find {
    LIST_ENTRY(tn_find) next;
    struct tn_work *work;
    struct tn_tasks *tasks;
    struct tn_peer *peer; /* NULL: it left */
    struct tn_msg_ref ref;
    char *project;
    cJSON *wanted;
    cJSON *answer;
    int failed;
    struct tn_err err;
};

static void find_free(struct tn_find *find)
{
    LIST_REMOVE(find, next);
    free(find->project);
    cJSON_Delete(find->wanted);
    cJSON_Delete(find->answer);
    free(find);
}

static void run_find(void *arg)
{
    struct tn_find *find = arg;

    find->failed = tn_blobs_find(find->tasks->blobs, find->project, find->wanted, find->answer, &find->err);
}

static void on_found(void *arg)
{
    struct tn_find *find = arg;
    struct call call = {.tasks = find->tasks, .peer = find->peer, .ref = find->ref};

    if (find->peer != NULL && find->failed != 0)
        task__refuse(&call, &find->err);
    else if (find->peer != NULL)
        task__answer(&call, TN_MSG_BLOB_FOUND, find->answer);
    find_free(find);
}

enum verdict task__on_blob_find(const struct call *call)
{
    struct tn_attempt *attempt = task__need_attempt(call);
    struct tn_err err = TN_ERR_INIT;
    struct tn_find *find;

    if (attempt == NULL)
        return ANSWERED;
    if (tn_rights_find(attempt->rights, call->body, &err) != 0)
        return task__fence(call, &err);
    find = calloc(1, sizeof(*find));
    if (find == NULL)
        tn_fatal(3, "out of memory: a search");
    find->tasks = call->tasks;
    find->peer = call->peer;
    find->ref = call->ref;
    find->project = tn_fs_path("%s", attempt->project);
    find->wanted = cJSON_Duplicate(call->body, true);
    find->answer = cJSON_CreateObject();
    LIST_INSERT_HEAD(&call->tasks->finds, find, next);
    find->work = tn_work_start(call->tasks->works, run_find, on_found, find);
    return ANSWERED;
}

static enum verdict read_timings(const struct call *call, const char *version)
{
    struct tn_attempt *attempt = task__need_attempt(call);
    struct tn_err err = TN_ERR_INIT;
    auto_buf struct tn_buf bytes = TN_BUF_INIT;
    auto_free char *path = NULL;
    uint64_t offset = tn_json_u64(call->body, "offset", 0);
    bool end;

    if (attempt == NULL)
        return ANSWERED;
    path = task__timings_path(attempt);
    if (tn_timings_read(path, version, offset, read_length(call), &bytes, &end, &err) != 0)
        return task__refuse(call, &err);
    return task__answer_bytes(call, TN_MSG_BLOB_DATA, offset, end, &bytes);
}

enum verdict task__on_blob_read(const struct call *call)
{
    const char *id = tn_json_string(call->body, "id", "");
    const struct tn_attempt *attempt;
    struct tn_err err = TN_ERR_INIT;
    auto_buf struct tn_buf bytes = TN_BUF_INIT;
    uint64_t offset = tn_json_u64(call->body, "offset", 0);
    bool end;

    if (strncmp(id, task__timings_prefix, strlen(task__timings_prefix)) == 0)
        return read_timings(call, id + strlen(task__timings_prefix));
    attempt = task__need_attempt(call);
    if (attempt == NULL)
        return ANSWERED;
    if (tn_rights_read(attempt->rights, attempt->home.layout, id, &err) != 0)
        return task__fence(call, &err);
    if (tn_blobs_read(call->tasks->blobs, call->peer, id, offset, read_length(call), &bytes, &end, &err) != 0)
        return task__refuse(call, &err);
    return task__answer_bytes(call, TN_MSG_BLOB_DATA, offset, end, &bytes);
}

/* A step that has no log yet answers with nothing: it may begin any moment. */
enum verdict task__on_log_read(const struct call *call)
{
    struct tn_attempts *attempts = &call->tasks->attempts;
    struct tn_err err = TN_ERR_INIT;
    auto_buf struct tn_buf bytes = TN_BUF_INIT;
    uint64_t offset = tn_json_u64(call->body, "offset", 0);
    struct tn_attempt *attempt = tn_attempt_find(attempts, call->ref.task, call->ref.attempt, 0);
    struct tn_log_file *log;
    bool end;

    if (attempt == NULL)
        attempt = tn_attempt_load(attempts, call->ref.task, call->ref.attempt, &err);
    if (attempt == NULL)
        return task__refuse(call, &err);
    log = tn_attempt_log(attempt, (unsigned)tn_json_u64(call->body, "step", 0));
    if (log != NULL && tn_log_read(log, offset, read_length(call), &bytes, &err) != 0)
        return task__refuse(call, &err);
    end =
        log != NULL ? log->ended && offset + bytes.len >= log->stored : tn_json_bool(attempt->record, "closed", false);
    return task__answer_bytes(call, TN_MSG_LOG_DATA, offset, end, &bytes);
}

void task__forget_finds(struct tn_tasks *tasks, struct tn_peer *peer)
{
    struct tn_find *find;

    LIST_FOREACH (find, &tasks->finds, next)
        if (find->peer == peer)
            find->peer = NULL;
}

void task__free_finds(struct tn_tasks *tasks)
{
    struct tn_find *find;

    while ((find = LIST_FIRST(&tasks->finds)) != NULL) {
        tn_work_take(find->work);
        find_free(find);
    }
}
