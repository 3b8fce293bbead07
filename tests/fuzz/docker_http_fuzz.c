/* libFuzzer target: a Docker Engine that answers anything. The first byte chooses what it is asked, the second how its
 * answer is torn; the rest is the answer, whose connection is closed behind it. Each request must come to its end.
 *
 * decodes: executors/docker/engine.c executors/docker/engine_error.c executors/docker/http.c
 *          executors/docker/stream.c
 * max_len: 8192 */
#include "core/lib/log.h"
#include "executors/docker/engine.h"
#include "tests/fuzz/folder.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { DEADLINE_MS = 3000, TURNS = 4000, QUESTIONS = 8, VERSION = 2 };

static const char good_version[] = "HTTP/1.1 200 OK\r\nContent-Length: 43\r\n\r\n"
                                   "{\"ApiVersion\":\"1.41\",\"MinAPIVersion\":\"1.12\"}";

struct fake {
    struct event_base *base;
    struct event *listening;
    int listener;
    const uint8_t *answer;
    size_t length;
    size_t piece;
    bool fuzz_version;
};

struct connection {
    struct fake *fake;
    struct event *ready;
    struct event *room;
    size_t sent;
    const uint8_t *answer; /* NULL: not asked yet */
    size_t length;
};

static void close_connection(struct connection *connection)
{
    int fd = event_get_fd(connection->ready);

    event_free(connection->ready);
    event_free(connection->room);
    close(fd);
    free(connection);
}

static void on_ready(evutil_socket_t fd, short what, void *arg)
{
    struct connection *connection = arg;
    struct fake *fake = connection->fake;
    char request[4096];
    ssize_t got;
    size_t left;

    if ((what & EV_READ) != 0) {
        got = recv(fd, request, sizeof(request), MSG_DONTWAIT);
        if (got <= 0 && !(got < 0 && errno == EAGAIN)) {
            close_connection(connection);
            return;
        }
        if (got > 0 && connection->answer == NULL) {
            bool version = strncmp(request, "GET /version", 12) == 0 && !fake->fuzz_version;

            connection->answer = version ? (const uint8_t *)good_version : fake->answer;
            connection->length = version ? sizeof(good_version) - 1 : fake->length;
        }
    }
    if (connection->answer == NULL)
        return;
    left = connection->length - connection->sent;
    left = left < fake->piece ? left : fake->piece;
    got = send(fd, connection->answer + connection->sent, left, MSG_NOSIGNAL | MSG_DONTWAIT);
    connection->sent += got > 0 ? (size_t)got : 0;
    if (connection->sent == connection->length || (got < 0 && errno != EAGAIN))
        close_connection(connection);
    else
        event_add(connection->room, NULL);
}

static void on_connection(evutil_socket_t fd, short what, void *arg)
{
    struct fake *fake = arg;
    struct connection *connection = calloc(1, sizeof(*connection));
    int peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (connection == NULL || peer < 0)
        abort();
    connection->fake = fake;
    connection->ready = event_new(fake->base, peer, EV_READ | EV_PERSIST, on_ready, connection);
    connection->room = event_new(fake->base, peer, EV_WRITE, on_ready, connection);
    if (connection->ready == NULL || connection->room == NULL || event_add(connection->ready, NULL) != 0)
        abort();
}

static void listen_at(struct fake *fake, const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    fake->base = event_base_new();
    fake->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fake->base == NULL || fake->listener < 0 ||
        bind(fake->listener, (struct sockaddr *)&address, sizeof(address)) != 0 || listen(fake->listener, 16) != 0)
        abort();
    fake->listening = event_new(fake->base, fake->listener, EV_READ | EV_PERSIST, on_connection, fake);
    if (fake->listening == NULL || event_add(fake->listening, NULL) != 0)
        abort();
}

static void on_done(int status, const cJSON *json, const struct tn_err *err, void *arg)
{
    bool *done = arg;

    if (*done || (err != NULL && (err->text[0] == '\0' || strpbrk(err->text, "\r\n\33") != NULL)))
        abort();
    if (err == NULL && status == 0)
        abort();
    *done = true;
}

static int on_bytes(enum tn_docker_stream stream, const char *bytes, size_t len, void *arg)
{
    return len > 0 && bytes[len - 1] == 'z' ? -1 : 0; /* enough */
}

static void ask(struct tn_engine *engine, unsigned question, bool *done)
{
    struct tn_engine_then then = TN_ENGINE_THEN(DEADLINE_MS, on_done, done);
    struct tn_engine_logs logs = {.max_bytes = 500, .on_bytes = on_bytes};
    struct tn_image_ref image = {.registry = "r", .repository = "x", .tag = "1"};

    switch (question) {
    case 0:
        tn_engine_ping(engine, then);
        break;
    case 1:
        tn_engine_inspect(engine, "c", then);
        break;
    case VERSION:
        tn_engine_info(engine, then);
        break;
    case 3:
        tn_engine_image_pull(engine, &image, NULL, NULL, then);
        break;
    case 4:
        tn_engine_logs(engine, "c", &logs, then);
        break;
    case 5:
        tn_engine_remove(engine, "c", then);
        break;
    case 6:
        tn_engine_list(engine, NULL, 0, then);
        break;
    default:
        tn_engine_wait(engine, "c", then);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct fake fake;
    static struct tn_engine *engine;
    auto_buf struct tn_buf host = TN_BUF_INIT;
    bool done = false;

    if (size < 2)
        return 0;
    if (engine == NULL) {
        signal(SIGPIPE, SIG_IGN);
        setenv("TENON_LOG", "error", 0);
        tn_log_open("fuzz");
        tn_buf_addf(&host, "unix://%s/e", fuzz_folder());
        listen_at(&fake, host.data + strlen("unix://"));
        engine = tn_engine_new(fake.base, host.data, NULL);
        if (engine == NULL)
            abort();
    }
    fake.answer = data + 2;
    fake.length = size - 2;
    fake.piece = data[1] % 8 == 0 ? (size_t)data[1] / 8 + 1 : size;
    fake.fuzz_version = data[0] % QUESTIONS == VERSION;
    ask(engine, data[0] % QUESTIONS, &done);
    for (int turn = 0; turn < TURNS && !done; turn++)
        event_base_loop(fake.base, EVLOOP_ONCE);
    if (!done)
        abort();
    event_base_loop(fake.base, EVLOOP_NONBLOCK);
    return 0;
}
