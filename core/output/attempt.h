/* One attempt's output in memory, and its record on the disk. Knows no messages; task.h does.
 *
 * The record (STATE/output/<task>.<attempt>, JSON, mode 0600) is written whole to a temporary file and renamed, so it
 * is always one that was complete. It holds the last checkpoint and, for each stream that the checkpoint knows, the
 * point to go back to. Taking an attempt up means: forget what is in memory, cut every file back to what the record
 * says. */
#ifndef TN_OUTPUT_ATTEMPT_H
#define TN_OUTPUT_ATTEMPT_H

#include "core/output/rights.h"
#include "core/output/stream.h"
#include "core/peer/peer.h"

enum { TN_ATTEMPTS_MAX = 1024, TN_ATTEMPT_STREAMS_MAX = 4096, TN_ATTEMPTS_READ_MAX = 16 };

struct tn_held_stream {
    TAILQ_ENTRY(tn_held_stream) next;
    struct tn_stream *stream; /* owned */
};

/* A request that cannot be answered yet: what it needs is on its way. */
struct tn_waiting {
    TAILQ_ENTRY(tn_waiting) next;
    struct tn_peer *peer; /* borrowed */
    struct tn_header header;
    uint8_t body[];
};

struct tn_attempt {
    LIST_ENTRY(tn_attempt) next;
    struct tn_stream_home home;
    struct tn_mask *mask; /* owned, NULL: for reading only */
    char *project;        /* owned */
    cJSON *record;        /* owned; as it is on the disk. NULL for a client's uploads, which have none */
    struct tn_rights *rights; /* owned; while it is open. NULL for a client's uploads */
    struct tn_peer *peer; /* borrowed: whose attempt it is; NULL: nobody's at present */
    struct tn_tasks *tasks; /* borrowed; task.h */
    bool open;
    uint64_t checkpoint_sequence; /* of the last CHECKPOINT message kept */
    TAILQ_HEAD(tn_held_streams, tn_held_stream) streams;
    size_t stream_count;
    TAILQ_HEAD(, tn_waiting) waiting;
    size_t waiting_count;
};

/* What all attempts share. */
struct tn_attempts {
    const struct tn_layout *layout; /* borrowed */
    struct tn_blobs *blobs;
    struct tn_logs *logs;
    const struct tn_room *room; /* borrowed */
    uint64_t log_limit;         /* of attempts that begin now; 0: none */
    LIST_HEAD(, tn_attempt) list; /* most recently used first */
    size_t count;
};

/* In memory, or NULL. `owner` is 0 but for a client's uploads. */
struct tn_attempt *tn_attempt_find(struct tn_attempts *attempts, uint64_t task, uint32_t attempt, uint32_t owner);
/* Begins it as the rights say, or takes it up from its record; what of it was in memory is forgotten first. Takes the
 * rights over, also when it fails. */
struct tn_attempt *tn_attempt_open(struct tn_attempts *attempts, uint64_t task, uint32_t attempt,
                                   struct tn_rights *rights, const cJSON *masks,
                                   struct tn_err *err) TN_MUST_CHECK;
/* For reading logs of an attempt that is not open. TN_ERR_NOT_FOUND if there is no record. */
struct tn_attempt *tn_attempt_load(struct tn_attempts *attempts, uint64_t task, uint32_t attempt,
                                   struct tn_err *err) TN_MUST_CHECK;
/* A client's uploads. */
struct tn_attempt *tn_attempt_uploads(struct tn_attempts *attempts, uint32_t owner);
/* Frees the memory; files stay as they are. */
void tn_attempt_free(struct tn_attempts *attempts, struct tn_attempt *attempt);

/* The stream of that id, or NULL; borrowed, it lives as long as the attempt or until it is dropped. */
struct tn_stream *tn_attempt_stream(struct tn_attempt *attempt, uint32_t id);
struct tn_log_file *tn_attempt_log(struct tn_attempt *attempt, unsigned step);
/* Takes the stream over. */
void tn_attempt_add(struct tn_attempt *attempt, struct tn_stream *stream);

/* Keeps a checkpoint: the body of CHECKPOINT, whose streams have all been reached. */
int tn_attempt_checkpoint(struct tn_attempt *attempt, const cJSON *body, uint64_t sequence,
                          struct tn_err *err) TN_MUST_CHECK;
/* Puts a stream that is closed on record at once: a tn_stream_keep_cb with the attempt as argument. */
int tn_attempt_keep_stream(void *attempt, const struct tn_stream *stream, struct tn_err *err);
/* Ends what is not ended, syncs, writes the last record, removes partial files. The caller frees the attempt. */
int tn_attempt_close(struct tn_attempt *attempt, struct tn_err *err) TN_MUST_CHECK;
/* Is there a record of a later attempt of the task? */
bool tn_attempt_has_later(const struct tn_attempts *attempts, uint64_t task, uint32_t attempt);
/* Is there a record that says closed? */
bool tn_attempt_was_closed(const struct tn_attempts *attempts, uint64_t task, uint32_t attempt);

#endif
