/* What the engine keeps of a container's output, entry by entry, each with the time of its writing. Reading may stop
 * and go on at any time, also in another process: a cursor names the last entry that was passed on, so that none is
 * passed on twice and none is missing, as long as the engine still has it.
 *
 * A cursor is the time of that entry, as the engine wrote it, "#", and how many entries of the same time were passed
 * on; "" is the beginning. Pure. Source: Docker Engine API v1.41, "ContainerLogs" (timestamps, since). */
#ifndef TN_EXECUTORS_DOCKER_SERVICE_LOG_H
#define TN_EXECUTORS_DOCKER_SERVICE_LOG_H

#include "core/lib/buf.h"
#include "core/lib/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TN_SERVICE_TIME 40          /* bytes of a time, its NUL included */
#define TN_SERVICE_CURSOR 56        /* bytes of a cursor, its NUL included */
#define TN_SERVICE_ENTRY (1u << 20) /* bytes of an entry at most; Docker cuts a line after 16 KiB */

/* No field is for callers. */
struct tn_service_log {
    char time[TN_SERVICE_TIME]; /* of the last entry that was passed on, or "" */
    int64_t seconds;
    int32_t nanoseconds;
    unsigned same;       /* entries of that time */
    unsigned skip;       /* of them still to come again */
    bool resumed;        /* no entry has come since tn_service_log_begin() */
    uint32_t left;       /* bytes of the current entry that are still to come */
    struct tn_buf entry; /* owned */
};

/* The text of an entry that is new. `lost`: entries before it are gone, the engine no longer had them. */
typedef void tn_service_log_entry(const char *text, size_t length, bool lost, void *arg);

/* Starts, or starts over, behind `cursor`. Fails with TN_ERR_PROTOCOL if it is none; then it starts at the beginning.
 */
int tn_service_log_begin(struct tn_service_log *log, const char *cursor, struct tn_err *err) TN_MUST_CHECK;
/* What to ask the engine for: "SECONDS.NANOSECONDS" or "". A little earlier than the cursor, for engines that leave out
 * what was written exactly then. */
void tn_service_log_since(const struct tn_service_log *log, char *out, size_t size);
/* An entry of `length` bytes begins, its time included. */
void tn_service_log_next(struct tn_service_log *log, uint32_t length);
/* Bytes of it. Fails with TN_ERR_PROTOCOL when there is no time before its text, with TN_ERR_LIMIT when it is longer
 * than TN_SERVICE_ENTRY. */
int tn_service_log_feed(struct tn_service_log *log, const char *bytes, size_t length, tn_service_log_entry *on_entry,
                        void *arg, struct tn_err *err) TN_MUST_CHECK;
/* Behind the last entry that was passed on. */
void tn_service_log_cursor(const struct tn_service_log *log, char *out, size_t size);
/* Frees what it holds. All zero is allowed. */
void tn_service_log_free(struct tn_service_log *log);

#endif
