#include "executors/agent/uplink.h"
#include "core/lib/log.h"
#include "executors/agent/procs.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define READ_SIZE (128u * 1024u)
#define READS_A_TURN 8
#define SEND_A_TURN (8u * 1024u * 1024u)

void tn_uplinks_open(struct tn_uplinks *uplinks)
{
    for (int i = 0; i < TN_UPLINKS; i++)
        uplinks->all[i].fd = -1;
}

static void close_uplink(struct tn_uplink *uplink)
{
    if (uplink->fd >= 0 && uplink->to != uplink->fd)
        close(uplink->to);
    if (uplink->fd >= 0)
        close(uplink->fd);
    tn_buf_free(&uplink->in);
    tn_buf_free(&uplink->out);
    *uplink = (struct tn_uplink){.fd = -1};
}

void tn_uplinks_close(struct tn_uplinks *uplinks)
{
    for (int i = 0; i < TN_UPLINKS; i++)
        close_uplink(&uplinks->all[i]);
}

/* A free place; or that of the oldest connection that never said HELLO; NULL if there is none. */
static struct tn_uplink *find_place(struct tn_uplinks *uplinks)
{
    struct tn_uplink *oldest = NULL;

    for (int i = 0; i < TN_UPLINKS; i++) {
        struct tn_uplink *uplink = &uplinks->all[i];

        if (uplink->fd < 0)
            return uplink;
        if (!uplink->current && !uplink->inherited && (oldest == NULL || uplink->deadline < oldest->deadline))
            oldest = uplink;
    }
    if (oldest != NULL)
        close_uplink(oldest);
    return oldest;
}

static void make_ours(int fd)
{
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    fcntl(fd, F_SETFD, FD_CLOEXEC);
}

void tn_uplinks_add(struct tn_uplinks *uplinks, int fd, int out, bool inherited, long long now)
{
    struct tn_uplink *place = find_place(uplinks);

    if (place == NULL) {
        close(fd);
        if (out >= 0)
            close(out);
        return;
    }
    *place = (struct tn_uplink){.fd = fd, .to = out >= 0 ? out : fd, .inherited = inherited};
    make_ours(fd);
    make_ours(place->to);
    if (!inherited)
        place->deadline = now + TN_UPLINK_HELLO_MS;
}

/* What a job repeats a million times is worth twenty lines of the log. */
static bool is_worth_a_line(unsigned long count)
{
    return (count & (count - 1)) == 0;
}

/* NULL, or why not. A step must not drive its own agent. */
static const char *why_not(const struct tn_uplinks *uplinks, const struct ucred *peer)
{
    if (uplinks->peer >= 0 && (long long)peer->uid != uplinks->peer)
        return "it is not the executor's user";
    if (peer->pid == 0) /* outside this pid namespace, where nothing of the job can be */
        return NULL;
    if (getpid() == 1)
        return "it is one of this job's own";
    switch (tn_procs_descends(peer->pid)) {
    case TN_PROCS_NO:
        return NULL;
    case TN_PROCS_YES:
        return "it is one of this job's own";
    case TN_PROCS_UNKNOWN:
        break;
    }
    return "it has ended, so nobody can tell whether it is one of this job's own";
}

void tn_uplinks_accept(struct tn_uplinks *uplinks, int listener, long long now)
{
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    struct ucred peer = {0};
    socklen_t len = sizeof(peer);
    const char *why;

    if (fd < 0)
        return;
    why = getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0 ? "its user is not known" : why_not(uplinks, &peer);
    if (why != NULL) {
        if (is_worth_a_line(++uplinks->refused))
            tn_warn("refused a connection from process %d of user %u: %s (%lu so far)", (int)peer.pid,
                    (unsigned)peer.uid, why, uplinks->refused);
        close(fd);
        return;
    }
    tn_uplinks_add(uplinks, fd, -1, false, now);
}

static void queue_packet(struct tn_uplink *uplink, const struct tn_agent_packet *packet, const void *payload)
{
    uint8_t head[TN_AGENT_PACKET_HEADER];

    tn_agent_packet_put(head, packet, payload);
    tn_buf_add(&uplink->out, head, sizeof(head));
    if (payload != NULL)
        tn_buf_add(&uplink->out, payload, packet->length);
}

/* The old one learns why: else its owner would connect again and the two would fight. */
static void replace_current(struct tn_uplinks *uplinks, const struct tn_uplink *newest)
{
    struct tn_agent_packet packet = {.type = TN_AGENT_REPLACED};
    uint8_t head[TN_AGENT_PACKET_HEADER];

    for (int i = 0; i < TN_UPLINKS; i++) {
        struct tn_uplink *uplink = &uplinks->all[i];

        if (!uplink->current || uplink == newest)
            continue;
        uplink->current = false;
        if (uplink->inherited)
            continue;
        tn_agent_packet_put(head, &packet, NULL);
        /* Only if a packet boundary was reached is it understood; the closed connection tells the rest. */
        if (uplink->packet_left == 0 && uplink->out.len == 0 && write(uplink->to, head, sizeof(head)) < 0)
            tn_debug("the replaced executor is gone already");
        close_uplink(uplink);
    }
}

static enum tn_agent_result check_hello(const struct tn_uplinks *uplinks, const struct tn_agent_hello *hello)
{
    static const uint8_t none[TN_AGENT_BOOT];

    if (hello->version != TN_AGENT_VERSION)
        return TN_AGENT_VERSIONS;
    if (memcmp(hello->boot, none, sizeof(none)) != 0 && memcmp(hello->boot, uplinks->boot, sizeof(none)) != 0)
        return TN_AGENT_OTHER;
    if (hello->offset < uplinks->stream->spool.base)
        return TN_AGENT_GAP;
    return hello->offset > uplinks->stream->spool.head ? TN_AGENT_BEYOND : TN_AGENT_OK;
}

static void answer_hello(struct tn_uplinks *uplinks, struct tn_uplink *uplink, const struct tn_agent_hello *hello)
{
    enum tn_agent_result result = check_hello(uplinks, hello);
    const struct tn_ring *spool = &uplinks->stream->spool;
    struct tn_agent_packet packet = {.type = TN_AGENT_WELCOME};
    uint64_t start = result == TN_AGENT_OK ? hello->offset : result == TN_AGENT_BEYOND ? spool->head : spool->base;
    struct tn_agent_welcome welcome = {.version = TN_AGENT_VERSION,
                                       .result = result,
                                       .start = start,
                                       .head = spool->head,
                                       .facts = uplinks->facts->data,
                                       .facts_len = (uint32_t)uplinks->facts->len};
    auto_buf struct tn_buf payload = TN_BUF_INIT;

    if (uplinks->life != hello->life) {
        uplinks->life = hello->life;
        uplinks->applied = hello->acked;
    }
    welcome.applied = uplinks->applied;
    memcpy(welcome.nonce, hello->nonce, TN_AGENT_NONCE);
    memcpy(welcome.boot, uplinks->boot, TN_AGENT_BOOT);
    packet.length = (uint32_t)tn_agent_welcome_put(NULL, 0, &welcome);
    tn_agent_welcome_put((uint8_t *)tn_buf_reserve(&payload, packet.length), packet.length, &welcome);
    replace_current(uplinks, uplink);
    /* On an inherited port whatever was half sent to the last executor is void; the nonce tells where to start. */
    tn_buf_reset(&uplink->out);
    uplink->packet_left = 0;
    uplink->sent = start;
    uplink->done_sent = uplinks->applied;
    uplink->deadline = 0;
    uplink->current = true;
    queue_packet(uplink, &packet, payload.data);
}

/* -1 if the executor broke the protocol. */
static int take_command(struct tn_uplinks *uplinks, const struct tn_agent_packet *packet, const uint8_t *payload)
{
    if (packet->number <= uplinks->applied)
        return 0; /* a repetition: DONE says so again */
    if (packet->number != uplinks->applied + 1)
        return -1;
    if (tn_channels_command(uplinks->channels, packet, payload) != 0)
        return -1;
    uplinks->applied = packet->number;
    return 0;
}

static int take_packet(struct tn_uplinks *uplinks, struct tn_uplink *uplink, const struct tn_agent_packet *packet,
                       const uint8_t *payload)
{
    struct tn_ring *spool = &uplinks->stream->spool;

    if (packet->type == TN_AGENT_HELLO) {
        struct tn_agent_hello hello;

        if (tn_agent_hello_get(payload, packet->length, &hello) != 0)
            return -1;
        answer_hello(uplinks, uplink, &hello);
        return 0;
    }
    if (!uplink->current)
        return -1;
    if (packet->type == TN_AGENT_ACK) {
        if (packet->number > uplink->sent)
            return -1;
        if (packet->number > spool->base)
            spool->base = packet->number;
        return 0;
    }
    if (!tn_agent_packet_reliable(packet->type) || take_command(uplinks, packet, payload) != 0)
        return -1;
    if (uplink->done_sent > packet->number - 1)
        uplink->done_sent = packet->number - 1;
    return 0;
}

/* Takes every whole packet out of `in`. -1 if the connection is to be dropped. */
static int take_packets(struct tn_uplinks *uplinks, struct tn_uplink *uplink)
{
    size_t at = 0;
    int result = 0;

    while (result == 0 && uplink->in.len - at >= TN_AGENT_PACKET_HEADER) {
        const uint8_t *bytes = (const uint8_t *)uplink->in.data + at;
        struct tn_agent_packet packet;
        /* Until its HELLO a connection may send nothing else, so it cannot make the buffer grow either. */
        bool good = tn_agent_packet_get(bytes, &packet) == 0 && (uplink->current || packet.type == TN_AGENT_HELLO);

        if (good && uplink->in.len - at - TN_AGENT_PACKET_HEADER < packet.length)
            break;
        good = good && tn_agent_packet_verify(&packet, bytes + TN_AGENT_PACKET_HEADER) == 0 &&
               take_packet(uplinks, uplink, &packet, bytes + TN_AGENT_PACKET_HEADER) == 0;
        if (good) {
            at += TN_AGENT_PACKET_HEADER + packet.length;
        } else if (uplink->inherited) {
            uplink->current = false; /* skip to the next HELLO */
            at++;
        } else {
            result = -1;
        }
    }
    tn_buf_consume(&uplink->in, at);
    return result;
}

/* An inherited port: nobody is connected (a virtio port), or it has ended for good. */
static void inherited_away(struct tn_uplinks *uplinks, struct tn_uplink *uplink, long long now)
{
    struct stat info;

    uplink->current = false;
    uplink->away = now + TN_UPLINK_AWAY_MS;
    if (fstat(uplink->fd, &info) == 0 && S_ISCHR(info.st_mode))
        return;
    close_uplink(uplink);
    uplinks->ended = true;
}

static void receive(struct tn_uplinks *uplinks, struct tn_uplink *uplink, long long now)
{
    for (int turn = 0; turn < READS_A_TURN; turn++) {
        ssize_t got = read(uplink->fd, tn_buf_reserve(&uplink->in, READ_SIZE), READ_SIZE);

        if (got < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (got <= 0) {
            if (uplink->inherited)
                inherited_away(uplinks, uplink, now);
            else
                close_uplink(uplink);
            return;
        }
        uplink->in.len += (size_t)got;
        if (take_packets(uplinks, uplink) != 0) {
            if (is_worth_a_line(++uplinks->dropped))
                tn_warn("dropped a connection: what it sent is not the agent's protocol (%lu so far)",
                        uplinks->dropped);
            close_uplink(uplink);
            return;
        }
        if ((size_t)got < READ_SIZE)
            return;
    }
}

/* Begins the next packet; false if there is nothing to say. */
static bool compose(struct tn_uplinks *uplinks, struct tn_uplink *uplink)
{
    uint64_t head = uplinks->stream->spool.head;

    if (uplink->done_sent < uplinks->applied) {
        queue_packet(uplink, &(struct tn_agent_packet){.type = TN_AGENT_DONE, .number = uplinks->applied}, NULL);
        uplink->done_sent = uplinks->applied;
    }
    if (uplink->sent < head) {
        struct tn_agent_packet packet = {.type = TN_AGENT_DATA, .number = uplink->sent};

        packet.length =
            head - uplink->sent < TN_AGENT_PACKET_MAX ? (uint32_t)(head - uplink->sent) : TN_AGENT_PACKET_MAX;
        queue_packet(uplink, &packet, NULL);
        uplink->packet_left = packet.length;
    }
    return uplink->out.len > 0;
}

static void sent_bytes(struct tn_uplink *uplink, size_t len)
{
    size_t head = len < uplink->out.len ? len : uplink->out.len;

    tn_buf_consume(&uplink->out, head);
    uplink->sent += len - head;
    uplink->packet_left -= len - head;
}

/* Writes until all is sent or the connection takes no more; true in the latter case. */
static bool transmit(struct tn_uplinks *uplinks, struct tn_uplink *uplink)
{
    size_t total = 0;

    while (uplink->out.len > 0 || uplink->packet_left > 0 || compose(uplinks, uplink)) {
        struct iovec pieces[3] = {{uplink->out.data, uplink->out.len}};
        int count = 1;
        ssize_t put;

        if (uplink->packet_left > 0)
            count += tn_ring_pieces(&uplinks->stream->spool, uplink->sent, uplink->packet_left, pieces + 1);
        put = writev(uplink->to, pieces, count);
        if (put < 0) /* a broken connection is noticed when it is read */
            return errno == EAGAIN || errno == EINTR;
        sent_bytes(uplink, (size_t)put);
        total += (size_t)put;
        if (total > SEND_A_TURN)
            return true;
    }
    return false;
}

int tn_uplinks_poll(struct tn_uplinks *uplinks, struct tn_poll *set, long long now)
{
    int next = -1;

    for (int i = 0; i < TN_UPLINKS; i++) {
        struct tn_uplink *uplink = &uplinks->all[i];
        long long until = uplink->deadline;
        bool more;

        if (uplink->fd < 0)
            continue;
        if (uplink->deadline != 0 && uplink->deadline <= now) {
            close_uplink(uplink);
            continue;
        }
        if (uplink->away > now) {
            until = uplink->away;
        } else {
            more = uplink->current && transmit(uplinks, uplink);
            tn_poll_add(set, uplink->fd, (short)(more && uplink->to == uplink->fd ? POLLIN | POLLOUT : POLLIN),
                        TN_POLL_LINK, uplink);
            if (more && uplink->to != uplink->fd)
                tn_poll_add(set, uplink->to, POLLOUT, TN_POLL_LINK_OUT, uplink);
        }
        if (until != 0 && (next < 0 || until - now < next))
            next = (int)(until - now);
    }
    return next;
}

void tn_uplinks_event(struct tn_uplinks *uplinks, struct tn_uplink *uplink, short events, long long now)
{
    if (uplink->fd < 0)
        return;
    uplink->away = 0;
    if ((events & POLLIN) != 0)
        receive(uplinks, uplink, now);
    else if ((events & (POLLHUP | POLLERR)) != 0 && uplink->inherited)
        inherited_away(uplinks, uplink, now);
    else if ((events & (POLLHUP | POLLERR)) != 0)
        close_uplink(uplink);
}

bool tn_uplinks_owes(const struct tn_uplinks *uplinks)
{
    for (int i = 0; i < TN_UPLINKS; i++) {
        const struct tn_uplink *uplink = &uplinks->all[i];

        if (uplink->current && (uplink->out.len > 0 || uplink->packet_left > 0 ||
                                uplink->done_sent < uplinks->applied || uplink->sent < uplinks->stream->spool.head))
            return true;
    }
    return false;
}
