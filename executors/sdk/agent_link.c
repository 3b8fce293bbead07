#include "executors/sdk/agent_link.h"
#include "core/lib/buf.h"
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/log.h"
#include "core/lib/secret.h"
#include "executors/sdk/agent_link_internal.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#define READ_SIZE (256u * 1024u)
#define READS_A_TURN 8
#define QUEUE_DEFAULT (8u * 1024u * 1024u)
#define TIMEOUT_DEFAULT_MS 30000
#define RETRY_MAX_MS 250
#define WELCOME_MS 2000

static void on_readable(evutil_socket_t fd, short what, void *arg);
static void on_writable(evutil_socket_t fd, short what, void *arg);
static void transmit(struct tn_agent_link *link);

static long long now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void set_timer(struct tn_agent_link *link, int ms)
{
    struct timeval time = {ms / 1000, ms % 1000 * 1000};

    event_add(link->timer, &time);
}

static void disconnect(struct tn_agent_link *link)
{
    if (link->read != NULL)
        event_free(link->read);
    if (link->write != NULL)
        event_free(link->write);
    link->read = link->write = NULL;
    if (link->fd >= 0)
        close(link->fd);
    link->fd = -1;
    tn_buf_reset(&link->in);
    tn_buf_reset(&link->out);
    /* Bytes of an incomplete frame come again: the next HELLO asks from the last frame's end. */
    tn_buf_reset(&link->stream);
    link->received = link->handed;
}

void tn_agent_link__lose(struct tn_agent_link *link, enum tn_err_code code, const char *fmt, ...)
{
    struct tn_err err = TN_ERR_INIT;
    char text[512];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    tn_err_set(&err, code, "the agent at %s: %s", link->name, text);
    disconnect(link);
    event_del(link->timer);
    link->state = LINK_DEAD;
    if (link->callbacks.on_lost != NULL && !link->shutdown)
        link->callbacks.on_lost(link->arg, &err);
}

/* The connection is gone (or never came): try again, or give up. */
static void reconnect(struct tn_agent_link *link, const char *why)
{
    disconnect(link);
    if (link->state == LINK_UP) {
        link->deadline = now_ms() + link->timeout_ms;
        link->retry_ms = TN_AGENT_RETRY_MIN_MS;
    }
    link->state = LINK_CONNECTING;
    if (link->path == NULL && link->open == NULL && link->first_fd < 0) {
        tn_agent_link__lose(link, TN_ERR_UNAVAILABLE, "the connection has ended (%s) and there is no other way to it",
                            why);
        return;
    }
    if (now_ms() >= link->deadline) {
        tn_agent_link__lose(link, TN_ERR_UNAVAILABLE, "no answer within %d ms (%s); is the environment still there?",
                            link->timeout_ms, why);
        return;
    }
    set_timer(link, link->retry_ms);
    link->retry_ms = link->retry_ms * 2 < RETRY_MAX_MS ? link->retry_ms * 2 : RETRY_MAX_MS;
}

static void put_packet(struct tn_buf *out, const struct tn_agent_packet *packet, const void *payload)
{
    uint8_t head[TN_AGENT_PACKET_HEADER];

    tn_agent_packet_put(head, packet, payload);
    tn_buf_add(out, head, sizeof(head));
    tn_buf_add(out, payload, packet->length);
}

static void greet(struct tn_agent_link *link)
{
    struct tn_agent_hello hello = {
        .version = TN_AGENT_VERSION, .life = link->life, .acked = link->acked, .offset = link->handed};
    struct tn_agent_packet packet = {.type = TN_AGENT_HELLO};
    uint8_t payload[64];

    if (getrandom(link->nonce, sizeof(link->nonce), 0) != sizeof(link->nonce))
        tn_fatal(3, "no random numbers");
    memcpy(hello.nonce, link->nonce, sizeof(hello.nonce));
    memcpy(hello.boot, link->boot, sizeof(hello.boot));
    packet.length = (uint32_t)tn_agent_hello_put(payload, sizeof(payload), &hello);
    /* A port may have torn the last executor's command: zeros fill up what the agent still waits for. */
    if (link->greetings++ > 0) {
        memset(tn_buf_reserve(&link->out, TN_AGENT_COMMAND_MAX + 64), 0, TN_AGENT_COMMAND_MAX + 64);
        link->out.len += TN_AGENT_COMMAND_MAX + 64;
    }
    put_packet(&link->out, &packet, payload);
    link->state = LINK_GREETING;
    set_timer(link, WELCOME_MS);
}

static void take_connection(struct tn_agent_link *link, int fd)
{
    link->fd = fd;
    link->greetings = link->torn_welcomes = 0;
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    link->read = event_new(link->base, fd, EV_READ | EV_PERSIST, on_readable, link);
    link->write = event_new(link->base, fd, EV_WRITE, on_writable, link);
    if (link->read == NULL || link->write == NULL)
        tn_fatal(3, "out of memory for the events of an agent's connection");
    event_add(link->read, NULL); /* paused or not: the handshake must come about */
    greet(link);
    transmit(link);
}

/* A connected descriptor, or -1 and errno. */
static int connect_path(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int error;

    memcpy(address.sun_path, path, strlen(path));
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
        return fd;
    error = errno;
    close(fd);
    errno = error;
    return -1;
}

static void try_connect(struct tn_agent_link *link)
{
    int fd = link->first_fd >= 0  ? steal_fd(&link->first_fd)
             : link->open != NULL ? link->open(link->arg)
                                  : connect_path(link->path);

    if (fd >= 0)
        take_connection(link, fd);
    else
        reconnect(link, strerror(errno));
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct tn_agent_link *link = arg;

    if (link->state == LINK_CONNECTING) {
        try_connect(link);
    } else if (link->state == LINK_GREETING && now_ms() >= link->deadline) {
        reconnect(link, "connected, but it does not answer");
    } else if (link->state == LINK_GREETING && link->out.len > 0) {
        set_timer(link, WELCOME_MS); /* the last HELLO is still here: more of them would only be more */
    } else if (link->state == LINK_GREETING) {
        greet(link);
        transmit(link);
    }
}

/* Moves commands into `out` as long as little waits there. */
static void fill_out(struct tn_agent_link *link)
{
    if (link->state != LINK_UP)
        return;
    if (link->durable > link->durable_sent) {
        put_packet(&link->out, &(struct tn_agent_packet){.type = TN_AGENT_ACK, .number = link->durable}, "");
        link->durable_sent = link->durable;
    }
    while (link->unsent != NULL && link->out.len < READ_SIZE) {
        tn_buf_add(&link->out, link->unsent->bytes, link->unsent->len);
        link->unsent = link->unsent->next;
    }
}

/* Writing never ends the connection: what is broken shows when reading, so callers need not expect callbacks. */
static void transmit(struct tn_agent_link *link)
{
    if (link->fd < 0)
        return;
    for (fill_out(link); link->out.len > 0; fill_out(link)) {
        ssize_t put = send(link->fd, link->out.data, link->out.len, MSG_NOSIGNAL);

        if (put < 0 && errno == ENOTSOCK)
            put = write(link->fd, link->out.data, link->out.len);
        if (put < 0) {
            if (errno == EAGAIN || errno == EINTR)
                event_add(link->write, NULL);
            return;
        }
        tn_buf_consume(&link->out, (size_t)put);
    }
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    transmit(arg);
}

static void pump(struct tn_agent_link *link, bool read_more)
{
    bool freed = false;
    int result = 0;

    /* cppcheck-suppress autoVariables ; taken back below, unless the link is gone by then */
    link->freed = &freed;
    if (link->stream.len > 0 && link->state == LINK_UP && !link->paused)
        result = tn_agent_link__take_stream(link, &freed);
    if (result == 0)
        result = tn_agent_link__take_packets(link, &freed);
    for (int turn = 0; result == 0 && read_more && turn < READS_A_TURN && !tn_agent_link__holds_back(link); turn++) {
        ssize_t got = recv(link->fd, tn_buf_reserve(&link->in, READ_SIZE), READ_SIZE, 0);

        if (got < 0 && errno == ENOTSOCK)
            got = read(link->fd, tn_buf_reserve(&link->in, READ_SIZE), READ_SIZE);
        if (got < 0 && (errno == EAGAIN || errno == EINTR))
            break;
        if (got <= 0) {
            link->freed = NULL;
            reconnect(link, got < 0 ? strerror(errno) : "it closed the connection");
            return;
        }
        link->in.len += (size_t)got;
        result = tn_agent_link__take_packets(link, &freed);
        if ((size_t)got < READ_SIZE / 4)
            break;
    }
    if (freed)
        return;
    link->freed = NULL;
    if (result < 0)
        reconnect(link, "it sent bytes that are not the agent's protocol");
    else if (result == 0)
        transmit(link);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    pump(arg, true);
}

struct tn_agent_link *tn_agent_link_new(struct event_base *base, const struct tn_agent_link_config *config,
                                        struct tn_err *err)
{
    struct tn_agent_link *link;

    if (config->path == NULL && config->fd < 0 && config->open == NULL) {
        tn_err_set(err, TN_ERR_USAGE, "an agent's link needs a path, a descriptor or a way to open one");
        return NULL;
    }
    if (config->path != NULL && strlen(config->path) >= sizeof(((struct sockaddr_un *)0)->sun_path)) {
        tn_err_set(err, TN_ERR_USAGE, "the path %s is too long for a unix socket", config->path);
        return NULL;
    }
    link = calloc(1, sizeof(*link));
    if (link == NULL || (config->path != NULL && (link->path = strdup(config->path)) == NULL) ||
        (link->timer = event_new(base, -1, 0, on_timer, link)) == NULL ||
        getrandom(&link->life, sizeof(link->life), 0) != sizeof(link->life)) {
        if (link != NULL)
            free(link->path);
        free(link);
        tn_err_sys(err, ENOMEM, "an agent's link");
        return NULL;
    }
    link->base = base;
    link->open = config->open;
    link->name = tn_fs_path("%s", config->path != NULL   ? config->path
                                  : config->name != NULL ? config->name
                                                         : "an inherited connection");
    link->fd = -1;
    link->first_fd = config->fd;
    link->callbacks = config->callbacks;
    link->arg = config->arg;
    link->timeout_ms = config->connect_timeout_ms > 0 ? config->connect_timeout_ms : TIMEOUT_DEFAULT_MS;
    link->queue_max = config->queue_max > 0 ? config->queue_max : QUEUE_DEFAULT;
    link->last = &link->first;
    link->retry_ms = TN_AGENT_RETRY_MIN_MS;
    link->deadline = now_ms() + link->timeout_ms;
    memcpy(link->boot, config->start.boot, sizeof(link->boot));
    link->handed = link->received = link->durable = config->start.offset;
    set_timer(link, 0); /* from the loop, so that no callback comes before the owner has the pointer */
    return link;
}

void tn_agent_link_free(struct tn_agent_link *link)
{
    if (link == NULL)
        return;
    if (link->freed != NULL)
        *link->freed = true;
    disconnect(link);
    if (link->first_fd >= 0)
        close(link->first_fd);
    event_free(link->timer);
    while (link->first != NULL) {
        struct tn_agent_queued *gone = link->first;

        link->first = gone->next;
        tn_secret_free(gone);
    }
    tn_buf_free(&link->in);
    tn_buf_free(&link->out);
    tn_buf_free(&link->stream);
    free(link->path);
    free(link->name);
    free(link);
}

void tn_agent_link_ack(struct tn_agent_link *link, uint64_t offset)
{
    if (offset <= link->durable || offset > link->handed)
        return;
    link->durable = offset;
    if (link->freed == NULL) /* else it goes out when the callbacks are done */
        transmit(link);
}

void tn_agent_link_pause(struct tn_agent_link *link)
{
    link->paused = true;
    if (link->state == LINK_UP)
        event_del(link->read);
}

void tn_agent_link_resume(struct tn_agent_link *link)
{
    if (!link->paused)
        return;
    link->paused = false;
    if (link->read == NULL)
        return;
    event_add(link->read, NULL);
    /* What was read before may already hold frames, and no further byte need ever come. */
    event_active(link->read, EV_READ, 0);
}

int tn_agent_link__queue(struct tn_agent_link *link, enum tn_agent_packet_type type, uint32_t channel,
                         const uint8_t *payload, size_t len, struct tn_err *err)
{
    struct tn_agent_packet packet = {.type = (uint16_t)type, .channel = channel, .length = (uint32_t)len};
    struct tn_agent_queued *queued;

    if (len > TN_AGENT_COMMAND_MAX)
        return tn_err_set(err, TN_ERR_LIMIT,
                          "a %s command of %zu bytes is over the limit of %u: a smaller environment?",
                          tn_agent_packet_name(type), len, TN_AGENT_COMMAND_MAX);
    if (link->queued_bytes > 0 && link->queued_bytes + len > link->queue_max)
        return tn_err_set(err, TN_ERR_LIMIT, "%zu bytes of commands wait for the agent", link->queued_bytes);
    queued = malloc(sizeof(*queued) + TN_AGENT_PACKET_HEADER + len);
    if (queued == NULL)
        return tn_err_sys(err, ENOMEM, "a command for the agent");
    packet.number = ++link->number;
    *queued = (struct tn_agent_queued){NULL, packet.number, TN_AGENT_PACKET_HEADER + len};
    tn_agent_packet_put(queued->bytes, &packet, payload);
    if (len > 0)
        memcpy(queued->bytes + TN_AGENT_PACKET_HEADER, payload, len);
    *link->last = queued;
    link->last = &queued->next;
    link->queued_bytes += queued->len;
    if (link->unsent == NULL)
        link->unsent = queued;
    if (link->freed == NULL)
        transmit(link);
    return 0;
}

int tn_agent_link_shutdown(struct tn_agent_link *link, struct tn_err *err)
{
    link->shutdown = true;
    return tn_agent_link__queue(link, TN_AGENT_SHUTDOWN, 0, NULL, 0, err);
}
