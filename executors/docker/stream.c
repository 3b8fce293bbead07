#include "executors/docker/stream.h"

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <string.h>

#define STREAM_SYSTEM_ERROR 3 /* the engine's own error, sent in the place of output */

/* Collects the header's bytes that are in this piece; returns how many it took. */
static size_t take_header(struct tn_docker_demux *demux, const char *bytes, size_t len)
{
    size_t take = sizeof(demux->header) - demux->header_len;

    if (take > len)
        take = len;
    memcpy(demux->header + demux->header_len, bytes, take);
    demux->header_len += take;
    return take;
}

static int check_header(struct tn_docker_demux *demux, struct tn_err *err)
{
    const unsigned char *h = demux->header;

    if (h[0] > STREAM_SYSTEM_ERROR || h[1] != 0 || h[2] != 0 || h[3] != 0)
        return tn_err_set(err, TN_ERR_PROTOCOL,
                          "the engine's output stream has a frame that starts with %02x%02x%02x%02x; expected a stream "
                          "number of 0 to 3 and three zero bytes (was the container made with a terminal?)",
                          h[0], h[1], h[2], h[3]);
    demux->left = (uint32_t)h[4] << 24 | (uint32_t)h[5] << 16 | (uint32_t)h[6] << 8 | h[7];
    return 0;
}

/* The engine's own error; its text as far as it is in this piece. */
static int system_error(const char *bytes, size_t len, struct tn_err *err)
{
    char text[300];
    char raw[300];

    if (len > sizeof(raw) - 1)
        len = sizeof(raw) - 1;
    memcpy(raw, bytes, len);
    raw[len] = '\0';
    tn_docker_text_copy(text, sizeof(text), raw);
    return tn_err_set(err, TN_ERR_UNAVAILABLE, "the engine broke off the output: %s", text);
}

int tn_docker_demux_feed(struct tn_docker_demux *demux, const char *bytes, size_t len, tn_docker_bytes *on_bytes,
                         void *arg, struct tn_err *err)
{
    while (len > 0) {
        size_t take;

        if (demux->left == 0) {
            take = take_header(demux, bytes, len);
            bytes += take;
            len -= take;
            if (demux->header_len < sizeof(demux->header))
                return 0;
            if (check_header(demux, err) < 0)
                return -1;
            demux->header_len = 0;
            if (demux->on_frame != NULL && demux->header[0] != STREAM_SYSTEM_ERROR)
                demux->on_frame((enum tn_docker_stream)demux->header[0], demux->left, arg);
            continue;
        }
        take = demux->left < len ? demux->left : len;
        if (demux->header[0] == STREAM_SYSTEM_ERROR)
            return system_error(bytes, take, err);
        if (on_bytes((enum tn_docker_stream)demux->header[0], bytes, take, arg) < 0)
            return -1;
        demux->left -= (uint32_t)take;
        bytes += take;
        len -= take;
    }
    return 0;
}

int tn_docker_demux_finish(const struct tn_docker_demux *demux, struct tn_err *err)
{
    if (demux->left > 0)
        return tn_err_set(err, TN_ERR_PROTOCOL, "the engine's output stream ended %u bytes before the end of a frame",
                          demux->left);
    if (demux->header_len > 0)
        return tn_err_set(err, TN_ERR_PROTOCOL, "the engine's output stream ended within the header of a frame");
    return 0;
}

void tn_docker_text_copy(char *to, size_t size, const char *from)
{
    size_t used = 0;

    for (; *from != '\0' && used + 1 < size; from++) {
        bool blank = (unsigned char)*from <= 0x20 || *from == 0x7f;

        if (blank && (used == 0 || to[used - 1] == ' '))
            continue;
        to[used++] = blank ? ' ' : *from;
    }
    while (used > 0 && to[used - 1] == ' ')
        used--;
    to[used] = '\0';
}

static const char *text_of(const cJSON *object, const char *key)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, key));

    return text != NULL ? text : "";
}

static int64_t bytes_of(const cJSON *object, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);

    /* 2^53: beyond it a double holds no exact count, and nothing here is that large. */
    if (!cJSON_IsNumber(item) || !(item->valuedouble >= 0 && item->valuedouble <= 9007199254740992.0))
        return -1;
    return (int64_t)item->valuedouble;
}

static int error_line(const cJSON *object, struct tn_err *err)
{
    const char *text = text_of(cJSON_GetObjectItemCaseSensitive(object, "errorDetail"), "message");
    char shown[600];

    if (text[0] == '\0')
        text = text_of(object, "error");
    if (text[0] == '\0')
        text = "an error without a text";
    tn_docker_text_copy(shown, sizeof(shown), text);
    return tn_err_set(err, TN_ERR_UNAVAILABLE, "%s", shown);
}

int tn_docker_progress_parse(const char *line, size_t len, struct tn_docker_progress *progress, struct tn_err *err)
{
    cJSON *object = cJSON_ParseWithLength(line, len);
    const cJSON *detail;
    int result = 0;

    memset(progress, 0, sizeof(*progress));
    if (!cJSON_IsObject(object)) {
        cJSON_Delete(object);
        return tn_err_set(err, TN_ERR_PROTOCOL, "the engine's progress has a line of %zu bytes that is no JSON object",
                          len);
    }
    if (cJSON_HasObjectItem(object, "error") || cJSON_HasObjectItem(object, "errorDetail"))
        result = error_line(object, err);
    tn_docker_text_copy(progress->id, sizeof(progress->id), text_of(object, "id"));
    tn_docker_text_copy(progress->status, sizeof(progress->status), text_of(object, "status"));
    detail = cJSON_GetObjectItemCaseSensitive(object, "progressDetail");
    progress->current = bytes_of(detail, "current");
    progress->total = bytes_of(detail, "total");
    cJSON_Delete(object);
    return result;
}

static int end_line(struct tn_docker_lines *lines, tn_docker_on_progress *on_progress, void *arg, struct tn_err *err)
{
    struct tn_docker_progress progress;
    size_t len = lines->line.len;

    while (len > 0 && (lines->line.data[len - 1] == '\r' || lines->line.data[len - 1] == ' '))
        len--;
    if (len == 0) {
        tn_buf_reset(&lines->line);
        return 0;
    }
    if (tn_docker_progress_parse(lines->line.data, len, &progress, err) < 0)
        return -1;
    tn_buf_reset(&lines->line);
    if (on_progress != NULL)
        on_progress(&progress, arg);
    return 0;
}

int tn_docker_lines_feed(struct tn_docker_lines *lines, const char *bytes, size_t len,
                         tn_docker_on_progress *on_progress, void *arg, struct tn_err *err)
{
    while (len > 0) {
        const char *end = memchr(bytes, '\n', len);
        size_t take = end != NULL ? (size_t)(end - bytes) : len;

        if (lines->line.len + take > TN_DOCKER_LINE_MAX)
            return tn_err_set(err, TN_ERR_LIMIT, "the engine's progress has a line of more than %d bytes",
                              TN_DOCKER_LINE_MAX);
        tn_buf_add(&lines->line, bytes, take);
        bytes += take;
        len -= take;
        if (end == NULL)
            return 0;
        bytes++;
        len--;
        if (end_line(lines, on_progress, arg, err) < 0)
            return -1;
    }
    return 0;
}

int tn_docker_lines_finish(struct tn_docker_lines *lines, tn_docker_on_progress *on_progress, void *arg,
                           struct tn_err *err)
{
    return end_line(lines, on_progress, arg, err);
}

void tn_docker_lines_free(struct tn_docker_lines *lines)
{
    tn_buf_free(&lines->line);
}
