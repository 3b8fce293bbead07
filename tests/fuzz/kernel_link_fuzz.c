/* libFuzzer target: the stream between tenond and tenon-bus. The first byte chooses how the rest is torn; torn and
 * whole must give the same messages and the same end.
 *
 * decodes: core/kernel/link.c proto/codec.c
 * max_len: 8192 */
#include "core/kernel/link.h"
#include "core/lib/buf.h"

#include <event2/event.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
    struct tn_buf messages;
    bool broken;
};

static void on_message(void *arg, const struct tn_header *header, const uint8_t *body)
{
    struct seen *seen = arg;

    if (seen->broken || header->length > TN_LINK_BODY_MAX)
        abort();
    tn_buf_addf(&seen->messages, "%s %u:", tn_msg_name(header->kind), header->length);
    tn_buf_add(&seen->messages, body, header->length);
}

static void on_broken(void *arg, const char *why)
{
    struct seen *seen = arg;

    if (seen->broken || why == NULL)
        abort();
    seen->broken = true;
}

static void run(struct event_base *base, const uint8_t *data, size_t size, size_t piece, struct seen *seen)
{
    struct tn_link *link;
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0 ||
        (link = tn_link_open(base, pair[0], on_message, on_broken, seen, NULL)) == NULL)
        abort();
    for (size_t at = 0; at < size && !seen->broken; at += piece) {
        size_t length = size - at < piece ? size - at : piece;

        if (send(pair[1], data + at, length, MSG_NOSIGNAL) != (ssize_t)length)
            abort();
        event_base_loop(base, EVLOOP_NONBLOCK);
    }
    close(pair[1]);
    for (int i = 0; i < 8 && !seen->broken; i++)
        event_base_loop(base, EVLOOP_NONBLOCK);
    if (!seen->broken)
        abort();
    tn_link_close(link);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct event_base *base;
    struct seen whole = {TN_BUF_INIT, false};
    struct seen torn = {TN_BUF_INIT, false};

    if (size == 0)
        return 0;
    if (base == NULL && (base = event_base_new()) == NULL)
        abort();
    run(base, data + 1, size - 1, size, &whole);
    run(base, data + 1, size - 1, (size_t)data[0] + 1, &torn);
    if (whole.messages.len != torn.messages.len ||
        (whole.messages.len > 0 && memcmp(whole.messages.data, torn.messages.data, whole.messages.len) != 0))
        abort();
    tn_buf_free(&whole.messages);
    tn_buf_free(&torn.messages);
    return 0;
}
