/* A link's state, between agent_link.c (the connection and the queue), agent_receive.c (what comes) and
 * agent_commands.c (what goes). Not for others. */
#ifndef TN_SDK_AGENT_LINK_INTERNAL_H
#define TN_SDK_AGENT_LINK_INTERNAL_H

#include "core/lib/buf.h"
#include "executors/sdk/agent_link.h"

struct event;
struct event_base;

#define TN_AGENT_RETRY_MIN_MS 2

enum tn_agent_link_state {
    LINK_CONNECTING, /* no connection; the timer tries again */
    LINK_GREETING,   /* HELLO sent; everything before the WELCOME with our nonce is dropped */
    LINK_UP,
    LINK_DEAD, /* on_lost was called, or the agent was shut down */
};

/* A reliable command that no DONE covers yet; whole packets, so sending again is copying. */
struct tn_agent_queued {
    struct tn_agent_queued *next;
    uint64_t number;
    size_t len;
    uint8_t bytes[];
};

struct tn_agent_link {
    struct event_base *base; /* borrowed */
    char *path;              /* owned or NULL */
    int (*open)(void *arg);  /* or NULL */
    char *name;              /* owned; of the way to the agent, for messages */
    struct tn_agent_callbacks callbacks;
    void *arg;
    int timeout_ms;
    size_t queue_max;

    enum tn_agent_link_state state;
    int fd;              /* owned; -1: none */
    int first_fd;        /* owned; given at creation and not used yet */
    struct event *read;  /* owned; NULL while there is no connection */
    struct event *write; /* owned */
    struct event *timer; /* owned */
    int retry_ms;
    int greetings;     /* HELLOs on this connection */
    int torn_welcomes; /* on this connection: with a payload that is not theirs */
    bool paused;
    bool shutdown;      /* a SHUTDOWN is queued or applied: losing the agent is what we want */
    long long deadline; /* monotonic ms; while not up */

    uint64_t life;
    uint64_t number; /* of the last command queued */
    uint64_t acked;  /* last one that a DONE covered */
    struct tn_agent_queued *first;
    struct tn_agent_queued **last;
    size_t queued_bytes;
    struct tn_agent_queued *unsent; /* in the list: first that is not in `out` yet */

    uint8_t boot[TN_AGENT_BOOT];
    uint8_t nonce[TN_AGENT_NONCE];
    uint64_t handed;   /* stream offset behind the last frame handed out */
    uint64_t received; /* stream offset behind the last byte in `stream` */
    uint64_t durable;  /* acknowledged by the owner */
    uint64_t durable_sent;
    struct tn_buf in;     /* owned: bytes of packets */
    struct tn_buf stream; /* owned: a frame that is not complete */
    struct tn_buf out;    /* owned */
    bool *freed;          /* set while callbacks run: tells that the link is gone */
};

static inline bool tn_agent_link__holds_back(const struct tn_agent_link *link)
{
    return link->paused && link->state == LINK_UP;
}

/* Final. Nothing may be done with the link afterwards: the callback may have freed it. */
void tn_agent_link__lose(struct tn_agent_link *link, enum tn_err_code code, const char *fmt, ...) TN_PRINTF(3, 4);
/* Hands out what is whole in `stream`, and in `in`. 0: go on; 1: the link was freed (then `freed` is set) or lost;
 * -1: the bytes are not the protocol: reconnect. */
int tn_agent_link__take_stream(struct tn_agent_link *link, const bool *freed);
int tn_agent_link__take_packets(struct tn_agent_link *link, const bool *freed);

/* Queues a command until a DONE covers it and sends what can be sent; `payload` is copied. Never blocks. -1: the queue
 * is full or the payload too large (TN_ERR_LIMIT), or no memory. */
TN_MUST_CHECK int tn_agent_link__queue(struct tn_agent_link *link, enum tn_agent_packet_type type, uint32_t channel,
                                       const uint8_t *payload, size_t len, struct tn_err *err);

#endif
