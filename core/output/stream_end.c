/* How a stream ends: what takes long runs in a thread, the rest in the loop. */
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/log.h"
#include "core/output/layers.h"
#include "core/output/stream_internal.h"
#include "core/output/unpack.h"

#include <inttypes.h>
#include <string.h>

static int finish_log(struct tn_stream *stream, struct tn_err *err)
{
    if (tn_log_end(stream->log, err) != 0)
        return -1;
    stream->result = cJSON_CreateObject();
    tn_json_add_u64(stream->result, "size", stream->log->raw);
    tn_json_add_u64(stream->result, "stored", stream->log->stored);
    tn_json_add_u64(stream->result, "dropped", tn_log_dropped(stream->log));
    cJSON_AddStringToObject(stream->result, "path", stream->log->path);
    stream->closed = true;
    return 0;
}

/* What a thread does of ending a stream, and what came of it. */
struct tn_ending {
    const struct tn_stream_home *home; /* borrowed, as the stream is */
    struct tn_stream *stream;
    struct tn_work *work; /* NULL: not begun, or done */
    bool ran;
    char *partial;
    char *final;  /* NULL: it is unpacked */
    char *twin;   /* a stored file of equal content, or NULL */
    char *shared; /* under which name it is to be shared, or NULL */
    cJSON *result;
    int failed;
    struct tn_err err;
    tn_work_done_cb *done;
    void *arg;
};

static struct tn_ending *ending_new(const struct tn_stream_home *home, struct tn_stream *stream)
{
    struct tn_ending *ending = calloc(1, sizeof(*ending));

    if (ending == NULL)
        tn_fatal(3, "out of memory: the end of a stream");
    ending->home = home;
    ending->stream = stream;
    ending->partial = tn_stream__partial_path(home, stream);
    ending->final = tn_stream__final_path(home, stream);
    ending->result = cJSON_CreateObject();
    stream->ending = ending;
    return ending;
}

void tn_stream__ending_free(struct tn_stream *stream)
{
    struct tn_ending *ending = stream->ending;

    if (ending == NULL)
        return;
    if (ending->work != NULL)
        tn_work_take(ending->work);
    stream->ending = NULL;
    cJSON_Delete(ending->result);
    free(ending->partial);
    free(ending->final);
    free(ending->twin);
    free(ending->shared);
    free(ending);
}

/* The file is complete and synced, so that its size is known: is there room for what it becomes? */
static int check_room(const struct tn_ending *ending, struct tn_err *err)
{
    const struct tn_stream_home *home = ending->home;
    uint64_t stored = tn_zwriter_stored(ending->stream->writer);
    auto_free char *folder = tn_layout_partial_folder(home->layout, false);

    if (ending->final == NULL && tn_room_check(home->room, folder, tn_zwriter_size(ending->stream->writer), err) != 0)
        return -1;
    return ending->final != NULL && ending->stream->type != TN_STREAM_SOURCE
               ? tn_room_quota(home->layout, home->project, stored, home->room->quota, err)
           : ending->final == NULL ? tn_room_quota(home->layout, home->project, tn_zwriter_size(ending->stream->writer),
                                                   home->room->quota, err)
                                   : 0;
}

static int end_in_thread(struct tn_ending *ending, struct tn_err *err)
{
    struct tn_stream *stream = ending->stream;

    if (tn_zwriter_finish(stream->writer, err) != 0 || check_room(ending, err) != 0)
        return -1;
    tn_json_add_u64(ending->result, "size", tn_zwriter_size(stream->writer));
    tn_json_add_u64(ending->result, "stored", tn_zwriter_stored(stream->writer));
    if (ending->final == NULL)
        return tn_unpack(ending->home, stream, ending->partial, ending->result, err);
    cJSON_AddStringToObject(ending->result, "path", ending->final);
    if (stream->type == TN_STREAM_WORKSPACE && tn_layer_list_write(ending->partial, ending->final, err) != 0) {
        if (err->code != TN_ERR_PROTOCOL)
            return -1;
        tn_warn("%s: %s", ending->final, err->text); /* what is no tar cannot be attached either */
        tn_err_clear(err);
    }
    ending->twin = tn_blobs_twin(ending->home->blobs, ending->partial, &ending->shared);
    return 0;
}

static void run_ending(void *arg)
{
    struct tn_ending *ending = arg;

    ending->failed = end_in_thread(ending, &ending->err);
    ending->ran = true;
}

static void on_ending_done(void *arg)
{
    struct tn_ending *ending = arg;

    ending->work = NULL;
    ending->done(ending->arg);
}

bool tn_stream_finish_ahead(const struct tn_stream_home *home, struct tn_stream *stream, struct tn_works *works,
                            tn_work_done_cb *done, void *arg)
{
    struct tn_ending *ending;
    struct tn_err err = TN_ERR_INIT;

    /* The compressor is the loop's: what waits for it is compressed first. A failure shows again at the end. */
    if (stream->writer == NULL || stream->closed || stream->ending != NULL ||
        tn_zwriter_flush(stream->writer, &err) != 0)
        return false;
    ending = ending_new(home, stream);
    ending->done = done;
    ending->arg = arg;
    ending->work = tn_work_start(works, run_ending, on_ending_done, ending);
    return true;
}

bool tn_stream_is_ending(const struct tn_stream *stream)
{
    return stream->ending != NULL && stream->ending->work != NULL;
}

/* On record first, then its final name: a crash in between is harmless, for a record that says closed is taken up by
 * committing. Only now nobody writes the file any more, so that it may become one with others. */
static int settle(const struct tn_stream_home *home, struct tn_stream *stream, struct tn_ending *ending,
                  tn_stream_keep_cb *before_commit, void *arg, struct tn_err *err)
{
    stream->result = steal_ptr(&ending->result);
    stream->closed = true;
    if (before_commit(arg, stream, err) == 0) {
        if (ending->final != NULL)
            tn_blobs_share(ending->partial, ending->twin, ending->shared);
        if (ending->final == NULL || tn_stream__commit(home, stream, ending->partial, ending->final, err) == 0)
            return 0;
    }
    cJSON_Delete(stream->result);
    stream->result = NULL;
    stream->closed = false;
    return -1;
}

static int finish_blob(const struct tn_stream_home *home, struct tn_stream *stream, tn_stream_keep_cb *before_commit,
                       void *arg, struct tn_err *err)
{
    struct tn_ending *ending = stream->ending != NULL ? stream->ending : ending_new(home, stream);
    uint64_t stored = tn_zwriter_stored(stream->writer);
    struct tn_work *work = ending->work;
    int failed;

    ending->work = NULL;
    if (work != NULL)
        tn_work_take(work);
    if (!ending->ran)
        run_ending(ending);
    failed = ending->failed;
    if (failed != 0)
        *err = ending->err;
    else
        failed = settle(home, stream, ending, before_commit, arg, err);
    if (failed == 0 && ending->final == NULL)
        unlink(ending->partial);
    tn_stream__ending_free(stream);
    if (failed != 0)
        return tn_room_is_lack(err) ? tn_stream__fail_for_room(home, stream, stored, false, err) : -1;
    tn_zwriter_close(stream->writer);
    stream->writer = NULL;
    return 0;
}

int tn_stream_finish(const struct tn_stream_home *home, struct tn_stream *stream, tn_stream_keep_cb *before_commit,
                     void *arg, struct tn_err *err)
{
    if (stream->closed)
        return 0;
    if (stream->exists) {
        stream->result = cJSON_CreateObject();
        tn_json_add_u64(stream->result, "size", 0);
        tn_json_add_u64(stream->result, "stored", 0);
        cJSON_AddTrueToObject(stream->result, "exists");
        stream->closed = true;
        return 0;
    }
    if (stream->failed != NULL)
        return tn_stream__say_failed(stream, err);
    return stream->log != NULL ? finish_log(stream, err) : finish_blob(home, stream, before_commit, arg, err);
}

int tn_stream_drop(const struct tn_stream_home *home, struct tn_stream *stream, tn_stream_keep_cb *before_removal,
                   void *arg, struct tn_err *err)
{
    auto_free char *partial = tn_stream__partial_path(home, stream);

    if (stream->closed)
        return 0;
    tn_stream__ending_free(stream);
    stream->result = cJSON_CreateObject();
    tn_json_add_u64(stream->result, "size", 0);
    tn_json_add_u64(stream->result, "stored", 0);
    cJSON_AddTrueToObject(stream->result, "dropped");
    stream->closed = true;
    if (before_removal(arg, stream, err) != 0) {
        cJSON_Delete(stream->result);
        stream->result = NULL;
        stream->closed = false;
        return -1;
    }
    tn_zwriter_close(stream->writer);
    stream->writer = NULL;
    unlink(partial);
    return 0;
}
