#include "core/kernel/link.h"
#include "core/lib/log.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/util.h>

#include <stdbool.h>
#include <stdlib.h>

struct tn_link {
    struct bufferevent *stream; /* owned, with its descriptor */
    tn_link_message_cb *on_message;
    tn_link_broken_cb *on_broken;
    tn_link_drained_cb *on_drained; /* may be NULL */
    void *arg;
    bool full;
};

static void link_broken(struct tn_link *link, const char *why)
{
    bufferevent_disable(link->stream, EV_READ | EV_WRITE);
    link->on_broken(link->arg, why);
}

/* Size of the message whose header is at `bytes`; the rest of the header is checked once all of it is there. */
static size_t message_size(const uint8_t *bytes)
{
    const uint8_t *at = bytes + TN_HEADER_SIZE - 4;

    return TN_HEADER_SIZE + ((size_t)at[0] | (size_t)at[1] << 8 | (size_t)at[2] << 16 | (size_t)at[3] << 24);
}

static void on_read(struct bufferevent *stream, void *arg)
{
    struct tn_link *link = arg;
    struct evbuffer *input = bufferevent_get_input(stream);
    struct tn_err err = TN_ERR_INIT;

    while (evbuffer_get_length(input) >= TN_HEADER_SIZE) {
        struct tn_header header;
        uint8_t *bytes = evbuffer_pullup(input, TN_HEADER_SIZE);
        size_t size = message_size(bytes);

        if (size > TN_HEADER_SIZE + TN_LINK_BODY_MAX) {
            link_broken(link, "a message is longer than the link allows");
            return;
        }
        if (evbuffer_get_length(input) < size)
            return;
        bytes = evbuffer_pullup(input, (ev_ssize_t)size);
        if (bytes == NULL || tn_header_decode(bytes, size, &header, &err) != 0) {
            link_broken(link, bytes == NULL ? "out of memory" : err.text);
            return;
        }
        link->on_message(link->arg, &header, bytes + TN_HEADER_SIZE);
        evbuffer_drain(input, size);
    }
}

static void on_event(struct bufferevent *stream, short what, void *arg)
{
    link_broken(arg, (what & BEV_EVENT_EOF) != 0 ? "the other side closed it" : "the socket failed");
}

struct tn_link *tn_link_open(struct event_base *base, int fd, tn_link_message_cb *on_message,
                             tn_link_broken_cb *on_broken, void *arg, struct tn_err *err)
{
    struct tn_link *link = calloc(1, sizeof(*link));

    evutil_make_socket_nonblocking(fd);
    if (link != NULL)
        link->stream = bufferevent_socket_new(base, fd, BEV_OPT_CLOSE_ON_FREE);
    if (link == NULL || link->stream == NULL) {
        free(link);
        tn_err_set(err, TN_ERR_SYSTEM, "out of memory for the link between tenond and tenon-bus");
        return NULL;
    }
    link->on_message = on_message;
    link->on_broken = on_broken;
    link->arg = arg;
    bufferevent_setcb(link->stream, on_read, NULL, on_event, link);
    bufferevent_enable(link->stream, EV_READ | EV_WRITE);
    return link;
}

void tn_link_close(struct tn_link *link)
{
    if (link == NULL)
        return;
    bufferevent_free(link->stream);
    free(link);
}

static int has_room(struct tn_link *link)
{
    if (evbuffer_get_length(bufferevent_get_output(link->stream)) > TN_LINK_QUEUE_MAX) {
        if (!link->full)
            tn_warn("%u bytes wait on the link between tenond and tenon-bus: messages are dropped", TN_LINK_QUEUE_MAX);
        link->full = true;
        return -1;
    }
    link->full = false;
    return 0;
}

int tn_link_send(struct tn_link *link, const struct tn_header *header, const void *body)
{
    struct evbuffer *output = bufferevent_get_output(link->stream);
    uint8_t bytes[TN_HEADER_SIZE];

    if (has_room(link) != 0)
        return -1;
    tn_header_encode(header, bytes);
    if (evbuffer_add(output, bytes, sizeof(bytes)) != 0 ||
        (header->length > 0 && evbuffer_add(output, body, header->length) != 0))
        tn_fatal(3, "out of memory: %u bytes for %s", header->length, tn_msg_name(header->kind));
    return 0;
}

int tn_link_send_message(struct tn_link *link, const void *message, size_t size)
{
    if (has_room(link) != 0)
        return -1;
    if (evbuffer_add(bufferevent_get_output(link->stream), message, size) != 0)
        tn_fatal(3, "out of memory: a message of %zu bytes", size);
    return 0;
}

bool tn_link_is_busy(const struct tn_link *link)
{
    return evbuffer_get_length(bufferevent_get_output(link->stream)) > TN_LINK_BUSY;
}

static void on_write(struct bufferevent *stream, void *arg)
{
    struct tn_link *link = arg;

    if (link->on_drained != NULL)
        link->on_drained(link->arg);
}

void tn_link_on_drained(struct tn_link *link, tn_link_drained_cb *on_drained)
{
    link->on_drained = on_drained;
    bufferevent_setcb(link->stream, on_read, on_write, on_event, link);
}
