/* Requests and replies over a transport that the test holds in its hands: what is sent, what arrives, what is lost. */
#include "core/lib/cleanup.h"
#include "core/peer/peer.h"
#include "tests/unit/check.h"

#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ROOM = 64, SELF = TN_ADDRESS(TN_ROLE_EXECUTOR, 0), SCHEDULER = TN_ADDRESS(TN_ROLE_SCHEDULER, 0) };
enum { KERNEL = TN_ADDRESS(TN_ROLE_KERNEL, 0), LIFE = 7, LATE_S = 10 };

/* ---- the transport ---- */

struct message {
    uint8_t *bytes; /* owned */
    size_t size;
};

static struct {
    struct message in[ROOM], out[ROOM];
    size_t in_first, in_count, out_count;
    int receive_fd, send_fd; /* eventfds */
    bool blocked;
    unsigned long losses;
    unsigned opened, closed;
} wire;

struct tn_endpoint {
    unsigned number;
};

static void set_ready(int fd, bool ready)
{
    eventfd_t value;

    if (eventfd_read(fd, &value) == 0 || ready)
        CHECK(!ready || eventfd_write(fd, 1) == 0);
}

static struct tn_endpoint *fake_open(const char *url, enum tn_endpoint_mode mode, struct tn_err *err)
{
    struct tn_endpoint *endpoint = calloc(1, sizeof(*endpoint));

    endpoint->number = ++wire.opened;
    wire.losses = 0;
    return endpoint;
}

static void fake_close(struct tn_endpoint *endpoint)
{
    wire.closed++;
    free(endpoint);
}

static int fake_receive_fd(struct tn_endpoint *endpoint)
{
    return wire.receive_fd;
}

static int fake_send_fd(struct tn_endpoint *endpoint)
{
    return wire.send_fd;
}

static unsigned long fake_losses(struct tn_endpoint *endpoint)
{
    return wire.losses;
}

static int fake_send(struct tn_endpoint *endpoint, void *message, struct tn_err *err)
{
    if (wire.blocked)
        return 0;
    if (wire.out_count == ROOM)
        abort();
    wire.out[wire.out_count++].bytes = message;
    return 1;
}

static int fake_receive(struct tn_endpoint *endpoint, void **message, size_t *size, struct tn_err *err)
{
    if (wire.in_first == wire.in_count) {
        wire.in_first = wire.in_count = 0;
        set_ready(wire.receive_fd, false);
        return 0;
    }
    *message = wire.in[wire.in_first].bytes;
    *size = wire.in[wire.in_first++].size;
    return 1;
}

static const struct tn_transport transport = {.name = "fake",
                                              .open = fake_open,
                                              .close = fake_close,
                                              .receive_fd = fake_receive_fd,
                                              .send_fd = fake_send_fd,
                                              .losses = fake_losses,
                                              .allocate = malloc,
                                              .release = free,
                                              .send = fake_send,
                                              .receive = fake_receive};

/* ---- the two ends ---- */

static struct event_base *base;
static struct tn_peer *peer;
static bool late;
static unsigned handled; /* requests and notices that the owner was given */
static struct tn_msg_ref last;
static unsigned replies, silences; /* answers to requests, and deadlines */
static enum tn_msg_kind reply_kind;

static void on_message(void *arg, struct tn_peer *from, const struct tn_msg *msg)
{
    handled++;
    last = tn_msg_ref(msg);
}

static void on_reply(void *arg, const struct tn_msg *reply)
{
    if (reply == NULL) {
        silences++;
        return;
    }
    replies++;
    reply_kind = (enum tn_msg_kind)reply->header.kind;
}

static void on_late(evutil_socket_t fd, short what, void *arg)
{
    late = true;
    event_base_loopbreak(base);
}

/* Turns the loop until `*count` has reached `wanted`; false when that takes too long. */
static bool await_unsigned(const unsigned *count, unsigned wanted)
{
    while (*count < wanted && !late)
        event_base_loop(base, EVLOOP_ONCE);
    return *count >= wanted;
}

static bool await_sent(size_t wanted)
{
    while (wire.out_count < wanted && !late)
        event_base_loop(base, EVLOOP_ONCE);
    return wire.out_count >= wanted;
}

/* Turns the loop for what is ready now. */
static void settle(void)
{
    event_base_loop(base, EVLOOP_NONBLOCK);
    event_base_loop(base, EVLOOP_NONBLOCK);
}

static struct tn_header sent(size_t index)
{
    struct tn_header header = {0};
    struct tn_err err = TN_ERR_INIT;
    uint32_t length = 0;

    if (index >= wire.out_count)
        return header;
    memcpy(&length, wire.out[index].bytes + 44, 4);
    CHECK(tn_header_decode(wire.out[index].bytes, TN_HEADER_SIZE + length, &header, &err) == 0);
    return header;
}

static void deliver_bytes(const void *bytes, size_t size)
{
    struct message *message = &wire.in[wire.in_count++];

    message->bytes = malloc(size + 1);
    memcpy(message->bytes, bytes, size);
    message->size = size;
    set_ready(wire.receive_fd, true);
    settle();
}

static void deliver(struct tn_header header, const char *body)
{
    uint8_t bytes[TN_HEADER_SIZE + 256];

    header.length = (uint32_t)strlen(body);
    tn_header_encode(&header, bytes);
    memcpy(bytes + TN_HEADER_SIZE, body, header.length);
    deliver_bytes(bytes, TN_HEADER_SIZE + header.length);
}

static void answer(uint64_t sequence, uint16_t source, enum tn_msg_kind kind)
{
    static uint64_t counter = (uint64_t)99 << 32;

    deliver((struct tn_header){.kind = (uint16_t)kind,
                               .source = source,
                               .destination = SELF,
                               .sequence = ++counter,
                               .in_reply_to = sequence},
            "{}");
}

static uint64_t request(const char *body, unsigned deadline_ms, void *arg)
{
    return tn_peer_request(peer, TN_MSG_TASK_STATE, SCHEDULER, 3, 1, body, strlen(body), deadline_ms, on_reply, arg);
}

static void begin(void)
{
    struct tn_peer_config config = {.base = base,
                                    .transport = &transport,
                                    .url = "fake:",
                                    .mode = TN_ENDPOINT_CONNECT,
                                    .channel = TN_CHANNEL_BUS,
                                    .self = SELF,
                                    .life = LIFE,
                                    .on_message = on_message};
    struct tn_err err = TN_ERR_INIT;

    memset(&wire, 0, sizeof(wire));
    wire.receive_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    wire.send_fd = eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC);
    handled = replies = silences = 0;
    peer = tn_peer_open(&config, &err);
    CHECK(peer != NULL);
}

static void end(void)
{
    tn_peer_close(peer);
    CHECK_INT(wire.opened, wire.closed);
    for (size_t i = 0; i < wire.out_count; i++)
        free(wire.out[i].bytes);
    close(wire.receive_fd);
    close(wire.send_fd);
}

/* ---- what is asked ---- */

static void test_answer(void)
{
    uint64_t sequence;
    struct tn_header header;

    begin();
    sequence = request("{\"a\":1}", 0, NULL);
    CHECK_INT(wire.out_count, 1);
    header = sent(0);
    CHECK_INT(header.kind, TN_MSG_TASK_STATE);
    CHECK_INT(header.source, SELF);
    CHECK_INT(header.destination, SCHEDULER);
    CHECK_INT(header.flags, 0);
    CHECK(header.sequence == sequence && TN_SEQUENCE_LIFE(sequence) == LIFE);
    CHECK(header.task == 3 && header.attempt == 1 && header.length == 7);
    CHECK(memcmp(wire.out[0].bytes + TN_HEADER_SIZE, "{\"a\":1}", 7) == 0);

    answer(sequence, KERNEL, TN_MSG_ACK); /* it was not asked */
    answer(sequence, SCHEDULER, TN_MSG_EXECUTOR_REGISTERED);
    answer(sequence + 1, SCHEDULER, TN_MSG_ACK);
    CHECK_INT(replies, 0);
    answer(sequence, SCHEDULER, TN_MSG_ACK);
    CHECK_INT(replies, 1);
    CHECK_INT(reply_kind, TN_MSG_ACK);
    answer(sequence, SCHEDULER, TN_MSG_ACK); /* to a copy */
    CHECK_INT(replies, 1);

    sequence = request("{}", 0, NULL);
    answer(sequence, SCHEDULER, TN_MSG_REFUSED);
    CHECK_INT(replies, 2);
    CHECK_INT(reply_kind, TN_MSG_REFUSED);
    CHECK_INT(handled, 0);
    end();
}

static void test_resend(void)
{
    uint64_t sequence;

    begin();
    sequence = request("{\"b\":2}", 0, NULL);
    CHECK(await_sent(2));
    CHECK(sent(1).sequence == sequence);
    CHECK_INT(sent(1).flags, TN_MSG_FLAG_RESENT);
    CHECK(memcmp(wire.out[1].bytes + TN_HEADER_SIZE, "{\"b\":2}", 7) == 0);
    answer(sequence, SCHEDULER, TN_MSG_ACK);
    CHECK_INT(replies, 1);
    end();
}

static void test_deadline_and_forget(void)
{
    int owner = 0;
    uint64_t forgotten;
    uint64_t kept;

    begin();
    forgotten = request("{}", 0, &owner);
    kept = request("{}", 0, NULL);
    tn_peer_forget(peer, &owner);
    answer(forgotten, SCHEDULER, TN_MSG_ACK);
    CHECK_INT(replies, 0);
    answer(kept, SCHEDULER, TN_MSG_ACK);
    CHECK_INT(replies, 1);

    request("{}", 1, NULL);
    CHECK(await_unsigned(&silences, 1));
    CHECK_INT(replies, 1);
    end();
}

/* What cannot be sent waits, in order, and goes out once. */
static void test_blocked(void)
{
    uint64_t first;

    begin();
    wire.blocked = true;
    set_ready(wire.send_fd, false);
    first = request("{}", 0, NULL);
    request("{}", 0, NULL);
    request("{}", 0, NULL);
    settle();
    CHECK_INT(wire.out_count, 0);
    wire.blocked = false;
    set_ready(wire.send_fd, true);
    CHECK(await_sent(3));
    settle();
    CHECK_INT(wire.out_count, 3);
    for (size_t i = 0; i < 3; i++)
        CHECK(sent(i).sequence == first + i);
    CHECK_INT(wire.opened, 1);
    end();
}

static void test_reconnect(void)
{
    uint64_t first;

    begin();
    wire.blocked = true;
    wire.losses = 1; /* the endpoint will not find back */
    set_ready(wire.send_fd, false);
    first = request("{}", 0, NULL);
    request("{}", 0, NULL);
    wire.blocked = false; /* for the new endpoint */
    CHECK(await_sent(2));
    CHECK_INT(wire.opened, 2);
    CHECK_INT(wire.closed, 1);
    CHECK(sent(0).sequence == first && sent(1).sequence == first + 1);
    answer(first, SCHEDULER, TN_MSG_ACK);
    CHECK_INT(replies, 1);
    end();
}

static void test_peer_up(void)
{
    struct tn_header state = {
        .kind = TN_MSG_PEER_STATE, .source = KERNEL, .destination = SELF, .sequence = (uint64_t)1 << 32 | 1};
    char body[64];
    uint64_t sequence;

    begin();
    sequence = request("{}", 0, NULL);
    tn_peer_request(peer, TN_MSG_HEARTBEAT, KERNEL, 0, 0, NULL, 0, 0, NULL, NULL);
    snprintf(body, sizeof(body), "{\"address\":%d,\"state\":\"down\"}", SCHEDULER);
    deliver(state, body);
    CHECK_INT(wire.out_count, 2);
    snprintf(body, sizeof(body), "{\"address\":%d,\"state\":\"up\"}", SCHEDULER);
    deliver(state, body);
    CHECK_INT(wire.out_count, 3); /* only what waits for that one */
    CHECK(sent(2).sequence == sequence);
    CHECK_INT(handled, 2);
    deliver(state, "not JSON");
    CHECK_INT(wire.out_count, 3);
    end();
}

/* A new life at the other end of a data socket: a new connection. The life that was known: only what waits is sent. */
static void test_life(void)
{
    begin();
    tn_peer_note_life(peer, 5);
    CHECK_INT(wire.opened, 1);
    tn_peer_note_life(peer, 5);
    CHECK_INT(wire.opened, 1);
    request("{}", 0, NULL);
    tn_peer_note_life(peer, 6);
    CHECK_INT(wire.opened, 2);
    CHECK_INT(wire.out_count, 2);
    end();
}

/* A bound socket to which connections come that are not heard is bound anew; not because of one, and not when heard. */
static void test_deaf(void)
{
    begin();
    wire.losses = 1;
    tn_peer_check(peer, 0);
    tn_peer_check(peer, 0);
    wire.losses = 3;
    tn_peer_check(peer, 60000);
    wire.losses = 5;
    tn_peer_check(peer, 0);
    CHECK_INT(wire.opened, 1);
    request("{}", 0, NULL);
    tn_peer_check(peer, 0);
    CHECK_INT(wire.opened, 2);
    CHECK_INT(wire.closed, 1);
    CHECK_INT(wire.out_count, 2);
    tn_peer_check(peer, 0);
    CHECK_INT(wire.opened, 2);
    end();
}

/* ---- what is answered ---- */

static void test_duplicates(void)
{
    static char large[8192];
    struct tn_header lease = {.kind = TN_MSG_LEASE,
                              .source = SCHEDULER,
                              .destination = SELF,
                              .sequence = (uint64_t)4 << 32 | 1,
                              .task = 8,
                              .attempt = 2};

    begin();
    deliver(lease, "{}");
    CHECK_INT(handled, 1);
    CHECK(last.task == 8 && last.attempt == 2 && last.source == SCHEDULER && last.kind == TN_MSG_LEASE);
    lease.flags = TN_MSG_FLAG_RESENT;
    deliver(lease, "{}"); /* in progress: dropped */
    CHECK_INT(handled, 1);
    CHECK_INT(wire.out_count, 0);
    tn_peer_refuse(peer, &last, "busy", "%s", "no room");
    CHECK_INT(wire.out_count, 1);
    CHECK_INT(sent(0).kind, TN_MSG_REFUSED);
    CHECK(sent(0).in_reply_to == lease.sequence && sent(0).task == 8 && sent(0).attempt == 2);
    deliver(lease, "{}"); /* answered: the same words again */
    CHECK_INT(handled, 1);
    CHECK_INT(wire.out_count, 2);
    CHECK(sent(1).in_reply_to == lease.sequence && sent(1).length == sent(0).length);
    CHECK(memcmp(wire.out[0].bytes + TN_HEADER_SIZE, wire.out[1].bytes + TN_HEADER_SIZE, sent(0).length) == 0);

    lease.sequence++;
    deliver(lease, "{}");
    memset(large, 'x', sizeof(large));
    tn_peer_reply(peer, &last, TN_MSG_ACK, large, sizeof(large));
    deliver(lease, "{}"); /* the answer was too large to keep: asked again */
    CHECK_INT(handled, 3);
    end();
}

static void test_fence(void)
{
    struct tn_header lease = {
        .kind = TN_MSG_LEASE, .source = SCHEDULER, .destination = SELF, .sequence = (uint64_t)5 << 32 | 1};

    begin();
    deliver(lease, "{}");
    CHECK_INT(handled, 1);
    lease.sequence = (uint64_t)4 << 32 | 9; /* on its way since before the scheduler's restart */
    deliver(lease, "{}");
    CHECK_INT(handled, 1);
    lease.sequence = (uint64_t)6 << 32 | 1;
    deliver(lease, "{}");
    CHECK_INT(handled, 2);
    end();
}

static void test_foreign(void)
{
    struct tn_header lease = {
        .kind = TN_MSG_LEASE, .source = SCHEDULER, .destination = SELF, .sequence = (uint64_t)5 << 32 | 1};
    struct tn_header wrong = lease;
    uint8_t bytes[TN_HEADER_SIZE];

    begin();
    wrong.source = TN_ADDRESS(TN_ROLE_CLIENT, 0); /* may not lease */
    deliver(wrong, "{}");
    wrong = lease;
    wrong.destination = TN_ADDRESS(TN_ROLE_EXECUTOR, 1); /* another's */
    deliver(wrong, "{}");
    wrong = lease;
    wrong.kind = TN_MSG_CHECKPOINT; /* of the data channel */
    deliver(wrong, "{}");
    tn_header_encode(&lease, bytes);
    deliver_bytes(bytes, 0);
    deliver_bytes(bytes, TN_HEADER_SIZE - 1);
    bytes[0] ^= 1;
    deliver_bytes(bytes, TN_HEADER_SIZE);
    CHECK_INT(handled, 0);
    deliver(lease, "{}");
    CHECK_INT(handled, 1);
    CHECK_INT(wire.out_count, 0);
    end();
}

/* A message that this role may not send is our own fault: the process ends at once and says so. */
static void test_forbidden(void)
{
    pid_t pid;
    int status = 0;

    begin();
    pid = fork();
    if (pid == 0) {
        tn_peer_request(peer, TN_MSG_COMPILE, TN_ADDRESS(TN_ROLE_COMPILER, 0), 0, 0, "{}", 2, 0, NULL, NULL);
        _exit(0);
    }
    CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 3);
    end();
}

int main(void)
{
    struct timeval limit = {LATE_S, 0};
    struct event *timer;

    base = event_base_new();
    timer = evtimer_new(base, on_late, NULL);
    evtimer_add(timer, &limit);
    test_answer();
    test_resend();
    test_deadline_and_forget();
    test_blocked();
    test_reconnect();
    test_peer_up();
    test_life();
    test_deaf();
    test_duplicates();
    test_fence();
    test_foreign();
    test_forbidden();
    CHECK(!late);
    event_free(timer);
    event_base_free(base);
    return tn_check_result();
}
