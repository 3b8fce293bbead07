#include "core/output/data.h"
#include "core/lib/cleanup.h"
#include "core/lib/log.h"
#include "transports/ipc/ipc.h"

#include <inttypes.h>
#include <string.h>

enum { CHECK_S = 1, DEAF_MS = 3000 };

static void on_check(evutil_socket_t fd, short what, void *arg)
{
    struct tn_data *data = arg;
    struct tn_data_socket *socket;

    LIST_FOREACH (socket, &data->sockets, next)
        tn_peer_check(socket->peer, DEAF_MS);
}

void tn_data_init(struct tn_data *data, struct tn_service *service, struct tn_tasks *tasks)
{
    static const struct timeval every = {CHECK_S, 0};

    memset(data, 0, sizeof(*data));
    LIST_INIT(&data->sockets);
    data->service = service;
    data->tasks = tasks;
    data->check = event_new(service->base, -1, EV_PERSIST, on_check, data);
    if (data->check == NULL || event_add(data->check, &every) != 0)
        tn_fatal(3, "out of memory: a timer");
}

static void on_message(void *arg, struct tn_peer *peer, const struct tn_msg *msg)
{
    struct tn_data_socket *socket = arg;

    if (TN_SEQUENCE_LIFE(msg->header.sequence) != socket->life) {
        tn_warn("dropped %s from 0x%04x: not the life that this socket is for", tn_msg_name(msg->header.kind),
                msg->header.source);
        return;
    }
    if (tn_msg_info(msg->header.kind)->reply != TN_MSG_NONE)
        tn_task_message(socket->data->tasks, peer, msg);
}

static void socket_close(struct tn_data_socket *socket)
{
    tn_task_forget_peer(socket->data->tasks, socket->peer, socket->address);
    LIST_REMOVE(socket, next);
    socket->data->count--;
    tn_peer_close(socket->peer);
    free(socket);
}

static void socket_open(struct tn_data *data, uint16_t address, uint32_t life)
{
    struct tn_data_socket *socket = calloc(1, sizeof(*socket));
    auto_free char *url = tn_service_data_url(data->service->data_dir, address, life);
    struct tn_peer_config config = {.base = data->service->base,
                                    .transport = &tn_transport_ipc,
                                    .url = url,
                                    .mode = TN_ENDPOINT_BIND,
                                    .channel = TN_CHANNEL_DATA,
                                    .self = data->service->address,
                                    .remote = address,
                                    .life = data->service->life,
                                    .on_message = on_message,
                                    .arg = socket};
    struct tn_err err = TN_ERR_INIT;

    if (socket == NULL)
        tn_fatal(3, "out of memory: a data socket");
    if (data->count >= TN_DATA_SOCKETS_MAX)
        tn_err_set(&err, TN_ERR_LIMIT, "%d data sockets are open, the limit", TN_DATA_SOCKETS_MAX);
    else
        socket->peer = tn_peer_open(&config, &err);
    if (socket->peer == NULL) {
        tn_error("no data socket for 0x%04x: %s", (unsigned)address, err.text);
        free(socket);
        return;
    }
    socket->data = data;
    socket->address = address;
    socket->life = life;
    LIST_INSERT_HEAD(&data->sockets, socket, next);
    data->count++;
}

/* Closes the sockets of lives up to `life` of an address, but `life` itself only without `keep`; true if one is left.
 */
static bool close_lives(struct tn_data *data, uint16_t address, uint32_t life, bool keep)
{
    struct tn_data_socket *socket = LIST_FIRST(&data->sockets);
    bool there = false;

    while (socket != NULL) {
        struct tn_data_socket *next = LIST_NEXT(socket, next);

        if (socket->address == address) {
            if (socket->life > life || (keep && socket->life == life))
                there = true;
            else
                socket_close(socket);
        }
        socket = next;
    }
    return there;
}

void tn_data_peer_state(struct tn_data *data, const struct tn_msg *msg)
{
    auto_json cJSON *body = tn_json_parse(msg->body, msg->header.length, "PEER_STATE", NULL);
    uint64_t address = tn_json_u64(body, "address", 0);
    uint64_t life = tn_json_u64(body, "life", 0);
    const char *state = tn_json_string(body, "state", "");
    enum tn_role role = TN_ADDRESS_ROLE(address);
    bool alive = strcmp(state, "added") == 0 || strcmp(state, "up") == 0;

    if (address > UINT16_MAX || life > UINT32_MAX || (role != TN_ROLE_EXECUTOR && role != TN_ROLE_CLIENT))
        return;
    if (!close_lives(data, (uint16_t)address, (uint32_t)life, alive) && alive)
        socket_open(data, (uint16_t)address, (uint32_t)life);
}

void tn_data_close_all(struct tn_data *data)
{
    while (!LIST_EMPTY(&data->sockets))
        socket_close(LIST_FIRST(&data->sockets));
    event_free(data->check);
}
