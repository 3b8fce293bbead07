#include "executors/sdk/agent_link.h"
#include "core/lib/buf.h"
#include "core/lib/cleanup.h"
#include "core/lib/log.h"

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
#define RETRY_MIN_MS 2
#define RETRY_MAX_MS 250
#define WELCOME_MS 2000

enum link_state {
    LINK_CONNECTING, /* no connection; the timer tries again */
    LINK_GREETING,   /* HELLO sent; everything before the WELCOME with our nonce is dropped */
    LINK_UP,
    LINK_DEAD, /* on_lost was called, or the agent was shut down */
};

/* A reliable command that no DONE covers yet; whole packets, so sending again is copying. */
struct queued {
    struct queued *next;
    uint64_t number;
    size_t len;
    uint8_t bytes[];
};

struct tn_agent_link {
    struct event_base *base; /* borrowed */
    char *path;              /* owned or NULL */
    struct tn_agent_callbacks callbacks;
    void *arg;
    int timeout_ms;
    size_t queue_max;

    enum link_state state;
    int fd;              /* owned; -1: none */
    int first_fd;        /* owned; given at creation and not used yet */
    struct event *read;  /* owned; NULL while there is no connection */
    struct event *write; /* owned */
    struct event *timer; /* owned */
    int retry_ms;
    int greetings; /* HELLOs on this connection */
    bool paused;
    bool shutdown;      /* a SHUTDOWN is queued or applied: losing the agent is what we want */
    long long deadline; /* monotonic ms; while not up */

    uint64_t life;
    uint64_t number; /* of the last command queued */
    uint64_t acked;  /* last one that a DONE covered */
    struct queued *first;
    struct queued **last;
    size_t queued_bytes;
    struct queued *unsent; /* in the list: first that is not in `out` yet */

    uint8_t boot[TN_AGENT_BOOT];
    uint8_t nonce[TN_AGENT_NONCE];
    uint64_t handed;   /* stream offset behind the last frame handed out */
    uint64_t received; /* stream offset behind the last byte in `stream` */
    uint64_t durable;  /* acknowledged by the owner */
    uint64_t durable_sent;
    struct tn_buf in;     /* owned: bytes of packets */
    struct tn_buf stream; /* owned: a frame that is not complete */
    struct tn_buf out;    /* owned */
    bool *freed;          /* set while callbacks run: tells that the link is gone */
};

static void lose(struct tn_agent_link *link, enum tn_err_code code, const char *fmt, ...) TN_PRINTF(3, 4);
static void on_readable(evutil_socket_t fd, short what, void *arg);
static void on_writable(evutil_socket_t fd, short what, void *arg);
static void transmit(struct tn_agent_link *link);

static long long now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static bool holds_back(const struct tn_agent_link *link)
{
    return link->paused && link->state == LINK_UP;
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

/* Final. Nothing may be done with the link afterwards: the callback may have freed it. */
static void lose(struct tn_agent_link *link, enum tn_err_code code, const char *fmt, ...)
{
    struct tn_err err = TN_ERR_INIT;
    char text[512];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    tn_err_set(&err, code, "the agent at %s: %s", link->path != NULL ? link->path : "an inherited connection", text);
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
        link->retry_ms = RETRY_MIN_MS;
    }
    link->state = LINK_CONNECTING;
    if (link->path == NULL && link->first_fd < 0) {
        lose(link, TN_ERR_UNAVAILABLE, "the connection has ended (%s) and there is no other way to it", why);
        return;
    }
    if (now_ms() >= link->deadline) {
        lose(link, TN_ERR_UNAVAILABLE, "no answer within %d ms (%s); is the environment still there?", link->timeout_ms,
             why);
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
    link->greetings = 0;
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

static void try_connect(struct tn_agent_link *link)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd;

    if (link->first_fd >= 0) {
        take_connection(link, steal_fd(&link->first_fd));
        return;
    }
    memcpy(address.sun_path, link->path, strlen(link->path));
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0) {
        take_connection(link, fd);
        return;
    }
    if (fd >= 0) {
        int error = errno;

        close(fd);
        errno = error;
    }
    reconnect(link, strerror(errno));
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct tn_agent_link *link = arg;

    if (link->state == LINK_CONNECTING) {
        try_connect(link);
    } else if (link->state == LINK_GREETING && now_ms() >= link->deadline) {
        reconnect(link, "connected, but it does not answer");
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

static void forget_done(struct tn_agent_link *link, uint64_t number)
{
    bool some = false;

    while (link->first != NULL && link->first->number <= number) {
        struct queued *done = link->first;

        if (link->unsent == done)
            link->unsent = done->next;
        link->first = done->next;
        link->queued_bytes -= done->len;
        link->acked = done->number;
        free(done);
        some = true;
    }
    if (link->first == NULL)
        link->last = &link->first;
    if (some && link->callbacks.on_drain != NULL)
        link->callbacks.on_drain(link->arg);
}

/* Calls the owner. -1 if the payload is malformed. */
static int hand_out(struct tn_agent_link *link, const struct tn_agent_frame *frame, const uint8_t *payload)
{
    const struct tn_agent_callbacks *call = &link->callbacks;
    uint64_t offset = link->handed;
    char text[TN_AGENT_TEXT_MAX + 1];
    const char *note;
    uint32_t note_len;
    uint32_t code;
    struct tn_agent_exit end;
    struct tn_agent_window window;

    switch ((enum tn_agent_frame_type)frame->type) {
    case TN_AGENT_FRAME_OUT:
        if (call->on_out != NULL)
            call->on_out(link->arg, frame->channel, payload, frame->length, offset);
        return 0;
    case TN_AGENT_FRAME_EXIT:
        if (tn_agent_exit_get(payload, frame->length, &end) != 0)
            return -1;
        memcpy(text, end.text, end.text_len);
        text[end.text_len] = '\0';
        end.text = text;
        if (call->on_exit != NULL)
            call->on_exit(link->arg, frame->channel, &end, offset);
        return 0;
    case TN_AGENT_FRAME_WINDOW:
        if (tn_agent_window_get(payload, frame->length, &window) != 0)
            return -1;
        if (call->on_window != NULL)
            call->on_window(link->arg, frame->channel, window.applied, window.limit, offset);
        return 0;
    case TN_AGENT_FRAME_SPAWNED:
    case TN_AGENT_FRAME_WARN:
    case TN_AGENT_FRAME_ERROR:
        break;
    }
    if (tn_agent_note_get(payload, frame->length, &code, &note, &note_len) != 0)
        return -1;
    memcpy(text, note, note_len);
    text[note_len] = '\0';
    if (frame->type == TN_AGENT_FRAME_SPAWNED && call->on_spawned != NULL)
        call->on_spawned(link->arg, frame->channel, code, offset);
    if (frame->type == TN_AGENT_FRAME_WARN && call->on_warn != NULL)
        call->on_warn(link->arg, frame->channel,
                      code == TN_AGENT_WARN_MISSING ? TN_AGENT_WARN_MISSING : TN_AGENT_WARN_TEXT, text, offset);
    if (frame->type == TN_AGENT_FRAME_ERROR && call->on_error != NULL)
        call->on_error(link->arg, frame->channel, text, offset);
    return 0;
}

/* Hands out whole frames from `bytes`; returns how many bytes they took, -1 if one is malformed. Stops early when the
 * owner paused, freed or lost the link. */
static long take_frames(struct tn_agent_link *link, const uint8_t *bytes, size_t len, const bool *freed)
{
    size_t at = 0;

    while (len - at >= TN_AGENT_FRAME_HEADER && !link->paused) {
        struct tn_agent_frame frame;

        if (tn_agent_frame_get(bytes + at, &frame) != 0)
            return -1;
        if (len - at - TN_AGENT_FRAME_HEADER < frame.length)
            break;
        at += TN_AGENT_FRAME_HEADER + frame.length;
        link->handed += TN_AGENT_FRAME_HEADER + frame.length;
        if (hand_out(link, &frame, bytes + at - frame.length) != 0)
            return -1;
        if (*freed)
            return (long)at;
    }
    return (long)at;
}

/* Frames that wait in `stream`. Same results as take_packet(). */
static int take_stream(struct tn_agent_link *link, const bool *freed)
{
    long used = take_frames(link, (const uint8_t *)link->stream.data, link->stream.len, freed);

    if (*freed || link->state != LINK_UP)
        return 1;
    if (used < 0) {
        lose(link, TN_ERR_PROTOCOL, "a frame of its stream is malformed, before offset %llu",
             (unsigned long long)link->received);
        return 1;
    }
    tn_buf_consume(&link->stream, (size_t)used);
    return 0;
}

static int take_data(struct tn_agent_link *link, const struct tn_agent_packet *packet, const uint8_t *payload,
                     const bool *freed)
{
    long used;

    if (packet->number != link->received)
        return -1;
    link->received += packet->length;
    if (link->stream.len > 0 || link->paused) {
        tn_buf_add(&link->stream, payload, packet->length);
        return take_stream(link, freed);
    }
    /* Usually nothing is left over: then the frames are handed out where they lie. */
    used = take_frames(link, payload, packet->length, freed);
    if (*freed || link->state != LINK_UP)
        return 1;
    if (used < 0) {
        lose(link, TN_ERR_PROTOCOL, "a frame of its stream is malformed, before offset %llu",
             (unsigned long long)link->received);
        return 1;
    }
    tn_buf_add(&link->stream, payload + used, packet->length - (size_t)used);
    return 0;
}

static int take_welcome(struct tn_agent_link *link, const struct tn_agent_packet *packet, const uint8_t *payload,
                        const bool *freed)
{
    struct tn_agent_welcome welcome;
    auto_free char *facts = NULL;
    uint64_t asked = link->handed;

    if (tn_agent_welcome_get(payload, packet->length, &welcome) != 0)
        return -1;
    if (link->state != LINK_GREETING || memcmp(welcome.nonce, link->nonce, sizeof(link->nonce)) != 0)
        return 0; /* the answer to an earlier HELLO: the right one follows */
    if (welcome.result == TN_AGENT_VERSIONS) {
        lose(link, TN_ERR_PROTOCOL, "it speaks version %u of the protocol, this executor version %u",
             (unsigned)welcome.version, TN_AGENT_VERSION);
        return 1;
    }
    if (welcome.result == TN_AGENT_OTHER) {
        lose(link, TN_ERR_CONFLICT, "it is another environment than the one that was known: its boot id differs");
        return 1;
    }
    facts = strndup(welcome.facts, welcome.facts_len);
    memcpy(link->boot, welcome.boot, sizeof(link->boot));
    link->handed = link->received = welcome.start;
    link->durable_sent = 0;
    if (link->durable > welcome.start) /* what the agent never had cannot be acknowledged */
        link->durable = welcome.start;
    link->state = LINK_UP;
    if (link->paused)
        event_del(link->read);
    link->retry_ms = RETRY_MIN_MS;
    event_del(link->timer);
    link->unsent = link->first;
    if (welcome.start != asked && link->callbacks.on_gap != NULL)
        link->callbacks.on_gap(link->arg, asked, welcome.start, (enum tn_agent_result)welcome.result);
    if (!*freed && welcome.applied > link->acked)
        forget_done(link, welcome.applied);
    if (!*freed && link->callbacks.on_hello != NULL)
        link->callbacks.on_hello(link->arg, facts != NULL ? facts : "", link->boot, welcome.head);
    return *freed || link->state != LINK_UP;
}

/* 0: go on; 1: the link was freed or lost; -1: the bytes are not what they should be. */
static int take_packet(struct tn_agent_link *link, const struct tn_agent_packet *packet, const uint8_t *payload,
                       const bool *freed)
{
    if (packet->type == TN_AGENT_WELCOME)
        return take_welcome(link, packet, payload, freed);
    if (link->state != LINK_UP)
        return 0; /* stale bytes of a port: before the matching nonce all is dropped */
    switch (packet->type) {
    case TN_AGENT_DATA:
        return take_data(link, packet, payload, freed);
    case TN_AGENT_DONE:
        forget_done(link, packet->number);
        return *freed || link->state != LINK_UP;
    case TN_AGENT_REPLACED:
        lose(link, TN_ERR_CONFLICT, "another executor has taken it over");
        return 1;
    default:
        return -1;
    }
}

/* Takes whole packets out of `in`. 1: the link was freed or lost. -1: reconnect. */
static int take_packets(struct tn_agent_link *link, const bool *freed)
{
    size_t at = 0;
    int result = 0;

    while (result == 0 && !holds_back(link) && link->in.len - at >= TN_AGENT_PACKET_HEADER) {
        const uint8_t *bytes = (const uint8_t *)link->in.data + at;
        struct tn_agent_packet packet;

        if (tn_agent_packet_get(bytes, &packet) != 0) {
            if (link->state == LINK_UP)
                return -1;
            at++; /* looking for the WELCOME behind what a port still held */
            continue;
        }
        if (link->in.len - at - TN_AGENT_PACKET_HEADER < packet.length)
            break;
        if (tn_agent_packet_verify(&packet, bytes + TN_AGENT_PACKET_HEADER) != 0) {
            if (link->state == LINK_UP)
                return -1;
            at++;
            continue;
        }
        at += TN_AGENT_PACKET_HEADER + packet.length;
        result = take_packet(link, &packet, bytes + TN_AGENT_PACKET_HEADER, freed);
        if (*freed || link->state == LINK_DEAD)
            return 1;
    }
    if (result == 0)
        tn_buf_consume(&link->in, at);
    return result;
}

static void pump(struct tn_agent_link *link, bool read_more)
{
    bool freed = false;
    int result = 0;

    link->freed = &freed;
    if (link->stream.len > 0 && link->state == LINK_UP && !link->paused)
        result = take_stream(link, &freed);
    if (result == 0)
        result = take_packets(link, &freed);
    for (int turn = 0; result == 0 && read_more && turn < READS_A_TURN && !holds_back(link); turn++) {
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
        result = take_packets(link, &freed);
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

    if (config->path == NULL && config->fd < 0) {
        tn_err_set(err, TN_ERR_USAGE, "an agent's link needs a path or a descriptor");
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
    link->fd = -1;
    link->first_fd = config->fd;
    link->callbacks = config->callbacks;
    link->arg = config->arg;
    link->timeout_ms = config->connect_timeout_ms > 0 ? config->connect_timeout_ms : TIMEOUT_DEFAULT_MS;
    link->queue_max = config->queue_max > 0 ? config->queue_max : QUEUE_DEFAULT;
    link->last = &link->first;
    link->retry_ms = RETRY_MIN_MS;
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
        struct queued *gone = link->first;

        link->first = gone->next;
        free(gone);
    }
    tn_buf_free(&link->in);
    tn_buf_free(&link->out);
    tn_buf_free(&link->stream);
    free(link->path);
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

void tn_agent_link_position(const struct tn_agent_link *link, struct tn_agent_position *position)
{
    memcpy(position->boot, link->boot, sizeof(position->boot));
    position->offset = link->handed;
}

bool tn_agent_link_up(const struct tn_agent_link *link)
{
    return link->state == LINK_UP;
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

static int queue_command(struct tn_agent_link *link, enum tn_agent_packet_type type, uint32_t channel,
                         const uint8_t *payload, size_t len, struct tn_err *err)
{
    struct tn_agent_packet packet = {.type = (uint16_t)type, .channel = channel, .length = (uint32_t)len};
    struct queued *queued;

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
    *queued = (struct queued){NULL, packet.number, TN_AGENT_PACKET_HEADER + len};
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

int tn_agent_link_spawn(struct tn_agent_link *link, uint32_t channel, const struct tn_agent_spawn *spawn,
                        struct tn_err *err)
{
    size_t len = tn_agent_spawn_put(NULL, 0, spawn);
    auto_free uint8_t *payload = malloc(len);

    if (payload == NULL)
        return tn_err_sys(err, ENOMEM, "a command for the agent");
    tn_agent_spawn_put(payload, len, spawn);
    return queue_command(link, TN_AGENT_SPAWN, channel, payload, len, err);
}

int tn_agent_link_stdin(struct tn_agent_link *link, uint32_t channel, uint64_t offset, const void *bytes, size_t len,
                        struct tn_err *err)
{
    auto_free uint8_t *payload = malloc(8 + len);

    if (len > TN_AGENT_STDIN_MAX)
        return tn_err_set(err, TN_ERR_LIMIT, "%zu bytes of stdin in one command: at most %u", len, TN_AGENT_STDIN_MAX);
    if (payload == NULL)
        return tn_err_sys(err, ENOMEM, "a command for the agent");
    tn_agent_u64_put(payload, 8, offset);
    if (len > 0)
        memcpy(payload + 8, bytes, len);
    return queue_command(link, TN_AGENT_STDIN, channel, payload, 8 + len, err);
}

int tn_agent_link_stdin_eof(struct tn_agent_link *link, uint32_t channel, uint64_t total, struct tn_err *err)
{
    uint8_t payload[8];

    tn_agent_u64_put(payload, sizeof(payload), total);
    return queue_command(link, TN_AGENT_STDIN_EOF, channel, payload, sizeof(payload), err);
}

int tn_agent_link_signal(struct tn_agent_link *link, uint32_t channel, int sig, enum tn_agent_scope scope,
                         struct tn_err *err)
{
    uint8_t payload[8];

    tn_agent_pair_put(payload, sizeof(payload), (uint32_t)sig, (uint32_t)scope);
    return queue_command(link, TN_AGENT_SIGNAL, channel, payload, sizeof(payload), err);
}

static int queue_tree(struct tn_agent_link *link, enum tn_agent_packet_type type, uint32_t channel,
                      const struct tn_agent_tree *tree, struct tn_err *err)
{
    size_t len = tn_agent_tree_put(NULL, 0, tree);
    auto_free uint8_t *payload = malloc(len);

    if (tree->path[0] == '\0')
        return tn_err_set(err, TN_ERR_USAGE, "%s without a path", tn_agent_packet_name(type));
    if (payload == NULL)
        return tn_err_sys(err, ENOMEM, "a command for the agent");
    tn_agent_tree_put(payload, len, tree);
    return queue_command(link, type, channel, payload, len, err);
}

int tn_agent_link_tree_put(struct tn_agent_link *link, uint32_t channel, const char *path, struct tn_err *err)
{
    return queue_tree(link, TN_AGENT_TREE_PUT, channel, &(struct tn_agent_tree){.path = path}, err);
}

int tn_agent_link_tree_get(struct tn_agent_link *link, uint32_t channel, const char *base, const char *const *paths,
                           uint32_t flags, struct tn_err *err)
{
    struct tn_agent_tree tree = {.flags = flags, .path = base, .paths = (const char **)paths};

    while (paths[tree.count] != NULL)
        tree.count++;
    return queue_tree(link, TN_AGENT_TREE_GET, channel, &tree, err);
}

int tn_agent_link_file_get(struct tn_agent_link *link, uint32_t channel, const char *path, uint64_t max,
                           struct tn_err *err)
{
    return queue_tree(link, TN_AGENT_FILE_GET, channel, &(struct tn_agent_tree){.path = path, .max = max}, err);
}

int tn_agent_link_shutdown(struct tn_agent_link *link, struct tn_err *err)
{
    link->shutdown = true;
    return queue_command(link, TN_AGENT_SHUTDOWN, 0, NULL, 0, err);
}
