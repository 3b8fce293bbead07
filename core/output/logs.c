#include "core/output/logs.h"
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct tn_logs *logs = arg;
    struct tn_log_file *log;

    while ((log = TAILQ_FIRST(&logs->dirty)) != NULL) {
        TAILQ_REMOVE(&logs->dirty, log, by_dirt);
        log->dirty = false;
        logs->on_changed(logs->arg, log);
    }
}

void tn_logs_init(struct tn_logs *logs, struct event_base *base, tn_logs_changed_cb *on_changed, void *arg)
{
    memset(logs, 0, sizeof(*logs));
    TAILQ_INIT(&logs->open);
    TAILQ_INIT(&logs->dirty);
    logs->on_changed = on_changed;
    logs->arg = arg;
    logs->timer = event_new(base, -1, 0, on_timer, logs);
    if (logs->timer == NULL)
        tn_fatal(3, "out of memory: a timer");
}

void tn_logs_free(struct tn_logs *logs)
{
    event_free(logs->timer);
    tn_buf_free(&logs->scratch);
}

static void note_change(struct tn_log_file *log)
{
    struct timeval soon = {0, TN_LOGS_EVENT_MS * 1000};

    if (log->dirty)
        return;
    if (TAILQ_EMPTY(&log->logs->dirty))
        event_add(log->logs->timer, &soon);
    TAILQ_INSERT_TAIL(&log->logs->dirty, log, by_dirt);
    log->dirty = true;
}

static void close_fd(struct tn_log_file *log)
{
    if (log->fd < 0)
        return;
    close(log->fd);
    log->fd = -1;
    TAILQ_REMOVE(&log->logs->open, log, by_use);
    log->logs->open_count--;
}

/* Descriptors are few, logs may be many: the one unused longest gives way. */
static int need_fd(struct tn_log_file *log, int flags, struct tn_err *err)
{
    struct tn_logs *logs = log->logs;

    if (log->fd >= 0) {
        TAILQ_REMOVE(&logs->open, log, by_use);
        TAILQ_INSERT_TAIL(&logs->open, log, by_use);
        return 0;
    }
    if (logs->open_count >= TN_LOGS_OPEN_MAX)
        close_fd(TAILQ_FIRST(&logs->open));
    log->fd = open(log->path, (log->mask != NULL ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOFOLLOW | flags, 0644);
    if (log->fd < 0)
        return tn_err_sys(err, errno, "cannot open %s", log->path);
    TAILQ_INSERT_TAIL(&logs->open, log, by_use);
    logs->open_count++;
    return 0;
}

static struct tn_log_file *log_new(struct tn_logs *logs, const char *path, const struct tn_mask *mask)
{
    struct tn_log_file *log = calloc(1, sizeof(*log));

    if (log == NULL)
        tn_fatal(3, "out of memory: a log");
    log->logs = logs;
    log->mask = mask;
    log->path = tn_fs_path("%s", path);
    log->fd = -1;
    return log;
}

void tn_log_close(struct tn_log_file *log)
{
    if (log == NULL)
        return;
    close_fd(log);
    if (log->dirty)
        TAILQ_REMOVE(&log->logs->dirty, log, by_dirt);
    tn_mask_state_free(&log->state);
    free(log->path);
    free(log);
}

struct tn_log_file *tn_log_create(struct tn_logs *logs, const char *path, const struct tn_mask *mask,
                                  struct tn_err *err)
{
    auto_free char *folder = tn_fs_path("%.*s", (int)(strrchr(path, '/') - path), path);
    struct tn_log_file *log;

    if (tn_fs_make_dirs(folder, 0755, err) != 0)
        return NULL;
    log = log_new(logs, path, mask);
    if (need_fd(log, O_CREAT | O_TRUNC, err) == 0)
        return log;
    tn_log_close(log);
    return NULL;
}

struct tn_log_file *tn_log_resume(struct tn_logs *logs, const char *path, const struct tn_mask *mask, const cJSON *mark,
                                  struct tn_err *err)
{
    struct tn_log_file *log = log_new(logs, path, mask);
    struct stat status;

    log->raw = tn_json_u64(mark, "raw", 0);
    log->stored = tn_json_u64(mark, "stored", 0);
    log->ended = tn_json_bool(mark, "closed", false);
    if (mask == NULL)
        return log;
    if (tn_mask_state_import(mask, &log->state, tn_json_string(mark, "held", ""), err) != 0 ||
        need_fd(log, O_CREAT, err) != 0) {
        tn_log_close(log);
        return NULL;
    }
    if (fstat(log->fd, &status) == 0 && (uint64_t)status.st_size < log->stored)
        tn_warn("%s has %jd bytes, its checkpoint says %" PRIu64 ": the machine went down; zeros stand for the rest",
                path, (intmax_t)status.st_size, log->stored);
    if (ftruncate(log->fd, (off_t)log->stored) != 0) {
        tn_err_sys(err, errno, "cannot cut %s back to %" PRIu64 " bytes", path, log->stored);
        tn_log_close(log);
        return NULL;
    }
    return log;
}

static int append(struct tn_log_file *log, const void *bytes, size_t length, struct tn_err *err)
{
    size_t done = 0;

    if (length > 0 && need_fd(log, 0, err) != 0)
        return -1;
    while (done < length) {
        ssize_t put = pwrite(log->fd, (const char *)bytes + done, length - done, (off_t)(log->stored + done));

        if (put < 0 && errno != EINTR)
            return tn_err_sys(err, errno, "cannot write %zu bytes to %s", length, log->path);
        done += put > 0 ? (size_t)put : 0;
    }
    if (length > 0) {
        log->stored += length;
        note_change(log);
    }
    return 0;
}

/* What the file gets for bytes of the stream: masked, and with a line where it is cut. NULL: for its end. */
static void render(struct tn_log_file *log, const void *bytes, size_t length, struct tn_buf *out)
{
    size_t kept = length;

    if (bytes == NULL) {
        tn_mask_finish(&log->state, out);
        if (tn_log_dropped(log) > 0)
            tn_buf_addf(out, "[tenon: %" PRIu64 " bytes of output were dropped]\n", tn_log_dropped(log));
        return;
    }
    if (log->limit != 0 && length > log->limit - log->raw)
        kept = (size_t)(log->limit - log->raw);
    tn_mask_feed(log->mask, &log->state, bytes, kept, out);
    if (kept == length)
        return;
    tn_mask_cut(&log->state, out);
    tn_buf_addf(out, "\n[tenon: the output of this step is cut here, after %" PRIu64 " bytes: store.log_limit]\n",
                log->limit);
}

/* The masker's state is kept until the bytes are in the file, so that a full disk loses nothing: the write is tried
 * again. */
static int append_rendered(struct tn_log_file *log, const void *bytes, size_t length, struct tn_err *err)
{
    struct tn_mask_state before = {0};
    struct tn_buf *out = &log->logs->scratch;
    int failed;

    tn_buf_reset(out);
    tn_mask_state_copy(&before, &log->state);
    render(log, bytes, length, out);
    failed = append(log, out->data, out->len, err);
    if (failed != 0)
        tn_mask_state_copy(&log->state, &before);
    tn_mask_state_free(&before);
    return failed;
}

int tn_log_write(struct tn_log_file *log, const void *bytes, size_t length, struct tn_err *err)
{
    bool cut = log->limit != 0 && length > log->limit - (log->raw < log->limit ? log->raw : log->limit);
    int failed = 0;

    if (length == 0)
        return 0;
    if (!cut && tn_mask_is_empty(log->mask))
        failed = append(log, bytes, length, err);
    else if (tn_log_dropped(log) == 0)
        failed = append_rendered(log, bytes, length, err);
    if (failed == 0)
        log->raw += length;
    return failed;
}

int tn_log_end(struct tn_log_file *log, struct tn_err *err)
{
    if (append_rendered(log, NULL, 0, err) != 0)
        return -1;
    log->ended = true;
    note_change(log);
    return 0;
}

int tn_log_sync(struct tn_log_file *log, struct tn_err *err)
{
    if (need_fd(log, 0, err) != 0)
        return -1;
    if (fdatasync(log->fd) != 0)
        return tn_err_sys(err, errno, "cannot sync %s", log->path);
    close_fd(log);
    return 0;
}

void tn_log_mark(const struct tn_log_file *log, cJSON *mark)
{
    auto_buf struct tn_buf held = TN_BUF_INIT;

    tn_mask_state_export(&log->state, &held);
    tn_json_add_u64(mark, "raw", log->raw);
    tn_json_add_u64(mark, "stored", log->stored);
    if (held.len > 0)
        cJSON_AddStringToObject(mark, "held", held.data);
}

int tn_log_read(struct tn_log_file *log, uint64_t offset, size_t length, struct tn_buf *out, struct tn_err *err)
{
    uint64_t left = offset < log->stored ? log->stored - offset : 0;

    if (left == 0)
        return 0;
    if (need_fd(log, 0, err) != 0)
        return -1;
    length = left < length ? left : length;
    tn_buf_reserve(out, length);
    while (length > 0) {
        ssize_t got = pread(log->fd, out->data + out->len, length, (off_t)offset);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return tn_err_sys(err, got < 0 ? errno : EIO, "cannot read %s at %" PRIu64, log->path, offset);
        out->len += (size_t)got;
        offset += (uint64_t)got;
        length -= (size_t)got;
    }
    return 0;
}
