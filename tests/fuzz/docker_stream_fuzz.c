/* libFuzzer target: the decoders of the Docker Engine's streams. The first byte chooses how the rest is torn; torn and
 * whole must give the same bytes, the same lines and the same end.
 *
 * decodes: executors/docker/stream.c
 * max_len: 16384 */
#include "core/lib/buf.h"
#include "executors/docker/stream.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int on_bytes(enum tn_docker_stream stream, const char *bytes, size_t len, void *arg)
{
    if (stream > TN_DOCKER_STDERR || len == 0)
        abort();
    /* A mark a byte, so that the way a frame is torn does not show. */
    for (size_t i = 0; i < len; i++)
        tn_buf_addf(arg, "%d%02x", (int)stream, (unsigned char)bytes[i]);
    return 0;
}

static void on_progress(const struct tn_docker_progress *progress, void *arg)
{
    if (strpbrk(progress->id, "\r\n\t\33") != NULL || strpbrk(progress->status, "\r\n\t\33") != NULL)
        abort();
    tn_buf_addf(arg, "%s|%s|%lld|%lld\n", progress->id, progress->status, (long long)progress->current,
                (long long)progress->total);
}

static enum tn_err_code run_frames(const char *bytes, size_t len, size_t piece, struct tn_buf *out)
{
    struct tn_docker_demux demux = {0};
    struct tn_err err = TN_ERR_INIT;

    for (size_t at = 0; at < len && err.code == TN_OK; at += piece)
        if (tn_docker_demux_feed(&demux, bytes + at, len - at < piece ? len - at : piece, on_bytes, out, &err) < 0 &&
            err.code == TN_OK)
            abort();
    if (err.code == TN_OK && tn_docker_demux_finish(&demux, &err) < 0 && err.code == TN_OK)
        abort();
    return err.code;
}

static enum tn_err_code run_lines(const char *bytes, size_t len, size_t piece, struct tn_buf *out)
{
    struct tn_docker_lines lines = {TN_BUF_INIT};
    struct tn_err err = TN_ERR_INIT;
    int result = 0;

    for (size_t at = 0; at < len && result == 0; at += piece)
        result = tn_docker_lines_feed(&lines, bytes + at, len - at < piece ? len - at : piece, on_progress, out, &err);
    if (result == 0)
        result = tn_docker_lines_finish(&lines, on_progress, out, &err);
    if ((result < 0) != (err.code != TN_OK) || strpbrk(err.text, "\r\n") != NULL)
        abort();
    tn_docker_lines_free(&lines);
    return err.code;
}

static void compare(enum tn_err_code (*run)(const char *, size_t, size_t, struct tn_buf *), const char *bytes,
                    size_t len, size_t piece)
{
    auto_buf struct tn_buf whole = TN_BUF_INIT;
    auto_buf struct tn_buf torn = TN_BUF_INIT;

    if (run(bytes, len, len + 1, &whole) != run(bytes, len, piece, &torn))
        abort();
    if (whole.len != torn.len || (whole.len > 0 && memcmp(whole.data, torn.data, whole.len) != 0))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t piece;

    if (size < 1)
        return 0;
    piece = (size_t)data[0] % 64 + 1;
    compare(run_frames, (const char *)data + 1, size - 1, piece);
    compare(run_lines, (const char *)data + 1, size - 1, piece);
    return 0;
}
