/* One stream of an attempt (or of a client's upload): a log, or a tar that becomes a cache, a workspace layer, a source
 * tree, artifacts or test results. Offsets make every call idempotent. Knows no messages; task.h does. */
#ifndef TN_OUTPUT_STREAM_H
#define TN_OUTPUT_STREAM_H

#include "core/output/blobs.h"
#include "core/output/logs.h"
#include "core/output/room.h"
#include "core/output/work.h"

enum tn_stream_type {
    TN_STREAM_LOG,
    TN_STREAM_CACHE,
    TN_STREAM_WORKSPACE,
    TN_STREAM_ARTIFACTS,
    TN_STREAM_TEST_RESULTS,
    TN_STREAM_SOURCE,
    TN_STREAM_TYPES
};

/* Whose stream it is and what it needs; one for all streams of an attempt. */
struct tn_stream_home {
    const struct tn_layout *layout; /* all borrowed */
    struct tn_blobs *blobs;
    struct tn_logs *logs;
    const struct tn_room *room;
    struct tn_place place;
    const struct tn_mask *mask;
    const char *project;
    uint64_t task;
    uint32_t attempt;
    uint64_t log_limit; /* of each log's bytes, 0: none */
    uint32_t owner;     /* address of a client for its uploads, else 0 */
};

struct tn_stream {
    uint32_t id;
    enum tn_stream_type type;
    unsigned step;
    uint64_t offset; /* where the sender goes on; may be less than what is there after taking up */
    bool closed;
    bool exists;               /* a cache or source that was there before: nothing is taken */
    char *failed;              /* owned; why nothing more is taken (no room for it), or NULL */
    struct tn_ending *ending;  /* owned; while a thread ends it; nothing else touches its writer then */
    cJSON *opened;             /* what it was opened with; owned */
    cJSON *result;             /* what STREAM_CLOSED says; owned, NULL until closed */
    struct tn_log_file *log;   /* owned; a log has one as long as the stream lives */
    struct tn_zwriter *writer; /* owned; others have one until they are closed */
};

/* Begins a stream from the body of STREAM_OPEN. TN_ERR_USAGE for what is wrong with it. */
struct tn_stream *tn_stream_open(const struct tn_stream_home *home, const cJSON *body,
                                 struct tn_err *err) TN_MUST_CHECK;
/* Takes a stream up from its entry in the record. `read_only`: only logs can be read; no file is changed. */
struct tn_stream *tn_stream_resume(const struct tn_stream_home *home, const cJSON *entry, bool read_only,
                                   struct tn_err *err) TN_MUST_CHECK;
/* Takes bytes at an offset. Returns 1: taken (or known already), 0: there is a gap before them, -1: failed. What has no
 * room fails for good, but for logs: its file goes, for others need the room. */
int tn_stream_write(const struct tn_stream_home *home, struct tn_stream *stream, uint64_t offset, const void *bytes,
                    size_t length, struct tn_err *err) TN_MUST_CHECK;
/* Lets a thread do what takes long of tn_stream_finish(), and calls `done` in the loop when it has. False: nothing
 * takes long. Until tn_stream_finish() the stream is as it was. */
bool tn_stream_finish_ahead(const struct tn_stream_home *home, struct tn_stream *stream, struct tn_works *works,
                            tn_work_done_cb *done, void *arg);
/* Is a thread at it? */
bool tn_stream_is_ending(const struct tn_stream *stream);
/* Ends it: commits or unpacks, and makes the result. `before_commit` is called when the result is known and must make
 * it durable; only then the partial file gets its final name, or goes. Idempotent. */
typedef int tn_stream_keep_cb(void *arg, const struct tn_stream *stream, struct tn_err *err);
int tn_stream_finish(const struct tn_stream_home *home, struct tn_stream *stream, tn_stream_keep_cb *before_commit,
                     void *arg, struct tn_err *err) TN_MUST_CHECK;
/* Ends it without a trace but that it is on record as dropped. Not for logs. */
int tn_stream_drop(const struct tn_stream_home *home, struct tn_stream *stream, tn_stream_keep_cb *before_removal,
                   void *arg, struct tn_err *err) TN_MUST_CHECK;
/* All taken bytes are in files (not synced). */
int tn_stream_flush(struct tn_stream *stream, struct tn_err *err) TN_MUST_CHECK;
/* Its entry for the record as of now, with `offset` as the sender's. Flush first. The caller deletes it. */
cJSON *tn_stream_entry(const struct tn_stream *stream, uint64_t offset);
/* Closes files, removes none. NULL is allowed. */
void tn_stream_free(struct tn_stream *stream);

#endif
