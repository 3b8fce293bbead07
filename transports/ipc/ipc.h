/* nanomsg over Unix sockets: the transport of one host. URLs are "ipc:///path"; a path is at most 100 bytes.
 *
 * nanomsg starts a thread with the first socket: open endpoints after the last fork, and after Landlock. */
#ifndef TN_TRANSPORT_IPC_H
#define TN_TRANSPORT_IPC_H

#include "transports/transport.h"

extern const struct tn_transport tn_transport_ipc;

#endif
