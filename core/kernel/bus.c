/* tenon-bus: owns every socket of the bus and routes by header. Started by tenond, unprivileged, no secrets.
 *
 *     tenon-bus --kernel-fd N     N: this end of the socket pair to tenond */
#include "core/kernel/link.h"
#include "core/kernel/profile.h"
#include "core/kernel/router.h"
#include "core/lib/cleanup.h"
#include "core/lib/confine.h"
#include "core/lib/fs.h"
#include "core/lib/json.h"
#include "core/lib/log.h"
#include "core/lib/secret.h"
#include "transports/ipc/ipc.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { HEARTBEAT_S = 3 };

struct bus {
    struct event_base *base;  /* owned */
    struct tn_router *router; /* owned */
    struct tn_link *link;     /* owned */
    char confinement[TN_CONFINE_TEXT];
};

static bool to_kernel(void *arg, const void *message, size_t size)
{
    struct bus *bus = arg;

    return bus->link != NULL && !tn_link_is_busy(bus->link) && tn_link_send_message(bus->link, message, size) == 0;
}

static void on_link_drained(void *arg)
{
    struct bus *bus = arg;

    tn_router_kernel_ready(bus->router);
}

static void on_link_message(void *arg, const struct tn_header *header, const uint8_t *body)
{
    struct bus *bus = arg;

    tn_router_from_kernel(bus->router, header, body);
}

/* Without tenond there is nothing to route for: the next one starts a bus of its own. */
static void on_link_broken(void *arg, const char *why)
{
    struct bus *bus = arg;

    tn_debug("the link to tenond is over: %s", why);
    event_base_loopbreak(bus->base);
}

static void on_term(evutil_socket_t number, short what, void *arg)
{
    event_base_loopbreak(arg);
}

static void on_heartbeat(evutil_socket_t fd, short what, void *arg)
{
    struct bus *bus = arg;

    tn_router_beat(bus->router);
}

static void tell_ready(struct bus *bus)
{
    auto_json cJSON *body = cJSON_CreateObject();
    auto_free char *text = NULL;

    cJSON_AddStringToObject(body, "confinement", bus->confinement);
    text = tn_json_print(body);
    tn_router_tell_kernel(bus->router, TN_MSG_READY, text);
}

static int kernel_fd(int argc, char **argv)
{
    char *end = NULL;
    long fd = argc == 3 && strcmp(argv[1], "--kernel-fd") == 0 ? strtol(argv[2], &end, 10) : -1;

    if (fd < 0 || *end != '\0')
        tn_fatal(2, "usage: tenon-bus --kernel-fd N; this program is started by tenond, not by hand");
    return (int)fd;
}

static const char *need(const char *name)
{
    const char *value = getenv(name);

    if (value == NULL)
        tn_fatal(2, "%s is not set: this program is started by tenond, not by hand", name);
    return value;
}

int main(int argc, char **argv)
{
    struct bus bus = {.confinement = ""};
    struct timeval every = {HEARTBEAT_S, 0};
    struct tn_err err = TN_ERR_INIT;
    struct event *term;
    struct event *heartbeat;
    int fd;

    /* 1. Configuration. Leases pass through here. */
    tn_secret_guard();
    tn_secret_wipe_all();
    tn_log_open("bus");
    fd = kernel_fd(argc, argv);
    const char *folder = need("TENON_RUN");
    const struct tn_confine confine = {.profile = &tn_profile_bus, .roots = {[TN_PROFILE_RUN] = folder}};
    struct tn_router_config config = {.transport = &tn_transport_ipc,
                                      .folder = folder,
                                      .events_url = need("TENON_EVENTS"),
                                      .life = (uint32_t)strtoul(need("TENON_LIFE"), NULL, 10),
                                      .to_kernel = to_kernel,
                                      .arg = &bus};
    signal(SIGPIPE, SIG_IGN);
    signal(SIGINT, SIG_IGN);

    /* 2. Files, before the first socket starts nanomsg's thread. What did not hold is in the text. */
    (void)tn_confine_files(&confine, bus.confinement, sizeof(bus.confinement), NULL);

    /* 3. Sockets. Those of the peers follow as tenond adds them. */
    bus.base = config.base = event_base_new();
    if (bus.base == NULL)
        tn_fatal(3, "cannot make an event loop");
    bus.router = tn_router_open(&config, &err);
    bus.link = bus.router != NULL ? tn_link_open(bus.base, fd, on_link_message, on_link_broken, &bus, &err) : NULL;
    if (bus.link == NULL)
        tn_fatal(3, "%s", err.text);
    tn_link_on_drained(bus.link, on_link_drained);
    term = evsignal_new(bus.base, SIGTERM, on_term, bus.base);
    heartbeat = event_new(bus.base, -1, EV_PERSIST, on_heartbeat, &bus);
    if (term == NULL || heartbeat == NULL || event_add(term, NULL) != 0 || event_add(heartbeat, &every) != 0)
        tn_fatal(3, "cannot watch signals and time");

    /* 4. Calls. */
    (void)tn_confine_syscalls(&confine, bus.confinement, sizeof(bus.confinement), NULL);

    /* 5. Ready, and on. */
    tell_ready(&bus);
    event_base_dispatch(bus.base);
    tn_router_close(bus.router);
    tn_link_close(bus.link);
    event_free(term);
    event_free(heartbeat);
    event_base_free(bus.base);
    return 0;
}
