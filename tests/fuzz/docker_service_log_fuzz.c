/* libFuzzer target: entries of a container's output. The first line is a cursor; each further line an entry. Torn and
 * whole must give the same entries and the same cursor, and going on behind that cursor must give none of them again.
 *
 * decodes: executors/docker/service_log.c
 * max_len: 8192 */
#include "executors/docker/service_log.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void on_entry(const char *text, size_t length, bool lost, void *arg)
{
    tn_buf_addf(arg, "%d:%zu|", lost, length);
    if (length > 0)
        tn_buf_add(arg, text, length);
}

static void run(const char *cursor, const char *bytes, size_t size, size_t piece, struct tn_buf *out, char *last)
{
    struct tn_service_log log = {0};
    struct tn_err err = TN_ERR_INIT;
    char since[64];

    if (tn_service_log_begin(&log, cursor, &err) != 0 && err.code != TN_ERR_PROTOCOL)
        abort();
    tn_service_log_since(&log, since, sizeof(since));
    while (size > 0) {
        const char *end = memchr(bytes, '\n', size);
        size_t length = end != NULL ? (size_t)(end - bytes) + 1 : size;
        int result = 0;

        tn_service_log_next(&log, (uint32_t)length);
        for (size_t at = 0; at < length && result == 0; at += piece)
            result =
                tn_service_log_feed(&log, bytes + at, length - at < piece ? length - at : piece, on_entry, out, &err);
        bytes += length;
        size -= length;
    }
    tn_service_log_cursor(&log, last, TN_SERVICE_CURSOR);
    tn_service_log_free(&log);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tn_buf torn = TN_BUF_INIT;
    struct tn_buf whole = TN_BUF_INIT;
    char cursor[TN_SERVICE_CURSOR] = "";
    char ends[2][TN_SERVICE_CURSOR];
    const char *bytes = (const char *)data;
    const char *end = memchr(bytes, '\n', size);
    size_t length = end != NULL ? (size_t)(end - bytes) : 0;

    if (length < sizeof(cursor))
        memcpy(cursor, bytes, length);
    if (end != NULL)
        length++;
    run(cursor, bytes + length, size - length, 3, &torn, ends[0]);
    run(cursor, bytes + length, size - length, SIZE_MAX / 2, &whole, ends[1]);
    if (torn.len != whole.len || strcmp(ends[0], ends[1]) != 0 ||
        (torn.len > 0 && memcmp(torn.data, whole.data, torn.len) != 0))
        abort();
    tn_buf_free(&torn);
    tn_buf_free(&whole);
    return 0;
}
