/* What every worker's main() begins with: its place on the bus, readiness, heartbeats, an orderly stop.
 *
 * tenond tells a worker all it needs in its environment (none of it secret):
 *   TENON_ADDRESS       own address, decimal (role << 8 | index)
 *   TENON_LIFE          own life, decimal
 *   TENON_BUS           "ipc://…" of its own socket on the bus
 *   TENON_EVENTS        "ipc://…" of the published events
 *   TENON_DATA          folder of the data sockets: "ipc://FOLDER/<address>.<life>/s", bound by tenon-output, one for
 *                       each executor and client, both numbers in hexadecimal (%04x.%08x) of the connecting side
 *   TENON_RUN           own run folder: sockets; lost at reboot
 *   TENON_STATE         own state folder: of this installation, or of this run
 *   TENON_STORE         own store folder: shared by the runs of a user
 *   TENON_INSTALLATION  id that labels environments
 *   TENON_OWNER         of executors: whose environments are (executors/docker/owner.h); may be missing
 *   TENON_PRIVATE       "1" for `tenon run`: nothing outlives it
 *   TENON_SETTINGS      folder with a file ROLE.json of settings for each service, or empty: all as by default */
#ifndef TN_SERVICE_H
#define TN_SERVICE_H

#include "core/peer/peer.h"

#include <cjson/cJSON.h>

struct tn_service {
    struct event_base *base; /* owned */
    struct tn_peer *bus;     /* owned */
    uint16_t address;
    uint32_t life;
    const char *events_url; /* borrowed from the environment, as are all strings here */
    const char *data_dir;
    const char *run_dir;
    const char *state_dir;
    const char *store_dir;
    const char *installation;
    const char *owner; /* may be NULL */
    bool is_private;
    cJSON *settings; /* owned; what this role gets of the settings (core/lib/settings.h), defaults filled in */
    bool once;       /* set before tn_service_open_bus(): as in tn_peer_config */
    void (*on_stop)(void *arg); /* called once at SIGTERM; NULL: the loop ends at once */
    void *arg;
    struct event *term;      /* owned */
    struct event *heartbeat; /* owned */
    bool beating;            /* a heartbeat is not answered yet */
};

/* Reads the environment and makes the loop; fails if something is missing. Opens no socket yet, so that Landlock can
 * come between. */
int tn_service_init(struct tn_service *service, const char *role, struct tn_err *err) TN_MUST_CHECK;
/* Opens the bus socket. `arg` goes to `on_message` and to `on_stop`. */
int tn_service_open_bus(struct tn_service *service, tn_message_cb *on_message, void *arg,
                        struct tn_err *err) TN_MUST_CHECK;
/* Tells tenond that start-up is over and what confinement is applied (text, may be empty); heartbeats from now on. */
void tn_service_ready(struct tn_service *service, const char *confinement);
/* Dispatches until tn_service_stop() or SIGTERM without on_stop. Returns the exit code. */
int tn_service_run(struct tn_service *service);
/* Ends the loop a moment (20 ms) later, so that what was just said still leaves. */
void tn_service_stop(struct tn_service *service);
void tn_service_close(struct tn_service *service);

/* "ipc://…" of the data socket between tenon-output and the peer with this address and life. The caller frees it. */
char *tn_service_data_url(const char *data_dir, uint16_t address, uint32_t life);

#endif
