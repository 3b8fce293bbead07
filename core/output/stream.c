#include "core/output/stream.h"
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/log.h"
#include "core/output/junit.h"
#include "core/output/untar.h"

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
/* What a job may leave; generous, until an issue makes them configurable. */
static const struct tn_untar_limits untar_limits = {.bytes = 256ull << 30, .files = 2000000};

/* ---- paths ---- */

static char *partial_path(const struct tn_stream_home *home, const struct tn_stream *stream)
{
    return tn_layout_partial(home->layout, stream->type == TN_STREAM_CACHE, home->task, home->attempt, home->owner,
                             stream->id);
}

/* Where a blob lies when it is committed, or NULL for what is unpacked. */
static char *final_path(const struct tn_stream_home *home, const struct tn_stream *stream)
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
    static const char *const members[] = {"type", "stream", "step", "name", "key", "destination", "base", "pipeline"};
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
    auto_free char *label = NULL;
    auto_free char *path = NULL;

    if (stream == NULL)
        return NULL;
    if (stream->type == TN_STREAM_CACHE)
        label = tn_blobs_label(tn_json_string(stream->opened, "key", ""), tn_json_string(stream->opened, "base", ""));
    path = final_path(home, stream);
    if ((label != NULL || stream->type == TN_STREAM_SOURCE) && access(path, F_OK) == 0) {
        stream->exists = true;
        return stream;
    }
    free(path);
    path = stream->type == TN_STREAM_LOG ? log_path(home, stream) : partial_path(home, stream);
    if (stream->type == TN_STREAM_LOG)
        stream->log = tn_log_create(home->logs, path, home->mask, err);
    else
        stream->writer = tn_zwriter_create(tn_blobs_zpack(home->blobs), path, label, err);
    if (stream->log == NULL && stream->writer == NULL) {
        tn_stream_free(stream);
        return NULL;
    }
    note_names(home, stream);
    return stream;
}

static int resume_files(const struct tn_stream_home *home, struct tn_stream *stream, const cJSON *entry, bool read_only,
                        struct tn_err *err)
{
    auto_free char *path = stream->type == TN_STREAM_LOG ? log_path(home, stream) : partial_path(home, stream);
    auto_free char *final = final_path(home, stream);
    bool kept;

    if (stream->type == TN_STREAM_LOG) {
        stream->log = tn_log_resume(home->logs, path, read_only ? NULL : home->mask, entry, err);
        note_names(home, stream);
        return stream->log != NULL ? 0 : -1;
    }
    if (read_only || stream->exists)
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
    return tn_blobs_commit(path, final, stream->type == TN_STREAM_CACHE, &kept, err);
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

int tn_stream_write(struct tn_stream *stream, uint64_t offset, const void *bytes, size_t length, struct tn_err *err)
{
    uint64_t raw = raw_bytes(stream);
    uint64_t end = offset + length;

    if (end < offset)
        return tn_err_set(err, TN_ERR_USAGE, "STREAM_WRITE at offset %" PRIu64 ", which is too large", offset);
    if (stream->closed || stream->exists)
        return 1;
    if (offset > stream->offset)
        return 0;
    if (end > raw) {
        const char *fresh = (const char *)bytes + (raw - offset);
        size_t count = (size_t)(end - raw);

        if ((stream->log != NULL ? tn_log_write(stream->log, fresh, count, err)
                                 : tn_zwriter_write(stream->writer, fresh, count, err)) != 0)
            return -1;
    }
    if (end > stream->offset)
        stream->offset = end;
    return 1;
}

int tn_stream_flush(struct tn_stream *stream, struct tn_err *err)
{
    return stream->writer != NULL && !stream->closed ? tn_zwriter_flush(stream->writer, err) : 0;
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

/* ---- ending ---- */

struct unpacking {
    struct tn_zreader *reader;
    uint64_t offset;
    struct tn_junit_counts tests;
};

static ssize_t read_tar(void *arg, const void **bytes, struct tn_err *err)
{
    struct unpacking *unpacking = arg;
    size_t length;

    if (tn_zreader_peek(unpacking->reader, unpacking->offset, bytes, &length, err) != 0)
        return -1;
    unpacking->offset += length;
    return (ssize_t)length;
}

static void count_tests(void *arg, int fd, const char *name)
{
    struct unpacking *unpacking = arg;
    struct tn_err err = TN_ERR_INIT;
    size_t length = strlen(name);

    if (length < 4 || strcasecmp(name + length - 4, ".xml") != 0)
        return;
    if (tn_junit_count_file(fd, name, &unpacking->tests, &err) != 0)
        tn_info("test results: %s", err.text);
}

static void add_unpacked(cJSON *result, const char *path, const struct tn_untar_result *done,
                         const struct tn_junit_counts *tests)
{
    cJSON_AddNumberToObject(result, "files", (double)done->files);
    cJSON_AddNumberToObject(result, "skipped", (double)done->skipped);
    cJSON_AddStringToObject(result, "path", path);
    if (tests != NULL) {
        cJSON *counts = cJSON_AddObjectToObject(result, "tests");

        cJSON_AddNumberToObject(counts, "total", (double)tests->total);
        cJSON_AddNumberToObject(counts, "failed", (double)tests->failed);
        cJSON_AddNumberToObject(counts, "errors", (double)tests->errors);
        cJSON_AddNumberToObject(counts, "skipped", (double)tests->skipped);
        cJSON_AddNumberToObject(counts, "damaged", (double)tests->damaged);
    }
}

static int unpack(const struct tn_stream_home *home, const struct tn_stream *stream, const char *partial, cJSON *result,
                  struct tn_err *err)
{
    bool is_tests = stream->type == TN_STREAM_TEST_RESULTS;
    auto_free char *folder =
        is_tests ? tn_layout_tests(home->layout, &home->place) : tn_layout_artifacts(home->layout, &home->place);
    auto_free char *prefix =
        is_tests ? tn_fs_path("%02u", stream->step) : tn_untar_clean(tn_json_string(stream->opened, "destination", ""));
    struct unpacking unpacking = {.reader = tn_zreader_open(partial, err)};
    struct tn_untar untar = {.folder = folder,
                             .prefix = prefix,
                             .keep_file_name = is_tests,
                             .limits = untar_limits,
                             .read = read_tar,
                             .on_file = is_tests ? count_tests : NULL,
                             .arg = &unpacking};
    struct tn_untar_result done;
    int failed;

    if (unpacking.reader == NULL)
        return -1;
    failed = tn_untar(&untar, &done, err);
    tn_zreader_close(unpacking.reader);
    if (failed == 0)
        add_unpacked(result, folder, &done, is_tests ? &unpacking.tests : NULL);
    return failed;
}

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

/* The order makes a crash at any point harmless: complete and synced, then on record, then its final name. */
static int finish_blob(const struct tn_stream_home *home, struct tn_stream *stream, tn_stream_keep_cb *before_commit,
                       void *arg, struct tn_err *err)
{
    auto_free char *partial = partial_path(home, stream);
    auto_free char *final = final_path(home, stream);
    auto_json cJSON *result = cJSON_CreateObject();
    bool kept;

    if (tn_zwriter_finish(stream->writer, err) != 0)
        return -1;
    tn_json_add_u64(result, "size", tn_zwriter_size(stream->writer));
    tn_json_add_u64(result, "stored", tn_zwriter_stored(stream->writer));
    if (final != NULL)
        cJSON_AddStringToObject(result, "path", final);
    else if (unpack(home, stream, partial, result, err) != 0)
        return -1;
    stream->result = steal_ptr(&result);
    stream->closed = true;
    if (before_commit(arg, stream, err) != 0 ||
        (final != NULL && tn_blobs_commit(partial, final, stream->type == TN_STREAM_CACHE, &kept, err) != 0)) {
        cJSON_Delete(stream->result);
        stream->result = NULL;
        stream->closed = false;
        return -1;
    }
    if (final == NULL)
        unlink(partial);
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
        stream->closed = true;
        return 0;
    }
    return stream->log != NULL ? finish_log(stream, err) : finish_blob(home, stream, before_commit, arg, err);
}

int tn_stream_drop(const struct tn_stream_home *home, struct tn_stream *stream, tn_stream_keep_cb *before_removal,
                   void *arg, struct tn_err *err)
{
    auto_free char *partial = partial_path(home, stream);

    if (stream->closed)
        return 0;
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

void tn_stream_free(struct tn_stream *stream)
{
    if (stream == NULL)
        return;
    tn_log_close(stream->log);
    tn_zwriter_close(stream->writer);
    cJSON_Delete(stream->opened);
    cJSON_Delete(stream->result);
    free(stream);
}
