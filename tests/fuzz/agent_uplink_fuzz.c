/* libFuzzer target: an executor (or who stands in for it) that says anything to an agent. Nothing is run: starting,
 * signalling and packing are taken over by this file, which reads what they are given to its end.
 *
 * The first byte chooses the kind of connection; then items as in agent_link_fuzz.c: what it is, length, bytes.
 *
 * decodes: executors/agent/uplink.c executors/agent/channel.c executors/agent/stream.c executors/agent/ring.c
 *          executors/agent/seen.c proto/agent_frames.c
 * max_len: 4096 */
#include "core/lib/log.h"
#include "executors/agent/oom.h"
#include "executors/agent/procs.h"
#include "executors/agent/spawn.h"
#include "executors/agent/tar.h"
#include "executors/agent/uplink.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { NOBODY = 0x7ffffff0 }; /* over every limit of process ids: a signal to it goes nowhere */

static size_t words_seen;

static int pretend(struct tn_spawned *out, bool with_stdin)
{
    int in[2] = {-1, -1};

    if (with_stdin && pipe2(in, O_CLOEXEC | O_NONBLOCK) != 0)
        abort();
    if (with_stdin)
        close(in[0]);
    *out = (struct tn_spawned){.pid = NOBODY, .in = in[1], .out = open("/dev/zero", O_RDONLY | O_CLOEXEC), .side = -1};
    return 0;
}

int tn_spawn_program(const struct tn_agent_spawn *spawn, const char *halt, struct tn_spawned *out, struct tn_err *err)
{
    words_seen += strlen(spawn->cwd) + strlen(spawn->user) + strlen(halt);
    for (uint32_t i = 0; i <= spawn->argc; i++)
        words_seen += spawn->argv[i] != NULL ? strlen(spawn->argv[i]) : 0;
    for (uint32_t i = 0; i <= spawn->envc; i++)
        words_seen += spawn->envp[i] != NULL ? strlen(spawn->envp[i]) : 0;
    return spawn->argv[0][0] == '!' ? tn_err_set(err, TN_ERR_SYSTEM, "refused") : pretend(out, (spawn->flags & 1) != 0);
}

int tn_spawn_work(int (*work)(void *arg, int side), void *arg, bool with_stdin, struct tn_spawned *out,
                  struct tn_err *err)
{
    const struct tn_agent_tree *tree = arg;

    words_seen += strlen(tree->path);
    for (uint32_t i = 0; i < tree->count; i++)
        words_seen += strlen(tree->paths[i]);
    return pretend(out, with_stdin);
}

int tn_tar_put_work(void *arg, int side)
{
    return 0;
}

int tn_tar_get_work(void *arg, int side)
{
    return 0;
}

int tn_file_get_work(void *arg, int side)
{
    return 0;
}

int tn_procs_signal_tree(pid_t leader, const char *marker, int sig)
{
    return 0;
}

enum tn_procs_answer tn_procs_descends(pid_t pid)
{
    return TN_PROCS_NO;
}

unsigned long tn_oom_count(void)
{
    return 0;
}

unsigned long tn_refused_forks(void)
{
    return 0;
}

unsigned long tn_process_limit(void)
{
    return 0;
}

static void put_packet(struct tn_buf *out, unsigned type, uint32_t channel, uint64_t number, const void *payload,
                       size_t len)
{
    struct tn_agent_packet packet = {
        .type = (uint16_t)type, .channel = channel, .length = (uint32_t)len, .number = number};
    uint8_t head[TN_AGENT_PACKET_HEADER];

    tn_agent_packet_put(head, &packet, payload);
    tn_buf_add(out, head, sizeof(head));
    tn_buf_add(out, payload, len);
}

static void put_hello(struct tn_buf *out, const uint8_t *bytes, size_t len)
{
    struct tn_agent_hello hello = {.version = TN_AGENT_VERSION};
    uint8_t payload[64];

    hello.life = len > 0 ? bytes[0] : 0;
    hello.acked = len > 1 ? bytes[1] : 0;
    hello.offset = len > 2 ? bytes[2] : 0;
    put_packet(out, TN_AGENT_HELLO, 0, 0, payload, tn_agent_hello_put(payload, sizeof(payload), &hello));
}

/* Words of the input, cut at its NULs, as a command carries them. */
static void put_words(struct tn_buf *out, unsigned type, uint64_t number, const uint8_t *bytes, size_t len)
{
    const char *words[8] = {"", "", "", "", "", "", "", ""};
    char text[256];
    uint8_t payload[1024];
    size_t count = 0;
    size_t used;

    memcpy(text, bytes, len);
    text[len] = '\0';
    for (size_t at = 0; at < len && count < 8; at += strlen(text + at) + 1)
        words[count++] = text + at;
    if (type == TN_AGENT_SPAWN)
        used = tn_agent_spawn_put(payload, sizeof(payload),
                                  &(struct tn_agent_spawn){.flags = len > 0 ? bytes[len - 1] : 0,
                                                           .cwd = words[0],
                                                           .user = words[1],
                                                           .argc = 2,
                                                           .argv = words + 2,
                                                           .envc = 4,
                                                           .envp = words + 4});
    else
        used = tn_agent_tree_put(
            payload, sizeof(payload),
            &(struct tn_agent_tree){.path = words[0], .count = type == TN_AGENT_TREE_GET ? 7 : 0, .paths = words + 1});
    put_packet(out, type, len > 0 ? bytes[0] % 4 : 0, number, payload, used);
}

/* One item; returns the bytes that it took. */
static size_t put_item(struct tn_buf *out, const uint8_t *data, size_t size, uint64_t *number)
{
    size_t len = data[1] < size - 2 ? data[1] : size - 2;
    const uint8_t *bytes = data + 2;
    uint32_t channel = len > 0 ? bytes[0] % 4 : 0;

    switch (data[0] % 8) {
    case 0:
        tn_buf_add(out, bytes, len); /* as it is */
        break;
    case 1:
        put_hello(out, bytes, len);
        *number = len > 1 ? bytes[1] : 0;
        break;
    case 2:
        put_words(out, TN_AGENT_SPAWN, ++*number, bytes, len);
        break;
    case 3:
        put_words(out, TN_AGENT_TREE_PUT + data[0] / 8 % 3, ++*number, bytes, len);
        break;
    case 4:
        put_packet(out, TN_AGENT_ACK, 0, len > 0 ? bytes[0] : 0, NULL, 0);
        break;
    case 5: /* the channel's number in front, the rest the payload */
        put_packet(out, TN_AGENT_STDIN + data[0] / 8 % 3, channel, ++*number, bytes + (len > 0), len - (len > 0));
        break;
    default: /* any type, with the right sums */
        put_packet(out, channel + data[0] / 8, channel, ++*number, bytes + (len > 0), len - (len > 0));
        break;
    }
    return 2 + len;
}

struct agent {
    struct tn_stream stream;
    struct tn_channels channels;
    struct tn_uplinks uplinks;
};

static void turn(struct agent *agent, long long now)
{
    static struct tn_poll set;

    set.count = 0;
    tn_channels_tick(&agent->channels, now);
    tn_uplinks_poll(&agent->uplinks, &set, now);
    tn_channels_poll(&agent->channels, &set);
    if (poll(set.fds, set.count, 0) <= 0)
        return;
    for (unsigned i = 0; i < set.count; i++)
        if (set.fds[i].revents != 0 && set.who[i].role == TN_POLL_LINK)
            tn_uplinks_event(&agent->uplinks, set.who[i].owner, set.fds[i].revents, now);
        else if (set.fds[i].revents != 0)
            tn_channels_event(&agent->channels, set.who[i].role, set.who[i].owner, set.fds[i].fd);
    if (agent->stream.spool.head - agent->stream.spool.base > agent->stream.spool.size)
        abort();
}

static void run(struct agent *agent, int fd, const uint8_t *data, size_t size)
{
    auto_buf struct tn_buf out = TN_BUF_INIT;
    static char scrap[1 << 16];
    uint64_t number = 0;
    size_t sent = 0;

    for (size_t at = 0; size - at >= 2;)
        at += put_item(&out, data + at, size - at, &number);
    for (int i = 0; i < 40; i++) {
        size_t piece = out.len - sent < 700 ? out.len - sent : 700;
        ssize_t put = piece > 0 ? send(fd, out.data + sent, piece, MSG_NOSIGNAL | MSG_DONTWAIT) : 0;

        sent += put > 0 ? (size_t)put : 0;
        turn(agent, i);
        while (recv(fd, scrap, sizeof(scrap), MSG_DONTWAIT) == (ssize_t)sizeof(scrap)) {
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct agent *agent = calloc(1, sizeof(*agent));
    struct tn_buf facts = TN_BUF_INIT;
    int pair[2];

    /* As the agent does; and quiet, for most connections end with a warning. */
    signal(SIGPIPE, SIG_IGN);
    setenv("TENON_LOG", "error", 0);
    tn_log_open("fuzz");
    if (agent == NULL || tn_ring_open(&agent->stream.spool, 65536, NULL) != 0 ||
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
        abort();
    tn_buf_adds(&facts, "arch=x\n");
    agent->channels.stream = agent->uplinks.stream = &agent->stream;
    agent->channels.halt_prefix = "/nonexistent/halt-";
    agent->uplinks.channels = &agent->channels;
    agent->uplinks.facts = &facts;
    tn_uplinks_open(&agent->uplinks);
    tn_uplinks_add(&agent->uplinks, pair[0], -1, size > 0 && data[0] % 2 == 1, 0);
    run(agent, pair[1], data + (size > 0), size - (size > 0));
    close(pair[1]);
    /* All that were started have ended, and are collected. */
    for (long long now = 50; now < 60000 && agent->channels.first != NULL; now += 300) {
        tn_channels_reaped(&agent->channels, NOBODY, 0, now);
        agent->stream.spool.base = agent->stream.spool.head;
        turn(agent, now);
    }
    if (agent->channels.first != NULL)
        abort();
    tn_uplinks_close(&agent->uplinks);
    for (unsigned i = 0; i < agent->channels.orphan_count; i++)
        close(agent->channels.orphans[i]);
    tn_ring_close(&agent->stream.spool);
    tn_buf_free(&agent->stream.waiting);
    tn_buf_free(&facts);
    free(agent);
    return 0;
}
