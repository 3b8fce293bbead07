#include "core/kernel/router_internal.h"
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/log.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    CHECK_MS = 250,
    CHECKS = 120,
    LOSSES_MAX = 2,
    RESTLESS_MAX = 2,
    ALIVE_MS = 4000, /* more than a heartbeat: who was heard in it has a connection that works */
};

uint64_t router__now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u;
}

void router__close_socket(struct slot *slot)
{
    if (slot->endpoint == NULL)
        return;
    event_free(slot->readable); /* before nanomsg closes the descriptor */
    event_free(slot->writable);
    slot->readable = NULL;
    slot->writable = NULL;
    tn_queue_clear(slot->queue);
    slot->router->config.transport->close(slot->endpoint);
    slot->endpoint = NULL;
}

/* The largest message that a role may send to the bus: more is not even received. */
static size_t largest_of(enum tn_role role)
{
    size_t count;
    const struct tn_msg_info *list = tn_msg_list(&count);
    size_t largest = 0;

    for (size_t i = 0; i < count; i++)
        if (list[i].channel != TN_CHANNEL_DATA && (list[i].senders & 1u << role) != 0 && list[i].max_body > largest)
            largest = list[i].max_body;
    return TN_HEADER_SIZE + largest;
}

int router__open_socket(struct slot *slot, struct tn_err *err)
{
    struct tn_router *router = slot->router;
    const struct tn_transport *transport = router->config.transport;
    auto_free char *path =
        tn_fs_path("%s/%04x.%08x/s", router->config.folder, (unsigned)slot->address, (unsigned)slot->life);
    auto_free char *url = tn_fs_path("ipc://%s", path);

    /* What a killed bus left. nanomsg would look who is at it first, with a connect() that this process may not do. */
    if (unlink(path) != 0 && errno != ENOENT)
        return tn_err_sys(err, errno, "cannot remove %s", path);
    slot->endpoint = transport->open(url, TN_ENDPOINT_BIND, err);
    if (slot->endpoint == NULL)
        return -1;
    transport->limit(slot->endpoint, largest_of(TN_ADDRESS_ROLE(slot->address)));
    slot->readable = event_new(router->config.base, transport->receive_fd(slot->endpoint), EV_READ | EV_PERSIST,
                               router__on_readable, slot);
    /* "May send", too, is said by becoming readable. */
    slot->writable = event_new(router->config.base, transport->send_fd(slot->endpoint), EV_READ | EV_PERSIST,
                               router__on_writable, slot);
    if (slot->readable == NULL || slot->writable == NULL)
        tn_fatal(3, "out of memory for the events of %s", url);
    event_add(slot->readable, NULL);
    return 0;
}

/* Connections break when a process dies, and then another one is added, or this bus is a new one: the check runs for
 * half a minute from there and rests otherwise, so that an idle bus is not woken. */
void router__start_checks(struct tn_router *router)
{
    const struct timeval every = {0, CHECK_MS * 1000};

    if (router->checks == 0 && event_add(router->check, &every) != 0)
        tn_fatal(3, "out of memory for a timer");
    router->checks = CHECKS;
}

static void bind_anew(struct slot *slot)
{
    struct tn_err err = TN_ERR_INIT;
    char name[32];

    tn_info("%s connects again and again: its socket is bound anew",
            tn_address_name(slot->address, name, sizeof(name)));
    event_free(slot->readable);
    event_free(slot->writable);
    slot->router->config.transport->close(slot->endpoint);
    slot->losses = 0;
    if (router__open_socket(slot, &err) != 0)
        tn_fatal(3, "%s", err.text); /* tenond starts another bus */
    if (tn_queue_count(slot->queue) > 0)
        event_add(slot->writable, NULL);
}

/* A peer that comes again and again within a moment is refused by a socket that takes its dead connection for a living
 * one (transports/ipc/ipc.c): that socket is bound anew, and what waits for the peer stays in the queue. But if the
 * peer was heard just now, then it is somebody else who tries to get in, and must not be given the socket. */
void router__check_socket(struct slot *slot)
{
    unsigned long losses = slot->endpoint != NULL ? slot->router->config.transport->losses(slot->endpoint) : 0;
    unsigned long before = slot->losses;
    char name[32];

    slot->restless = losses > before ? slot->restless + 1 : 0;
    slot->losses = losses;
    if (losses <= before + LOSSES_MAX && slot->restless <= RESTLESS_MAX)
        return;
    slot->restless = 0;
    if (slot->heard_ms == 0 || router__now_ms() - slot->heard_ms > ALIVE_MS)
        bind_anew(slot);
    else
        tn_warn("the socket of %s has its connection, and others to it are refused",
                tn_address_name(slot->address, name, sizeof(name)));
}

void router__on_check(evutil_socket_t fd, short what, void *arg)
{
    struct tn_router *router = arg;

    if (--router->checks == 0)
        event_del(router->check);
    for (size_t i = 0; i < router->count; i++)
        router__check_socket(router->slots[i]);
}
