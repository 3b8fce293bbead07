#include "core/peer/service.h"
#include "core/lib/buf.h"
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/json.h"
#include "core/lib/log.h"
#include "core/lib/settings.h"
#include "transports/ipc/ipc.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

enum { HEARTBEAT_S = 3, STOP_MS = 20, SETTINGS_BYTES = 1024 * 1024 };

static const char *need(const char *name, struct tn_err *err)
{
    const char *value = getenv(name);

    if (value == NULL)
        tn_err_set(err, TN_ERR_USAGE, "%s is not set: this program is started by tenond, not by hand", name);
    return value;
}

static int need_number(const char *name, unsigned long max, unsigned long *out, struct tn_err *err)
{
    const char *text = need(name, err);
    char *end;

    if (text == NULL)
        return -1;
    errno = 0;
    *out = strtoul(text, &end, 10);
    if (errno != 0 || *end != '\0' || end == text || *out > max)
        return tn_err_set(err, TN_ERR_USAGE, "%s is \"%s\", expected a number up to %lu", name, text, max);
    return 0;
}

/* Read before the process confines itself. */
static int read_settings(struct tn_service *service, const char *role, struct tn_err *err)
{
    const char *folder = getenv("TENON_SETTINGS");
    auto_free char *path = tn_fs_path("%s/%s.json", folder != NULL ? folder : "", role);
    auto_buf struct tn_buf text = TN_BUF_INIT;
    unsigned receiver = tn_settings_receiver(role);

    if (receiver != 0 && folder != NULL && folder[0] != '\0') {
        if (tn_fs_read(path, SETTINGS_BYTES, &text, err) != 0)
            return tn_err_wrap(err, "settings");
        service->settings = tn_json_parse(text.data, text.len, path, err);
        if (service->settings == NULL)
            return -1;
    } else {
        service->settings = cJSON_CreateObject();
    }
    tn_settings_fill(service->settings, receiver);
    return 0;
}

static void on_term(evutil_socket_t signal_number, short what, void *arg)
{
    struct tn_service *service = arg;

    if (service->on_stop != NULL)
        service->on_stop(service->arg);
    else
        tn_service_stop(service);
}

int tn_service_init(struct tn_service *service, const char *role, struct tn_err *err)
{
    const struct {
        const char *name;
        const char **value;
    } texts[] = {
        {"TENON_EVENTS", &service->events_url}, {"TENON_DATA", &service->data_dir},
        {"TENON_RUN", &service->run_dir},       {"TENON_STATE", &service->state_dir},
        {"TENON_STORE", &service->store_dir},   {"TENON_INSTALLATION", &service->installation},
    };
    const char *is_private = getenv("TENON_PRIVATE");
    unsigned long address;
    unsigned long life;

    memset(service, 0, sizeof(*service));
    tn_log_open(role);
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        if ((*texts[i].value = need(texts[i].name, err)) == NULL)
            return -1;
    if (need_number("TENON_ADDRESS", 0xffff, &address, err) != 0 ||
        need_number("TENON_LIFE", 0xffffffff, &life, err) != 0)
        return -1;
    service->address = (uint16_t)address;
    service->life = (uint32_t)life;
    if (read_settings(service, role, err) != 0)
        return -1;
    service->owner = getenv("TENON_OWNER");
    service->is_private = is_private != NULL && strcmp(is_private, "1") == 0;
    signal(SIGPIPE, SIG_IGN);
    signal(SIGINT, SIG_IGN); /* Ctrl-C reaches the whole foreground group; tenond says when to stop */
    service->base = event_base_new();
    if (service->base == NULL)
        return tn_err_set(err, TN_ERR_SYSTEM, "cannot make an event loop");
    service->term = evsignal_new(service->base, SIGTERM, on_term, service);
    if (service->term == NULL || event_add(service->term, NULL) != 0)
        return tn_err_set(err, TN_ERR_SYSTEM, "cannot watch SIGTERM");
    return 0;
}

int tn_service_open_bus(struct tn_service *service, tn_message_cb *on_message, void *arg, struct tn_err *err)
{
    const char *url = need("TENON_BUS", err);
    struct tn_peer_config config = {.base = service->base,
                                    .transport = &tn_transport_ipc,
                                    .url = url,
                                    .mode = TN_ENDPOINT_CONNECT,
                                    .channel = TN_CHANNEL_BUS,
                                    .self = service->address,
                                    .life = service->life,
                                    .on_message = on_message,
                                    .arg = arg,
                                    .once = service->once};

    if (url == NULL)
        return -1;
    service->arg = arg;
    service->bus = tn_peer_open(&config, err);
    return service->bus != NULL ? 0 : -1;
}

static void on_beat_heard(void *arg, const struct tn_msg *reply)
{
    struct tn_service *service = arg;

    service->beating = false;
}

static void on_heartbeat(evutil_socket_t fd, short what, void *arg)
{
    struct tn_service *service = arg;

    /* A request, so that a bus that has gone deaf is noticed (tn_peer_reconnect). An unanswered one repeats itself. */
    if (service->beating)
        return;
    service->beating = true;
    tn_peer_request(service->bus, TN_MSG_HEARTBEAT, TN_ADDRESS(TN_ROLE_KERNEL, 0), 0, 0, NULL, 0, 0, on_beat_heard,
                    service);
}

void tn_service_ready(struct tn_service *service, const char *confinement)
{
    struct timeval every = {HEARTBEAT_S, 0};
    auto_json cJSON *body = cJSON_CreateObject();
    char *text;

    cJSON_AddStringToObject(body, "confinement", confinement);
    text = tn_json_print(body);
    tn_peer_request(service->bus, TN_MSG_READY, TN_ADDRESS(TN_ROLE_KERNEL, 0), 0, 0, text, strlen(text), 0, NULL, NULL);
    free(text);
    service->heartbeat = event_new(service->base, -1, EV_PERSIST, on_heartbeat, service);
    if (service->heartbeat == NULL || event_add(service->heartbeat, &every) != 0)
        tn_fatal(3, "cannot start the heartbeat");
}

int tn_service_run(struct tn_service *service)
{
    return event_base_dispatch(service->base) < 0 ? 3 : 0;
}

/* nanomsg sends in a thread of its own and forgets at exit what it still holds: give the thread a moment. Nothing
 * depends on it, since what matters is acknowledged. */
void tn_service_stop(struct tn_service *service)
{
    struct timeval moment = {0, STOP_MS * 1000};

    event_base_loopexit(service->base, &moment);
}

void tn_service_close(struct tn_service *service)
{
    tn_peer_close(service->bus);
    if (service->heartbeat != NULL)
        event_free(service->heartbeat);
    if (service->term != NULL)
        event_free(service->term);
    if (service->base != NULL)
        event_base_free(service->base);
    cJSON_Delete(service->settings);
}

char *tn_service_data_url(const char *data_dir, uint16_t address, uint32_t life)
{
    return tn_fs_path("ipc://%s/%04x.%08x/s", data_dir, (unsigned)address, (unsigned)life);
}
