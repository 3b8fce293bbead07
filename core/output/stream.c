#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/log.h"
#include "core/output/stream_internal.h"
#include "core/output/untar.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

static const char *const type_names[TN_STREAM_TYPES] = {
    [TN_STREAM_LOG] = "log",
    [TN_STREAM_CACHE] = "cache",
    [TN_STREAM_WORKSPACE] = "workspace",
    [TN_STREAM_ARTIFACTS] = "artifacts",
    [TN_STREAM_TEST_RESULTS] = "test_results",
    [TN_STREAM_SOURCE] = "source",
};

enum { STEP_MAX = 1000000 };

/* ---- paths ---- */

char *tn_stream__partial_path(const struct tn_stream_home *home, const struct tn_stream *stream)
{
    return tn_layout_partial(home->layout, stream->type == TN_STREAM_CACHE, home->task, home->attempt, home->owner,
                             stream->id);
}

char *tn_stream__final_path(const struct tn_stream_home *home, const struct tn_stream *stream)
{
    if (stream->type == TN_STREAM_CACHE)
        return tn_layout_cache(home->layout, home->project, tn_json_string(stream->opened, "key", ""));
    if (stream->type == TN_STREAM_WORKSPACE)
        return tn_layout_workspace(home->layout, home->task, home->attempt, stream->step);
    if (stream->type == TN_STREAM_SOURCE)
        return tn_layout_source(home->layout, tn_json_string(stream->opened, "pipeline", ""));
    return NULL;
}

static char *log_path(const struct tn_stream_home *home, const struct tn_stream *stream)
{
    return tn_layout_log(home->layout, &home->place, stream->step, tn_json_string(stream->opened, "name", "step"));
}

/* ---- opening ---- */

static int read_type(const cJSON *body, struct tn_err *err)
{
    const char *name = tn_json_string(body, "type", "");

    for (int type = 0; type < TN_STREAM_TYPES; type++)
        if (strcmp(type_names[type], name) == 0)
            return type;
    return tn_err_set(err, TN_ERR_USAGE,
                      "STREAM_OPEN: type \"%.50s\" is none of log, cache, workspace, artifacts, "
                      "test_results, source",
                      name);
}

/* Only what is needed again is kept of the body: it goes into every record. */
static cJSON *keep_members(const cJSON *body)
{
    static const char *const members[] = {"type",        "stream", "step",     "name", "key",
                                          "destination", "base",   "pipeline", "root", "failed"};
    cJSON *kept = cJSON_CreateObject();

    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
        const cJSON *item = cJSON_GetObjectItemCaseSensitive(body, members[i]);

        if (item != NULL)
            cJSON_AddItemToObject(kept, members[i], cJSON_Duplicate(item, true));
    }
    return kept;
}

static int check_members(const struct tn_stream_home *home, const struct tn_stream *stream, struct tn_err *err)
{
    const char *key = tn_json_string(stream->opened, "key", NULL);
    const char *pipeline = tn_json_string(stream->opened, "pipeline", NULL);
    const char *destination = tn_json_string(stream->opened, "destination", "");
    auto_free char *clean = tn_untar_clean(destination);

    if (stream->type == TN_STREAM_CACHE && (key == NULL || *key == '\0' || strlen(key) > TN_CACHE_KEY_MAX ||
                                            strlen(tn_json_string(stream->opened, "base", "")) > 16))
        return tn_err_set(err, TN_ERR_USAGE,
                          "STREAM_OPEN: a cache needs a key of 1 to %d bytes and a base of at most 16",
                          TN_CACHE_KEY_MAX);
    if (stream->type == TN_STREAM_SOURCE && (pipeline == NULL || *pipeline == '\0'))
        return tn_err_set(err, TN_ERR_USAGE, "STREAM_OPEN: a source needs its pipeline");
    if ((stream->type == TN_STREAM_SOURCE) != (home->owner != 0))
        return tn_err_set(err, TN_ERR_USAGE, "STREAM_OPEN: a client uploads sources, and only a client does");
    if (clean == NULL)
        return tn_err_set(err, TN_ERR_USAGE,
                          "STREAM_OPEN: the destination \"%.200s\" must be a path without \"..\" of at most 4000 bytes",
                          destination);
    return 0;
}

static struct tn_stream *stream_new(const struct tn_stream_home *home, const cJSON *body, struct tn_err *err)
{
    int type = read_type(body, err);
    uint64_t id = tn_json_u64(body, "stream", UINT64_MAX);
    uint64_t step = tn_json_u64(body, "step", 0);
    struct tn_stream *stream;

    if (type < 0)
        return NULL;
    if (id > UINT32_MAX || step > STEP_MAX) {
        tn_err_set(err, TN_ERR_USAGE, "STREAM_OPEN: expected a stream below 2^32 and a step of at most %d", STEP_MAX);
        return NULL;
    }
    stream = calloc(1, sizeof(*stream));
    if (stream == NULL)
        tn_fatal(3, "out of memory: a stream");
    stream->id = (uint32_t)id;
    stream->type = (enum tn_stream_type)type;
    stream->step = (unsigned)step;
    stream->opened = keep_members(body);
    if (check_members(home, stream, err) == 0)
        return stream;
    tn_stream_free(stream);
    return NULL;
}

static void note_names(const struct tn_stream_home *home, struct tn_stream *stream)
{
    if (stream->log == NULL)
        return;
    stream->log->task = home->task;
    stream->log->attempt = home->attempt;
    stream->log->step = stream->step;
    stream->log->limit = home->log_limit;
}

struct tn_stream *tn_stream_open(const struct tn_stream_home *home, const cJSON *body, struct tn_err *err)
{
    struct tn_stream *stream = stream_new(home, body, err);
    auto_free char *path = NULL;

    if (stream == NULL)
        return NULL;
    path = tn_stream__final_path(home, stream);
    if ((stream->type == TN_STREAM_CACHE || stream->type == TN_STREAM_SOURCE) && access(path, F_OK) == 0) {
        stream->exists = true;
        return stream;
    }
    free(path);
    path = stream->type == TN_STREAM_LOG ? log_path(home, stream) : tn_stream__partial_path(home, stream);
    if (stream->type == TN_STREAM_LOG)
        stream->log = tn_log_create(home->logs, path, home->mask, err);
    else
        stream->writer = tn_zwriter_create(tn_blobs_zpack(home->blobs), path, err);
    if (stream->log == NULL && stream->writer == NULL) {
        tn_stream_free(stream);
        return NULL;
    }
    note_names(home, stream);
    return stream;
}

int tn_stream__commit(const struct tn_stream_home *home, const struct tn_stream *stream, const char *partial,
                      const char *final, struct tn_err *err)
{
    bool kept;

    if (stream->type != TN_STREAM_CACHE)
        return tn_blobs_commit(partial, final, err);
    if (tn_cache_commit(home->layout, home->project, tn_json_string(stream->opened, "key", ""),
                        tn_json_string(stream->opened, "base", ""), partial, &kept, err) != 0)
        return -1;
    if (!kept)
        cJSON_AddTrueToObject(stream->result, "exists");
    return 0;
}

static int resume_files(const struct tn_stream_home *home, struct tn_stream *stream, const cJSON *entry, bool read_only,
                        struct tn_err *err)
{
    auto_free char *path =
        stream->type == TN_STREAM_LOG ? log_path(home, stream) : tn_stream__partial_path(home, stream);
    auto_free char *final = tn_stream__final_path(home, stream);

    if (stream->type == TN_STREAM_LOG) {
        stream->log = tn_log_resume(home->logs, path, read_only ? NULL : home->mask, entry, err);
        note_names(home, stream);
        return stream->log != NULL ? 0 : -1;
    }
    if (read_only || stream->exists || (stream->failed != NULL && !stream->closed))
        return 0;
    if (!stream->closed) {
        stream->writer = tn_zwriter_resume(tn_blobs_zpack(home->blobs), path, tn_json_u64(entry, "raw", 0),
                                           tn_json_u64(entry, "stored", 0), err);
        return stream->writer != NULL ? 0 : -1;
    }
    /* The record says closed, so the file is complete: a crash may have come before its new name. */
    if (access(path, F_OK) != 0)
        return 0;
    if (final == NULL || tn_json_bool(stream->result, "dropped", false))
        return unlink(path) == 0 ? 0 : tn_err_set(err, TN_ERR_SYSTEM, "cannot remove %s", path);
    return tn_stream__commit(home, stream, path, final, err);
}

struct tn_stream *tn_stream_resume(const struct tn_stream_home *home, const cJSON *entry, bool read_only,
                                   struct tn_err *err)
{
    struct tn_stream *stream = stream_new(home, tn_json_get(entry, "opened"), err);
    const cJSON *result = tn_json_get(entry, "result");

    if (stream == NULL)
        return NULL;
    stream->offset = tn_json_u64(entry, "offset", 0);
    stream->closed = tn_json_bool(entry, "closed", false);
    stream->exists = tn_json_bool(entry, "exists", false);
    if (tn_json_string(entry, "failed", NULL) != NULL)
        stream->failed = tn_fs_path("%s", tn_json_string(entry, "failed", ""));
    stream->result = result != NULL ? cJSON_Duplicate(result, true) : NULL;
    if (resume_files(home, stream, entry, read_only, err) == 0)
        return stream;
    tn_stream_free(stream);
    return NULL;
}

/* ---- bytes ---- */

/* Bytes that are there, from the stream's point of view. */
static uint64_t raw_bytes(const struct tn_stream *stream)
{
    if (stream->log != NULL)
        return stream->log->raw;
    return stream->writer != NULL ? tn_zwriter_size(stream->writer) : stream->offset;
}

int tn_stream__say_failed(const struct tn_stream *stream, struct tn_err *err)
{
    tn_err_set(err, TN_ERR_SYSTEM, "%s", stream->failed);
    err->sys = ENOSPC;
    return -1;
}

int tn_stream__fail_for_room(const struct tn_stream_home *home, struct tn_stream *stream, uint64_t needs, bool at_least,
                             struct tn_err *err)
{
    auto_free char *partial = tn_stream__partial_path(home, stream);
    auto_free char *folder = tn_layout_partial_folder(home->layout, stream->type == TN_STREAM_CACHE);

    tn_zwriter_close(stream->writer);
    stream->writer = NULL;
    if (unlink(partial) != 0 && errno != ENOENT)
        tn_warn("cannot remove %s: %s", partial, strerror(errno));
    if (at_least || strncmp(err->text, "needs ", 6) != 0)
        tn_room_lacks(home->room, folder, needs, at_least, err);
    free(stream->failed);
    stream->failed = tn_fs_path("%s", err->text);
    return tn_stream__say_failed(stream, err);
}

static int write_blob(const struct tn_stream_home *home, struct tn_stream *stream, const char *bytes, size_t length,
                      struct tn_err *err)
{
    auto_free char *folder = tn_layout_partial_folder(home->layout, stream->type == TN_STREAM_CACHE);
    /* What waits to be compressed counts as it is: it is written soon. */
    uint64_t waiting = tn_zwriter_waiting(stream->writer) + length;
    uint64_t taken = tn_zwriter_stored(stream->writer) + waiting;

    if (tn_room_check(home->room, folder, waiting, err) == 0 &&
        tn_zwriter_write(stream->writer, bytes, length, err) == 0)
        return 0;
    return tn_room_is_lack(err) ? tn_stream__fail_for_room(home, stream, taken, true, err) : -1;
}

int tn_stream_write(const struct tn_stream_home *home, struct tn_stream *stream, uint64_t offset, const void *bytes,
                    size_t length, struct tn_err *err)
{
    uint64_t raw = raw_bytes(stream);
    uint64_t end = offset + length;

    if (end < offset)
        return tn_err_set(err, TN_ERR_USAGE, "STREAM_WRITE at offset %" PRIu64 ", which is too large", offset);
    if (stream->closed || stream->exists)
        return 1;
    if (stream->failed != NULL)
        return tn_stream__say_failed(stream, err);
    if (offset > stream->offset || offset > raw) /* a damaged record may say more than there is */
        return 0;
    if (end > raw) {
        const char *fresh = (const char *)bytes + (raw - offset);
        size_t count = (size_t)(end - raw);

        if ((stream->log != NULL ? tn_log_write(stream->log, fresh, count, err)
                                 : write_blob(home, stream, fresh, count, err)) != 0)
            return -1;
    }
    if (end > stream->offset)
        stream->offset = end;
    return 1;
}

int tn_stream_flush(struct tn_stream *stream, struct tn_err *err)
{
    return stream->writer != NULL && !stream->closed && stream->ending == NULL ? tn_zwriter_flush(stream->writer, err)
                                                                               : 0;
}

cJSON *tn_stream_entry(const struct tn_stream *stream, uint64_t offset)
{
    cJSON *entry = cJSON_CreateObject();

    tn_json_add_u64(entry, "offset", offset);
    cJSON_AddItemToObject(entry, "opened", cJSON_Duplicate(stream->opened, true));
    if (stream->closed)
        cJSON_AddTrueToObject(entry, "closed");
    if (stream->exists)
        cJSON_AddTrueToObject(entry, "exists");
    if (stream->failed != NULL)
        cJSON_AddStringToObject(entry, "failed", stream->failed);
    if (stream->result != NULL)
        cJSON_AddItemToObject(entry, "result", cJSON_Duplicate(stream->result, true));
    if (stream->log != NULL) {
        tn_log_mark(stream->log, entry);
    } else if (stream->writer != NULL) {
        tn_json_add_u64(entry, "raw", tn_zwriter_size(stream->writer));
        tn_json_add_u64(entry, "stored", tn_zwriter_stored(stream->writer));
    }
    return entry;
}

void tn_stream_free(struct tn_stream *stream)
{
    if (stream == NULL)
        return;
    tn_stream__ending_free(stream);
    tn_log_close(stream->log);
    tn_zwriter_close(stream->writer);
    free(stream->failed);
    cJSON_Delete(stream->opened);
    cJSON_Delete(stream->result);
    free(stream);
}
