#include "executors/sdk/outlet.h"
#include "core/lib/json.h"
#include "core/lib/log.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

enum {
    CHUNK_BYTES = 256 * 1024, /* of one STREAM_WRITE */
    WINDOW = 16,              /* unanswered STREAM_WRITEs; at the mark the owner stops reading */
    WINDOW_LOW = 8,
};

struct stream {
    TAILQ_ENTRY(stream) next;
    uint32_t id;
    uint64_t offset;
};

struct call {
    TAILQ_ENTRY(call) next;
    struct tn_outlet *outlet;
    tn_outlet_cb *cb;
    tn_outlet_data_cb *data_cb;
    void *arg;
    bool opens; /* it asked for `stream` */
    uint32_t stream;
};

struct tn_outlet {
    struct tn_peer *data; /* borrowed */
    uint64_t task;
    uint32_t attempt;
    struct tn_outlet_callbacks callbacks;
    TAILQ_HEAD(, stream) streams;
    TAILQ_HEAD(, call) calls;
    unsigned unanswered; /* STREAM_WRITEs */
    bool was_full;
    bool was_reset;
};

static const uint16_t output = TN_ADDRESS(TN_ROLE_OUTPUT, 0);

struct tn_outlet *tn_outlet_new(struct tn_peer *data, uint64_t task, uint32_t attempt,
                                const struct tn_outlet_callbacks *callbacks)
{
    struct tn_outlet *outlet = calloc(1, sizeof(*outlet));

    if (outlet == NULL)
        tn_fatal(3, "out of memory: an outlet");
    outlet->data = data;
    outlet->task = task;
    outlet->attempt = attempt;
    outlet->callbacks = *callbacks;
    TAILQ_INIT(&outlet->streams);
    TAILQ_INIT(&outlet->calls);
    return outlet;
}

void tn_outlet_free(struct tn_outlet *outlet)
{
    struct stream *stream;
    struct call *call;

    if (outlet == NULL)
        return;
    tn_peer_forget(outlet->data, outlet);
    while ((call = TAILQ_FIRST(&outlet->calls)) != NULL) {
        tn_peer_forget(outlet->data, call);
        TAILQ_REMOVE(&outlet->calls, call, next);
        free(call);
    }
    while ((stream = TAILQ_FIRST(&outlet->streams)) != NULL) {
        TAILQ_REMOVE(&outlet->streams, stream, next);
        free(stream);
    }
    free(outlet);
}

/* The refusal as an error; `not_open` also tells the owner to begin again. True if it was that. */
static bool take_refusal(struct tn_outlet *outlet, const struct tn_msg *reply, struct tn_err *err)
{
    struct tn_err ignored = TN_ERR_INIT;
    auto_json cJSON *body = tn_json_parse(reply->body, reply->header.length, "REFUSED", &ignored);
    const char *code = tn_json_string(body, "code", "failed");

    tn_err_set(err, strcmp(code, "not_found") == 0 ? TN_ERR_NOT_FOUND : TN_ERR_UNAVAILABLE, "%s",
               tn_json_string(body, "text", "the output service refused without a reason"));
    if (strcmp(code, "not_open") != 0)
        return false;
    if (!outlet->was_reset) {
        outlet->was_reset = true;
        outlet->callbacks.on_reset(outlet->callbacks.arg);
    }
    return true;
}

/* A stream that was refused never was: a checkpoint must not name it. */
static void forget_stream(struct tn_outlet *outlet, uint32_t id)
{
    struct stream *stream;

    TAILQ_FOREACH (stream, &outlet->streams, next) {
        if (stream->id != id)
            continue;
        TAILQ_REMOVE(&outlet->streams, stream, next);
        free(stream);
        return;
    }
}

static void on_answer(void *arg, const struct tn_msg *reply)
{
    struct call *call = arg;
    struct tn_outlet *outlet = call->outlet;
    struct call done = *call;
    struct tn_err err = TN_ERR_INIT;
    struct tn_chunk chunk;

    TAILQ_REMOVE(&outlet->calls, call, next);
    free(call);
    if (reply->header.kind == TN_MSG_REFUSED) {
        if (take_refusal(outlet, reply, &err))
            return; /* the outlet may be gone */
        if (done.opens)
            forget_stream(outlet, done.stream);
        if (done.cb != NULL)
            done.cb(done.arg, NULL, &err);
        else if (done.data_cb != NULL)
            done.data_cb(done.arg, NULL, 0, true, &err);
        return;
    }
    if (done.data_cb != NULL) {
        if (tn_chunk_decode(reply->body, reply->header.length, &chunk, &err) != 0)
            done.data_cb(done.arg, NULL, 0, true, &err);
        else
            done.data_cb(done.arg, reply->body + TN_CHUNK_SIZE, reply->header.length - TN_CHUNK_SIZE,
                         (chunk.flags & TN_CHUNK_END) != 0, NULL);
        return;
    }
    if (done.cb != NULL) {
        auto_json cJSON *body = tn_json_parse(reply->body, reply->header.length, tn_msg_name(reply->header.kind), &err);

        done.cb(done.arg, body, body != NULL ? NULL : &err);
    }
}

static struct call *new_call(struct tn_outlet *outlet, tn_outlet_cb *cb, tn_outlet_data_cb *data_cb, void *arg)
{
    struct call *call = calloc(1, sizeof(*call));

    if (call == NULL)
        tn_fatal(3, "out of memory: a call of the output service");
    *call = (struct call){.outlet = outlet, .cb = cb, .data_cb = data_cb, .arg = arg};
    TAILQ_INSERT_TAIL(&outlet->calls, call, next);
    return call;
}

static void send_call(struct tn_outlet *outlet, enum tn_msg_kind kind, const cJSON *body, struct call *call)
{
    char *text = tn_json_print(body);

    tn_peer_request(outlet->data, kind, output, outlet->task, outlet->attempt, text, strlen(text), 0, on_answer, call);
    free(text);
}

void tn_outlet_call(struct tn_outlet *outlet, enum tn_msg_kind kind, const cJSON *body, tn_outlet_cb *cb, void *arg)
{
    send_call(outlet, kind, body, new_call(outlet, cb, NULL, arg));
}

static struct stream *find_stream(struct tn_outlet *outlet, uint32_t id)
{
    struct stream *stream;

    TAILQ_FOREACH (stream, &outlet->streams, next)
        if (stream->id == id)
            return stream;
    stream = calloc(1, sizeof(*stream));
    if (stream == NULL)
        tn_fatal(3, "out of memory: a stream");
    stream->id = id;
    TAILQ_INSERT_TAIL(&outlet->streams, stream, next);
    return stream;
}

void tn_outlet_open_stream(struct tn_outlet *outlet, uint32_t stream, cJSON *body, tn_outlet_cb *cb, void *arg)
{
    struct call *call = new_call(outlet, cb, NULL, arg);

    call->opens = true;
    call->stream = stream;
    find_stream(outlet, stream);
    cJSON_AddNumberToObject(body, "stream", stream);
    send_call(outlet, TN_MSG_STREAM_OPEN, body, call);
}

void tn_outlet_set_offset(struct tn_outlet *outlet, uint32_t stream, uint64_t offset)
{
    find_stream(outlet, stream)->offset = offset;
}

/* The stream that a refusal names, which has no room; false: it is about more than one stream. */
static bool names_stream(const struct tn_msg *reply, uint32_t *stream)
{
    auto_json cJSON *body = tn_json_parse(reply->body, reply->header.length, "REFUSED", NULL);
    uint64_t named = tn_json_u64(body, "stream", UINT64_MAX);

    *stream = (uint32_t)named;
    return named <= UINT32_MAX && strcmp(tn_json_string(body, "code", ""), "no_space") == 0;
}

uint64_t tn_outlet_offset(const struct tn_outlet *outlet, uint32_t stream_id)
{
    const struct stream *stream;

    TAILQ_FOREACH (stream, &outlet->streams, next)
        if (stream->id == stream_id)
            return stream->offset;
    return 0;
}

static void on_written(void *arg, const struct tn_msg *reply)
{
    struct tn_outlet *outlet = arg;
    struct tn_err err = TN_ERR_INIT;
    uint32_t stream;

    outlet->unanswered--;
    if (reply->header.kind == TN_MSG_REFUSED) {
        if (take_refusal(outlet, reply, &err))
            return;
        if (outlet->callbacks.on_stream_failed == NULL || !names_stream(reply, &stream)) {
            outlet->callbacks.on_failed(outlet->callbacks.arg, &err);
            return; /* the outlet may be gone */
        }
        outlet->callbacks.on_stream_failed(outlet->callbacks.arg, stream, &err);
    }
    if (outlet->was_full && outlet->unanswered <= WINDOW_LOW) {
        outlet->was_full = false;
        outlet->callbacks.on_room(outlet->callbacks.arg);
    }
}

void tn_outlet_write(struct tn_outlet *outlet, uint32_t stream_id, const void *bytes, size_t length)
{
    struct stream *stream = find_stream(outlet, stream_id);
    const char *at = bytes;

    while (length > 0) {
        size_t part = length < CHUNK_BYTES ? length : CHUNK_BYTES;
        struct tn_chunk chunk = {.stream = stream_id, .offset = stream->offset};
        uint8_t prefix[TN_CHUNK_SIZE];

        tn_chunk_encode(&chunk, prefix);
        tn_peer_request2(outlet->data, TN_MSG_STREAM_WRITE, output, outlet->task, outlet->attempt, prefix,
                         sizeof(prefix), at, part, 0, on_written, outlet);
        outlet->unanswered++;
        stream->offset += part;
        at += part;
        length -= part;
    }
    if (outlet->unanswered >= WINDOW)
        outlet->was_full = true;
}

bool tn_outlet_full(const struct tn_outlet *outlet)
{
    return outlet->was_full;
}

void tn_outlet_close_stream(struct tn_outlet *outlet, uint32_t stream_id, bool drop, tn_outlet_cb *cb, void *arg)
{
    struct stream *stream = find_stream(outlet, stream_id);
    auto_json cJSON *body = cJSON_CreateObject();

    cJSON_AddNumberToObject(body, "stream", stream_id);
    tn_json_add_u64(body, "size", stream->offset);
    cJSON_AddBoolToObject(body, "drop", drop);
    TAILQ_REMOVE(&outlet->streams, stream, next);
    free(stream);
    tn_outlet_call(outlet, TN_MSG_STREAM_CLOSE, body, cb, arg);
}

void tn_outlet_checkpoint(struct tn_outlet *outlet, const char *boot, uint64_t cursor, const cJSON *state,
                          tn_outlet_cb *cb, void *arg)
{
    auto_json cJSON *body = cJSON_CreateObject();
    cJSON *streams = cJSON_AddArrayToObject(body, "streams");
    struct stream *stream;

    cJSON_AddStringToObject(body, "boot", boot);
    tn_json_add_u64(body, "cursor", cursor);
    cJSON_AddItemReferenceToObject(body, "state", (cJSON *)state);
    TAILQ_FOREACH (stream, &outlet->streams, next) {
        cJSON *entry = cJSON_CreateObject();

        cJSON_AddNumberToObject(entry, "stream", stream->id);
        tn_json_add_u64(entry, "offset", stream->offset);
        cJSON_AddItemToArray(streams, entry);
    }
    tn_outlet_call(outlet, TN_MSG_CHECKPOINT, body, cb, arg);
}

void tn_outlet_read(struct tn_outlet *outlet, const char *blob, uint64_t offset, size_t length, tn_outlet_data_cb *cb,
                    void *arg)
{
    auto_json cJSON *body = cJSON_CreateObject();

    cJSON_AddStringToObject(body, "id", blob);
    tn_json_add_u64(body, "offset", offset);
    cJSON_AddNumberToObject(body, "length", (double)length);
    send_call(outlet, TN_MSG_BLOB_READ, body, new_call(outlet, NULL, cb, arg));
}
