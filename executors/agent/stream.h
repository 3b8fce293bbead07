/* The reliable stream to the executor: frames in the spool, kept until acknowledged.
 *
 * A control frame that finds no room waits in a small queue and goes in first, in order, as soon as there is room;
 * while something waits there, no output is read. So putting a frame never fails and memory stays bounded: by the
 * number of channels for what they owe, by TN_STREAM_NOTES for notes. */
#ifndef TN_AGENT_STREAM_H
#define TN_AGENT_STREAM_H

#include "core/lib/buf.h"
#include "executors/agent/ring.h"
#include "proto/agent_frames.h"

#include <stdbool.h>

#define TN_STREAM_RESERVE 8192u /* room that output leaves for control frames */
#define TN_STREAM_NOTES (64u * 1024u)

struct tn_stream {
    struct tn_ring spool;
    struct tn_buf waiting; /* owned: whole frames that found no room */
};

void tn_stream_put(struct tn_stream *stream, enum tn_agent_frame_type type, uint32_t channel, const void *payload,
                   size_t len);
void tn_stream_exit(struct tn_stream *stream, uint32_t channel, const struct tn_agent_exit *end);
/* WARN or ERROR; dropped (and logged) if too many notes wait already. */
void tn_stream_note(struct tn_stream *stream, enum tn_agent_frame_type type, uint32_t channel, uint32_t code,
                    const char *text);
/* Moves what waits into the spool as far as there is room. */
void tn_stream_settle(struct tn_stream *stream);
/* True if output may be read: nothing waits, and there is room for it besides the reserve. */
bool tn_stream_has_room(const struct tn_stream *stream);
/* Reads once from `fd` into an OUT frame of `channel`; the caller has asked tn_stream_has_room(). As read(2). */
long tn_stream_read(struct tn_stream *stream, uint32_t channel, int fd);

#endif
