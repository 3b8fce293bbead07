/* An agent that is none: what it sends costs the executor, which serves other jobs too, no more than reading it. */
#include "core/lib/buf.h"
#include "executors/sdk/agent_link.h"
#include "tests/unit/check.h"

#include <event2/event.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { HEADERS = 8192, SECONDS = 4 };

static char lost[1100];

static void on_lost(void *arg, const struct tn_err *err)
{
    snprintf(lost, sizeof(lost), "%s", err->text);
}

/* Headers with a right sum, one behind the other, each with as long a payload as may be and the wrong sum of it. */
static void put_headers(struct tn_buf *out, unsigned type)
{
    struct tn_agent_packet packet = {.type = (uint16_t)type, .length = TN_AGENT_PACKET_MAX};
    static uint8_t payload[TN_AGENT_PACKET_MAX] = {1};
    uint8_t head[TN_AGENT_PACKET_HEADER];

    tn_agent_packet_put(head, &packet, payload);
    for (int i = 0; i < HEADERS; i++)
        tn_buf_add(out, head, sizeof(head));
    tn_buf_add(out, payload, sizeof(payload));
}

static void send_all(struct event_base *base, int fd, const struct tn_buf *bytes)
{
    size_t at = 0;

    while (at < bytes->len && lost[0] == '\0') {
        ssize_t put = send(fd, bytes->data + at, bytes->len - at, MSG_NOSIGNAL | MSG_DONTWAIT);

        at += put > 0 ? (size_t)put : 0;
        event_base_loop(base, EVLOOP_NONBLOCK);
    }
}

static void check(unsigned type, const char *wanted)
{
    struct event_base *base = event_base_new();
    auto_buf struct tn_buf bytes = TN_BUF_INIT;
    clock_t begun = clock();
    struct tn_agent_link_config config = {.name = "it", .callbacks = {.on_lost = on_lost}};
    struct tn_agent_link *link;
    int pair[2];

    lost[0] = '\0';
    CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    config.fd = pair[0];
    link = tn_agent_link_new(base, &config, NULL);
    event_base_loop(base, EVLOOP_ONCE);
    put_headers(&bytes, type);
    send_all(base, pair[1], &bytes);
    CHECK_STR(lost, wanted);
    CHECK(clock() - begun < SECONDS * CLOCKS_PER_SEC);
    tn_agent_link_free(link);
    close(pair[1]);
    event_base_free(base);
}

int main(void)
{
    /* Half of a welcome may be left in a port; not hundreds. */
    check(TN_AGENT_WELCOME,
          "the agent at it: the connection has ended (it sent bytes that are not the agent's protocol) "
          "and there is no other way to it");
    check(TN_AGENT_SPAWN, "");
    check(TN_AGENT_DATA, "");
    return tn_check_result();
}
