/* Decoders of what the Docker Engine streams: frames of stdout and stderr (container logs), and lines of JSON (image
 * pull). Pure: bytes in, callbacks out; nothing is allocated by a length that the peer names.
 *
 * Source: Docker Engine API v1.41, "ContainerAttach" (stream format) and "ImageCreate" (progress). */
#ifndef TN_EXECUTORS_DOCKER_STREAM_H
#define TN_EXECUTORS_DOCKER_STREAM_H

#include "core/lib/buf.h"
#include "core/lib/err.h"

#include <stddef.h>
#include <stdint.h>

#define TN_DOCKER_LINE_MAX 65536 /* bytes of one line of progress */

enum tn_docker_stream { TN_DOCKER_STDIN = 0, TN_DOCKER_STDOUT = 1, TN_DOCKER_STDERR = 2 };

/* Receives bytes of one stream as they come; a frame may come in several parts. Returns 0, or -1 to end the decoding
 * (then without an error of the decoder's own). */
typedef int tn_docker_bytes(enum tn_docker_stream stream, const char *bytes, size_t len, void *arg);

/* Told before the bytes of each frame: one frame is one entry of a container's log. */
typedef void tn_docker_on_frame(enum tn_docker_stream stream, uint32_t length, void *arg);

/* The state between two pieces; start with all zero. */
struct tn_docker_demux {
    tn_docker_on_frame *on_frame; /* the caller's; NULL: not told. The rest is not for callers. */
    unsigned char header[8];
    size_t header_len;
    uint32_t left; /* bytes of the frame that are still to come */
};

/* Decodes one piece of the stream. Fails with TN_ERR_PROTOCOL on a header that is none, with the engine's own text on
 * its error stream, and with TN_OK in `err` when the callback asked to end. */
int tn_docker_demux_feed(struct tn_docker_demux *demux, const char *bytes, size_t len, tn_docker_bytes *on_bytes,
                         void *arg, struct tn_err *err) TN_MUST_CHECK;

/* At the stream's end: fails if it ended within a header or a frame. */
int tn_docker_demux_finish(const struct tn_docker_demux *demux, struct tn_err *err) TN_MUST_CHECK;

/* One line of an image pull. Texts are cut to their size, control characters replaced. */
struct tn_docker_progress {
    char id[80];      /* layer or tag; "" when the line is about the whole */
    char status[200]; /* "Downloading", "Pull complete", ... */
    int64_t current;  /* bytes done; -1 when not told */
    int64_t total;    /* bytes in all; -1 when not told */
};

typedef void tn_docker_on_progress(const struct tn_docker_progress *progress, void *arg);

/* Decodes one line (without its end). Fails with TN_ERR_PROTOCOL when it is no JSON object, and with
 * TN_ERR_UNAVAILABLE and the engine's own text when it is an error line. */
int tn_docker_progress_parse(const char *line, size_t len, struct tn_docker_progress *progress,
                             struct tn_err *err) TN_MUST_CHECK;

/* The state between two pieces; start with all zero, end with tn_docker_lines_free(). */
struct tn_docker_lines {
    struct tn_buf line; /* owned */
};

/* Decodes the lines that end in this piece; an unended rest is kept (at most TN_DOCKER_LINE_MAX bytes). `on_progress`
 * may be NULL. */
int tn_docker_lines_feed(struct tn_docker_lines *lines, const char *bytes, size_t len,
                         tn_docker_on_progress *on_progress, void *arg, struct tn_err *err) TN_MUST_CHECK;

/* At the stream's end: decodes a last line without an end. */
int tn_docker_lines_finish(struct tn_docker_lines *lines, tn_docker_on_progress *on_progress, void *arg,
                           struct tn_err *err) TN_MUST_CHECK;

/* A line that is not complete is gone. */
void tn_docker_lines_free(struct tn_docker_lines *lines);

/* Copies a foreign text into a line of ours: control characters become spaces, runs of spaces one, the end is cut. */
void tn_docker_text_copy(char *to, size_t size, const char *from);

#endif
