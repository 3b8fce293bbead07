/* A stand-in for every process of the bus, for kernel_test.py: it does what a control socket tells it to.
 *
 * Environment as every worker's. Listens at TENON_STATE/ctl/<name>, where name is the role, and for executors the
 * folder's; reads one command a line and writes what it hears, one JSON object a line. Commands:
 *
 *   send KIND DESTINATION TASK ATTEMPT BODY   request or notice; the reply is written like any message
 *   flood COUNT SIZE DESTINATION              so many REFUSED of that size
 *   ping COUNT WINDOW DESTINATION             PIPELINE_GETs with WINDOW of them open; writes {"ping_us": total,
 * "p99_us"} exit STATUS | hang | events               leave; block for ever; listen to published events raw HEX,
 * rawflood COUNT ZEROS HEX         without a peer: the bytes as they are; writes {"flooded": how many left}
 *
 * A file TENON_STATE/behave.<name> holds what to do at start: "exit N", "mute" (no READY) or "raw" (no peer), as
 * KERNEL_WORKER_RAW=1 does. */
#include "core/lib/cleanup.h"
#include "core/lib/confine.h"
#include "core/lib/fs.h"
#include "core/lib/json.h"
#include "core/lib/log.h"
#include "core/peer/service.h"
#include "transports/ipc/ipc.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/listener.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>

enum { PINGS_KEPT = 4096, FLOOD_WAIT_MS = 300 };

struct ping {
    struct worker *worker;
    unsigned left;
    unsigned open;
    uint16_t destination;
    struct timespec begin;
    struct timespec sent; /* the last one */
    unsigned kept;
    double times_us[PINGS_KEPT]; /* of each, if one is open at a time */
};

struct worker {
    struct tn_service service;
    struct tn_peer *events;
    struct tn_endpoint *raw;
    struct event *raw_readable;
    struct bufferevent *control;
    struct evbuffer *unsaid; /* while nobody is at the control socket */
    struct ping ping;
};

static void say(struct worker *worker, const cJSON *line)
{
    auto_free char *text = tn_json_print(line);
    struct evbuffer *out = worker->control != NULL ? bufferevent_get_output(worker->control) : worker->unsaid;

    evbuffer_add_printf(out, "%s\n", text);
}

static void say_message(struct worker *worker, const struct tn_header *header, const uint8_t *body, const char *how)
{
    auto_json cJSON *line = cJSON_CreateObject();
    auto_json cJSON *parsed = header->length > 0 ? cJSON_ParseWithLength((const char *)body, header->length) : NULL;

    cJSON_AddStringToObject(line, "how", how);
    cJSON_AddStringToObject(line, "kind", tn_msg_name(header->kind));
    cJSON_AddNumberToObject(line, "source", header->source);
    cJSON_AddNumberToObject(line, "task", (double)header->task);
    cJSON_AddNumberToObject(line, "attempt", header->attempt);
    cJSON_AddNumberToObject(line, "length", header->length);
    if (parsed != NULL)
        cJSON_AddItemToObject(line, "body", steal_ptr(&parsed));
    say(worker, line);
}

static void on_reply(void *arg, const struct tn_msg *reply)
{
    say_message(arg, &reply->header, reply->body, "reply");
}

/* Requests are answered with their own body, or ACK. PIPELINE_GET is for timing: answered and not told. */
static void on_message(void *arg, struct tn_peer *peer, const struct tn_msg *msg)
{
    struct worker *worker = arg;
    const struct tn_msg_info *info = tn_msg_info(msg->header.kind);
    struct tn_msg_ref ref = tn_msg_ref(msg);

    if (msg->header.kind != TN_MSG_PIPELINE_GET && msg->header.kind != TN_MSG_REFUSED)
        say_message(worker, &msg->header, msg->body, info->reply == TN_MSG_NONE ? "notice" : "request");
    if (info->reply == TN_MSG_ACK)
        tn_peer_reply(peer, &ref, TN_MSG_ACK, NULL, 0);
    else if (info->reply != TN_MSG_NONE)
        tn_peer_reply(peer, &ref, info->reply, msg->body, msg->header.length);
}

static unsigned kind_of(const char *name)
{
    size_t count;
    const struct tn_msg_info *list = tn_msg_list(&count);

    for (size_t i = 0; i < count; i++)
        if (strcmp(list[i].name, name) == 0)
            return list[i].kind;
    tn_fatal(2, "no message is called %s", name);
}

static void send_command(struct worker *worker, const char *line)
{
    char name[64];
    unsigned destination;
    unsigned attempt;
    uint64_t task;
    int used = 0;
    unsigned kind;

    if (sscanf(line, "%63s %u %" SCNu64 " %u %n", name, &destination, &task, &attempt, &used) != 4)
        tn_fatal(2, "bad command: %s", line);
    kind = kind_of(name);
    line += used;
    if (tn_msg_info(kind)->reply != TN_MSG_NONE)
        tn_peer_request(worker->service.bus, (enum tn_msg_kind)kind, (uint16_t)destination, task, attempt, line,
                        strlen(line), 0, on_reply, worker);
    else
        tn_peer_notify(worker->service.bus, (enum tn_msg_kind)kind, (uint16_t)destination, task, attempt, line,
                       strlen(line));
}

static void flood_command(struct worker *worker, const char *line)
{
    unsigned count;
    unsigned size;
    unsigned destination;
    auto_free char *body = NULL;

    if (sscanf(line, "%u %u %u", &count, &size, &destination) != 3 || (body = calloc(1, size)) == NULL)
        tn_fatal(2, "bad command: %s", line);
    while (count-- > 0)
        tn_peer_notify(worker->service.bus, TN_MSG_REFUSED, (uint16_t)destination, 0, 0, body, size);
}

static void ping_next(struct ping *ping);

static double since_us(const struct timespec *begin)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - begin->tv_sec) * 1e6 + (double)(now.tv_nsec - begin->tv_nsec) / 1e3;
}

static int by_time(const void *a, const void *b)
{
    double left = *(const double *)a;
    double right = *(const double *)b;

    return left < right ? -1 : left > right;
}

static void on_pong(void *arg, const struct tn_msg *reply)
{
    struct ping *ping = arg;

    if (ping->kept < PINGS_KEPT)
        ping->times_us[ping->kept++] = since_us(&ping->sent);
    ping->open--;
    ping_next(ping);
}

static void ping_next(struct ping *ping)
{
    if (ping->left > 0) {
        ping->left--;
        ping->open++;
        clock_gettime(CLOCK_MONOTONIC, &ping->sent);
        tn_peer_request(ping->worker->service.bus, TN_MSG_PIPELINE_GET, ping->destination, 0, 0, "{}", 2, 0, on_pong,
                        ping);
    } else if (ping->open == 0) {
        auto_json cJSON *line = cJSON_CreateObject();

        qsort(ping->times_us, ping->kept, sizeof(ping->times_us[0]), by_time);
        cJSON_AddNumberToObject(line, "ping_us", since_us(&ping->begin));
        cJSON_AddNumberToObject(line, "p99_us", ping->kept > 0 ? ping->times_us[(ping->kept - 1) * 99 / 100] : 0);
        say(ping->worker, line);
    }
}

static void ping_command(struct worker *worker, const char *line)
{
    unsigned count;
    unsigned window;
    unsigned destination;

    if (sscanf(line, "%u %u %u", &count, &window, &destination) != 3)
        tn_fatal(2, "bad command: %s", line);
    worker->ping.worker = worker;
    worker->ping.left = count;
    worker->ping.kept = 0;
    worker->ping.destination = (uint16_t)destination;
    clock_gettime(CLOCK_MONOTONIC, &worker->ping.begin);
    for (unsigned i = 0; i < window; i++)
        ping_next(&worker->ping);
}

/* The transport's memory, from hexadecimal digits. */
static uint8_t *from_hex(const char *hex, size_t *size)
{
    uint8_t *message;

    *size = strlen(hex) / 2;
    message = tn_transport_ipc.allocate(*size);
    for (size_t i = 0; i < *size; i++)
        if (sscanf(hex + 2 * i, "%2hhx", &message[i]) != 1)
            tn_fatal(2, "bad command: %.100s", hex);
    return message;
}

static bool raw_send(struct worker *worker, void *message, int wait_ms)
{
    struct pollfd may_send = {.fd = tn_transport_ipc.send_fd(worker->raw), .events = POLLIN};
    struct tn_err err = TN_ERR_INIT;

    return poll(&may_send, 1, wait_ms) == 1 && tn_transport_ipc.send(worker->raw, message, &err) == 1;
}

static void raw_command(struct worker *worker, const char *hex)
{
    size_t size;

    if (!raw_send(worker, from_hex(hex, &size), 10000))
        tn_fatal(3, "raw message not sent");
}

/* "COUNT BYTES HEX": the message so often, with so many zero bytes behind it, until nobody takes it for a while. */
static void rawflood_command(struct worker *worker, const char *text)
{
    auto_json cJSON *line = cJSON_CreateObject();
    unsigned count;
    unsigned zeros;
    unsigned sent = 0;
    int used = 0;
    size_t size;
    uint8_t *message;

    if (sscanf(text, "%u %u %n", &count, &zeros, &used) != 2)
        tn_fatal(2, "bad command: %.100s", text);
    message = from_hex(text + used, &size);
    while (sent < count) {
        uint8_t *copy = tn_transport_ipc.allocate(size + zeros);

        memcpy(copy, message, size);
        memset(copy + size, 0, zeros);
        if (!raw_send(worker, copy, FLOOD_WAIT_MS)) {
            tn_transport_ipc.release(copy);
            break;
        }
        sent++;
    }
    tn_transport_ipc.release(message);
    cJSON_AddNumberToObject(line, "flooded", sent);
    say(worker, line);
}

static void listen_to_events(struct worker *worker)
{
    struct tn_err err = TN_ERR_INIT;
    struct tn_peer_config config = {.base = worker->service.base,
                                    .transport = &tn_transport_ipc,
                                    .url = worker->service.events_url,
                                    .mode = TN_ENDPOINT_SUBSCRIBE,
                                    .channel = TN_CHANNEL_EVENT,
                                    .self = TN_ADDRESS(TN_ROLE_EVENTS, 0),
                                    .on_message = on_message,
                                    .arg = worker};

    worker->events = tn_peer_open(&config, &err);
    if (worker->events == NULL)
        tn_fatal(3, "%s", err.text);
}

static void command(struct worker *worker, const char *line)
{
    if (strncmp(line, "send ", 5) == 0)
        send_command(worker, line + 5);
    else if (strncmp(line, "flood ", 6) == 0)
        flood_command(worker, line + 6);
    else if (strncmp(line, "ping ", 5) == 0)
        ping_command(worker, line + 5);
    else if (strncmp(line, "rawflood ", 9) == 0)
        rawflood_command(worker, line + 9);
    else if (strncmp(line, "raw ", 4) == 0)
        raw_command(worker, line + 4);
    else if (strncmp(line, "exit ", 5) == 0)
        exit(atoi(line + 5));
    else if (strcmp(line, "events") == 0)
        listen_to_events(worker);
    else
        tn_fatal(2, "bad command: %s", line);
}

static void on_control(struct bufferevent *stream, void *arg)
{
    char *line;

    while ((line = evbuffer_readln(bufferevent_get_input(stream), NULL, EVBUFFER_EOL_LF)) != NULL) {
        command(arg, line);
        free(line);
    }
}

static void on_control_event(struct bufferevent *stream, short what, void *arg)
{
    struct worker *worker = arg;

    bufferevent_free(stream);
    worker->control = NULL;
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *from, int size, void *arg)
{
    struct worker *worker = arg;

    if (worker->control != NULL)
        bufferevent_free(worker->control);
    worker->control = bufferevent_socket_new(worker->service.base, fd, BEV_OPT_CLOSE_ON_FREE);
    bufferevent_setcb(worker->control, on_control, NULL, on_control_event, worker);
    bufferevent_enable(worker->control, EV_READ | EV_WRITE);
    evbuffer_add_buffer(bufferevent_get_output(worker->control), worker->unsaid);
}

static void on_raw(evutil_socket_t fd, short what, void *arg)
{
    struct worker *worker = arg;
    struct tn_err err = TN_ERR_INIT;
    struct tn_header header;
    void *message;
    size_t size;

    while (tn_transport_ipc.receive(worker->raw, &message, &size, &err) == 1) {
        if (tn_header_decode(message, size, &header, &err) == 0)
            say_message(worker, &header, (uint8_t *)message + TN_HEADER_SIZE, "raw");
        tn_transport_ipc.release(message);
    }
}

static void listen_to_control(struct worker *worker, const char *name)
{
    auto_free char *folder = tn_fs_path("%s/ctl", worker->service.state_dir);
    struct sockaddr_un where = {.sun_family = AF_UNIX};
    struct tn_err err = TN_ERR_INIT;

    worker->unsaid = evbuffer_new();
    if (worker->service.state_dir[0] == '\0')
        return; /* the compiler has no folder: it is spoken to over the bus only */
    if (tn_fs_make_dirs(folder, 0700, &err) != 0)
        tn_fatal(3, "%s", err.text);
    snprintf(where.sun_path, sizeof(where.sun_path), "%s/%s", folder, name);
    unlink(where.sun_path);
    if (evconnlistener_new_bind(worker->service.base, on_accept, worker, LEV_OPT_CLOSE_ON_EXEC, -1,
                                (struct sockaddr *)&where, sizeof(where)) == NULL)
        tn_fatal(3, "%s: %s", where.sun_path, strerror(errno));
}

static void behave(struct worker *worker, const char *name, bool *mute, bool *raw)
{
    auto_free char *path = tn_fs_path("%s/behave.%s", worker->service.state_dir, name);
    auto_buf struct tn_buf text = TN_BUF_INIT;

    if (tn_fs_read(path, 100, &text, NULL) != 0)
        return;
    if (strncmp(text.data, "exit ", 5) == 0)
        exit(atoi(text.data + 5));
    *mute = strncmp(text.data, "mute", 4) == 0;
    *raw = strncmp(text.data, "raw", 3) == 0;
}

static const struct tn_profile_use groups[] = {
    {TN_PROFILE_FILES, "the test's files"},
    {TN_PROFILE_RECONNECT, "a bus that was started anew"},
    {TN_PROFILE_SERVE, "the test's orders"},
    {0},
};

static const struct tn_profile_place places[] = {
    {"", TN_PROFILE_STATE, true, "the test's files"},
    {"", TN_PROFILE_RUN, true, "the same"},
    {NULL},
};

static const struct tn_profile profile = {
    .role = "worker", .summary = "a worker of a test", .groups = groups, .places = places};

int main(int argc, char **argv)
{
    struct worker worker = {.control = NULL};
    char confinement[TN_CONFINE_TEXT] = "";
    const char *slash = strrchr(argv[0], '/');
    const char *name = slash != NULL ? slash + 1 : argv[0];
    struct tn_err err = TN_ERR_INIT;
    bool mute = false;
    bool raw = getenv("KERNEL_WORKER_RAW") != NULL;

    if (tn_service_init(&worker.service, name, &err) != 0)
        tn_fatal(2, "%s", err.text);
    behave(&worker, name, &mute, &raw);
    const struct tn_confine confine = {
        .profile = &profile,
        .roots = {[TN_PROFILE_RUN] = worker.service.run_dir, [TN_PROFILE_STATE] = worker.service.state_dir}};
    listen_to_control(&worker, name); /* in a folder of the test */
    (void)tn_confine_files(&confine, confinement, sizeof(confinement), NULL);
    if (raw) {
        worker.raw = tn_transport_ipc.open(getenv("TENON_BUS"), TN_ENDPOINT_CONNECT, &err);
        if (worker.raw == NULL)
            tn_fatal(3, "%s", err.text);
        event_add(event_new(worker.service.base, tn_transport_ipc.receive_fd(worker.raw), EV_READ | EV_PERSIST, on_raw,
                            &worker),
                  NULL);
        return tn_service_run(&worker.service);
    }
    if (tn_service_open_bus(&worker.service, on_message, &worker, &err) != 0)
        tn_fatal(3, "%s", err.text);
    if (TN_ADDRESS_ROLE(worker.service.address) != TN_ROLE_CLIENT) {
        (void)tn_confine_syscalls(&confine, confinement, sizeof(confinement), NULL);
        if (!mute)
            tn_service_ready(&worker.service, confinement);
    }
    return tn_service_run(&worker.service);
}
