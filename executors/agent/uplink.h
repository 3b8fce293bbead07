/* The connections to the executor: accepting, the handshake, taking commands, sending the stream.
 *
 * Any number of connections (up to TN_UPLINKS) may be open; the one that said HELLO last is the current one, and only
 * that one is served. A connection that sends what is malformed is dropped, and nothing else happens. A descriptor
 * that was inherited (a virtio port, a socket, stdin and stdout under Docker's attach) cannot be accepted again: what
 * is malformed there is skipped until the next HELLO. */
#ifndef TN_AGENT_UPLINK_H
#define TN_AGENT_UPLINK_H

#include "executors/agent/channel.h"

#define TN_UPLINKS 8
#define TN_UPLINK_HELLO_MS 10000 /* a connection must have said HELLO by then */
#define TN_UPLINK_AWAY_MS 20     /* between two looks at an inherited port that nobody is connected to */

struct tn_uplink {
    int fd; /* owned; -1: a free place */
    int to; /* owned; where to write: `fd` itself, but for stdin and stdout */
    bool inherited;
    bool current;
    struct tn_buf in;   /* owned; bounded by the largest command */
    struct tn_buf out;  /* owned; headers and answers */
    uint64_t sent;      /* stream offset behind the last byte that was sent */
    size_t packet_left; /* stream bytes that still belong to the DATA packet begun in `out` */
    uint64_t done_sent;
    long long deadline; /* for the HELLO; 0 none */
    long long away;     /* do not look before; 0 now */
};

struct tn_uplinks {
    struct tn_stream *stream;     /* borrowed */
    struct tn_channels *channels; /* borrowed */
    const struct tn_buf *facts;   /* borrowed */
    uint8_t boot[TN_AGENT_BOOT];
    uint64_t life; /* of the executor whose commands `applied` counts */
    uint64_t applied;
    struct tn_uplink all[TN_UPLINKS];
    bool ended;            /* the inherited descriptor has ended for good */
    long long peer;        /* the only user who may connect; -1: anybody whose process is not one of the job's */
    unsigned long refused; /* connections that were, */
    unsigned long dropped; /* or that broke the protocol */
};

void tn_uplinks_open(struct tn_uplinks *uplinks);
/* Takes over both; `out` is -1 where `fd` goes both ways. */
void tn_uplinks_add(struct tn_uplinks *uplinks, int fd, int out, bool inherited, long long now);
/* Takes the next connection, unless it comes from the job itself: credentials are those at the time of connect(2), and
 * a process that is gone meanwhile proves nothing, so it is refused, too. */
void tn_uplinks_accept(struct tn_uplinks *uplinks, int listener, long long now);
/* Sends what can be sent and adds what to wait for; to be called before each poll. Returns ms to the next deadline. */
int tn_uplinks_poll(struct tn_uplinks *uplinks, struct tn_poll *set, long long now);
void tn_uplinks_event(struct tn_uplinks *uplinks, struct tn_uplink *uplink, short events, long long now);
/* True while the current connection has something to send that is not the stream (answers, DONE). */
bool tn_uplinks_owes(const struct tn_uplinks *uplinks);
void tn_uplinks_close(struct tn_uplinks *uplinks);

#endif
