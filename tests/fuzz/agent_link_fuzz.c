/* libFuzzer target: an agent that says anything to its executor. The input is a list of what it sends; most of it is
 * packed with the sums and the nonce that a real agent would send, so that the search comes behind them.
 *
 * Each item: a byte that says what it is, a byte of length, that many bytes.
 *
 * decodes: executors/sdk/agent_receive.c executors/sdk/agent_link.c proto/agent_frames.c
 * max_len: 4096 */
#include "core/lib/buf.h"
#include "executors/sdk/agent_link.h"

#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { TURNS = 64, HELLO_BYTES = TN_AGENT_PACKET_HEADER + 60, NONCE_AT = 4 };

struct peer {
    struct tn_agent_link *link;
    uint8_t last; /* of the input: decides what the owner does in its callbacks */
    bool lost;
    uint64_t offset;
    unsigned sum;
};

static void taken(struct peer *peer, const char *text, size_t len, uint64_t offset)
{
    for (size_t i = 0; i < len; i++) /* every byte is really there */
        peer->sum += (uint8_t)text[i];
    peer->offset = offset;
    if (peer->last % 5 == 1)
        tn_agent_link_ack(peer->link, offset);
    if (peer->last % 5 == 2)
        tn_agent_link_pause(peer->link);
    if (peer->last % 5 == 3) {
        tn_agent_link_free(peer->link);
        peer->link = NULL;
        peer->last = 0;
    }
}

static void on_hello(void *arg, const char *facts, const uint8_t boot[TN_AGENT_BOOT], uint64_t head)
{
    struct peer *peer = arg;

    taken(peer, facts, strlen(facts), peer->offset);
}

static void on_out(void *arg, uint32_t channel, const uint8_t *bytes, size_t len, uint64_t offset)
{
    taken(arg, (const char *)bytes, len, offset);
}

static void on_spawned(void *arg, uint32_t channel, uint32_t pid, uint64_t offset)
{
    taken(arg, "", 0, offset);
}

static void on_exit_frame(void *arg, uint32_t channel, const struct tn_agent_exit *end, uint64_t offset)
{
    if (strlen(end->text) > end->text_len)
        abort();
    taken(arg, end->text, end->text_len, offset);
}

static void on_window(void *arg, uint32_t channel, uint64_t applied, uint64_t limit, uint64_t offset)
{
    taken(arg, "", 0, offset);
}

static void on_warn(void *arg, uint32_t channel, enum tn_agent_warning kind, const char *text, uint64_t offset)
{
    taken(arg, text, strlen(text), offset);
}

static void on_error(void *arg, uint32_t channel, const char *text, uint64_t offset)
{
    taken(arg, text, strlen(text), offset);
}

static void on_gap(void *arg, uint64_t asked, uint64_t start, enum tn_agent_result why)
{
    struct peer *peer = arg;

    taken(peer, "", 0, peer->offset);
}

static void on_lost(void *arg, const struct tn_err *err)
{
    struct peer *peer = arg;

    if (err->text[0] == '\0' || peer->lost)
        abort();
    peer->lost = true;
}

static void put_packet(struct tn_buf *out, unsigned type, uint64_t number, const uint8_t *payload, size_t len)
{
    struct tn_agent_packet packet = {.type = (uint16_t)type, .length = (uint32_t)len, .number = number};
    uint8_t head[TN_AGENT_PACKET_HEADER];

    tn_agent_packet_put(head, &packet, payload);
    tn_buf_add(out, head, sizeof(head));
    tn_buf_add(out, payload, len);
}

/* A WELCOME whose numbers and facts are the input's. */
static void put_welcome(struct tn_buf *out, const uint8_t nonce[TN_AGENT_NONCE], const uint8_t *bytes, size_t len)
{
    struct tn_agent_welcome welcome = {.version = TN_AGENT_VERSION};
    uint8_t payload[512];

    if (len < 4)
        return;
    welcome.result = bytes[0];
    welcome.start = bytes[1] % 16;
    welcome.head = bytes[2];
    welcome.applied = bytes[3];
    welcome.facts = (const char *)bytes + 4;
    welcome.facts_len = (uint32_t)len - 4;
    memcpy(welcome.nonce, nonce, TN_AGENT_NONCE);
    put_packet(out, TN_AGENT_WELCOME, 0, payload, tn_agent_welcome_put(payload, sizeof(payload), &welcome));
}

/* One item; returns the bytes that it took. `stream` is where the agent's stream is. */
static size_t put_item(struct tn_buf *out, const uint8_t *data, size_t size, const uint8_t *nonce, uint64_t *stream)
{
    size_t len = data[1] < size - 2 ? data[1] : size - 2;
    const uint8_t *bytes = data + 2;
    uint8_t frame[TN_AGENT_FRAME_HEADER + 255];

    switch (data[0] % 8) {
    case 0:
        tn_buf_add(out, bytes, len); /* as it is */
        break;
    case 1:
        put_welcome(out, nonce, bytes, len);
        if (len > 1)
            *stream = bytes[1] % 16;
        break;
    case 2:
        put_packet(out, TN_AGENT_DATA, *stream, bytes, len);
        *stream += len;
        break;
    case 3: /* a whole frame */
        tn_agent_frame_put(
            frame, &(struct tn_agent_frame){.type = (uint8_t)(data[0] / 8 % 7), .channel = 1, .length = (uint32_t)len});
        memcpy(frame + TN_AGENT_FRAME_HEADER, bytes, len);
        put_packet(out, TN_AGENT_DATA, *stream, frame, TN_AGENT_FRAME_HEADER + len);
        *stream += TN_AGENT_FRAME_HEADER + len;
        break;
    case 4:
        put_packet(out, TN_AGENT_DONE, len > 0 ? bytes[0] : 0, NULL, 0);
        break;
    case 5:
        put_packet(out, TN_AGENT_REPLACED, 0, NULL, 0);
        break;
    default: /* any type, with the right sums */
        put_packet(out, len > 0 ? bytes[0] : 0, *stream, bytes, len);
        break;
    }
    return 2 + len;
}

static void run(struct event_base *base, struct peer *peer, int fd, const uint8_t *data, size_t size)
{
    auto_buf struct tn_buf out = TN_BUF_INIT;
    const char *const paths[] = {"a", NULL};
    uint8_t hello[HELLO_BYTES];
    uint64_t stream = 0;

    if (tn_agent_link_tree_get(peer->link, 1, "/", paths, 0, NULL) != 0 ||
        tn_agent_link_signal(peer->link, 1, 15, TN_AGENT_TREE, NULL) != 0)
        abort();
    event_base_loop(base, EVLOOP_NONBLOCK);
    event_base_loop(base, EVLOOP_NONBLOCK);
    if (recv(fd, hello, sizeof(hello), MSG_DONTWAIT) != HELLO_BYTES)
        abort();
    for (size_t at = 0; size - at >= 2;)
        at += put_item(&out, data + at, size - at, hello + TN_AGENT_PACKET_HEADER + NONCE_AT, &stream);
    /* In pieces, so that headers and frames are torn. */
    for (size_t at = 0; at < out.len && peer->link != NULL && !peer->lost;) {
        size_t piece = size > 0 && peer->last % 2 == 0 ? (size_t)data[at % size] % 61 + 1 : out.len;

        piece = piece < out.len - at ? piece : out.len - at;
        if (send(fd, out.data + at, piece, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)piece)
            break;
        at += piece;
        event_base_loop(base, EVLOOP_NONBLOCK);
        if (peer->link != NULL && !peer->lost && peer->last % 5 == 2)
            tn_agent_link_resume(peer->link);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct event_base *base;
    struct peer peer = {.last = size > 0 ? data[size - 1] : 0};
    struct tn_agent_link_config config = {.arg = &peer,
                                          .callbacks = {on_hello, on_out, on_spawned, on_exit_frame, on_window, on_warn,
                                                        on_error, on_gap, NULL, on_lost}};
    int pair[2];

    if (base == NULL && (base = event_base_new()) == NULL)
        abort();
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
        abort();
    config.fd = pair[0];
    peer.link = tn_agent_link_new(base, &config, NULL);
    if (peer.link == NULL)
        abort();
    run(base, &peer, pair[1], data, size);
    close(pair[1]);
    for (int turn = 0; turn < TURNS && peer.link != NULL && !peer.lost; turn++) {
        tn_agent_link_resume(peer.link);
        event_base_loop(base, EVLOOP_NONBLOCK);
    }
    tn_agent_link_free(peer.link);
    event_base_loop(base, EVLOOP_NONBLOCK);
    return 0;
}
