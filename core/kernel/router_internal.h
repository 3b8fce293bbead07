/* What the files of the router share: the peers, and the calls between router.c (who gets what), router_sockets.c (the
 * sockets of peers) and router_guard.c (what is refused, and who is cut off). */
#ifndef TN_KERNEL_ROUTER_INTERNAL_H
#define TN_KERNEL_ROUTER_INTERNAL_H

#include "core/kernel/queue.h"
#include "core/kernel/router.h"
#include "core/kernel/traffic.h"

#include <assert.h>
#include <time.h>

enum {
    TN_ROUTER_SLOTS = 512,
    TN_ROUTER_LANE_BUS = TN_ROUTER_SLOTS, /* in queues: what the bus itself says; below, the peers */
    TN_ROUTER_LANE_KERNEL,                /* what tenond says */
    TN_ROUTER_LANES,
};
static_assert((int)TN_ROUTER_LANES == (int)TN_QUEUE_SOURCES, "a lane for everybody");

/* One peer, in one life. */
struct slot {
    struct tn_router *router; /* borrowed */
    uint16_t address;
    uint32_t life;
    struct tn_endpoint *endpoint; /* owned; NULL when only its state is known */
    struct event *readable;       /* owned */
    struct event *writable;       /* owned */
    char *state;                  /* owned; body of its last PEER_STATE */
    bool heard;                   /* it has said something */
    bool down;                    /* what is sent to it is dropped */
    unsigned long told;           /* `changes` when it was last told everything */
    unsigned index;               /* in `slots`: its lane in queues */
    struct tn_queue *queue;       /* owned; what waits for it */
    bool full;                    /* and that it takes no more was said */
    char *cut;                    /* owned; why it was cut off in this life; NULL: it was not */
    uint64_t heard_ms;            /* when it last said something; 0: not yet */
    unsigned long losses;         /* of the endpoint at the last check */
    unsigned restless;            /* checks in a row that found more of them */
    struct tn_traffic traffic;
    uint64_t told_messages; /* of `traffic`, when tenond was last told */
    uint64_t told_faults;
    unsigned refusals; /* in this life */
    uint64_t unsaid;   /* of these, since the last log line */
    time_t said;
};

struct tn_router {
    struct tn_router_config config;
    struct tn_endpoint *events; /* owned */
    struct event *check;        /* owned; looks for sockets that do not find back */
    struct event *soon;         /* owned; tenond is to hear of what was refused */
    struct tn_queue *kernel;    /* owned; what waits for tenond */
    unsigned checks;            /* left until it rests */
    uint32_t counter;
    unsigned long changes; /* of any peer's state */
    size_t count;
    struct slot *slots[TN_ROUTER_SLOTS]; /* in the order of arrival */
    struct slot *by_address[TN_ROLE_COUNT][256];
};

/* Of a clock that never goes back. */
uint64_t router__now_ms(void);

/* router.c */

/* A new state of a peer (body of PEER_STATE): remembered, published, told to all others; and who comes up is told all
 * the others' states. */
void router__note_state(struct slot *slot, const char *state, bool up);
/* Body of PEER_STATE; `reason` may be NULL. The caller frees it. */
char *router__state_text(uint16_t address, uint32_t life, const char *name, const char *state, const char *reason,
                         const cJSON *kinds);
/* Events of a peer's endpoint. */
void router__on_readable(evutil_socket_t fd, short what, void *slot);
void router__on_writable(evutil_socket_t fd, short what, void *slot);

/* router_sockets.c */

int router__open_socket(struct slot *slot, struct tn_err *err) TN_MUST_CHECK;
/* Drops what waits for it. Does nothing if it is closed. */
void router__close_socket(struct slot *slot);
/* Looks for half a minute whether connections come to rest; an event of router->check. */
void router__start_checks(struct tn_router *router);
void router__on_check(evutil_socket_t fd, short what, void *router);
/* One look at one socket. */
void router__check_socket(struct slot *slot);

/* router_guard.c */

/* May it pass? If not, it is counted and said, and its sender may be cut off: its endpoint is NULL then. */
bool router__check(struct slot *slot, const void *message, size_t size, struct tn_header *header);
/* Its destination takes no more of it; counted, and it may be cut off for that. */
void router__note_drop(struct slot *slot, uint16_t destination);
/* Tells tenond of what was refused; an event of router->soon. */
void router__on_soon(evutil_socket_t fd, short what, void *router);

#endif
