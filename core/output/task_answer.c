#include "core/lib/cleanup.h"
#include "core/lib/json.h"
#include "core/lib/log.h"
#include "core/output/room.h"
#include "core/output/task_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* ---- answering ---- */

enum verdict task__refuse(const struct call *call, const struct tn_err *err)
{
    const char *code = "failed";

    if (err->code == TN_ERR_USAGE || err->code == TN_ERR_CONFIG)
        code = "invalid";
    else if (err->code == TN_ERR_LIMIT)
        code = "limit";
    else if (err->code == TN_ERR_NOT_FOUND || (err->code == TN_ERR_SYSTEM && err->sys == ENOENT))
        code = "not_found";
    else if (err->code == TN_ERR_CONFLICT)
        code = "conflict";
    else if (tn_room_is_lack(err))
        code = "no_space";
    if (strcmp(code, "failed") == 0)
        tn_warn("%s of task %" PRIu64 ": %s", tn_msg_name(call->ref.kind), call->ref.task, err->text);
    tn_peer_refuse(call->peer, &call->ref, code, "%s", err->text);
    return ANSWERED;
}

enum verdict task__fence(const struct call *call, const struct tn_err *err)
{
    tn_warn("%s of task %" PRIu64 " from 0x%04x: %s", tn_msg_name(call->ref.kind), call->ref.task,
            (unsigned)call->ref.source, err->text);
    tn_peer_refuse(call->peer, &call->ref, "fenced", "%s: %s", tn_msg_name(call->ref.kind), err->text);
    return ANSWERED;
}

/* A stream that cannot be stored for lack of room: the refusal names it, and nothing else of the attempt is concerned.
 */
enum verdict task__refuse_stream(const struct call *call, const struct tn_stream *stream, const struct tn_err *err)
{
    auto_json cJSON *body = NULL;
    auto_free char *text = NULL;

    if (stream->failed == NULL)
        return task__refuse(call, err);
    body = cJSON_CreateObject();
    cJSON_AddStringToObject(body, "code", "no_space");
    cJSON_AddStringToObject(body, "text", err->text);
    cJSON_AddNumberToObject(body, "stream", stream->id);
    text = tn_json_print(body);
    tn_peer_reply(call->peer, &call->ref, TN_MSG_REFUSED, text, strlen(text));
    return ANSWERED;
}

enum verdict task__answer(const struct call *call, enum tn_msg_kind kind, const cJSON *body)
{
    auto_free char *text = tn_json_print(body);

    if (strlen(text) > tn_msg_info(kind)->max_body) {
        tn_peer_refuse(call->peer, &call->ref, "limit", "the answer to %s has %zu bytes, at most %u are allowed",
                       tn_msg_name(call->ref.kind), strlen(text), tn_msg_info(kind)->max_body);
        return ANSWERED;
    }
    tn_peer_reply(call->peer, &call->ref, kind, text, strlen(text));
    return ANSWERED;
}

enum verdict task__acknowledge(const struct call *call)
{
    tn_peer_reply(call->peer, &call->ref, TN_MSG_ACK, NULL, 0);
    return ANSWERED;
}

enum verdict task__answer_bytes(const struct call *call, enum tn_msg_kind kind, uint64_t offset, bool end,
                                const struct tn_buf *bytes)
{
    struct tn_chunk chunk = {.flags = end ? TN_CHUNK_END : 0, .offset = offset};
    uint8_t prefix[TN_CHUNK_SIZE];

    tn_chunk_encode(&chunk, prefix);
    tn_peer_reply2(call->peer, &call->ref, kind, prefix, sizeof(prefix), bytes->data, bytes->len);
    return ANSWERED;
}

/* ---- finding what a request is about ---- */

bool task__from_client(const struct call *call)
{
    return TN_ADDRESS_ROLE(call->ref.source) == TN_ROLE_CLIENT;
}

/* The open attempt, or NULL after a refusal. */
struct tn_attempt *task__need_attempt(const struct call *call)
{
    struct tn_attempt *attempt = task__from_client(call)
                                     ? tn_attempt_find(&call->tasks->attempts, 0, 0, call->ref.source)
                                     : tn_attempt_find(&call->tasks->attempts, call->ref.task, call->ref.attempt, 0);

    if (attempt == NULL || !attempt->open) {
        tn_peer_refuse(call->peer, &call->ref, "not_open",
                       "task %" PRIu64 ", attempt %" PRIu32 " is not open here: begin with TASK_OPEN (a client with "
                       "STREAM_OPEN)",
                       call->ref.task, call->ref.attempt);
        return NULL;
    }
    if (attempt->peer == call->peer)
        return attempt;
    tn_peer_refuse(call->peer, &call->ref, attempt->peer == NULL ? "not_open" : "fenced",
                   "task %" PRIu64 ", attempt %" PRIu32 " was opened on another connection", call->ref.task,
                   call->ref.attempt);
    return NULL;
}

struct tn_stream *task__need_stream(const struct call *call, struct tn_attempt *attempt, uint64_t id)
{
    struct tn_stream *stream = id <= UINT32_MAX ? tn_attempt_stream(attempt, (uint32_t)id) : NULL;

    if (stream == NULL)
        tn_peer_refuse(call->peer, &call->ref, "not_open",
                       "stream %" PRIu64 " of task %" PRIu64 " is not open: begin with STREAM_OPEN", id,
                       call->ref.task);
    return stream;
}
