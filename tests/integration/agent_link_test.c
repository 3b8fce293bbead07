/* Drives the real tenon-agent through executors/sdk/agent_link: 200 connections cut at random moments, 40 executors
 * that die and are followed by an adopting one, stdin in the window, pause and resume, shutdown. Not a byte may be lost
 * or doubled.
 *
 * usage: agent_link_test [AGENT], else TENON_AGENT. Exit status 0, 1, or 77 if there is no agent. */
#include "core/lib/buf.h"
#include "core/lib/cleanup.h"
#include "core/lib/log.h"
#include "executors/sdk/agent_link.h"
#include "tests/unit/check.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>

#define CUTS 200
#define ADOPTIONS 40
#define CHUNKS 900
#define LINES_A_CHUNK 700
#define STDIN_BYTES (3u * 1024u * 1024u)

/* Between the link and the agent: passes bytes on and cuts both ends after a random number of them. */
struct proxy {
    struct event *accept;
    struct event *up;
    struct event *down;
    int listener;
    int client;
    int agent;
    long budget;
    int cuts;
    const char *agent_path;
};

struct test {
    struct event_base *base;
    struct tn_agent_link *link;
    struct proxy proxy;
    char agent_path[108];
    char proxy_path[108];
    struct tn_buf out; /* output of channel 1 that is safe */
    struct tn_agent_position safe;
    struct tn_agent_exit end;
    bool ended;
    int hellos;
    int adoptions;
    int lost;
    int gaps;
    int drains;
    uint64_t limit;
    uint64_t sent;
    struct event *adopt;
    char text[1100];
};

static struct test test;

static void proxy_cut(struct proxy *proxy)
{
    event_free(proxy->up);
    event_free(proxy->down);
    close(proxy->client);
    close(proxy->agent);
    proxy->client = proxy->agent = -1;
    proxy->cuts++;
}

static void proxy_pass(evutil_socket_t fd, short what, void *arg)
{
    struct proxy *proxy = arg;
    char bytes[7000];
    size_t want = proxy->budget < (long)sizeof(bytes) ? (size_t)proxy->budget : sizeof(bytes);
    ssize_t got = recv(fd, bytes, want, 0);
    int to = fd == proxy->client ? proxy->agent : proxy->client;

    if (got <= 0 || send(to, bytes, (size_t)got, MSG_NOSIGNAL) != got || (proxy->budget -= got) <= 0)
        proxy_cut(proxy);
}

static void proxy_accept(evutil_socket_t fd, short what, void *arg)
{
    struct proxy *proxy = arg;
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    if (proxy->client >= 0)
        proxy_cut(proxy);
    proxy->client = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
    proxy->agent = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    memcpy(address.sun_path, proxy->agent_path, strlen(proxy->agent_path));
    /* While the agent starts this fails; then the first read cuts the connection, and the link tries again. */
    if (connect(proxy->agent, (struct sockaddr *)&address, sizeof(address)) != 0)
        tn_debug("no agent yet: %s", strerror(errno));
    proxy->budget = proxy->cuts < CUTS ? 200 + rand() % 24000 : 1l << 60;
    proxy->up = event_new(test.base, proxy->client, EV_READ | EV_PERSIST, proxy_pass, proxy);
    proxy->down = event_new(test.base, proxy->agent, EV_READ | EV_PERSIST, proxy_pass, proxy);
    event_add(proxy->up, NULL);
    event_add(proxy->down, NULL);
}

static void proxy_open(struct proxy *proxy, const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    proxy->client = proxy->agent = -1;
    memcpy(address.sun_path, path, strlen(path));
    proxy->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    CHECK_INT(bind(proxy->listener, (struct sockaddr *)&address, sizeof(address)), 0);
    CHECK_INT(listen(proxy->listener, 8), 0);
    proxy->accept = event_new(test.base, proxy->listener, EV_READ | EV_PERSIST, proxy_accept, proxy);
    event_add(proxy->accept, NULL);
}

static void start_link(const char *path);

static void adopt_now(evutil_socket_t fd, short what, void *arg)
{
    start_link(test.adoptions < ADOPTIONS ? test.proxy_path : test.agent_path);
}

static void on_hello(void *arg, const char *facts, const uint8_t *boot, uint64_t head)
{
    test.hellos++;
    memcpy(test.safe.boot, boot, sizeof(test.safe.boot));
    CHECK(strstr(facts, "os=linux\n") != NULL);
}

static void on_out(void *arg, uint32_t channel, const uint8_t *bytes, size_t len, uint64_t offset)
{
    if (channel != 1) {
        snprintf(test.text, sizeof(test.text), "%.*s", (int)len, (const char *)bytes);
        test.safe.offset = offset;
        return;
    }
    /* An executor that dies here has not made these bytes safe: its successor gets them again. */
    if (test.adoptions < ADOPTIONS && rand() % 20 == 0) {
        struct timeval soon = {0, 500};

        test.adoptions++;
        tn_agent_link_free(test.link);
        test.link = NULL;
        event_add(test.adopt, &soon);
        return;
    }
    tn_buf_add(&test.out, bytes, len);
    test.safe.offset = offset;
    if (rand() % 3 == 0)
        tn_agent_link_ack(test.link, offset);
    if (rand() % 30 == 0) {
        tn_agent_link_pause(test.link);
        tn_agent_link_resume(test.link);
    }
}

static void on_exit_frame(void *arg, uint32_t channel, const struct tn_agent_exit *end, uint64_t offset)
{
    test.end = *end;
    test.end.text = NULL;
    test.ended = true;
    test.safe.offset = offset;
    event_base_loopbreak(test.base);
}

static void feed(void)
{
    static uint8_t bytes[TN_AGENT_STDIN_MAX];

    while (test.sent < STDIN_BYTES && test.sent < test.limit) {
        uint64_t len = test.limit - test.sent < sizeof(bytes) ? test.limit - test.sent : sizeof(bytes);

        len = len < STDIN_BYTES - test.sent ? len : STDIN_BYTES - test.sent;
        for (uint64_t i = 0; i < len; i++)
            bytes[i] = (uint8_t)((test.sent + i) % 251);
        CHECK_INT(tn_agent_link_stdin(test.link, 2, test.sent, bytes, len, NULL), 0);
        test.sent += len;
        if (test.sent == STDIN_BYTES)
            CHECK_INT(tn_agent_link_stdin_eof(test.link, 2, test.sent, NULL), 0);
    }
}

static void on_window(void *arg, uint32_t channel, uint64_t applied, uint64_t limit, uint64_t offset)
{
    test.limit = limit;
    test.safe.offset = offset;
    tn_agent_link_ack(test.link, offset);
    feed();
}

static void on_other(void *arg, uint32_t channel, uint32_t pid, uint64_t offset)
{
    test.safe.offset = offset;
}

static void on_gap(void *arg, uint64_t asked, uint64_t start, enum tn_agent_result why)
{
    test.gaps++;
}

static void on_drain(void *arg)
{
    test.drains++;
}

static void on_lost(void *arg, const struct tn_err *err)
{
    snprintf(test.text, sizeof(test.text), "%s", err->text);
    test.lost++;
    event_base_loopbreak(test.base);
}

static void start_link(const char *path)
{
    struct tn_agent_link_config config = {
        .path = path,
        .fd = -1,
        .start = test.safe,
        .connect_timeout_ms = 5000,
        .callbacks = {on_hello, on_out, on_other, on_exit_frame, on_window, NULL, NULL, on_gap, on_drain, on_lost},
    };
    const char *argv[] = {"/bin/sh", "-c", NULL, NULL};
    const char *envp[] = {"PATH=/usr/bin:/bin", NULL};
    char script[256];
    struct tn_agent_spawn spawn = {0, "", "", 3, 1, argv, envp};
    struct tn_err err = TN_ERR_INIT;

    snprintf(script, sizeof(script),
             "i=0; while [ $i -lt %d ]; do seq $((i * %d + 1)) $((i * %d + %d)); i=$((i + 1)); done; exit 9", CHUNKS,
             LINES_A_CHUNK, LINES_A_CHUNK, LINES_A_CHUNK);
    argv[2] = script;
    test.link = tn_agent_link_new(test.base, &config, &err);
    CHECK(test.link != NULL);
    /* Each successor repeats the command; it must not run twice. */
    CHECK_INT(tn_agent_link_spawn(test.link, 1, &spawn, &err), 0);
}

static void check_lines(void)
{
    const char *at = test.out.data;
    long line = 0;

    tn_buf_add(&test.out, "", 0);
    for (char *end; at != NULL && *at != '\0'; at = end + 1) {
        if (strtol(at, &end, 10) != ++line || *end != '\n')
            break;
    }
    CHECK_INT(line, (long)CHUNKS * LINES_A_CHUNK);
    CHECK(at != NULL && *at == '\0');
}

static void run_until_end(void)
{
    test.ended = false;
    event_base_dispatch(test.base);
    CHECK(test.ended);
}

static void test_cuts_and_adoptions(void)
{
    start_link(test.proxy_path);
    run_until_end();
    check_lines();
    CHECK_INT(test.end.kind, TN_AGENT_EXITED);
    CHECK_INT(test.end.code, 9);
    CHECK(test.adoptions >= ADOPTIONS / 2); /* how many fit before the output ends depends on the machine */
    CHECK(test.proxy.cuts >= CUTS);
    CHECK_INT(test.gaps, 0);
    CHECK_INT(test.lost, 0);
    fprintf(stderr, "%d cuts, %d adoptions, %d handshakes, %zu bytes\n", test.proxy.cuts, test.adoptions, test.hellos,
            test.out.len);
}

static void test_stdin(void)
{
    const char *argv[] = {"/bin/sh", "-c", "cksum", NULL};
    const char *envp[] = {"PATH=/usr/bin:/bin", NULL};
    struct tn_agent_spawn spawn = {TN_AGENT_STDIN_OPEN, "", "", 3, 1, argv, envp};
    char expected[64] = "";

    test.limit = TN_AGENT_WINDOW;
    CHECK_INT(tn_agent_link_spawn(test.link, 2, &spawn, NULL), 0);
    feed();
    run_until_end();
    snprintf(expected, sizeof(expected), " %u\n", STDIN_BYTES);
    CHECK(strstr(test.text, expected) != NULL);
    CHECK(test.drains > 0);
}

/* The socket of an agent whose owner is replaced: the older link is told, and does not come back. */
static void test_takeover(void)
{
    struct tn_agent_link *older = test.link;

    start_link(test.agent_path);
    event_base_dispatch(test.base);
    CHECK_INT(test.lost, 1);
    CHECK(strstr(test.text, "another executor") != NULL);
    tn_agent_link_free(older);
}

static void test_shutdown(pid_t agent)
{
    int status = 0;

    CHECK_INT(tn_agent_link_shutdown(test.link, NULL), 0);
    while (waitpid(agent, &status, WNOHANG) == 0)
        event_base_loop(test.base, EVLOOP_ONCE);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK_INT(test.lost, 1);
    tn_agent_link_free(test.link);
}

static void test_unreachable(void)
{
    struct tn_agent_link_config config = {
        .path = "/nonexistent/socket", .fd = -1, .connect_timeout_ms = 50, .callbacks = {.on_lost = on_lost}};
    struct tn_agent_link *link = tn_agent_link_new(test.base, &config, NULL);

    CHECK(link != NULL);
    event_base_dispatch(test.base);
    CHECK_INT(test.lost, 2);
    CHECK_STR(test.text, "the agent at /nonexistent/socket: no answer within 50 ms (No such file or directory); is the "
                         "environment still there?");
    tn_agent_link_free(link);
}

int main(int argc, char **argv)
{
    const char *agent = argc > 1 ? argv[1] : getenv("TENON_AGENT");
    char dir[] = "/tmp/tenon-link-XXXXXX";
    pid_t pid;

    if (agent == NULL || access(agent, X_OK) != 0) {
        fprintf(stderr, "skipped: no agent to test (argument or TENON_AGENT)\n");
        return 77;
    }
    alarm(120);
    signal(SIGPIPE, SIG_IGN);
    srand(11);
    tn_log_open("test");
    if (mkdtemp(dir) == NULL)
        return 1;
    snprintf(test.agent_path, sizeof(test.agent_path), "%s/a", dir);
    snprintf(test.proxy_path, sizeof(test.proxy_path), "%s/p", dir);
    pid = fork();
    if (pid == 0) {
        execl(agent, agent, "serve", "--listen", test.agent_path, (char *)NULL);
        _exit(127);
    }
    test.base = event_base_new();
    test.adopt = event_new(test.base, -1, 0, adopt_now, NULL);
    test.proxy.agent_path = test.agent_path;
    proxy_open(&test.proxy, test.proxy_path);
    test_cuts_and_adoptions();
    test_stdin();
    test_takeover();
    test_shutdown(pid);
    event_free(test.proxy.accept);
    close(test.proxy.listener);
    if (test.proxy.client >= 0)
        proxy_cut(&test.proxy);
    test_unreachable();
    event_free(test.adopt);
    event_base_free(test.base);
    tn_buf_free(&test.out);
    unlink(test.proxy_path);
    rmdir(dir);
    return tn_check_result();
}
