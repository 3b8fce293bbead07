/* The data sockets: one PAIR for each life of an executor or client, bound when PEER_STATE tells of it. */
#ifndef TN_OUTPUT_DATA_H
#define TN_OUTPUT_DATA_H

#include "core/output/task.h"
#include "core/peer/service.h"

enum { TN_DATA_SOCKETS_MAX = 512 };

struct tn_data_socket {
    LIST_ENTRY(tn_data_socket) next;
    struct tn_data *data;
    struct tn_peer *peer; /* owned */
    uint16_t address;
    uint32_t life;
};

struct tn_data {
    struct tn_service *service; /* borrowed */
    struct tn_tasks *tasks;     /* borrowed */
    LIST_HEAD(, tn_data_socket) sockets;
    size_t count;
    struct event *check; /* owned; looks for sockets that have gone deaf */
};

void tn_data_init(struct tn_data *data, struct tn_service *service, struct tn_tasks *tasks);
/* Handles PEER_STATE: binds the socket of a new life, closes those of earlier ones and of peers that are gone. */
void tn_data_peer_state(struct tn_data *data, const struct tn_msg *msg);
void tn_data_close_all(struct tn_data *data);

#endif
