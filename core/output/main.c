/* tenon-output: logs, artifacts, caches, workspaces, test results; masks secrets; serves readers from any offset. */
#include "core/lib/cleanup.h"
#include "core/lib/confine.h"
#include "core/lib/log.h"
#include "core/lib/secret.h"
#include "core/output/data.h"
#include "core/output/disk.h"
#include "core/output/profile.h"
#include "core/output/retention.h"

#include <string.h>
#include <time.h>

enum { RETENTION_S = 3600 };

struct output {
    struct tn_service service;
    struct tn_layout layout;
    struct tn_logs logs;
    struct tn_tasks tasks;
    struct tn_data data;
    struct tn_works *works; /* owned */
    struct tn_room room;
    struct tn_disk disk;
    struct tn_keep keep;
    struct event *retention; /* owned: timer */
    struct tn_work *sweeping;
};

/* A notice: who misses it reads again by offset. */
static void publish_log(void *arg, const struct tn_log_file *log)
{
    struct output *output = arg;
    auto_json cJSON *body = cJSON_CreateObject();
    auto_free char *text = NULL;

    cJSON_AddStringToObject(body, "event", "log");
    tn_json_add_u64(body, "task", log->task);
    cJSON_AddNumberToObject(body, "attempt", log->attempt);
    cJSON_AddNumberToObject(body, "step", log->step);
    tn_json_add_u64(body, "size", log->stored);
    cJSON_AddBoolToObject(body, "ended", log->ended);
    text = tn_json_print(body);
    tn_peer_notify(output->service.bus, TN_MSG_EVENT, TN_ADDRESS(TN_ROLE_EVENTS, 0), log->task, log->attempt, text,
                   strlen(text));
}

/* ---- retention: by itself, beside the jobs ---- */

static void run_retention(void *arg)
{
    const struct output *output = arg;
    struct tn_retention retention = {.keep = output->keep, .now = (uint64_t)time(NULL)};

    tn_retention_store(&retention, &output->layout, NULL);
}

static void on_retention_done(void *arg)
{
    struct output *output = arg;

    output->sweeping = NULL;
}

static void on_retention(evutil_socket_t fd, short what, void *arg)
{
    struct output *output = arg;

    if (output->sweeping == NULL)
        output->sweeping = tn_work_start(output->works, run_retention, on_retention_done, output);
}

static int start_retention(struct output *output, struct tn_err *err)
{
    static const struct timeval period = {RETENTION_S, 0};

    output->retention = event_new(output->service.base, -1, EV_PERSIST, on_retention, output);
    if (output->retention == NULL || event_add(output->retention, &period) != 0)
        return tn_err_set(err, TN_ERR_SYSTEM, "out of memory: a timer");
    on_retention(-1, 0, output);
    return 0;
}

/* ---- the bus ---- */

/* A scheduler that is up anew knows nothing of the disk. */
static void note_scheduler(struct output *output, const struct tn_msg *msg)
{
    auto_json cJSON *body = tn_json_parse(msg->body, msg->header.length, "PEER_STATE", NULL);

    if (TN_ADDRESS_ROLE(tn_json_u64(body, "address", 0)) == TN_ROLE_SCHEDULER &&
        strcmp(tn_json_string(body, "state", ""), "up") == 0)
        tn_disk_tell(&output->disk);
}

/* What grants are signed with. From the scheduler, which alone may send it. */
static void take_key(struct output *output, struct tn_peer *peer, const struct tn_msg *msg)
{
    auto_json cJSON *body = tn_json_parse(msg->body, msg->header.length, "LEASE_KEY", NULL);
    struct tn_msg_ref ref = tn_msg_ref(msg);
    uint8_t key[TN_GRANT_KEY];
    struct tn_err err = TN_ERR_INIT;

    if (tn_grant_key_read(tn_json_string(body, "key", ""), key, &err) != 0) {
        tn_peer_refuse(peer, &ref, "invalid", "LEASE_KEY: %s", err.text);
        return;
    }
    tn_task_key(&output->tasks, key);
    explicit_bzero(key, sizeof(key));
    tn_peer_reply(peer, &ref, TN_MSG_ACK, NULL, 0);
}

static void on_bus_message(void *arg, struct tn_peer *peer, const struct tn_msg *msg)
{
    struct output *output = arg;
    struct tn_msg_ref ref = tn_msg_ref(msg);

    if (msg->header.kind == TN_MSG_PEER_STATE) {
        tn_data_peer_state(&output->data, msg);
        note_scheduler(output, msg);
    } else if (msg->header.kind == TN_MSG_LEASE_KEY) {
        take_key(output, peer, msg);
    } else if (tn_msg_info(msg->header.kind)->reply != TN_MSG_NONE) {
        tn_peer_refuse(peer, &ref, "invalid", "tenon-output does not answer %s on the bus",
                       tn_msg_name(msg->header.kind));
    }
}

static int serve(struct output *output, struct tn_err *err)
{
    struct tn_service *service = &output->service;
    const struct tn_confine confine = {.profile = &tn_profile_output,
                                       .roots = {[TN_PROFILE_STATE] = service->state_dir,
                                                 [TN_PROFILE_STORE] = service->store_dir,
                                                 [TN_PROFILE_DATA] = service->data_dir}};
    char confinement[TN_CONFINE_TEXT] = "";
    struct tn_err unconfined = TN_ERR_INIT;
    struct tn_blobs *blobs;
    const cJSON *settings = tn_json_get(service->settings, "store");
    int status;

    /* 1. settings, folders */
    output->room = (struct tn_room){.reserve = (uint64_t)tn_json_number(settings, "reserve", 1e9),
                                    .quota = (uint64_t)tn_json_number(settings, "project_quota", 0)};
    output->keep = tn_keep_read(settings);
    tn_layout_init(&output->layout, service->state_dir, service->store_dir);
    blobs = tn_blobs_new(&output->layout, err);
    if (blobs == NULL)
        return -1;
    tn_logs_init(&output->logs, service->base, publish_log, output);
    output->tasks = (struct tn_tasks){
        .attempts = {.layout = &output->layout, .blobs = blobs, .logs = &output->logs, .room = &output->room},
        .blobs = blobs};
    tn_task_init(&output->tasks);
    output->tasks.attempts.log_limit = (uint64_t)tn_json_number(settings, "log_limit", 0);
    tn_data_init(&output->data, service, &output->tasks);
    /* 2. files that it may touch; before the first socket, whose thread is bound too */
    if (tn_confine_files(&confine, confinement, sizeof(confinement), &unconfined) != 0)
        tn_warn("%s", unconfined.text);
    output->works = tn_works_new(service->base, err);
    if (output->works == NULL)
        return -1;
    output->tasks.works = output->works;
    /* 3. sockets */
    if (tn_service_open_bus(service, on_bus_message, output, err) != 0 ||
        tn_disk_start(&output->disk, service, &output->room, err) != 0)
        return -1;
    /* 4. system calls that it may use */
    if (tn_confine_syscalls(&confine, confinement, sizeof(confinement), &unconfined) != 0)
        tn_warn("%s", unconfined.text);
    /* 5. ready, dispatch */
    tn_service_ready(service, confinement);
    tn_disk_tell(&output->disk);
    if (start_retention(output, err) != 0)
        return -1;
    status = tn_service_run(service);
    event_free(output->retention);
    tn_disk_stop(&output->disk);
    tn_data_close_all(&output->data);
    tn_task_free_all(&output->tasks);
    tn_works_free(output->works);
    tn_logs_free(&output->logs);
    tn_blobs_free(blobs);
    return status;
}

int main(void)
{
    static struct output output;
    struct tn_err err = TN_ERR_INIT;
    int status = -1;

    tn_secret_guard();
    if (tn_service_init(&output.service, "output", &err) == 0)
        status = serve(&output, &err);
    if (status < 0) {
        tn_error("%s", err.text);
        status = 3;
    }
    tn_service_close(&output.service);
    return status;
}
