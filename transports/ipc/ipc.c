#include "transports/ipc/ipc.h"
#include "proto/codec.h"

#include <nanomsg/nn.h>
#include <nanomsg/pair.h>
#include <nanomsg/pubsub.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct tn_endpoint {
    int socket;
    bool connects;
    int receive_fd;
    int send_fd;
};

enum {
    RECONNECT_MS = 5,      /* first wait before connecting again */
    RECONNECT_MAX_MS = 50, /* local sockets: a restarted process is back within milliseconds */
    SEND_BUFFER = 1 << 20,
    PATH_MAX_BYTES = 100, /* sun_path holds 108 */
};

static int set_option(int sock, int level, int option, int value, struct tn_err *err)
{
    if (nn_setsockopt(sock, level, option, &value, sizeof(value)) != 0)
        return tn_err_set(err, TN_ERR_SYSTEM, "nanomsg option %d = %d: %s", option, value, nn_strerror(nn_errno()));
    return 0;
}

static int set_options(int sock, enum tn_endpoint_mode mode, struct tn_err *err)
{
    if (set_option(sock, NN_SOL_SOCKET, NN_SNDBUF, SEND_BUFFER, err) != 0)
        return -1;
    if (mode != TN_ENDPOINT_PUBLISH &&
        (set_option(sock, NN_SOL_SOCKET, NN_RCVMAXSIZE, (int)TN_MSG_SIZE_MAX, err) != 0 ||
         set_option(sock, NN_SOL_SOCKET, NN_RCVBUF, SEND_BUFFER, err) != 0))
        return -1;
    if (set_option(sock, NN_SOL_SOCKET, NN_RECONNECT_IVL, RECONNECT_MS, err) != 0 ||
        set_option(sock, NN_SOL_SOCKET, NN_RECONNECT_IVL_MAX, RECONNECT_MAX_MS, err) != 0)
        return -1;
    if (mode == TN_ENDPOINT_SUBSCRIBE && nn_setsockopt(sock, NN_SUB, NN_SUB_SUBSCRIBE, "", 0) != 0)
        return tn_err_set(err, TN_ERR_SYSTEM, "cannot subscribe: %s", nn_strerror(nn_errno()));
    return 0;
}

static int option_fd(int sock, int option)
{
    int fd = -1;
    size_t size = sizeof(fd);

    return nn_getsockopt(sock, NN_SOL_SOCKET, option, &fd, &size) == 0 ? fd : -1;
}

/* Who may connect is said by the socket's folder: its owner, who binds, and its group, the other end's. nanomsg binds
 * in the calling thread. */
static int bind_for_group(int sock, const char *url)
{
    mode_t before = umask(007);
    int bound = nn_bind(sock, url);

    umask(before);
    return bound;
}

/* With its last socket nanomsg's thread ends, and a confined process may start no other: one that is connected to
 * nothing stays open. */
static int keep_thread(struct tn_err *err)
{
    static int keeper = -1;

    if (keeper < 0)
        keeper = nn_socket(AF_SP, NN_PAIR);
    return keeper >= 0 ? 0 : tn_err_set(err, TN_ERR_SYSTEM, "nanomsg socket: %s", nn_strerror(nn_errno()));
}

static struct tn_endpoint *ipc_open(const char *url, enum tn_endpoint_mode mode, struct tn_err *err)
{
    static const int protocols[] = {
        [TN_ENDPOINT_BIND] = NN_PAIR,
        [TN_ENDPOINT_CONNECT] = NN_PAIR,
        [TN_ENDPOINT_PUBLISH] = NN_PUB,
        [TN_ENDPOINT_SUBSCRIBE] = NN_SUB,
    };
    struct tn_endpoint *endpoint;
    int sock;
    int bound;

    if (strncmp(url, "ipc://", 6) != 0 || strlen(url + 6) > PATH_MAX_BYTES) {
        tn_err_set(err, TN_ERR_USAGE, "bus address \"%s\": expected ipc:// and a path of at most %d bytes", url,
                   PATH_MAX_BYTES);
        return NULL;
    }
    if (keep_thread(err) != 0)
        return NULL;
    sock = nn_socket(AF_SP, protocols[mode]);
    if (sock < 0) {
        tn_err_set(err, TN_ERR_SYSTEM, "nanomsg socket: %s", nn_strerror(nn_errno()));
        return NULL;
    }
    if (set_options(sock, mode, err) != 0) {
        nn_close(sock);
        return NULL;
    }
    bound = mode == TN_ENDPOINT_BIND || mode == TN_ENDPOINT_PUBLISH ? bind_for_group(sock, url) : nn_connect(sock, url);
    endpoint = bound >= 0 ? calloc(1, sizeof(*endpoint)) : NULL;
    if (endpoint == NULL) {
        tn_err_set(err, TN_ERR_SYSTEM, "bus address %s: %s", url, nn_strerror(nn_errno()));
        nn_close(sock);
        return NULL;
    }
    endpoint->socket = sock;
    endpoint->connects = mode == TN_ENDPOINT_CONNECT;
    endpoint->receive_fd = mode != TN_ENDPOINT_PUBLISH ? option_fd(sock, NN_RCVFD) : -1;
    endpoint->send_fd = mode != TN_ENDPOINT_SUBSCRIBE ? option_fd(sock, NN_SNDFD) : -1;
    return endpoint;
}

static void ipc_close(struct tn_endpoint *endpoint)
{
    nn_close(endpoint->socket);
    free(endpoint);
}

static int ipc_receive_fd(struct tn_endpoint *endpoint)
{
    return endpoint->receive_fd;
}

static int ipc_send_fd(struct tn_endpoint *endpoint)
{
    return endpoint->send_fd;
}

static void ipc_limit(struct tn_endpoint *endpoint, size_t size)
{
    /* Cannot fail for a socket that is open. */
    (void)set_option(endpoint->socket, NN_SOL_SOCKET, NN_RCVMAXSIZE, (int)size, NULL);
}

/* Two bugs of nanomsg 1.1.5 make this needed. It reads up to 2 KiB ahead into a buffer of the connecting endpoint and
 * does not empty it when the connection breaks: if the other end died under load, the rest is taken for the next
 * connection's greeting, which fails, eight bytes at each try. And the bound PAIR to which these tries come can keep
 * one of the dead connections for a living one, and then refuses all others for good. Only a new socket is free of
 * both. */
static unsigned long ipc_losses(struct tn_endpoint *endpoint)
{
    static const int counts[] = {NN_STAT_BROKEN_CONNECTIONS, NN_STAT_DROPPED_CONNECTIONS, NN_STAT_CONNECT_ERRORS,
                                 NN_STAT_ACCEPTED_CONNECTIONS};
    unsigned long sum = 0;

    /* Taken from it in the middle of its greeting, a bound PAIR keeps it for good. */
    if (endpoint->connects && (nn_get_statistic(endpoint->socket, NN_STAT_CURRENT_CONNECTIONS) > 0 ||
                               nn_get_statistic(endpoint->socket, NN_STAT_INPROGRESS_CONNECTIONS) > 0))
        return 0;
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++)
        sum += (unsigned long)nn_get_statistic(endpoint->socket, counts[i]);
    return sum;
}

static void *ipc_allocate(size_t size)
{
    return nn_allocmsg(size, 0);
}

static void ipc_release(void *message)
{
    nn_freemsg(message);
}

static int ipc_send(struct tn_endpoint *endpoint, void *message, struct tn_err *err)
{
    if (nn_send(endpoint->socket, &message, NN_MSG, NN_DONTWAIT) >= 0)
        return 1;
    if (nn_errno() == EAGAIN || nn_errno() == EINTR)
        return 0;
    return tn_err_set(err, TN_ERR_UNAVAILABLE, "bus send: %s", nn_strerror(nn_errno()));
}

static int ipc_receive(struct tn_endpoint *endpoint, void **message, size_t *size, struct tn_err *err)
{
    int got = nn_recv(endpoint->socket, message, NN_MSG, NN_DONTWAIT);

    if (got >= 0) {
        *size = (size_t)got;
        return 1;
    }
    if (nn_errno() == EAGAIN || nn_errno() == EINTR)
        return 0;
    return tn_err_set(err, TN_ERR_UNAVAILABLE, "bus receive: %s", nn_strerror(nn_errno()));
}

const struct tn_transport tn_transport_ipc = {
    .name = "ipc",
    .open = ipc_open,
    .close = ipc_close,
    .receive_fd = ipc_receive_fd,
    .send_fd = ipc_send_fd,
    .limit = ipc_limit,
    .losses = ipc_losses,
    .allocate = ipc_allocate,
    .release = ipc_release,
    .send = ipc_send,
    .receive = ipc_receive,
};
