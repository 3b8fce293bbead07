/* The channels: each one process (a program, or the agent packing or unpacking a tree), its stdin, its output.
 *
 * Commands are idempotent: one that starts a channel does nothing if its number was ever used; stdin carries offsets.
 * A channel ends with one EXIT frame, after the last of its output; its number stays used.
 *
 * When the process has ended but the pipe stays open (a daemon was left behind), the channel ends once the pipe was
 * quiet for TN_HELD_QUIET_MS, at the latest after TN_HELD_MAX_MS. The daemon lives on: its output is read and dropped,
 * so that it neither blocks nor gets SIGPIPE. */
#ifndef TN_AGENT_CHANNEL_H
#define TN_AGENT_CHANNEL_H

#include "executors/agent/seen.h"
#include "executors/agent/stream.h"

#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/types.h>

#define TN_HELD_QUIET_MS 250
#define TN_HELD_MAX_MS 2000
#define TN_ORPHAN_PIPES 64

struct tn_channel;

struct tn_channels {
    struct tn_stream *stream; /* borrowed */
    struct tn_channel *first; /* owned list */
    unsigned count;
    struct tn_seen seen;
    const char *halt_prefix;      /* borrowed: halt files are this and the channel's number */
    int orphans[TN_ORPHAN_PIPES]; /* owned: pipes that daemons hold */
    unsigned orphan_count;
    bool stop;   /* a SHUTDOWN was applied */
    bool ending; /* the agent got SIGTERM */
};

/* Descriptors that the loop waits for. `owner` NULL with role TN_POLL_ORPHAN: index is the pipe's place. */
enum tn_poll_role {
    TN_POLL_SIGNAL,
    TN_POLL_LISTEN,
    TN_POLL_LINK,
    TN_POLL_LINK_OUT, /* only wakes up: what is due is sent before each wait */
    TN_POLL_IN,
    TN_POLL_OUT,
    TN_POLL_SIDE,
    TN_POLL_ORPHAN
};

#define TN_POLL_MAX (3 * TN_AGENT_CHANNELS_MAX + TN_ORPHAN_PIPES + 32)

struct tn_poll {
    struct pollfd fds[TN_POLL_MAX];
    struct {
        enum tn_poll_role role;
        void *owner;
    } who[TN_POLL_MAX];
    unsigned count;
};

void tn_poll_add(struct tn_poll *set, int fd, short events, enum tn_poll_role role, void *owner);

/* Applies a reliable command. -1 if the executor broke the protocol (its connection is to be dropped); whatever else
 * goes wrong is told in the stream. */
int tn_channels_command(struct tn_channels *channels, const struct tn_agent_packet *packet, const uint8_t *payload);
void tn_channels_poll(struct tn_channels *channels, struct tn_poll *set);
void tn_channels_event(struct tn_channels *channels, enum tn_poll_role role, void *owner, int fd);
/* A child of the agent has ended; `pid` may be nobody's. */
void tn_channels_reaped(struct tn_channels *channels, pid_t pid, int status, long long now);
/* Sends what is due and ends what is over. Returns milliseconds until it must be called again, -1 for none. */
int tn_channels_tick(struct tn_channels *channels, long long now);
/* Sends `sig` to every channel's process group. */
void tn_channels_signal_all(struct tn_channels *channels, int sig);

/* Monotonic milliseconds. */
long long tn_now_ms(void);

#endif
