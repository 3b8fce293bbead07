#include "tools/upload.h"

#include "core/lib/buf.h"
#include "core/lib/json.h"
#include "core/lib/log.h"
#include "tools/source.h"

#include <stdlib.h>
#include <string.h>

enum {
    WINDOW = 16, /* unanswered STREAM_WRITEs: proto/README.md, data sockets */
    PIECE = 256 * 1024,
    BEGIN_MAX = 5, /* times that it begins again after a restart of the output service */
};

#define OUTPUT TN_ADDRESS(TN_ROLE_OUTPUT, 0)

struct upload {
    struct event *pump; /* makes the next piece; one a turn of the loop, so that signals and events are heard */
    struct tn_peer *data;
    const struct project *project;
    const char *pipeline;
    upload_done_cb *done;
    void *arg;
    struct source *source;
    struct tn_buf piece;
    uint32_t stream; /* a new number each time that it begins */
    uint64_t offset; /* sent so far */
    unsigned unanswered;
    bool open;  /* STREAM_OPENED came */
    bool ended; /* all of the tar is sent */
};

static void finish(struct upload *upload, const struct tn_err *err)
{
    upload->done(upload->arg, upload->offset, err);
}

static void on_opened(void *arg, const struct tn_msg *reply);

static void send_json(struct upload *upload, enum tn_msg_kind kind, cJSON *body, tn_reply_cb *cb)
{
    char *text = tn_json_print(body);

    tn_peer_request(upload->data, kind, OUTPUT, 0, 0, text, strlen(text), 0, cb, upload);
    free(text);
    cJSON_Delete(body);
}

static int begin(struct upload *upload, struct tn_err *err)
{
    cJSON *body = cJSON_CreateObject();

    tn_peer_forget(upload->data, upload);
    event_del(upload->pump);
    source_close(upload->source);
    tn_buf_reset(&upload->piece);
    upload->offset = 0;
    upload->unanswered = 0;
    upload->open = upload->ended = false;
    upload->stream++;
    upload->source = source_open(upload->project, err);
    if (upload->source == NULL) {
        cJSON_Delete(body);
        return -1;
    }
    cJSON_AddNumberToObject(body, "stream", upload->stream);
    cJSON_AddStringToObject(body, "type", "source");
    cJSON_AddStringToObject(body, "pipeline", upload->pipeline);
    send_json(upload, TN_MSG_STREAM_OPEN, body, on_opened);
    return 0;
}

/* REFUSED. `not_open`: the output service has restarted and does not know the stream any more. */
static void refused(struct upload *upload, const struct tn_msg *reply)
{
    auto_json cJSON *body = tn_json_parse(reply->body, reply->header.length, "REFUSED", NULL);
    const char *code = tn_json_string(body, "code", "failed");
    struct tn_err err = TN_ERR_INIT;

    if (strcmp(code, "not_open") == 0 && upload->stream < BEGIN_MAX) {
        if (begin(upload, &err) == 0)
            return;
    } else {
        tn_err_set(&err, TN_ERR_UNAVAILABLE, "tenon-output does not take the working tree: %s (%s)",
                   tn_json_string(body, "text", "no reason given"), code);
    }
    finish(upload, &err);
}

static void on_closed(void *arg, const struct tn_msg *reply)
{
    struct upload *upload = arg;

    if (reply->header.kind == TN_MSG_REFUSED)
        refused(upload, reply);
    else
        finish(upload, NULL);
}

static void close_stream(struct upload *upload)
{
    cJSON *body = cJSON_CreateObject();

    cJSON_AddNumberToObject(body, "stream", upload->stream);
    tn_json_add_u64(body, "size", upload->offset);
    cJSON_AddBoolToObject(body, "drop", false);
    send_json(upload, TN_MSG_STREAM_CLOSE, body, on_closed);
}

static void go_on(struct upload *upload)
{
    if (upload->open && !upload->ended && upload->unanswered < WINDOW)
        event_active(upload->pump, EV_TIMEOUT, 1);
    else if (upload->ended && upload->unanswered == 0)
        close_stream(upload);
}

static void on_written(void *arg, const struct tn_msg *reply)
{
    struct upload *upload = arg;

    if (reply->header.kind == TN_MSG_REFUSED) {
        refused(upload, reply);
        return;
    }
    upload->unanswered--;
    go_on(upload);
}

static void send_piece(struct upload *upload)
{
    struct tn_chunk chunk = {.stream = upload->stream, .offset = upload->offset};
    size_t length = upload->piece.len < PIECE ? upload->piece.len : PIECE;
    uint8_t prefix[TN_CHUNK_SIZE];

    tn_chunk_encode(&chunk, prefix);
    tn_peer_request2(upload->data, TN_MSG_STREAM_WRITE, OUTPUT, 0, 0, prefix, sizeof(prefix), upload->piece.data,
                     length, 0, on_written, upload);
    tn_buf_consume(&upload->piece, length);
    upload->offset += length;
    upload->unanswered++;
}

static void on_pump(evutil_socket_t fd, short what, void *arg)
{
    struct upload *upload = arg;
    struct tn_err err = TN_ERR_INIT;
    int more = 1;

    if (!upload->open || upload->ended || upload->unanswered >= WINDOW)
        return;
    if (upload->piece.len < PIECE)
        more = source_read(upload->source, PIECE - upload->piece.len, &upload->piece, &err);
    if (more < 0) {
        tn_peer_forget(upload->data, upload);
        finish(upload, &err);
        return;
    }
    if (upload->piece.len >= PIECE || (more == 0 && upload->piece.len > 0))
        send_piece(upload);
    if (more == 0 && upload->piece.len == 0)
        upload->ended = true;
    go_on(upload);
}

static void on_opened(void *arg, const struct tn_msg *reply)
{
    struct upload *upload = arg;

    if (reply->header.kind == TN_MSG_REFUSED) {
        refused(upload, reply);
        return;
    }
    upload->open = true;
    go_on(upload);
}

struct upload *upload_start(struct event_base *base, struct tn_peer *data, const struct project *project,
                            const char *pipeline, upload_done_cb *done, void *arg, struct tn_err *err)
{
    struct upload *upload = calloc(1, sizeof(*upload));

    if (upload == NULL || (upload->pump = evtimer_new(base, on_pump, upload)) == NULL)
        tn_fatal(3, "out of memory: the working tree's upload");
    upload->data = data;
    upload->project = project;
    upload->pipeline = pipeline;
    upload->done = done;
    upload->arg = arg;
    if (begin(upload, err) == 0)
        return upload;
    upload_close(upload);
    return NULL;
}

void upload_close(struct upload *upload)
{
    if (upload == NULL)
        return;
    tn_peer_forget(upload->data, upload);
    event_free(upload->pump);
    source_close(upload->source);
    tn_buf_free(&upload->piece);
    free(upload);
}
