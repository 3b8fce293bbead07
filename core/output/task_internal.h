/* What the files of task.h share: a request on its way, its answers, and the requests that read. */
#ifndef TN_OUTPUT_TASK_INTERNAL_H
#define TN_OUTPUT_TASK_INTERNAL_H

#include "core/output/task.h"

enum verdict { ANSWERED, WAITS };

/* A request on its way through a handler. */
struct call {
    struct tn_tasks *tasks;
    struct tn_peer *peer;
    const struct tn_msg *msg;
    struct tn_msg_ref ref;
    cJSON *body; /* NULL for raw bodies */
};

/* Each sends one answer and returns ANSWERED. */
enum verdict task__refuse(const struct call *call, const struct tn_err *err);
/* It is not this sender's business: `fenced`, and said. */
enum verdict task__fence(const struct call *call, const struct tn_err *err);
/* A stream that cannot be stored for lack of room: the refusal names it, and nothing else of the attempt is concerned.
 */
enum verdict task__refuse_stream(const struct call *call, const struct tn_stream *stream, const struct tn_err *err);
enum verdict task__answer(const struct call *call, enum tn_msg_kind kind, const cJSON *body);
enum verdict task__acknowledge(const struct call *call);
enum verdict task__answer_bytes(const struct call *call, enum tn_msg_kind kind, uint64_t offset, bool end,
                                const struct tn_buf *bytes);

bool task__from_client(const struct call *call);
/* The open attempt or stream that the request is about, or NULL after a refusal. */
struct tn_attempt *task__need_attempt(const struct call *call);
struct tn_stream *task__need_stream(const struct call *call, struct tn_attempt *attempt, uint64_t id);

/* The file with the times that the attempt goes by; the caller frees it. */
char *task__timings_path(const struct tn_attempt *attempt);
/* What the id of the times of the attempt's job begins with; the rest is their version. */
extern const char task__timings_prefix[];

/* Requests that read. */
enum verdict task__on_blob_find(const struct call *call);
enum verdict task__on_blob_read(const struct call *call);
enum verdict task__on_log_read(const struct call *call);
/* The peer leaves: what is searched for it is not answered. */
void task__forget_finds(struct tn_tasks *tasks, struct tn_peer *peer);
void task__free_finds(struct tn_tasks *tasks);

#endif
