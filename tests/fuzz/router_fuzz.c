/* libFuzzer target: peers that send the router anything. The input is a list of messages: a byte says whose socket each
 * comes from, one how (0: with a right header of which the next bytes are members), one its length; then its bytes. At
 * no other socket may a message arrive that claims another source than the socket it came from, or that the list of
 * messages does not allow.
 *
 * decodes: core/kernel/router.c core/kernel/router_guard.c core/kernel/router_sockets.c core/kernel/queue.c
 *          core/kernel/traffic.c proto/codec.c
 * max_len: 4096 */
#include "core/kernel/router.h"
#include "core/lib/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { TAG = 5 * 1000000, TASK_AT = 32 }; /* a tag is TAG and the peer's place */
enum { PEERS = 5, LIFE = 5, MEMBERS = 12, KERNEL = TN_ADDRESS(TN_ROLE_KERNEL, 0) };

static const uint16_t addresses[PEERS] = {TN_ADDRESS(TN_ROLE_SCHEDULER, 0), TN_ADDRESS(TN_ROLE_COMPILER, 0),
                                          TN_ADDRESS(TN_ROLE_OUTPUT, 0), TN_ADDRESS(TN_ROLE_CLIENT, 0),
                                          TN_ADDRESS(TN_ROLE_EXECUTOR, 0)};

struct tn_endpoint {
    uint16_t address; /* 0: of events */
    int receive_fd, send_fd;
    uint8_t *in; /* owned; what is there to be received */
    size_t in_size;
    bool blocked; /* takes nothing at present */
};

static struct tn_endpoint *endpoints[PEERS]; /* borrowed: the router's */

static size_t place_of(uint16_t address)
{
    size_t i = 0;

    while (i < PEERS && addresses[i] != address)
        i++;
    return i;
}

static struct tn_endpoint *fake_open(const char *url, enum tn_endpoint_mode mode, struct tn_err *err)
{
    struct tn_endpoint *endpoint = calloc(1, sizeof(*endpoint));
    unsigned address = 0;

    if (endpoint == NULL || (mode == TN_ENDPOINT_BIND && sscanf(url, "ipc:///nonexistent/%4x.", &address) != 1))
        abort();
    endpoint->address = (uint16_t)address;
    endpoint->receive_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    endpoint->send_fd = eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC);
    if (mode == TN_ENDPOINT_BIND && place_of(endpoint->address) < PEERS)
        endpoints[place_of(endpoint->address)] = endpoint;
    return endpoint;
}

static void fake_close(struct tn_endpoint *endpoint)
{
    for (size_t i = 0; i < PEERS; i++)
        if (endpoints[i] == endpoint)
            endpoints[i] = NULL;
    close(endpoint->receive_fd);
    close(endpoint->send_fd);
    free(endpoint->in);
    free(endpoint);
}

static int fake_receive_fd(struct tn_endpoint *endpoint)
{
    return endpoint->receive_fd;
}

static int fake_send_fd(struct tn_endpoint *endpoint)
{
    return endpoint->send_fd;
}

static void fake_limit(struct tn_endpoint *endpoint, size_t size)
{
}

static unsigned long fake_losses(struct tn_endpoint *endpoint)
{
    return 0;
}

/* What may be believed at the other end. The task of whatever a peer sends is a tag that tells who really did. */
static void check_message(uint16_t to, const uint8_t *message)
{
    struct tn_header header;
    uint32_t length;
    enum tn_role role;
    bool of_peer;

    memcpy(&length, message + TN_HEADER_SIZE - sizeof(length), sizeof(length));
    if (tn_header_decode(message, TN_HEADER_SIZE + (size_t)length, &header, NULL) != 0)
        abort();
    role = TN_ADDRESS_ROLE(header.source);
    of_peer = header.task / PEERS == TAG / PEERS;
    if (of_peer ? header.source != addresses[header.task % PEERS] : role != TN_ROLE_KERNEL && role != TN_ROLE_BUS)
        abort();
    if (of_peer && (tn_header_permit(&header, TN_CHANNEL_BUS, NULL) != 0 || TN_SEQUENCE_LIFE(header.sequence) != LIFE))
        abort();
    if (to == KERNEL ? TN_ADDRESS_ROLE(header.destination) != TN_ROLE_KERNEL /* there is but one */
                     : to != 0 && header.destination != to)
        abort();
}

static int fake_send(struct tn_endpoint *endpoint, void *message, struct tn_err *err)
{
    if (endpoint->blocked)
        return 0;
    check_message(endpoint->address, message);
    free(message);
    return 1;
}

static int fake_receive(struct tn_endpoint *endpoint, void **message, size_t *size, struct tn_err *err)
{
    eventfd_t value;

    if (endpoint->in == NULL) {
        (void)!eventfd_read(endpoint->receive_fd, &value);
        return 0;
    }
    *message = endpoint->in;
    *size = endpoint->in_size;
    endpoint->in = NULL;
    return 1;
}

static const struct tn_transport transport = {.name = "fake",
                                              .open = fake_open,
                                              .close = fake_close,
                                              .receive_fd = fake_receive_fd,
                                              .send_fd = fake_send_fd,
                                              .limit = fake_limit,
                                              .losses = fake_losses,
                                              .allocate = malloc,
                                              .release = free,
                                              .send = fake_send,
                                              .receive = fake_receive};

static bool to_kernel(void *arg, const void *message, size_t size)
{
    check_message(KERNEL, message);
    return true;
}

static void add_peer(struct tn_router *router, uint16_t address)
{
    char body[100];
    struct tn_header header = {
        .kind = TN_MSG_PEER_ADD, .source = KERNEL, .destination = TN_ADDRESS(TN_ROLE_BUS, 0), .sequence = 1};

    header.length =
        (uint32_t)snprintf(body, sizeof(body), "{\"address\":%u,\"life\":%d,\"name\":\"n\"}", (unsigned)address, LIFE);
    tn_router_from_kernel(router, &header, (const uint8_t *)body);
}

static void put_tag(uint8_t *message, uint16_t sender)
{
    uint64_t tag = TAG + place_of(sender);

    memcpy(message + TASK_AT, &tag, sizeof(tag));
}

static void deliver(struct event_base *base, struct tn_endpoint *endpoint, const uint8_t *bytes, size_t length,
                    bool raw)
{
    size_t body = length > MEMBERS ? length - MEMBERS : 0;
    size_t count;
    const struct tn_msg_info *list = tn_msg_list(&count);
    struct tn_header header = {
        .source = endpoint->address, .sequence = (uint64_t)LIFE << 32 | 1, .length = (uint32_t)body};

    endpoint->in_size = raw ? length : TN_HEADER_SIZE + body;
    endpoint->in = malloc(endpoint->in_size + 1);
    if (endpoint->in == NULL)
        abort();
    if (raw) {
        memcpy(endpoint->in, bytes, length);
    } else {
        uint8_t members[MEMBERS] = {0};

        memcpy(members, bytes, length < MEMBERS ? length : MEMBERS);
        header.kind = (uint16_t)list[members[0] % count].kind;
        header.destination = TN_ADDRESS(members[1] % (TN_ROLE_COUNT + 1), members[2]);
        header.source = members[3] != 0 ? TN_ADDRESS(members[3] % (TN_ROLE_COUNT + 1), members[4]) : header.source;
        header.sequence += (uint64_t)members[5] << 32;
        header.in_reply_to = members[6];
        header.attempt = members[8];
        header.flags = members[9];
        tn_header_encode(&header, endpoint->in);
        memcpy(endpoint->in + TN_HEADER_SIZE, bytes + (length - body), body);
    }
    if (endpoint->in_size >= TN_HEADER_SIZE)
        put_tag(endpoint->in, endpoint->address);
    endpoint->blocked = length % 7 == 3; /* who takes nothing must not hold up others */
    if (eventfd_write(endpoint->receive_fd, 1) != 0)
        abort();
    event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
}

static void run(struct event_base *base, struct tn_router *router, const uint8_t *data, size_t size)
{
    while (size >= 3) {
        size_t length = data[2] < size - 3 ? data[2] : size - 3;
        struct tn_endpoint *endpoint = endpoints[data[0] % PEERS];

        if (data[1] == 0xff)
            tn_router_beat(router);
        else if (endpoint != NULL) /* not cut off */
            deliver(base, endpoint, data + 3, length, data[1] % 2 == 1);
        data += 3 + length;
        size -= 3 + length;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct event_base *base = event_base_new();
    struct tn_router_config config = {.base = base,
                                      .transport = &transport,
                                      .folder = "/nonexistent",
                                      .events_url = "ipc:///nonexistent/events",
                                      .life = LIFE,
                                      .to_kernel = to_kernel};
    struct tn_router *router = tn_router_open(&config, NULL);

    setenv("TENON_LOG", "error", 0);
    tn_log_open("fuzz");
    if (router == NULL)
        abort();
    for (size_t i = 0; i < PEERS; i++)
        add_peer(router, addresses[i]);
    run(base, router, data, size);
    tn_router_close(router);
    event_base_free(base);
    return 0;
}
