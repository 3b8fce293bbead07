#include "core/output/task.h"
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/log.h"
#include "core/output/task_internal.h"
#include "core/output/timings.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* ---- attempts ---- */

/* A newer attempt fences the older ones; their files stay. False after a refusal. */
static bool fence(const struct call *call)
{
    struct tn_attempt *other = LIST_FIRST(&call->tasks->attempts.list);

    while (other != NULL) {
        struct tn_attempt *next = LIST_NEXT(other, next);
        struct tn_err err = TN_ERR_INIT;

        if (other->open && other->home.owner == 0 && other->home.task == call->ref.task) {
            if (other->home.attempt > call->ref.attempt) {
                tn_peer_refuse(call->peer, &call->ref, "fenced", "attempt %" PRIu32 " of task %" PRIu64 " is open",
                               other->home.attempt, call->ref.task);
                return false;
            }
            if (other->home.attempt < call->ref.attempt) {
                if (tn_attempt_close(other, &err) != 0)
                    tn_warn("attempt %" PRIu32 " of task %" PRIu64 ": %s", other->home.attempt, call->ref.task,
                            err.text);
                tn_attempt_free(&call->tasks->attempts, other);
            }
        }
        other = next;
    }
    if (tn_attempt_has_later(&call->tasks->attempts, call->ref.task, call->ref.attempt)) {
        tn_peer_refuse(call->peer, &call->ref, "fenced", "a later attempt of task %" PRIu64 " has begun",
                       call->ref.task);
        return false;
    }
    return true;
}

static cJSON *describe(const struct tn_attempt *attempt)
{
    auto_free char *folder = tn_layout_logs(attempt->home.layout, &attempt->home.place);
    auto_free char *artifacts = tn_layout_artifacts(attempt->home.layout, &attempt->home.place);
    auto_free char *path = task__timings_path(attempt);
    auto_free char *version = tn_timings_version(path);
    cJSON *body = cJSON_CreateObject();
    const cJSON *checkpoint = cJSON_GetObjectItemCaseSensitive(attempt->record, "checkpoint");
    cJSON *streams;
    struct tn_held_stream *held;

    cJSON_AddItemToObject(body, "checkpoint", cJSON_Duplicate(checkpoint, true));
    streams = cJSON_AddArrayToObject(body, "streams");
    TAILQ_FOREACH (held, &attempt->streams, next) {
        cJSON *item = cJSON_CreateObject();

        cJSON_AddNumberToObject(item, "stream", held->stream->id);
        tn_json_add_u64(item, "offset", held->stream->offset);
        cJSON_AddItemToArray(streams, item);
    }
    tn_json_add_u64(body, "log_limit", attempt->home.log_limit);
    cJSON_AddStringToObject(body, "folder", folder);
    cJSON_AddStringToObject(body, "artifacts", artifacts);
    if (version != NULL) {
        cJSON *timings = cJSON_AddObjectToObject(body, "timings");
        auto_free char *id = tn_fs_path("%s%s", task__timings_prefix, version);

        cJSON_AddStringToObject(timings, "id", id);
    }
    return body;
}

/* Requests of the attempt's former opening that still wait: their sender starts from the checkpoint again. */
static void refuse_waiting(struct tn_attempt *attempt)
{
    struct tn_waiting *waiting;

    TAILQ_FOREACH (waiting, &attempt->waiting, next) {
        struct tn_msg msg = {waiting->header, waiting->body};
        struct tn_msg_ref ref = tn_msg_ref(&msg);

        tn_peer_refuse(waiting->peer, &ref, "not_open", "the attempt was opened again");
    }
}

/* The rights that the lease's grant gives, or NULL after a refusal. */
static struct tn_rights *need_rights(const struct call *call)
{
    const char *grant = tn_json_string(call->body, "grant", NULL);
    struct tn_rights *rights = NULL;
    struct tn_err err = TN_ERR_INIT;

    if (grant == NULL)
        tn_err_set(&err, TN_ERR_CONFLICT, "it brings no grant, expected the one of its LEASE");
    else
        rights = tn_rights_open(call->tasks->key, grant, call->ref.task, call->ref.attempt, call->ref.source, &err);
    if (rights == NULL)
        (void)task__fence(call, &err);
    return rights;
}

static enum verdict on_task_open(const struct call *call)
{
    struct tn_err err = TN_ERR_INIT;
    struct tn_attempt *attempt = tn_attempt_find(&call->tasks->attempts, call->ref.task, call->ref.attempt, 0);
    struct tn_rights *rights;
    auto_json cJSON *body = NULL;

    if (call->ref.task == 0 || call->ref.attempt == 0) {
        tn_err_set(&err, TN_ERR_USAGE, "TASK_OPEN needs a task and an attempt in the header");
        return task__refuse(call, &err);
    }
    if (!call->tasks->has_key)
        return WAITS;
    rights = need_rights(call);
    if (rights == NULL)
        return ANSWERED;
    if (!fence(call)) {
        tn_rights_free(rights);
        return ANSWERED;
    }
    if (attempt != NULL)
        refuse_waiting(attempt);
    attempt = tn_attempt_open(&call->tasks->attempts, call->ref.task, call->ref.attempt, rights,
                              tn_json_get(call->body, "masks"), &err);
    if (attempt == NULL)
        return task__refuse(call, &err);
    attempt->peer = call->peer;
    attempt->tasks = call->tasks;
    body = describe(attempt);
    return task__answer(call, TN_MSG_TASK_OPENED, body);
}

static enum verdict on_checkpoint(const struct call *call)
{
    struct tn_attempt *attempt = task__need_attempt(call);
    struct tn_err err = TN_ERR_INIT;
    const cJSON *named;

    if (attempt == NULL)
        return ANSWERED;
    if (call->ref.sequence <= attempt->checkpoint_sequence)
        return task__acknowledge(call); /* a later one is kept already */
    cJSON_ArrayForEach (named, tn_json_get(call->body, "streams")) {
        uint64_t id = tn_json_u64(named, "stream", UINT64_MAX);
        const struct tn_stream *stream;

        /* Its STREAM_OPEN was refused, and that answer is still on its way: without bytes there is nothing to keep. */
        if (tn_json_u64(named, "offset", 0) == 0 && id <= UINT32_MAX &&
            tn_attempt_stream(attempt, (uint32_t)id) == NULL)
            continue;
        stream = task__need_stream(call, attempt, id);
        if (stream == NULL)
            return ANSWERED;
        if (!stream->closed && !stream->exists && stream->failed == NULL &&
            stream->offset < tn_json_u64(named, "offset", 0))
            return WAITS;
    }
    if (tn_attempt_checkpoint(attempt, call->body, call->ref.sequence, &err) != 0)
        return task__refuse(call, &err);
    return task__acknowledge(call);
}

static enum verdict on_task_close(const struct call *call)
{
    struct tn_attempt *attempt = tn_attempt_find(&call->tasks->attempts, call->ref.task, call->ref.attempt, 0);
    struct tn_err err = TN_ERR_INIT;

    if ((attempt == NULL || !attempt->open) &&
        tn_attempt_was_closed(&call->tasks->attempts, call->ref.task, call->ref.attempt))
        return task__acknowledge(call);
    attempt = task__need_attempt(call);
    if (attempt == NULL)
        return ANSWERED;
    if (tn_attempt_close(attempt, &err) != 0)
        return task__refuse(call, &err);
    refuse_waiting(attempt);
    tn_attempt_free(&call->tasks->attempts, attempt);
    return task__acknowledge(call);
}

/* ---- streams ---- */

static enum verdict answer_opened(const struct call *call, const struct tn_stream *stream)
{
    auto_json cJSON *body = cJSON_CreateObject();

    tn_json_add_u64(body, "offset", stream->offset);
    cJSON_AddBoolToObject(body, "exists", stream->exists);
    if (stream->log != NULL)
        cJSON_AddStringToObject(body, "path", stream->log->path);
    return task__answer(call, TN_MSG_STREAM_OPENED, body);
}

static enum verdict on_stream_open(const struct call *call)
{
    struct tn_attempt *attempt;
    struct tn_stream *stream;
    struct tn_err err = TN_ERR_INIT;
    uint64_t id = tn_json_u64(call->body, "stream", UINT64_MAX);

    if (task__from_client(call)) {
        attempt = tn_attempt_uploads(&call->tasks->attempts, call->ref.source);
        attempt->peer = call->peer;
        attempt->tasks = call->tasks;
    }
    attempt = task__need_attempt(call);
    if (attempt == NULL)
        return ANSWERED;
    stream = id <= UINT32_MAX ? tn_attempt_stream(attempt, (uint32_t)id) : NULL;
    if (stream != NULL) {
        if (strcmp(tn_json_string(stream->opened, "type", ""), tn_json_string(call->body, "type", "")) == 0)
            return answer_opened(call, stream);
        tn_err_set(&err, TN_ERR_CONFLICT, "stream %" PRIu64 " is open with type %s", id,
                   tn_json_string(stream->opened, "type", ""));
        return task__refuse(call, &err);
    }
    if (attempt->stream_count >= TN_ATTEMPT_STREAMS_MAX)
        tn_err_set(&err, TN_ERR_LIMIT, "the attempt has %d streams, the limit", TN_ATTEMPT_STREAMS_MAX);
    else if (strcmp(tn_json_string(call->body, "type", ""), "log") == 0 &&
             tn_attempt_log(attempt, (unsigned)tn_json_u64(call->body, "step", 0)) != NULL)
        tn_err_set(&err, TN_ERR_CONFLICT, "step %" PRIu64 " has a log in another stream",
                   tn_json_u64(call->body, "step", 0));
    else
        stream = tn_stream_open(&attempt->home, call->body, &err);
    if (stream == NULL)
        return task__refuse(call, &err);
    tn_attempt_add(attempt, stream);
    return answer_opened(call, stream);
}

static enum verdict on_stream_write(const struct call *call)
{
    struct tn_attempt *attempt = task__need_attempt(call);
    struct tn_err err = TN_ERR_INIT;
    struct tn_chunk chunk;
    struct tn_stream *stream;
    int taken;

    if (attempt == NULL)
        return ANSWERED;
    if (tn_chunk_decode(call->msg->body, call->msg->header.length, &chunk, &err) != 0) {
        tn_peer_refuse(call->peer, &call->ref, "invalid", "STREAM_WRITE: %s", err.text);
        return ANSWERED;
    }
    stream = task__need_stream(call, attempt, chunk.stream);
    if (stream == NULL)
        return ANSWERED;
    taken = tn_stream_write(&attempt->home, stream, chunk.offset, call->msg->body + TN_CHUNK_SIZE,
                            call->msg->header.length - TN_CHUNK_SIZE, &err);
    if (taken < 0)
        return task__refuse_stream(call, stream, &err);
    return taken == 0 ? WAITS : task__acknowledge(call);
}

static void try_waiting(struct tn_tasks *tasks, struct tn_attempt *attempt);

/* A STREAM_CLOSE of the attempt, which waits, can be answered. */
static void on_end_ready(void *arg)
{
    struct tn_attempt *attempt = arg;

    try_waiting(attempt->tasks, attempt);
}

static enum verdict on_stream_close(const struct call *call)
{
    struct tn_attempt *attempt = task__need_attempt(call);
    struct tn_err err = TN_ERR_INIT;
    struct tn_stream *stream;
    uint64_t size = tn_json_u64(call->body, "size", 0);
    bool drop = tn_json_bool(call->body, "drop", false);
    int failed = 0;

    if (attempt == NULL)
        return ANSWERED;
    stream = task__need_stream(call, attempt, tn_json_u64(call->body, "stream", UINT64_MAX));
    if (stream == NULL)
        return ANSWERED;
    if (!stream->closed && !stream->exists && stream->failed == NULL && !drop) {
        if (stream->offset < size)
            return WAITS;
        if (stream->offset > size) {
            tn_err_set(&err, TN_ERR_USAGE, "STREAM_CLOSE: size %" PRIu64 ", but %" PRIu64 " bytes were sent", size,
                       stream->offset);
            return task__refuse(call, &err);
        }
        if (tn_stream_is_ending(stream) ||
            tn_stream_finish_ahead(&attempt->home, stream, call->tasks->works, on_end_ready, attempt))
            return WAITS;
    }
    if (drop && stream->log == NULL && !stream->exists)
        failed = tn_stream_drop(&attempt->home, stream, tn_attempt_keep_stream, attempt, &err);
    else
        failed = tn_stream_finish(&attempt->home, stream, tn_attempt_keep_stream, attempt, &err);
    return failed != 0 ? task__refuse_stream(call, stream, &err)
                       : task__answer(call, TN_MSG_STREAM_CLOSED, stream->result);
}

/* ---- dispatch ---- */

typedef enum verdict handler(const struct call *call);

static const struct {
    enum tn_msg_kind kind;
    handler *handle;
    bool raw;
} handlers[] = {
    {TN_MSG_STREAM_WRITE, on_stream_write, true},  {TN_MSG_LOG_READ, task__on_log_read, false},
    {TN_MSG_BLOB_READ, task__on_blob_read, false}, {TN_MSG_CHECKPOINT, on_checkpoint, false},
    {TN_MSG_STREAM_OPEN, on_stream_open, false},   {TN_MSG_STREAM_CLOSE, on_stream_close, false},
    {TN_MSG_BLOB_FIND, task__on_blob_find, false}, {TN_MSG_TASK_OPEN, on_task_open, false},
    {TN_MSG_TASK_CLOSE, on_task_close, false},
};

static enum verdict dispatch(struct tn_tasks *tasks, struct tn_peer *peer, const struct tn_msg *msg)
{
    struct call call = {tasks, peer, msg, tn_msg_ref(msg), NULL};
    struct tn_err err = TN_ERR_INIT;
    enum verdict verdict;

    for (size_t i = 0; i < sizeof(handlers) / sizeof(handlers[0]); i++) {
        if ((uint16_t)handlers[i].kind != msg->header.kind)
            continue;
        if (!handlers[i].raw) {
            call.body = tn_json_parse(msg->body, msg->header.length, tn_msg_name(msg->header.kind), &err);
            if (call.body == NULL) {
                tn_peer_refuse(peer, &call.ref, "invalid", "%s", err.text);
                return ANSWERED;
            }
        }
        verdict = handlers[i].handle(&call);
        cJSON_Delete(call.body);
        return verdict;
    }
    tn_peer_refuse(peer, &call.ref, "invalid", "tenon-output does not answer %s", tn_msg_name(msg->header.kind));
    return ANSWERED;
}

static struct tn_attempt *attempt_of(struct tn_tasks *tasks, const struct tn_header *header)
{
    if (TN_ADDRESS_ROLE(header->source) == TN_ROLE_CLIENT)
        return tn_attempt_find(&tasks->attempts, 0, 0, header->source);
    return tn_attempt_find(&tasks->attempts, header->task, header->attempt, 0);
}

static struct tn_waiting *waiting_new(struct tn_peer *peer, const struct tn_msg *msg)
{
    struct tn_waiting *waiting = malloc(sizeof(*waiting) + msg->header.length);

    if (waiting == NULL)
        tn_fatal(3, "out of memory: a request of %u bytes", msg->header.length);
    waiting->peer = peer;
    waiting->header = msg->header;
    memcpy(waiting->body, msg->body, msg->header.length);
    return waiting;
}

/* TASK_OPEN, before the scheduler has told the key of its leases. */
static void let_open_wait(struct tn_tasks *tasks, struct tn_peer *peer, const struct tn_msg *msg)
{
    struct tn_msg_ref ref = tn_msg_ref(msg);
    struct tn_waiting *waiting;

    if (tasks->opening_bytes + msg->header.length > TN_TASK_OPENING_BYTES) {
        tn_peer_refuse(peer, &ref, "limit", "%zu bytes of TASK_OPEN wait for the scheduler already",
                       tasks->opening_bytes);
        return;
    }
    tasks->opening_bytes += msg->header.length;
    waiting = waiting_new(peer, msg);
    TAILQ_INSERT_TAIL(&tasks->opening, waiting, next);
}

static void let_wait(struct tn_tasks *tasks, struct tn_peer *peer, const struct tn_msg *msg)
{
    struct tn_attempt *attempt = attempt_of(tasks, &msg->header);
    struct tn_waiting *waiting;
    struct tn_msg_ref ref = tn_msg_ref(msg);

    if (msg->header.kind == TN_MSG_TASK_OPEN) {
        let_open_wait(tasks, peer, msg);
        return;
    }
    if (attempt == NULL || attempt->waiting_count >= TN_TASK_WAITING_MAX) {
        tn_peer_refuse(peer, &ref, "limit", "%d requests of the attempt wait for bytes that are not there",
                       TN_TASK_WAITING_MAX);
        return;
    }
    waiting = waiting_new(peer, msg);
    TAILQ_INSERT_TAIL(&attempt->waiting, waiting, next);
    attempt->waiting_count++;
}

/* Tries what waits again, as long as that leads on. */
static void try_waiting(struct tn_tasks *tasks, struct tn_attempt *attempt)
{
    struct tn_waiting *waiting = TAILQ_FIRST(&attempt->waiting);

    while (waiting != NULL) {
        struct tn_waiting *next = TAILQ_NEXT(waiting, next);
        struct tn_msg msg = {waiting->header, waiting->body};

        if (dispatch(tasks, waiting->peer, &msg) == ANSWERED) {
            TAILQ_REMOVE(&attempt->waiting, waiting, next);
            attempt->waiting_count--;
            free(waiting);
            next = TAILQ_FIRST(&attempt->waiting);
        }
        waiting = next;
    }
}

void tn_task_message(struct tn_tasks *tasks, struct tn_peer *peer, const struct tn_msg *msg)
{
    struct tn_header header = msg->header;
    struct tn_attempt *attempt;

    if (dispatch(tasks, peer, msg) == WAITS) {
        let_wait(tasks, peer, msg);
        return;
    }
    if (header.kind != TN_MSG_STREAM_WRITE && header.kind != TN_MSG_STREAM_CLOSE)
        return;
    attempt = attempt_of(tasks, &header);
    if (attempt != NULL && attempt->waiting_count > 0)
        try_waiting(tasks, attempt);
}

/* `peer` NULL: all of them. */
static void forget_opening(struct tn_tasks *tasks, const struct tn_peer *peer)
{
    struct tn_waiting *waiting = TAILQ_FIRST(&tasks->opening);

    while (waiting != NULL) {
        struct tn_waiting *next = TAILQ_NEXT(waiting, next);

        if (peer == NULL || waiting->peer == peer) {
            TAILQ_REMOVE(&tasks->opening, waiting, next);
            tasks->opening_bytes -= waiting->header.length;
            free(waiting);
        }
        waiting = next;
    }
}

void tn_task_init(struct tn_tasks *tasks)
{
    LIST_INIT(&tasks->finds);
    TAILQ_INIT(&tasks->opening);
}

void tn_task_key(struct tn_tasks *tasks, const uint8_t key[TN_GRANT_KEY])
{
    struct tn_waiting *waiting;

    memcpy(tasks->key, key, TN_GRANT_KEY);
    tasks->has_key = true;
    while ((waiting = TAILQ_FIRST(&tasks->opening)) != NULL) {
        struct tn_msg msg = {waiting->header, waiting->body};

        TAILQ_REMOVE(&tasks->opening, waiting, next);
        tasks->opening_bytes -= waiting->header.length;
        tn_task_message(tasks, waiting->peer, &msg);
        free(waiting);
    }
}

void tn_task_forget_peer(struct tn_tasks *tasks, struct tn_peer *peer, uint16_t address)
{
    struct tn_attempt *attempt = LIST_FIRST(&tasks->attempts.list);

    task__forget_finds(tasks, peer);
    forget_opening(tasks, peer);
    tn_blobs_forget(tasks->blobs, peer);
    while (attempt != NULL) {
        struct tn_attempt *next = LIST_NEXT(attempt, next);
        struct tn_waiting *waiting;
        struct tn_err err = TN_ERR_INIT;

        while (attempt->peer == peer && (waiting = TAILQ_FIRST(&attempt->waiting)) != NULL) {
            TAILQ_REMOVE(&attempt->waiting, waiting, next);
            attempt->waiting_count--;
            free(waiting);
        }
        if (attempt->peer == peer)
            attempt->peer = NULL;
        if (attempt->home.owner == address && address != 0) {
            if (tn_attempt_close(attempt, &err) != 0)
                tn_warn("uploads of a client that is gone: %s", err.text);
            tn_attempt_free(&tasks->attempts, attempt);
        }
        attempt = next;
    }
}

void tn_task_free_all(struct tn_tasks *tasks)
{
    task__free_finds(tasks);
    forget_opening(tasks, NULL);
    while (!LIST_EMPTY(&tasks->attempts.list))
        tn_attempt_free(&tasks->attempts, LIST_FIRST(&tasks->attempts.list));
}
