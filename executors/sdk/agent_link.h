/* The executor's end of an agent's stream: connects (again and again), shakes hands, sends commands until they are
 * applied, and hands out the frames of the stream with the offset behind each.
 *
 * What the owner must do:
 * - Persist {boot id, offset} together with what it made of the frames up to that offset, then call
 *   tn_agent_link_ack(). The agent keeps everything behind the last acknowledged offset.
 * - Give that pair to tn_agent_link_new() after a restart. Frames then go on exactly there, none lost, none doubled.
 * - Repeat after a restart the command that it does not know to be applied: commands that start a channel do nothing
 *   if the channel's number was ever used, and stdin carries offsets.
 *
 * Single-threaded, never blocks. Callbacks run from the event loop; inside a callback every function here may be
 * called, tn_agent_link_free() too. */
#ifndef TN_SDK_AGENT_LINK_H
#define TN_SDK_AGENT_LINK_H

#include "core/lib/err.h"
#include "proto/agent_frames.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct event_base;
struct tn_agent_link;

struct tn_agent_position {
    uint8_t boot[TN_AGENT_BOOT]; /* all zero: a new environment */
    uint64_t offset;
};

/* Every callback may be NULL. `offset` is the stream's offset behind the frame. Bytes and text are borrowed for the
 * call; text is NUL-terminated. */
struct tn_agent_callbacks {
    /* After each handshake that succeeded, the repeated ones too. `facts` are "key=value\n" lines. */
    void (*on_hello)(void *arg, const char *facts, const uint8_t boot[TN_AGENT_BOOT], uint64_t head);
    void (*on_out)(void *arg, uint32_t channel, const uint8_t *bytes, size_t len, uint64_t offset);
    void (*on_spawned)(void *arg, uint32_t channel, uint32_t pid, uint64_t offset);
    void (*on_exit)(void *arg, uint32_t channel, const struct tn_agent_exit *end, uint64_t offset);
    /* stdin up to `applied` was taken; it may be sent up to `limit`. Before the first one: TN_AGENT_WINDOW. */
    void (*on_window)(void *arg, uint32_t channel, uint64_t applied, uint64_t limit, uint64_t offset);
    void (*on_warn)(void *arg, uint32_t channel, enum tn_agent_warning kind, const char *text, uint64_t offset);
    void (*on_error)(void *arg, uint32_t channel, const char *text, uint64_t offset);
    /* The agent no longer has, or never had, the bytes from `asked` on: the stream goes on at `start`. The owner
     * decides whether the job can be trusted any more. */
    void (*on_gap)(void *arg, uint64_t asked, uint64_t start, enum tn_agent_result why);
    /* Commands that were queued are applied; there is room again after TN_ERR_LIMIT. */
    void (*on_drain)(void *arg);
    /* Final: not reachable until the deadline, another environment (TN_ERR_CONFLICT), another executor took over
     * (TN_ERR_CONFLICT), or not our protocol (TN_ERR_PROTOCOL). Nothing happens on this link any more. */
    void (*on_lost)(void *arg, const struct tn_err *err);
};

struct tn_agent_link_config {
    const char *path; /* unix socket, copied; NULL: only `fd`, or `open` */
    /* Another way to the agent: begins a connection and returns its descriptor at once, or -1 with errno (then it is
     * asked again). What is behind the descriptor may be a port: nobody tells the agent who is new there. NULL: none */
    int (*open)(void *arg);
    const char *name; /* of that way, for messages; copied; NULL with a path */
    int fd;           /* a connected descriptor, taken over, or -1. With a path it is only the first connection. */
    struct tn_agent_position start;
    int connect_timeout_ms; /* on_lost after so long without a handshake; 0: 30000 */
    size_t queue_max;       /* bytes of commands that wait to be applied; 0: 8 MiB */
    struct tn_agent_callbacks callbacks;
    void *arg; /* for the callbacks */
};

/* Starts to connect at once. NULL with `err`. `base` must outlive the link. */
TN_MUST_CHECK struct tn_agent_link *tn_agent_link_new(struct event_base *base,
                                                      const struct tn_agent_link_config *config, struct tn_err *err);
/* Drops the connection; the agent and its job go on. Commands not yet applied are forgotten. NULL is allowed. */
void tn_agent_link_free(struct tn_agent_link *link);

/* Everything up to `offset` (as a callback gave it) is safe: the agent may forget it. */
void tn_agent_link_ack(struct tn_agent_link *link, uint64_t offset);

/* Stops reading, so that the agent's spool fills and the steps are held up; no frame is handed out until resume. */
void tn_agent_link_pause(struct tn_agent_link *link);
void tn_agent_link_resume(struct tn_agent_link *link);

/* The commands. 0, or -1: TN_ERR_LIMIT if the queue is full (wait for on_drain) or the command is too large. */
TN_MUST_CHECK int tn_agent_link_spawn(struct tn_agent_link *link, uint32_t channel, const struct tn_agent_spawn *spawn,
                                      struct tn_err *err);
/* `offset` is that of the first byte in the channel's stdin. At most TN_AGENT_STDIN_MAX bytes, within the window. */
TN_MUST_CHECK int tn_agent_link_stdin(struct tn_agent_link *link, uint32_t channel, uint64_t offset, const void *bytes,
                                      size_t len, struct tn_err *err);
TN_MUST_CHECK int tn_agent_link_stdin_eof(struct tn_agent_link *link, uint32_t channel, uint64_t total,
                                          struct tn_err *err);
TN_MUST_CHECK int tn_agent_link_signal(struct tn_agent_link *link, uint32_t channel, int sig, enum tn_agent_scope scope,
                                       struct tn_err *err);
/* Makes the folder `path` and unpacks there the tar archive that follows as the channel's stdin. */
TN_MUST_CHECK int tn_agent_link_tree_put(struct tn_agent_link *link, uint32_t channel, const char *path,
                                         struct tn_err *err);
/* A tar archive of `paths` (NULL-terminated, relative to `base`; patterns if flags has TN_AGENT_GLOB) comes as the
 * channel's output; on_warn with TN_AGENT_WARN_MISSING names what matched nothing. */
TN_MUST_CHECK int tn_agent_link_tree_get(struct tn_agent_link *link, uint32_t channel, const char *base,
                                         const char *const *paths, uint32_t flags, struct tn_err *err);
/* The bytes of one file, if there are no more than `max`, come as the channel's output. */
TN_MUST_CHECK int tn_agent_link_file_get(struct tn_agent_link *link, uint32_t channel, const char *path, uint64_t max,
                                         struct tn_err *err);
/* Ends every process of the environment and the agent. on_drain tells that it was applied; the loss of the connection
 * that follows is not reported. */
TN_MUST_CHECK int tn_agent_link_shutdown(struct tn_agent_link *link, struct tn_err *err);

#endif
