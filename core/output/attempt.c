#include "core/output/attempt.h"
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

enum { RECORD_MAX = 64 << 20, LATER_MAX = 8 };

/* ---- the record ---- */

/* rename(2) makes it all or nothing against the death of any process; `sync` also against that of the machine. */
static int save(const struct tn_attempt *attempt, bool sync, struct tn_err *err)
{
    auto_free char *path = tn_layout_record(attempt->home.layout, attempt->home.task, attempt->home.attempt);
    auto_free char *temporary = tn_fs_path("%s.tmp", path);
    auto_free char *text = tn_json_print(attempt->record);
    auto_fd int fd = -1;

    if (sync)
        return tn_fs_write_atomic(path, text, strlen(text), 0600, err);
    fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return tn_err_sys(err, errno, "cannot write %s", temporary);
    if (tn_fs_write_all(fd, text, strlen(text), err) != 0)
        return tn_err_wrap(err, "%s", temporary);
    if (rename(temporary, path) != 0)
        return tn_err_sys(err, errno, "cannot replace %s", path);
    return 0;
}

static cJSON *load_record(const struct tn_attempts *attempts, uint64_t task, uint32_t attempt, struct tn_err *err)
{
    auto_free char *path = tn_layout_record(attempts->layout, task, attempt);
    auto_buf struct tn_buf text = TN_BUF_INIT;

    if (access(path, F_OK) != 0) {
        tn_err_set(err, TN_ERR_NOT_FOUND, "nothing is known of task %" PRIu64 ", attempt %" PRIu32, task, attempt);
        return NULL;
    }
    if (tn_fs_read(path, RECORD_MAX, &text, err) != 0)
        return NULL;
    return tn_json_parse(text.data, text.len, path, err);
}

static cJSON *new_record(const struct tn_attempts *attempts, const cJSON *body)
{
    static const char *const texts[] = {"pipeline", "workflow", "job", "project"};
    cJSON *record = cJSON_CreateObject();

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        cJSON_AddStringToObject(record, texts[i], tn_json_string(body, texts[i], "default"));
    cJSON_AddNumberToObject(record, "index", tn_json_number(body, "index", 0));
    cJSON_AddNumberToObject(record, "total", tn_json_number(body, "total", 1));
    tn_json_add_u64(record, "log_limit", attempts->log_limit);
    cJSON_AddNullToObject(record, "checkpoint");
    cJSON_AddArrayToObject(record, "streams");
    return record;
}

static cJSON *find_entry(const struct tn_attempt *attempt, uint32_t id)
{
    cJSON *entry;

    cJSON_ArrayForEach (entry, cJSON_GetObjectItemCaseSensitive(attempt->record, "streams"))
        if (tn_json_u64(tn_json_get(entry, "opened"), "stream", UINT64_MAX) == id)
            return entry;
    return NULL;
}

/* Attempts of a task are few, but one of them may never have come as far as to here. */
bool tn_attempt_has_later(const struct tn_attempts *attempts, uint64_t task, uint32_t attempt)
{
    for (uint32_t later = attempt + 1; later != 0 && later <= attempt + LATER_MAX; later++) {
        auto_free char *path = tn_layout_record(attempts->layout, task, later);

        if (access(path, F_OK) == 0)
            return true;
    }
    return false;
}

bool tn_attempt_was_closed(const struct tn_attempts *attempts, uint64_t task, uint32_t attempt)
{
    auto_json cJSON *record = load_record(attempts, task, attempt, NULL);

    return tn_json_bool(record, "closed", false);
}

/* ---- in memory ---- */

static unsigned bounded(const cJSON *record, const char *key, double fallback)
{
    double value = tn_json_number(record, key, fallback);

    return value >= 0 && value <= 1000000 ? (unsigned)value : (unsigned)fallback;
}

/* Takes the record and the mask over. */
static struct tn_attempt *attempt_new(struct tn_attempts *attempts, uint64_t task, uint32_t number, uint32_t owner,
                                      cJSON *record, struct tn_mask *mask)
{
    struct tn_attempt *attempt = calloc(1, sizeof(*attempt));

    if (attempt == NULL)
        tn_fatal(3, "out of memory: an attempt");
    TAILQ_INIT(&attempt->streams);
    TAILQ_INIT(&attempt->waiting);
    attempt->record = record;
    attempt->mask = mask;
    attempt->project = tn_fs_path("%s", tn_json_string(record, "project", "default"));
    attempt->home = (struct tn_stream_home){.layout = attempts->layout,
                                            .blobs = attempts->blobs,
                                            .logs = attempts->logs,
                                            .room = attempts->room,
                                            .mask = mask,
                                            .project = attempt->project,
                                            .task = task,
                                            .attempt = number,
                                            .log_limit = tn_json_u64(record, "log_limit", 0),
                                            .owner = owner};
    attempt->home.place = (struct tn_place){.workflow = tn_fs_path("%s", tn_json_string(record, "workflow", "default")),
                                            .job = tn_fs_path("%s", tn_json_string(record, "job", "default")),
                                            .index = bounded(record, "index", 0),
                                            .total = bounded(record, "total", 1),
                                            .attempt = number};
    LIST_INSERT_HEAD(&attempts->list, attempt, next);
    attempts->count++;
    return attempt;
}

void tn_attempt_free(struct tn_attempts *attempts, struct tn_attempt *attempt)
{
    struct tn_held_stream *held;
    struct tn_waiting *waiting;

    while ((held = TAILQ_FIRST(&attempt->streams)) != NULL) {
        TAILQ_REMOVE(&attempt->streams, held, next);
        tn_stream_free(held->stream);
        free(held);
    }
    while ((waiting = TAILQ_FIRST(&attempt->waiting)) != NULL) {
        TAILQ_REMOVE(&attempt->waiting, waiting, next);
        free(waiting);
    }
    LIST_REMOVE(attempt, next);
    attempts->count--;
    tn_mask_free(attempt->mask);
    tn_rights_free(attempt->rights);
    cJSON_Delete(attempt->record);
    free(attempt->home.place.workflow);
    free(attempt->home.place.job);
    free(attempt->project);
    free(attempt);
}

struct tn_attempt *tn_attempt_find(struct tn_attempts *attempts, uint64_t task, uint32_t number, uint32_t owner)
{
    struct tn_attempt *attempt;

    LIST_FOREACH (attempt, &attempts->list, next) {
        if (attempt->home.task != task || attempt->home.attempt != number || attempt->home.owner != owner)
            continue;
        if (attempt != LIST_FIRST(&attempts->list)) {
            LIST_REMOVE(attempt, next);
            LIST_INSERT_HEAD(&attempts->list, attempt, next);
        }
        return attempt;
    }
    return NULL;
}

struct tn_attempt *tn_attempt_uploads(struct tn_attempts *attempts, uint32_t owner)
{
    struct tn_attempt *attempt = tn_attempt_find(attempts, 0, 0, owner);

    if (attempt != NULL)
        return attempt;
    attempt = attempt_new(attempts, 0, 0, owner, NULL, NULL);
    attempt->open = true;
    return attempt;
}

struct tn_stream *tn_attempt_stream(struct tn_attempt *attempt, uint32_t id)
{
    struct tn_held_stream *held;

    TAILQ_FOREACH (held, &attempt->streams, next)
        if (held->stream->id == id)
            return held->stream;
    return NULL;
}

struct tn_log_file *tn_attempt_log(struct tn_attempt *attempt, unsigned step)
{
    struct tn_held_stream *held;

    TAILQ_FOREACH (held, &attempt->streams, next)
        if (held->stream->log != NULL && held->stream->step == step)
            return held->stream->log;
    return NULL;
}

/* The newest is in front: it is most likely the next to be written. */
void tn_attempt_add(struct tn_attempt *attempt, struct tn_stream *stream)
{
    struct tn_held_stream *held = calloc(1, sizeof(*held));

    if (held == NULL)
        tn_fatal(3, "out of memory: a stream");
    held->stream = stream;
    TAILQ_INSERT_HEAD(&attempt->streams, held, next);
    attempt->stream_count++;
}

/* ---- opening ---- */

static struct tn_mask *read_masks(const cJSON *masks, struct tn_err *err)
{
    int count = cJSON_GetArraySize(masks);
    auto_free const char **values = calloc((size_t)count + 1, sizeof(*values));
    const cJSON *item;
    size_t used = 0;

    if (values == NULL)
        tn_fatal(3, "out of memory: %d values to mask", count);
    cJSON_ArrayForEach (item, masks)
        if (cJSON_IsString(item))
            values[used++] = item->valuestring;
    return tn_mask_new(values, used, err);
}

static int resume_streams(struct tn_attempt *attempt, bool read_only, struct tn_err *err)
{
    const cJSON *entry;

    cJSON_ArrayForEach (entry, cJSON_GetObjectItemCaseSensitive(attempt->record, "streams")) {
        struct tn_stream *stream = tn_stream_resume(&attempt->home, entry, read_only, err);

        if (stream == NULL)
            return -1;
        tn_attempt_add(attempt, stream);
    }
    return 0;
}

/* Whose output this folder holds, for `tenon store`. Not worth a failure. */
static void name_project(const struct tn_attempt *attempt)
{
    auto_free char *path = tn_layout_project(attempt->home.layout);
    struct tn_err err = TN_ERR_INIT;

    if (access(path, F_OK) != 0 &&
        tn_fs_write_atomic(path, attempt->project, strlen(attempt->project), 0600, &err) != 0)
        tn_warn("%s", err.text);
}

struct tn_attempt *tn_attempt_open(struct tn_attempts *attempts, uint64_t task, uint32_t number,
                                   struct tn_rights *rights, const cJSON *masks, struct tn_err *err)
{
    struct tn_attempt *attempt = tn_attempt_find(attempts, task, number, 0);
    struct tn_err missing = TN_ERR_INIT;
    struct tn_mask *mask = NULL;
    cJSON *record;

    if (attempt != NULL)
        tn_attempt_free(attempts, attempt);
    if (attempts->count >= TN_ATTEMPTS_MAX)
        tn_err_set(err, TN_ERR_LIMIT, "%d attempts have their output open, the limit", TN_ATTEMPTS_MAX);
    else
        mask = read_masks(masks, err);
    if (mask == NULL) {
        tn_rights_free(rights);
        return NULL;
    }
    record = load_record(attempts, task, number, &missing);
    if (record == NULL && missing.code != TN_ERR_NOT_FOUND) {
        tn_mask_free(mask);
        tn_rights_free(rights);
        tn_err_set(err, missing.code, "%s", missing.text);
        return NULL;
    }
    attempt =
        attempt_new(attempts, task, number, 0, record != NULL ? record : new_record(attempts, rights->claims), mask);
    attempt->rights = rights;
    attempt->open = true;
    attempt->checkpoint_sequence = tn_json_u64(attempt->record, "sequence", 0);
    cJSON_DeleteItemFromObjectCaseSensitive(attempt->record, "closed");
    if (resume_streams(attempt, false, err) == 0 && save(attempt, false, err) == 0) {
        name_project(attempt);
        return attempt;
    }
    tn_attempt_free(attempts, attempt);
    return NULL;
}

/* Attempts loaded for reading only are few: the one unused longest gives way. */
static void make_room(struct tn_attempts *attempts)
{
    struct tn_attempt *attempt;
    struct tn_attempt *oldest = NULL;
    size_t count = 0;

    LIST_FOREACH (attempt, &attempts->list, next) {
        if (attempt->open)
            continue;
        oldest = attempt;
        count++;
    }
    if (count >= TN_ATTEMPTS_READ_MAX)
        tn_attempt_free(attempts, oldest);
}

struct tn_attempt *tn_attempt_load(struct tn_attempts *attempts, uint64_t task, uint32_t number, struct tn_err *err)
{
    cJSON *record = load_record(attempts, task, number, err);
    struct tn_attempt *attempt;

    if (record == NULL)
        return NULL;
    make_room(attempts);
    attempt = attempt_new(attempts, task, number, 0, record, NULL);
    if (resume_streams(attempt, true, err) == 0)
        return attempt;
    tn_attempt_free(attempts, attempt);
    return NULL;
}

/* ---- keeping ---- */

/* The offset that a checkpoint names for a stream; false if it names none. */
static bool named_offset(const cJSON *body, uint32_t id, uint64_t *offset)
{
    const cJSON *named;

    cJSON_ArrayForEach (named, tn_json_get(body, "streams"))
        if (tn_json_u64(named, "stream", UINT64_MAX) == id) {
            *offset = tn_json_u64(named, "offset", 0);
            return true;
        }
    return false;
}

/* What is named is kept as it is now; what is closed, too. A stream that is not named stays at the point where it last
 * was, and one that never was is not kept: after taking up, its sender begins it anew. */
static cJSON *entries_now(struct tn_attempt *attempt, const cJSON *body)
{
    cJSON *entries = cJSON_CreateArray();
    struct tn_held_stream *held;

    TAILQ_FOREACH_REVERSE(held, &attempt->streams, tn_held_streams, next)
    {
        const struct tn_stream *stream = held->stream;
        uint64_t offset = stream->offset;
        const cJSON *before = find_entry(attempt, stream->id);

        if (named_offset(body, stream->id, &offset) || stream->closed)
            cJSON_AddItemToArray(entries, tn_stream_entry(stream, offset < stream->offset ? offset : stream->offset));
        else if (before != NULL)
            cJSON_AddItemToArray(entries, cJSON_Duplicate(before, true));
    }
    return entries;
}

static int flush_streams(struct tn_attempt *attempt, struct tn_err *err)
{
    struct tn_held_stream *held;

    TAILQ_FOREACH (held, &attempt->streams, next)
        if (tn_stream_flush(held->stream, err) != 0)
            return -1;
    return 0;
}

int tn_attempt_checkpoint(struct tn_attempt *attempt, const cJSON *body, uint64_t sequence, struct tn_err *err)
{
    static const char *const members[] = {"boot", "cursor", "state"};
    cJSON *before = attempt->record;
    cJSON *record;
    cJSON *checkpoint;
    char text[24];

    if (flush_streams(attempt, err) != 0)
        return -1;
    record = cJSON_CreateObject();
    for (const cJSON *item = before->child; item != NULL; item = item->next)
        if (strcmp(item->string, "checkpoint") != 0 && strcmp(item->string, "streams") != 0 &&
            strcmp(item->string, "sequence") != 0)
            cJSON_AddItemToObject(record, item->string, cJSON_Duplicate(item, true));
    checkpoint = cJSON_AddObjectToObject(record, "checkpoint");
    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
        const cJSON *item = cJSON_GetObjectItemCaseSensitive(body, members[i]);

        cJSON_AddItemToObject(checkpoint, members[i], item != NULL ? cJSON_Duplicate(item, true) : cJSON_CreateNull());
    }
    snprintf(text, sizeof(text), "%" PRIu64, sequence);
    cJSON_AddStringToObject(record, "sequence", text);
    cJSON_AddItemToObject(record, "streams", entries_now(attempt, body));
    attempt->record = record;
    if (save(attempt, false, err) != 0) {
        attempt->record = before;
        cJSON_Delete(record);
        return -1;
    }
    cJSON_Delete(before);
    attempt->checkpoint_sequence = sequence;
    return 0;
}

int tn_attempt_keep_stream(void *arg, const struct tn_stream *stream, struct tn_err *err)
{
    struct tn_attempt *attempt = arg;
    cJSON *streams = cJSON_GetObjectItemCaseSensitive(attempt->record, "streams");
    cJSON *before;
    cJSON *kept;

    if (attempt->record == NULL)
        return 0;
    before = find_entry(attempt, stream->id);
    kept = tn_stream_entry(stream, before != NULL ? tn_json_u64(before, "offset", 0) : 0);
    before = before != NULL ? cJSON_DetachItemViaPointer(streams, before) : NULL;
    cJSON_AddItemToArray(streams, kept);
    if (save(attempt, true, err) != 0) {
        cJSON_Delete(cJSON_DetachItemViaPointer(streams, kept));
        if (before != NULL)
            cJSON_AddItemToArray(streams, before);
        return -1;
    }
    cJSON_Delete(before);
    return 0;
}

/* ---- closing ---- */

static void remove_partial(const struct tn_attempt *attempt, bool in_store)
{
    auto_free char *path = tn_layout_partial_folder(attempt->home.layout, in_store);
    auto_free char *prefix =
        tn_layout_partial_prefix(attempt->home.layout, in_store, attempt->home.task, attempt->home.attempt);
    auto_dir DIR *dir = opendir(path);
    struct dirent *entry;

    while (dir != NULL && (entry = readdir(dir)) != NULL)
        if (strncmp(entry->d_name, prefix, strlen(prefix)) == 0)
            unlinkat(dirfd(dir), entry->d_name, 0);
}

static int end_streams(struct tn_attempt *attempt, struct tn_err *err)
{
    struct tn_held_stream *held;

    TAILQ_FOREACH (held, &attempt->streams, next) {
        struct tn_stream *stream = held->stream;

        if (!stream->closed &&
            (stream->log != NULL || stream->exists
                 ? tn_stream_finish(&attempt->home, stream, NULL, NULL, err)
                 : tn_stream_drop(&attempt->home, stream, tn_attempt_keep_stream, attempt, err)) != 0)
            return -1;
        if (stream->log != NULL && tn_log_sync(stream->log, err) != 0)
            return -1;
    }
    return 0;
}

int tn_attempt_close(struct tn_attempt *attempt, struct tn_err *err)
{
    if (end_streams(attempt, err) != 0)
        return -1;
    if (attempt->record != NULL) {
        cJSON_ReplaceItemInObjectCaseSensitive(attempt->record, "streams", entries_now(attempt, NULL));
        cJSON_DeleteItemFromObjectCaseSensitive(attempt->record, "closed");
        cJSON_AddTrueToObject(attempt->record, "closed");
        if (save(attempt, true, err) != 0)
            return -1;
    }
    remove_partial(attempt, true);
    remove_partial(attempt, false);
    return 0;
}
