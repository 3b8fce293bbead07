/* A task's way to tenon-output: its streams, its checkpoints, and what it reads from the store.
 *
 * Writes are windowed and numbered; nothing is sent twice into a file because every byte has its offset. When the
 * output service has forgotten the task (it was restarted), `on_reset` is called once: the owner drops the outlet, goes
 * back to the last checkpoint and opens a new one. All callbacks come from the loop, never from inside a call. */
#ifndef TN_OUTLET_H
#define TN_OUTLET_H

#include "core/lib/err.h"
#include "core/peer/peer.h"

#include <cjson/cJSON.h>

struct tn_outlet; /* opaque, one a task */

struct tn_outlet_callbacks {
    void (*on_reset)(void *arg); /* the service does not know the task any more */
    void (*on_room)(void *arg);  /* tn_outlet_full() was true and is not any more */
    /* Bytes of a stream could not be stored (a full disk). They are not sent again: no checkpoint can follow. */
    void (*on_failed)(void *arg, const struct tn_err *err);
    /* There is no room for this stream, and nothing else is concerned. Said for each of its writes; may be NULL. */
    void (*on_stream_failed)(void *arg, uint32_t stream, const struct tn_err *err);
    void *arg;
};

/* `answer` is borrowed, NULL with `err` set if it was refused. */
typedef void tn_outlet_cb(void *arg, const cJSON *answer, const struct tn_err *err);
typedef void tn_outlet_data_cb(void *arg, const void *bytes, size_t length, bool end, const struct tn_err *err);

/* `data` is borrowed: the executor's data socket. */
struct tn_outlet *tn_outlet_new(struct tn_peer *data, uint64_t task, uint32_t attempt,
                                const struct tn_outlet_callbacks *callbacks);
/* Nothing is called any more. NULL is allowed. */
void tn_outlet_free(struct tn_outlet *outlet);

/* Sends a request whose body and answer are JSON: TASK_OPEN, STREAM_CLOSE, BLOB_FIND, TASK_CLOSE. */
void tn_outlet_call(struct tn_outlet *outlet, enum tn_msg_kind kind, const cJSON *body, tn_outlet_cb *cb, void *arg);
/* STREAM_OPEN: `body` needs no "stream", it is added. Bytes may be written at once, before the answer. */
void tn_outlet_open_stream(struct tn_outlet *outlet, uint32_t stream, cJSON *body, tn_outlet_cb *cb, void *arg);
/* The stream's offset so far, e.g. as TASK_OPENED told it. */
void tn_outlet_set_offset(struct tn_outlet *outlet, uint32_t stream, uint64_t offset);
/* What the stream has so far; 0 for one that is not open. */
uint64_t tn_outlet_offset(const struct tn_outlet *outlet, uint32_t stream);
/* Copies the bytes. Never refused: the owner stops reading while tn_outlet_full(). */
void tn_outlet_write(struct tn_outlet *outlet, uint32_t stream, const void *bytes, size_t length);
bool tn_outlet_full(const struct tn_outlet *outlet);
/* STREAM_CLOSE with the stream's size. `cb` may be NULL. */
void tn_outlet_close_stream(struct tn_outlet *outlet, uint32_t stream, bool drop, tn_outlet_cb *cb, void *arg);
/* CHECKPOINT with the current offsets of all open streams. */
void tn_outlet_checkpoint(struct tn_outlet *outlet, const char *boot, uint64_t cursor, const cJSON *state,
                          tn_outlet_cb *cb, void *arg);
/* BLOB_READ of at most `length` bytes. */
void tn_outlet_read(struct tn_outlet *outlet, const char *blob, uint64_t offset, size_t length, tn_outlet_data_cb *cb,
                    void *arg);

#endif
