#include "executors/docker/attach.h"

#include "core/lib/log.h"
#include "executors/docker/engine_internal.h"
#include "executors/docker/stream.h"
#include "executors/docker/upgrade.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_SIZE 65536u
#define HELD_MAX (256u * 1024u) /* bytes that wait on either way before the source is no longer read */
#define CONNECT_MS 10000

struct tn_attach {
    struct event_base *base; /* borrowed */
    tn_attach_ended *on_ended;
    void *arg;
    struct tn_http_raw *raw; /* NULL once it has ended */
    struct tn_upgrade upgrade;
    struct tn_docker_demux demux;
    int fd;              /* owned; our end of the pair */
    struct event *read;  /* owned */
    struct event *write; /* owned */
    struct tn_buf in;    /* owned: from the container, for the descriptor */
    bool open;           /* the engine has agreed: bytes may go */
    bool held;           /* the engine's side is not read */
    char container[300];
    char reason[300]; /* of a decoder, or "" */
};

void tn_attach_free(struct tn_attach *attach)
{
    if (attach == NULL)
        return;
    if (attach->raw != NULL)
        tn_http_raw_free(attach->raw);
    if (attach->read != NULL)
        event_free(attach->read);
    if (attach->write != NULL)
        event_free(attach->write);
    if (attach->fd >= 0)
        close(attach->fd);
    tn_upgrade_free(&attach->upgrade);
    tn_buf_free(&attach->in);
    free(attach);
}

static void end(struct tn_attach *attach, const char *reason)
{
    attach->on_ended(reason, attach->arg);
    tn_attach_free(attach);
}

/* ---- container -> descriptor ---- */

/* -1 if the reader is gone. */
static int deliver(struct tn_attach *attach)
{
    while (attach->in.len > 0) {
        ssize_t put = send(attach->fd, attach->in.data, attach->in.len, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0 && errno != EAGAIN)
            return -1;
        if (put < 0)
            break;
        tn_buf_consume(&attach->in, (size_t)put);
    }
    if (attach->in.len > 0)
        event_add(attach->write, NULL);
    if (attach->held != (attach->in.len >= HELD_MAX)) {
        attach->held = !attach->held;
        tn_http_raw_pause(attach->raw, attach->held);
    }
    return 0;
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    struct tn_attach *attach = arg;

    if (deliver(attach) != 0)
        end(attach, NULL);
}

static int take_output(enum tn_docker_stream stream, const char *bytes, size_t len, void *arg)
{
    struct tn_attach *attach = arg;
    char text[400];
    char raw[400];

    if (stream == TN_DOCKER_STDOUT) {
        tn_buf_add(&attach->in, bytes, len);
        return 0;
    }
    snprintf(raw, sizeof(raw), "%.*s", (int)(len < sizeof(raw) ? len : sizeof(raw) - 1), bytes);
    tn_docker_text_copy(text, sizeof(text), raw);
    tn_debug("agent of %s: %s", attach->container, text);
    return 0;
}

static int on_raw_bytes(const char *bytes, size_t len, void *arg)
{
    struct tn_attach *attach = arg;
    struct tn_err err = TN_ERR_INIT;
    size_t used = 0;

    if (tn_upgrade_feed(&attach->upgrade, bytes, len, &used, &err) != 0 ||
        tn_docker_demux_feed(&attach->demux, bytes + used, len - used, take_output, attach, &err) != 0) {
        snprintf(attach->reason, sizeof(attach->reason), "%.290s", err.text);
        return -1;
    }
    /* Not before: the engine drops what comes together with the request. */
    if (!attach->open && attach->upgrade.state == TN_UPGRADE_OPEN) {
        attach->open = true;
        event_add(attach->read, NULL);
    }
    return deliver(attach);
}

static void on_raw_end(const struct tn_http_result *result, void *arg)
{
    struct tn_attach *attach = arg;
    char text[500];

    attach->raw = NULL;
    if (attach->upgrade.state == TN_UPGRADE_REFUSED) {
        tn_upgrade_refusal(&attach->upgrade, text, sizeof(text));
        end(attach, text);
    } else if (result->end == TN_HTTP_ANSWERED) {
        end(attach, NULL);
    } else {
        snprintf(text, sizeof(text), "%s", attach->reason[0] != '\0' ? attach->reason : result->detail);
        end(attach, text);
    }
}

/* ---- descriptor -> container ---- */

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct tn_attach *attach = arg;
    static char bytes[READ_SIZE];

    while (tn_http_raw_waiting(attach->raw) < HELD_MAX) {
        ssize_t got = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);

        if (got < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (got <= 0) {
            end(attach, NULL);
            return;
        }
        tn_http_raw_send(attach->raw, bytes, (size_t)got);
    }
    event_del(attach->read); /* until it is sent */
}

static void on_raw_sent(void *arg)
{
    struct tn_attach *attach = arg;

    if (attach->open)
        event_add(attach->read, NULL);
}

/* ---- the begin ---- */

static void send_request(struct tn_attach *attach, const struct tn_engine *engine)
{
    struct tn_buf head = TN_BUF_INIT;

    tn_buf_addf(&head,
                "POST /v%d.%d/containers/%s/attach?stream=1&stdin=1&stdout=1&stderr=1 HTTP/1.1\r\nHost: engine\r\n"
                "Connection: Upgrade\r\nUpgrade: tcp\r\nContent-Type: text/plain\r\nContent-Length: 0\r\n\r\n",
                TN_ENGINE_API_MAJOR, engine->minor, attach->container);
    tn_http_raw_send(attach->raw, head.data, head.len);
    tn_buf_free(&head);
}

struct tn_attach *tn_attach_new(struct tn_engine *engine, struct event_base *base, const char *container,
                                tn_attach_ended *on_ended, void *arg, int *fd)
{
    struct tn_http_raw_config config = {
        .deadline_ms = CONNECT_MS, .on_bytes = on_raw_bytes, .on_sent = on_raw_sent, .on_end = on_raw_end};
    struct tn_attach *attach;
    int pair[2];

    if (engine->minor < 0) { /* lost: whoever asks it next agrees on the version anew */
        errno = ECONNREFUSED;
        return NULL;
    }
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0)
        return NULL;
    attach = calloc(1, sizeof(*attach));
    if (attach == NULL)
        tn_fatal(3, "out of memory: a connection to a container");
    attach->base = base;
    attach->on_ended = on_ended;
    attach->arg = config.arg = arg;
    attach->fd = pair[0];
    snprintf(attach->container, sizeof(attach->container), "%s", container);
    attach->read = event_new(base, pair[0], EV_READ | EV_PERSIST, on_readable, attach);
    attach->write = event_new(base, pair[0], EV_WRITE, on_writable, attach);
    if (attach->read == NULL || attach->write == NULL)
        tn_fatal(3, "out of memory: the events of a connection to a container");
    config.arg = attach;
    attach->raw = tn_http_raw_new(engine->http, &config);
    send_request(attach, engine);
    *fd = pair[1];
    return attach;
}
