/* The Docker Engine client against a socket that answers as no engine should: what it asks for, what it refuses, and
 * that every request ends exactly once. */
#include "core/lib/buf.h"
#include "core/lib/cleanup.h"
#include "executors/docker/engine.h"
#include "executors/docker/registry_auth.h"
#include "tests/unit/check.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/listener.h>
#include <sys/socket.h>
#include <sys/un.h>

#define OK_HEAD "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
#define VERSION(api, oldest) "{\"ApiVersion\":\"" api "\",\"MinAPIVersion\":\"" oldest "\"}"

struct outcome {
    int times;
    int status;
    struct tn_err err;
    struct event_base *base;
    struct tn_engine *engine;
    struct tn_engine_call *call;
};

/* The other end: one version text, one answer for everything else. */
struct server {
    const char *version;
    const char *answer;
    size_t fill;        /* bytes of "x" after the answer */
    struct tn_buf seen; /* first lines of requests */
    struct tn_buf auth; /* X-Registry-Auth headers */
};

static char folder[] = "/tmp/tenon-docker-client-test-XXXXXX";
static char path[80];
static char address[96];

static void on_written(struct bufferevent *bev, void *arg)
{
    (void)arg;
    bufferevent_free(bev);
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
    (void)what;
    (void)arg;
    bufferevent_free(bev);
}

/* Answers one request and closes. */
static void on_request(struct bufferevent *bev, void *arg)
{
    struct server *server = arg;
    struct evbuffer *in = bufferevent_get_input(bev);
    struct evbuffer *out = bufferevent_get_output(bev);
    static char text[8192];
    const char *header;
    ev_ssize_t len;

    if (evbuffer_search(in, "\r\n\r\n", 4, NULL).pos < 0)
        return;
    len = evbuffer_copyout(in, text, sizeof(text) - 1);
    text[len > 0 ? len : 0] = '\0';
    tn_buf_add(&server->seen, text, strcspn(text, "\r"));
    tn_buf_adds(&server->seen, "\n");
    header = strstr(text, "X-Registry-Auth: ");
    if (header != NULL)
        tn_buf_add(&server->auth, header + 17, strcspn(header + 17, "\r"));
    if (strncmp(text, "GET /version ", 13) == 0)
        evbuffer_add_printf(out, OK_HEAD "Content-Length: %zu\r\n\r\n%s", strlen(server->version), server->version);
    else
        evbuffer_add(out, server->answer, strlen(server->answer));
    if (strncmp(text, "GET /version ", 13) != 0)
        for (size_t i = 0; i < server->fill; i += 4096) {
            static char block[4096];

            memset(block, 'x', sizeof(block));
            evbuffer_add(out, block, sizeof(block));
        }
    bufferevent_disable(bev, EV_READ);
    bufferevent_setcb(bev, NULL, on_written, on_event, NULL);
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *peer, int len, void *arg)
{
    struct bufferevent *bev = bufferevent_socket_new(evconnlistener_get_base(listener), fd, BEV_OPT_CLOSE_ON_FREE);

    (void)peer;
    (void)len;
    bufferevent_setcb(bev, on_request, NULL, on_event, arg);
    bufferevent_enable(bev, EV_READ | EV_WRITE);
}

static void on_done(int status, const cJSON *json, const struct tn_err *err, void *arg)
{
    struct outcome *outcome = arg;

    (void)json;
    outcome->times++;
    outcome->status = status;
    if (err != NULL)
        outcome->err = *err;
    event_base_loopbreak(outcome->base);
}

static void on_progress(const struct tn_docker_progress *progress, void *arg)
{
    struct outcome *outcome = arg;

    (void)progress;
    outcome->times++;
    tn_engine_cancel(outcome->call);
    event_base_loopbreak(outcome->base);
}

static void ask_info(struct tn_engine *engine, struct outcome *outcome)
{
    outcome->call = tn_engine_info(engine, TN_ENGINE_THEN(5000, on_done, outcome));
}

static void ask_pull(struct tn_engine *engine, struct outcome *outcome)
{
    struct tn_image_ref ref;
    char *auth;

    CHECK(tn_image_ref_parse("r.example:5000/a/b:1", &ref, NULL) == 0);
    auth = tn_registry_auth_new(&ref, "me", "p\xc3\xbf~?>");
    outcome->call = tn_engine_image_pull(engine, &ref, auth, NULL, TN_ENGINE_THEN(5000, on_done, outcome));
    free(auth);
}

static void ask_pull_and_cancel(struct tn_engine *engine, struct outcome *outcome)
{
    struct tn_image_ref ref;

    CHECK(tn_image_ref_parse("a", &ref, NULL) == 0);
    outcome->call = tn_engine_image_pull(engine, &ref, NULL, on_progress, TN_ENGINE_THEN(5000, on_done, outcome));
}

static void ask_list(struct tn_engine *engine, struct outcome *outcome)
{
    static const char *const labels[] = {"a=b c", "d"};

    outcome->call = tn_engine_list(engine, labels, 2, TN_ENGINE_THEN(5000, on_done, outcome));
}

static void ask_odd_name(struct tn_engine *engine, struct outcome *outcome)
{
    outcome->call = tn_engine_remove(engine, "../x?y", TN_ENGINE_THEN(5000, on_done, outcome));
}

/* Runs one request against `server` until its end, and checks the error and the requests that the server saw. */
static void run(struct server *server, void (*ask)(struct tn_engine *, struct outcome *), enum tn_err_code code,
                const char *text, const char *seen)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    struct outcome outcome = {.base = event_base_new()};
    struct evconnlistener *listener;
    struct tn_err err = TN_ERR_INIT;

    memcpy(sun.sun_path, path, sizeof(path));
    listener = evconnlistener_new_bind(outcome.base, on_accept, server, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC,
                                       -1, (struct sockaddr *)&sun, sizeof(sun));
    outcome.engine = tn_engine_new(outcome.base, address, &err);
    CHECK(listener != NULL && outcome.engine != NULL);
    ask(outcome.engine, &outcome);
    event_base_dispatch(outcome.base);
    /* What was cancelled from its own callback stays silent. */
    event_base_loop(outcome.base, EVLOOP_NONBLOCK);
    CHECK_INT(outcome.times, 1);
    CHECK_INT(outcome.err.code, code);
    if (strstr(outcome.err.text, text) == NULL)
        CHECK_STR(outcome.err.text, text);
    CHECK_STR(server->seen.data, seen);
    tn_engine_free(outcome.engine);
    evconnlistener_free(listener);
    unlink(sun.sun_path);
    /* The server's own connections see the end. */
    event_base_loop(outcome.base, EVLOOP_NONBLOCK);
    event_base_free(outcome.base);
    tn_buf_free(&server->seen);
}

static void test_version(void)
{
    struct server server = {.version = VERSION("1.41", "1.12"), .answer = OK_HEAD "Content-Length: 2\r\n\r\n{}"};

    run(&server, ask_info, TN_OK, "", "GET /version HTTP/1.1\nGET /v1.41/info HTTP/1.1\n");
    server.version = VERSION("1.51", "1.24");
    run(&server, ask_info, TN_OK, "", "GET /version HTTP/1.1\nGET /v1.41/info HTTP/1.1\n");
    server.version = VERSION("1.52", "1.44");
    run(&server, ask_info, TN_OK, "", "GET /version HTTP/1.1\nGET /v1.44/info HTTP/1.1\n");
    server.version = VERSION("1.30", "1.12");
    run(&server, ask_info, TN_OK, "", "GET /version HTTP/1.1\nGET /v1.30/info HTTP/1.1\n");
    server.version = VERSION("1.24", "1.12");
    run(&server, ask_info, TN_ERR_UNAVAILABLE, " speaks API 1.24, and 1.25 (Docker 1.13) is needed: upgrade it",
        "GET /version HTTP/1.1\n");
    server.version = "hello";
    run(&server, ask_info, TN_ERR_PROTOCOL,
        "is no Docker Engine: expected JSON with an \"ApiVersion\" such as \"1.41\"", "GET /version HTTP/1.1\n");
}

static void test_bad_answers(void)
{
    struct server server = {.version = VERSION("1.41", "1.12"), .answer = "SSH-2.0-OpenSSH\r\n\r\n"};
    static const char seen[] = "GET /version HTTP/1.1\nGET /v1.41/info HTTP/1.1\n";

    run(&server, ask_info, TN_ERR_UNAVAILABLE, "broke off the answer to GET /info: Received HTTP/0.9", seen);
    server.answer = "";
    server.fill = 4096;
    run(&server, ask_info, TN_ERR_UNAVAILABLE, "broke off the answer to GET /info: ", seen);
    server.fill = 0;
    server.answer = OK_HEAD "Content-Length: 9\r\n\r\n{}";
    run(&server, ask_info, TN_ERR_UNAVAILABLE, "broke off the answer to GET /info: transfer closed with 7 bytes", seen);
    server.answer = OK_HEAD "\r\n";
    server.fill = TN_ENGINE_ANSWER_MAX + 4096;
    run(&server, ask_info, TN_ERR_LIMIT, "GET /info: the answer is larger than 16777216 bytes", seen);
    server.fill = 0;
    server.answer = "HTTP/1.1 500 Oops\r\nContent-Length: 19\r\n\r\n{\"message\":\"a\\nb\"}\n";
    run(&server, ask_info, TN_ERR_UNAVAILABLE, "GET /info: HTTP 500: a b", seen);
}

static void test_pull(void)
{
    struct server server = {.version = VERSION("1.41", "1.12")};
    static const char seen[] = "GET /version HTTP/1.1\nPOST "
                               "/v1.41/images/create?fromImage=r.example%3A5000%2Fa%2Fb&tag=1 HTTP/1.1\n";

    server.answer = OK_HEAD "\r\n{\"status\":\"x\"}\r\n{\"status\":\"y\"}\r\n";
    run(&server, ask_pull, TN_OK, "", seen);
    /* base64url: "-" and "_", where base64 has "+" and "/". */
    CHECK_STR(server.auth.data,
              "eyJ1c2VybmFtZSI6Im1lIiwicGFzc3dvcmQiOiJww79-Pz4iLCJzZXJ2ZXJhZGRyZXNzIjoici5leGFtcGxlOjUw"
              "MDAifQ==");
    tn_buf_free(&server.auth);
    server.answer = OK_HEAD "\r\n{\"status\":\"x\"}\r\n{\"error\":\"no such tag\"}\r\n";
    run(&server, ask_pull, TN_ERR_UNAVAILABLE, "no such tag", seen);
    tn_buf_free(&server.auth);
    server.answer = OK_HEAD "\r\n{\"status\":\"x\"}\r\n<html>\r\n";
    run(&server, ask_pull, TN_ERR_PROTOCOL,
        "the engine's progress has a line of 6 bytes that is no JSON", seen);
    tn_buf_free(&server.auth);
    server.answer = OK_HEAD "\r\n{\"status\":\"x\"}\r\n{\"status\":\"y\"}\r\n";
    run(&server, ask_pull_and_cancel, TN_OK, "",
        "GET /version HTTP/1.1\n"
        "POST /v1.41/images/create?fromImage=docker.io%2Flibrary%2Fa&tag=latest HTTP/1.1\n");
    /* The last line has no end: it is decoded when the answer ends. */
    server.answer = OK_HEAD "\r\n{\"status\":\"x\"}";
    run(&server, ask_pull_and_cancel, TN_OK, "",
        "GET /version HTTP/1.1\n"
        "POST /v1.41/images/create?fromImage=docker.io%2Flibrary%2Fa&tag=latest HTTP/1.1\n");
}

static void test_encoding(void)
{
    struct server server = {.version = VERSION("1.41", "1.12"), .answer = OK_HEAD "Content-Length: 2\r\n\r\n[]"};

    run(&server, ask_list, TN_OK, "",
        "GET /version HTTP/1.1\nGET /v1.41/containers/json?all=1&filters="
        "%7B%22label%22%3A%5B%22a%3Db%20c%22%2C%22d%22%5D%7D HTTP/1.1\n");
    server.answer = "HTTP/1.1 404 No\r\nContent-Length: 2\r\n\r\n{}";
    run(&server, ask_odd_name, TN_OK, "",
        "GET /version HTTP/1.1\nDELETE /v1.41/containers/..%2Fx%3Fy?force=1&v=1 HTTP/1.1\n");
}

int main(void)
{
    if (mkdtemp(folder) == NULL)
        return 1;
    snprintf(path, sizeof(path), "%s/engine.sock", folder);
    snprintf(address, sizeof(address), "unix://%s", path);
    test_version();
    test_bad_answers();
    test_pull();
    test_encoding();
    rmdir(folder);
    CHECK(access(folder, F_OK) != 0);
    return tn_check_result();
}
