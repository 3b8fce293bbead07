/* Files of step logs: written through the masker, read from any offset, announced in bundles.
 *
 * A log has two measures: `raw`, the bytes of the stream that were taken, and `stored`, the bytes of the file. Between
 * them stand the masker and what it holds back. A *mark* is a point that a log can go back to.
 *
 * With a limit, the first so many bytes of the stream are kept; a line in the file says where it is cut, and one at its
 * end how many bytes were dropped. Both depend on the stream alone, so they are the same after any crash. */
#ifndef TN_OUTPUT_LOGS_H
#define TN_OUTPUT_LOGS_H

#include "core/lib/json.h"
#include "core/output/mask.h"

#include <event2/event.h>

#include <sys/queue.h>

enum { TN_LOGS_OPEN_MAX = 128, TN_LOGS_EVENT_MS = 20 };

struct tn_log_file {
    uint64_t task;
    uint32_t attempt;
    unsigned step;
    char *path;                 /* owned */
    uint64_t raw;               /* read-only for users */
    uint64_t stored;            /* read-only for users */
    bool ended;                 /* read-only for users */
    uint64_t limit;             /* of the stream's bytes; 0: none. To be set before the first write */
    struct tn_logs *logs;       /* the rest is private */
    const struct tn_mask *mask; /* borrowed; NULL: none */
    struct tn_mask_state state;
    int fd; /* -1: not open now */
    bool dirty;
    TAILQ_ENTRY(tn_log_file) by_use;
    TAILQ_ENTRY(tn_log_file) by_dirt;
};

/* Bytes of the stream that were left out. */
static inline uint64_t tn_log_dropped(const struct tn_log_file *log)
{
    return log->limit != 0 && log->raw > log->limit ? log->raw - log->limit : 0;
}

typedef void tn_logs_changed_cb(void *arg, const struct tn_log_file *log);

struct tn_logs {
    struct event *timer; /* owned */
    tn_logs_changed_cb *on_changed;
    void *arg;
    TAILQ_HEAD(, tn_log_file) open; /* with a descriptor, least recently used first */
    TAILQ_HEAD(, tn_log_file) dirty;
    size_t open_count;
    struct tn_buf scratch;
};

/* `on_changed` is called at most every TN_LOGS_EVENT_MS for a log that changed, and never when none did. */
void tn_logs_init(struct tn_logs *logs, struct event_base *base, tn_logs_changed_cb *on_changed, void *arg);
void tn_logs_free(struct tn_logs *logs);

/* Begins a log: makes or empties the file. `mask` is borrowed for the log's life. */
struct tn_log_file *tn_log_create(struct tn_logs *logs, const char *path, const struct tn_mask *mask,
                                  struct tn_err *err) TN_MUST_CHECK;
/* Takes a log up at a mark: the file is cut back to it. `mask` NULL: for reading only, the file is left alone. */
struct tn_log_file *tn_log_resume(struct tn_logs *logs, const char *path, const struct tn_mask *mask, const cJSON *mark,
                                  struct tn_err *err) TN_MUST_CHECK;
/* NULL is allowed. */
void tn_log_close(struct tn_log_file *log);

/* Takes all bytes or none; afterwards they are in the file but for what the masker holds back. */
int tn_log_write(struct tn_log_file *log, const void *bytes, size_t length, struct tn_err *err) TN_MUST_CHECK;
/* The stream is over: writes what was held back. */
int tn_log_end(struct tn_log_file *log, struct tn_err *err) TN_MUST_CHECK;
int tn_log_sync(struct tn_log_file *log, struct tn_err *err) TN_MUST_CHECK;
/* Adds the present point to an object. */
void tn_log_mark(const struct tn_log_file *log, cJSON *mark);
/* Appends up to `length` bytes of the file from `offset`. */
int tn_log_read(struct tn_log_file *log, uint64_t offset, size_t length, struct tn_buf *out,
                struct tn_err *err) TN_MUST_CHECK;

#endif
