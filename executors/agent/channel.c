#include "executors/agent/channel.h"
#include "core/lib/cleanup.h"
#include "core/lib/log.h"
#include "executors/agent/oom.h"
#include "executors/agent/procs.h"
#include "executors/agent/side.h"
#include "executors/agent/spawn.h"
#include "executors/agent/tar.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define READS_A_TURN 8
#define WINDOW_STEP (64u * 1024u)

struct tn_channel {
    struct tn_channel *next;
    uint32_t number;
    bool work; /* the agent's own function, not a program */
    struct tn_spawned process;
    bool spawned_sent;
    bool exited;
    int status;
    long long exit_at; /* when it ended, or the spool was last seen full after that */
    long long out_at;  /* when output was last read */
    struct tn_ring in; /* stdin: base = taken, head = received */
    bool in_eof;
    uint64_t in_announced;
    uint64_t in_total;  /* stdin's length, once in_eof */
    struct tn_buf side; /* owned: bytes of a record that is not complete */
    char *error;        /* owned: why it failed, or NULL */
    int error_code;
    bool no_spawn;
    bool missing;
    unsigned long oom_kills;  /* of the whole environment, when it began */
    unsigned long refused;    /* forks, likewise */
    bool ended;               /* the executor wants its end: nothing of its tree outlives its first process */
    char halt[PATH_MAX + 32]; /* "TENON_HALT_FILE=path" */
};

long long tn_now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void tn_poll_add(struct tn_poll *set, int fd, short events, enum tn_poll_role role, void *owner)
{
    if (fd < 0 || events == 0 || set->count == TN_POLL_MAX)
        return;
    set->fds[set->count] = (struct pollfd){.fd = fd, .events = events};
    set->who[set->count].role = role;
    set->who[set->count].owner = owner;
    set->count++;
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static struct tn_channel *find_channel(struct tn_channels *channels, uint32_t number)
{
    struct tn_channel *channel = channels->first;

    while (channel != NULL && channel->number != number)
        channel = channel->next;
    return channel;
}

static void refuse(struct tn_channels *channels, uint32_t number, int code, const char *why)
{
    size_t len = strlen(why);
    struct tn_agent_exit end = {TN_AGENT_NO_SPAWN, 0, (uint32_t)code, why,
                                (uint32_t)(len < TN_AGENT_TEXT_MAX ? len : TN_AGENT_TEXT_MAX)};

    tn_stream_exit(channels->stream, number, &end);
}

static void free_channel(struct tn_channel *channel)
{
    close_fd(&channel->process.in);
    close_fd(&channel->process.out);
    close_fd(&channel->process.side);
    tn_ring_close(&channel->in);
    tn_buf_free(&channel->side);
    free(channel->error);
    free(channel);
}

static int start_program(struct tn_channel *channel, const uint8_t *payload, size_t len, struct tn_err *err)
{
    struct tn_agent_spawn spawn;
    long words = tn_agent_words(TN_AGENT_SPAWN, payload, len);
    auto_free const char **vector = words >= 0 ? calloc((size_t)words + 2, sizeof(*vector)) : NULL;

    if (vector == NULL || tn_agent_spawn_get(payload, len, &spawn, vector) != 0)
        return tn_err_set(err, TN_ERR_PROTOCOL, "the SPAWN command is malformed");
    if ((spawn.flags & TN_AGENT_STDIN_OPEN) != 0 && tn_ring_open(&channel->in, TN_AGENT_WINDOW, err) != 0)
        return -1;
    unlink(strchr(channel->halt, '=') + 1);
    return tn_spawn_program(&spawn, channel->halt, &channel->process, err);
}

static int start_work(struct tn_channel *channel, unsigned type, const uint8_t *payload, size_t len, struct tn_err *err)
{
    struct tn_agent_tree tree;
    long words = tn_agent_words(TN_AGENT_TREE_GET, payload, len);
    auto_free const char **vector = words >= 0 ? calloc((size_t)words + 2, sizeof(*vector)) : NULL;
    bool put = type == TN_AGENT_TREE_PUT;

    if (vector == NULL || tn_agent_tree_get(payload, len, &tree, vector) != 0)
        return tn_err_set(err, TN_ERR_PROTOCOL, "the %s command is malformed", tn_agent_packet_name(type));
    if (put && tn_ring_open(&channel->in, TN_AGENT_WINDOW, err) != 0)
        return -1;
    channel->work = true;
    return tn_spawn_work(put                         ? tn_tar_put_work
                         : type == TN_AGENT_TREE_GET ? tn_tar_get_work
                                                     : tn_file_get_work,
                         &tree, put, &channel->process, err);
}

static void start_channel(struct tn_channels *channels, const struct tn_agent_packet *packet, const uint8_t *payload)
{
    struct tn_err err = TN_ERR_INIT;
    struct tn_channel *channel;
    int result;

    if (tn_seen_has(&channels->seen, packet->channel))
        return;
    if (!tn_seen_add(&channels->seen, packet->channel)) {
        refuse(channels, packet->channel, 0, "too many gaps in the channels' numbers: number them upwards");
        return;
    }
    if (channels->count >= TN_AGENT_CHANNELS_MAX) {
        refuse(channels, packet->channel, EAGAIN, "too many processes of this job run at the same time (256)");
        return;
    }
    channel = calloc(1, sizeof(*channel));
    if (channel == NULL)
        tn_fatal(3, "out of memory for a channel");
    channel->number = packet->channel;
    channel->oom_kills = tn_oom_count();
    channel->refused = tn_refused_forks();
    channel->process = (struct tn_spawned){-1, -1, -1, -1};
    snprintf(channel->halt, sizeof(channel->halt), "TENON_HALT_FILE=%s%u", channels->halt_prefix,
             (unsigned)packet->channel);
    result = packet->type == TN_AGENT_SPAWN ? start_program(channel, payload, packet->length, &err)
                                            : start_work(channel, packet->type, payload, packet->length, &err);
    if (result != 0) {
        refuse(channels, packet->channel, err.sys, err.text);
        channel->process = (struct tn_spawned){-1, -1, -1, -1};
        free_channel(channel);
        return;
    }
    channel->out_at = tn_now_ms();
    channel->next = channels->first;
    channels->first = channel;
    channels->count++;
}

/* Takes what is new; a hole or more than the window allows breaks the protocol. */
static int take_stdin(struct tn_channel *channel, const uint8_t *payload, size_t len)
{
    uint64_t offset;
    size_t skip;

    if (tn_agent_u64_get(payload, len, &offset) != 0)
        return -1;
    if (channel->in.data == NULL || channel->in_eof)
        return 0;
    payload += 8;
    len -= 8;
    if (offset > channel->in.head)
        return -1;
    skip = channel->in.head - offset < len ? (size_t)(channel->in.head - offset) : len;
    if (len - skip > tn_ring_room(&channel->in))
        return -1;
    if (len > skip)
        tn_ring_put(&channel->in, payload + skip, len - skip);
    if (channel->process.in < 0) /* nobody reads any more: it counts as taken */
        channel->in.base = channel->in.head;
    return 0;
}

static int take_eof(struct tn_channel *channel, const uint8_t *payload, size_t len)
{
    uint64_t total;

    if (tn_agent_u64_get(payload, len, &total) != 0)
        return -1;
    if (channel->in.data == NULL || channel->in_eof)
        return 0;
    if (total != channel->in.head)
        return -1;
    channel->in_eof = true;
    if (channel->in.base == channel->in.head)
        close_fd(&channel->process.in);
    return 0;
}

static int take_signal(struct tn_channel *channel, const uint8_t *payload, size_t len)
{
    uint32_t sig;
    uint32_t scope;

    if (tn_agent_pair_get(payload, len, &sig, &scope) != 0 || sig == 0 || sig > 64 || scope > TN_AGENT_TREE)
        return -1;
    channel->ended = channel->ended || sig == SIGTERM || sig == SIGKILL;
    if (scope == TN_AGENT_TREE)
        tn_procs_signal_tree(channel->process.pid, channel->halt, (int)sig);
    else
        kill(-channel->process.pid, (int)sig);
    return 0;
}

int tn_channels_command(struct tn_channels *channels, const struct tn_agent_packet *packet, const uint8_t *payload)
{
    struct tn_channel *channel = find_channel(channels, packet->channel);

    switch (packet->type) {
    case TN_AGENT_SPAWN:
    case TN_AGENT_TREE_PUT:
    case TN_AGENT_TREE_GET:
    case TN_AGENT_FILE_GET:
        start_channel(channels, packet, payload);
        return 0;
    case TN_AGENT_STDIN:
        return channel != NULL ? take_stdin(channel, payload, packet->length) : 0;
    case TN_AGENT_STDIN_EOF:
        return channel != NULL ? take_eof(channel, payload, packet->length) : 0;
    case TN_AGENT_SIGNAL:
        return channel != NULL ? take_signal(channel, payload, packet->length) : 0;
    case TN_AGENT_SHUTDOWN:
        channels->stop = true;
        return 0;
    default:
        return -1;
    }
}

void tn_channels_poll(struct tn_channels *channels, struct tn_poll *set)
{
    bool room = tn_stream_has_room(channels->stream);

    for (struct tn_channel *channel = channels->first; channel != NULL; channel = channel->next) {
        bool data = channel->in.data != NULL && channel->in.head > channel->in.base;

        tn_poll_add(set, data ? channel->process.in : -1, POLLOUT, TN_POLL_IN, channel);
        tn_poll_add(set, room ? channel->process.side : -1, POLLIN, TN_POLL_SIDE, channel);
        tn_poll_add(set, room && channel->spawned_sent ? channel->process.out : -1, POLLIN, TN_POLL_OUT, channel);
    }
    for (unsigned i = 0; i < channels->orphan_count; i++)
        tn_poll_add(set, channels->orphans[i], POLLIN, TN_POLL_ORPHAN, NULL);
}

static void feed_stdin(struct tn_channel *channel)
{
    struct iovec pieces[2];
    size_t len = (size_t)(channel->in.head - channel->in.base);
    ssize_t put = writev(channel->process.in, pieces, tn_ring_pieces(&channel->in, channel->in.base, len, pieces));

    if (put > 0)
        channel->in.base += (uint64_t)put;
    if (put < 0 && errno != EAGAIN && errno != EINTR) { /* it closed its stdin: swallow the rest */
        close_fd(&channel->process.in);
        channel->in.base = channel->in.head;
    }
    if (channel->in_eof && channel->in.base == channel->in.head)
        close_fd(&channel->process.in);
}

static void take_output(struct tn_channels *channels, struct tn_channel *channel)
{
    for (int turn = 0; turn < READS_A_TURN && tn_stream_has_room(channels->stream); turn++) {
        long got = tn_stream_read(channels->stream, channel->number, channel->process.out);

        if (got < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (got <= 0) {
            close_fd(&channel->process.out);
            return;
        }
        channel->out_at = tn_now_ms();
    }
}

static void take_record(struct tn_channels *channels, struct tn_channel *channel, const struct tn_side_record *record)
{
    switch ((enum tn_side_kind)record->kind) {
    case TN_SIDE_SPAWN:
    case TN_SIDE_ERROR:
        free(channel->error);
        channel->error = strndup(record->text, record->len);
        channel->error_code = record->code;
        channel->no_spawn = record->kind == TN_SIDE_SPAWN;
        break;
    case TN_SIDE_MISSING:
        channel->missing = true;
        tn_stream_note(channels->stream, TN_AGENT_FRAME_WARN, channel->number, TN_AGENT_WARN_MISSING, record->text);
        break;
    case TN_SIDE_WARN:
        tn_stream_note(channels->stream, TN_AGENT_FRAME_WARN, channel->number, TN_AGENT_WARN_TEXT, record->text);
        break;
    }
}

/* Records come in one piece each, but a read may end inside one. */
static void take_side(struct tn_channels *channels, struct tn_channel *channel)
{
    ssize_t got = read(channel->process.side, tn_buf_reserve(&channel->side, TN_SIDE_TEXT), TN_SIDE_TEXT);

    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0) {
        close_fd(&channel->process.side);
        return;
    }
    channel->side.len += (size_t)got;
    while (channel->side.len >= TN_SIDE_HEAD) {
        struct tn_side_record record = {0};

        memcpy(&record, channel->side.data, TN_SIDE_HEAD);
        if (record.len >= TN_SIDE_TEXT)
            tn_fatal(3, "a record of our own is malformed");
        if (channel->side.len < TN_SIDE_HEAD + record.len)
            return;
        memcpy(record.text, channel->side.data + TN_SIDE_HEAD, record.len);
        tn_buf_consume(&channel->side, TN_SIDE_HEAD + record.len);
        take_record(channels, channel, &record);
    }
}

static void drain_orphan(struct tn_channels *channels, int fd)
{
    char scrap[16384];
    ssize_t got = read(fd, scrap, sizeof(scrap));

    if (got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR)))
        return;
    close(fd);
    for (unsigned i = 0; i < channels->orphan_count; i++) {
        if (channels->orphans[i] == fd) {
            channels->orphans[i] = channels->orphans[--channels->orphan_count];
            return;
        }
    }
}

void tn_channels_event(struct tn_channels *channels, enum tn_poll_role role, void *owner, int fd)
{
    struct tn_channel *channel = owner;

    if (role == TN_POLL_ORPHAN)
        drain_orphan(channels, fd);
    else if (role == TN_POLL_IN && channel->process.in == fd)
        feed_stdin(channel);
    else if (role == TN_POLL_OUT && channel->process.out == fd)
        take_output(channels, channel);
    else if (role == TN_POLL_SIDE && channel->process.side == fd && tn_stream_has_room(channels->stream))
        take_side(channels, channel);
}

void tn_channels_reaped(struct tn_channels *channels, pid_t pid, int status, long long now)
{
    for (struct tn_channel *channel = channels->first; channel != NULL; channel = channel->next) {
        if (channel->process.pid != pid || channel->exited)
            continue;
        channel->exited = true;
        channel->status = status;
        channel->exit_at = now;
    }
}

static void announce(struct tn_channels *channels, struct tn_channel *channel)
{
    uint8_t payload[16];
    bool started = channel->work || channel->process.side < 0;

    if (!channel->spawned_sent && started && !channel->no_spawn) {
        size_t len = tn_agent_note_put(payload, sizeof(payload), (uint32_t)channel->process.pid, "", 0);

        tn_stream_put(channels->stream, TN_AGENT_FRAME_SPAWNED, channel->number, payload, len);
        channel->spawned_sent = true;
    }
    if (channel->in.base - channel->in_announced >= WINDOW_STEP ||
        (channel->in.base == channel->in.head && channel->in_announced < channel->in.base)) {
        struct tn_agent_window window = {channel->in.base, channel->in.base + TN_AGENT_WINDOW};
        size_t len = tn_agent_window_put(payload, sizeof(payload), &window);

        tn_stream_put(channels->stream, TN_AGENT_FRAME_WINDOW, channel->number, payload, len);
        channel->in_announced = channel->in.base;
    }
}

/* Milliseconds until the channel ends although its pipe is held; 0 if it ends now; -1 if only an event can tell. */
static int time_left(struct tn_channels *channels, struct tn_channel *channel, long long now)
{
    long long quiet_end;
    long long end;

    if (!channel->exited || channel->process.side >= 0)
        return -1;
    if (channel->process.out < 0 || channel->no_spawn)
        return 0;
    if (!tn_stream_has_room(channels->stream)) { /* it is we who do not read */
        channel->exit_at = now;
        return -1;
    }
    quiet_end = (channel->out_at > channel->exit_at ? channel->out_at : channel->exit_at) + TN_HELD_QUIET_MS;
    end = channel->exit_at + TN_HELD_MAX_MS;
    end = quiet_end < end ? quiet_end : end;
    return end > now ? (int)(end - now) : 0;
}

static void keep_orphan(struct tn_channels *channels, int fd)
{
    if (channels->orphan_count == TN_ORPHAN_PIPES) {
        tn_warn("more than %d daemons hold the output of steps that are over: the oldest loses its pipe",
                TN_ORPHAN_PIPES);
        close(channels->orphans[0]);
        memmove(channels->orphans, channels->orphans + 1, --channels->orphan_count * sizeof(channels->orphans[0]));
    }
    channels->orphans[channels->orphan_count++] = fd;
}

static void tell_refused_forks(struct tn_channels *channels, const struct tn_channel *channel)
{
    unsigned long refused = tn_refused_forks() - channel->refused;
    char text[200];

    if (channel->work || refused == 0)
        return;
    snprintf(text, sizeof(text),
             "The job reached its limit of %lu processes and threads: %lu times none could be started",
             tn_process_limit(), refused);
    tn_stream_note(channels->stream, TN_AGENT_FRAME_WARN, channel->number, TN_AGENT_WARN_TEXT, text);
}

static void end_channel(struct tn_channels *channels, struct tn_channel *channel)
{
    struct tn_agent_exit end = {.kind = TN_AGENT_EXITED, .code = (uint32_t)WEXITSTATUS(channel->status)};

    if (WIFSIGNALED(channel->status)) {
        end.kind = TN_AGENT_SIGNALED;
        end.code = (uint32_t)WTERMSIG(channel->status);
    }
    if (channel->no_spawn) {
        end.kind = TN_AGENT_NO_SPAWN;
        end.code = (uint32_t)channel->error_code;
    }
    if (channel->error != NULL) {
        end.text = channel->error;
        end.text_len = (uint32_t)strlen(channel->error);
    }
    if (channel->ended)
        tn_procs_signal_tree(channel->process.pid, channel->halt, SIGKILL);
    if (!channel->work && unlink(strchr(channel->halt, '=') + 1) == 0)
        end.flags |= TN_AGENT_HALTED;
    if (channel->process.out >= 0 && !channel->no_spawn) {
        end.flags |= TN_AGENT_PIPE_HELD;
        keep_orphan(channels, steal_fd(&channel->process.out));
    }
    if (channel->missing)
        end.flags |= TN_AGENT_MISSING;
    if (channels->ending)
        end.flags |= TN_AGENT_ENDING;
    if ((end.kind != TN_AGENT_EXITED || end.code != 0) && tn_oom_count() > channel->oom_kills)
        end.flags |= TN_AGENT_OOM;
    tell_refused_forks(channels, channel);
    tn_stream_exit(channels->stream, channel->number, &end);
}

int tn_channels_tick(struct tn_channels *channels, long long now)
{
    struct tn_channel **place = &channels->first;
    int next = -1;

    tn_stream_settle(channels->stream);
    while (*place != NULL) {
        struct tn_channel *channel = *place;
        int left;

        if (channels->stream->waiting.len < TN_STREAM_NOTES)
            announce(channels, channel);
        left = time_left(channels, channel, now);
        if (left == 0) {
            end_channel(channels, channel);
            *place = channel->next;
            channels->count--;
            free_channel(channel);
            continue;
        }
        if (left > 0 && (next < 0 || left < next))
            next = left;
        place = &channel->next;
    }
    return next;
}

void tn_channels_signal_all(struct tn_channels *channels, int sig)
{
    for (struct tn_channel *channel = channels->first; channel != NULL; channel = channel->next)
        kill(-channel->process.pid, sig);
}
