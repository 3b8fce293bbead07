#include "executors/agent/stream.h"
#include "core/lib/log.h"

#include <string.h>

void tn_stream_put(struct tn_stream *stream, enum tn_agent_frame_type type, uint32_t channel, const void *payload,
                   size_t len)
{
    struct tn_agent_frame frame = {.type = (uint8_t)type, .channel = channel, .length = (uint32_t)len};
    uint8_t head[TN_AGENT_FRAME_HEADER];

    tn_agent_frame_put(head, &frame);
    tn_stream_settle(stream);
    if (stream->waiting.len > 0 || tn_ring_room(&stream->spool) < sizeof(head) + len) {
        tn_buf_add(&stream->waiting, head, sizeof(head));
        tn_buf_add(&stream->waiting, payload, len);
        return;
    }
    tn_ring_put(&stream->spool, head, sizeof(head));
    if (len > 0)
        tn_ring_put(&stream->spool, payload, len);
}

void tn_stream_exit(struct tn_stream *stream, uint32_t channel, const struct tn_agent_exit *end)
{
    uint8_t payload[8 + TN_AGENT_TEXT_MAX];
    size_t len = tn_agent_exit_put(payload, sizeof(payload), end);

    tn_stream_put(stream, TN_AGENT_FRAME_EXIT, channel, payload, len);
}

void tn_stream_note(struct tn_stream *stream, enum tn_agent_frame_type type, uint32_t channel, uint32_t code,
                    const char *text)
{
    uint8_t payload[4 + TN_AGENT_TEXT_MAX];
    size_t text_len = strnlen(text, TN_AGENT_TEXT_MAX);
    size_t len = tn_agent_note_put(payload, sizeof(payload), code, text, (uint32_t)text_len);

    if (stream->waiting.len > TN_STREAM_NOTES) {
        tn_warn("channel %u: too many notes wait for the executor, dropped: %s", (unsigned)channel, text);
        return;
    }
    tn_stream_put(stream, type, channel, payload, len);
}

void tn_stream_settle(struct tn_stream *stream)
{
    size_t at = 0;

    while (at < stream->waiting.len) {
        struct tn_agent_frame frame;
        size_t size;

        if (tn_agent_frame_get((const uint8_t *)stream->waiting.data + at, &frame) != 0)
            tn_fatal(3, "a frame of our own is malformed");
        size = TN_AGENT_FRAME_HEADER + frame.length;
        if (tn_ring_room(&stream->spool) < size)
            break;
        tn_ring_put(&stream->spool, stream->waiting.data + at, size);
        at += size;
    }
    tn_buf_consume(&stream->waiting, at);
}

bool tn_stream_has_room(const struct tn_stream *stream)
{
    return stream->waiting.len == 0 && tn_ring_room(&stream->spool) > TN_AGENT_FRAME_HEADER + TN_STREAM_RESERVE;
}

long tn_stream_read(struct tn_stream *stream, uint32_t channel, int fd)
{
    size_t room = tn_ring_room(&stream->spool) - TN_AGENT_FRAME_HEADER - TN_STREAM_RESERVE;
    uint64_t at = stream->spool.head + TN_AGENT_FRAME_HEADER;
    struct tn_agent_frame frame = {.type = TN_AGENT_FRAME_OUT, .channel = channel};
    uint8_t head[TN_AGENT_FRAME_HEADER];
    struct iovec pieces[2];
    ssize_t got;

    got = readv(fd, pieces,
                tn_ring_pieces(&stream->spool, at, room < TN_AGENT_FRAME_MAX ? room : TN_AGENT_FRAME_MAX, pieces));
    if (got <= 0)
        return got;
    frame.length = (uint32_t)got;
    tn_agent_frame_put(head, &frame);
    tn_ring_write(&stream->spool, stream->spool.head, head, sizeof(head));
    stream->spool.head += sizeof(head) + (size_t)got;
    return got;
}
