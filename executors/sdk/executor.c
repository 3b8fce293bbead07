/* An executor's process: registration, leases, the table of tasks, the data socket, the end. */
#include "executors/sdk/executor.h"
#include "core/lib/cleanup.h"
#include "core/lib/confine.h"
#include "core/lib/json.h"
#include "core/lib/log.h"
#include "core/lib/secret.h"
#include "executors/sdk/internal.h"
#include "transports/ipc/ipc.h"

#include <openssl/evp.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct found {
    uint64_t task;
    uint32_t attempt;
};

struct tn_executor {
    const struct tn_executor_ops *ops;
    void *self;
    struct tn_service service;
    struct tn_peer *data;
    struct tn_keyring *keyring; /* owned */
    TAILQ_HEAD(, tn_task) tasks;
    char *reason;   /* why nothing can be acquired; NULL: jobs can run */
    bool available; /* `reason` is known */
    bool passes;    /* `reason` is one that passes by itself */
    bool listed;    /* `found` is complete */
    struct found *found;
    size_t found_count;
    bool registered; /* at least once: LEASEs may come */
    bool stopping;
    struct event *stop_deadline;
};

enum { STOP_S = 15 };

static const uint16_t scheduler = TN_ADDRESS(TN_ROLE_SCHEDULER, 0);

/* ---- for the files of the runner ---- */

const struct tn_executor_ops *tn_executor_ops(const struct tn_executor *executor)
{
    return executor->ops;
}

struct tn_peer *tn_executor_data(struct tn_executor *executor)
{
    return executor->data;
}

const struct tn_keyring *tn_executor_keyring(const struct tn_executor *executor)
{
    return executor->keyring;
}

bool tn_executor_stopping(const struct tn_executor *executor)
{
    return executor->stopping;
}

void tn_executor_forget(struct tn_executor *executor, struct tn_task *task)
{
    TAILQ_REMOVE(&executor->tasks, task, next);
    if (executor->stopping && TAILQ_EMPTY(&executor->tasks))
        tn_service_stop(&executor->service);
}

/* ---- for the operations ---- */

struct tn_service *tn_executor_service(struct tn_executor *executor)
{
    return &executor->service;
}

void tn_executor_set_self(struct tn_executor *executor, void *self)
{
    executor->self = self;
}

void *tn_executor_self(struct tn_executor *executor)
{
    return executor->self;
}

struct tn_task *tn_executor_task(struct tn_executor *executor, uint64_t id, uint32_t attempt)
{
    struct tn_task *task;

    TAILQ_FOREACH (task, &executor->tasks, next)
        if (task->id == id && task->attempt == attempt)
            return task;
    return NULL;
}

/* ---- registration ---- */

/* What was found and is neither leased to us nor being worked on is a leftover. */
static void remove_unleased(struct tn_executor *executor, const cJSON *leased)
{
    for (size_t i = 0; i < executor->found_count; i++) {
        const struct found *found = &executor->found[i];
        const cJSON *entry;
        bool keep = tn_executor_task(executor, found->task, found->attempt) != NULL;

        cJSON_ArrayForEach (entry, leased)
            keep = keep || (tn_json_u64(entry, "task", 0) == found->task &&
                            (uint32_t)tn_json_u64(entry, "attempt", 0) == found->attempt);
        if (keep)
            continue;
        tn_info("removes what is left of task %llu.%u", (unsigned long long)found->task, found->attempt);
        executor->ops->remove(executor, found->task, found->attempt);
    }
    executor->found_count = 0;
}

static void on_registered(void *arg, const struct tn_msg *reply)
{
    struct tn_executor *executor = arg;
    struct tn_err err = TN_ERR_INIT;
    auto_json cJSON *body = tn_json_parse(reply->body, reply->header.length, "EXECUTOR_REGISTERED", &err);

    if (reply->header.kind == TN_MSG_REFUSED || body == NULL) {
        tn_error("the scheduler refused this executor: %s", tn_json_string(body, "text", err.text));
        return;
    }
    executor->registered = true;
    remove_unleased(executor, tn_json_get(body, "leased"));
}

static void register_executor(struct tn_executor *executor)
{
    auto_json cJSON *body = NULL;
    cJSON *list;
    char *text;

    if (!executor->available || !executor->listed || executor->stopping)
        return;
    body = cJSON_CreateObject();
    cJSON_AddStringToObject(body, "kind", executor->ops->kind);
    cJSON_AddStringToObject(body, "state", executor->reason == NULL ? "ready" : "unavailable");
    if (executor->reason != NULL)
        cJSON_AddStringToObject(body, "reason", executor->reason);
    if (executor->reason != NULL && executor->passes)
        cJSON_AddTrueToObject(body, "passes");
    list = cJSON_AddArrayToObject(body, "found");
    for (size_t i = 0; i < executor->found_count; i++) {
        cJSON *entry = cJSON_CreateObject();

        tn_json_add_u64(entry, "task", executor->found[i].task);
        cJSON_AddNumberToObject(entry, "attempt", executor->found[i].attempt);
        cJSON_AddItemToArray(list, entry);
    }
    text = tn_json_print(body);
    tn_peer_forget(executor->service.bus, executor);
    tn_peer_request(executor->service.bus, TN_MSG_EXECUTOR_REGISTER, scheduler, 0, 0, text, strlen(text), 0,
                    on_registered, executor);
    free(text);
}

static void set_available(struct tn_executor *executor, const char *reason, bool passes)
{
    char *copy = reason != NULL ? strdup(reason) : NULL;
    bool same =
        executor->available && executor->found_count == 0 && executor->passes == passes &&
        (reason == NULL ? executor->reason == NULL : executor->reason != NULL && strcmp(reason, executor->reason) == 0);

    if (same) { /* found out once more: the scheduler knows */
        free(copy);
        return;
    }
    free(executor->reason);
    executor->reason = copy;
    executor->passes = passes;
    executor->available = true;
    register_executor(executor);
}

void tn_executor_available(struct tn_executor *executor, const char *reason)
{
    set_available(executor, reason, false);
}

void tn_executor_busy(struct tn_executor *executor, const char *reason)
{
    set_available(executor, reason, true);
}

void tn_executor_found(struct tn_executor *executor, uint64_t task, uint32_t attempt)
{
    struct found *found = realloc(executor->found, (executor->found_count + 1) * sizeof(*found));

    if (found == NULL)
        tn_fatal(3, "out of memory: a list of environments");
    executor->found = found;
    executor->found[executor->found_count++] = (struct found){task, attempt};
}

void tn_executor_listed(struct tn_executor *executor)
{
    executor->listed = true;
    register_executor(executor);
}

/* ---- messages ---- */

static void take_lease(struct tn_executor *executor, const struct tn_msg *msg)
{
    struct tn_msg_ref ref = tn_msg_ref(msg);
    struct tn_err err = TN_ERR_INIT;
    struct tn_task *task = tn_executor_task(executor, msg->header.task, msg->header.attempt);
    cJSON *lease;

    if (task == NULL && executor->stopping) {
        tn_peer_refuse(executor->service.bus, &ref, "unavailable", "this executor is stopping");
        return;
    }
    if (task == NULL) {
        lease = tn_json_parse(msg->body, msg->header.length, "LEASE", &err);
        if (lease == NULL || tn_json_get(lease, "definition") == NULL) {
            cJSON_Delete(lease);
            tn_peer_refuse(executor->service.bus, &ref, "invalid", "LEASE: %s",
                           err.code != TN_OK ? err.text : "expected a definition");
            return;
        }
        task = tn_task_new(executor, msg->header.task, msg->header.attempt, lease);
        TAILQ_INSERT_TAIL(&executor->tasks, task, next);
        tn_task_begin(task);
    }
    tn_peer_reply(executor->service.bus, &ref, TN_MSG_ACK, NULL, 0);
}

static void take_cancel(struct tn_executor *executor, const struct tn_msg *msg)
{
    struct tn_msg_ref ref = tn_msg_ref(msg);
    struct tn_task *task = tn_executor_task(executor, msg->header.task, msg->header.attempt);
    auto_json cJSON *body = cJSON_ParseWithLength((const char *)msg->body, msg->header.length);

    if (task == NULL) /* over already, or its LEASE is still on its way and will meet a canceled attempt */
        tn_peer_refuse(executor->service.bus, &ref, "not_found", "task %llu.%u is not here",
                       (unsigned long long)msg->header.task, msg->header.attempt);
    else
        tn_task_cancel(task, tn_json_bool(body, "force", false), &ref);
}

/* A restarted scheduler hears again what there is; a restarted output service has forgotten our tasks. */
static void take_peer_state(struct tn_executor *executor, const struct tn_msg *msg)
{
    auto_json cJSON *body = cJSON_ParseWithLength((const char *)msg->body, msg->header.length);
    uint16_t address = (uint16_t)tn_json_u64(body, "address", 0);

    if (strcmp(tn_json_string(body, "state", ""), "up") != 0)
        return;
    if (address == scheduler)
        register_executor(executor);
    if (address == TN_ADDRESS(TN_ROLE_OUTPUT, 0))
        tn_peer_note_life(executor->data, (uint32_t)tn_json_u64(body, "life", 0));
}

static void on_message(void *arg, struct tn_peer *peer, const struct tn_msg *msg)
{
    struct tn_executor *executor = arg;
    struct tn_msg_ref ref = tn_msg_ref(msg);

    if (msg->header.kind == TN_MSG_LEASE)
        take_lease(executor, msg);
    else if (msg->header.kind == TN_MSG_TASK_CANCEL)
        take_cancel(executor, msg);
    else if (msg->header.kind == TN_MSG_PEER_STATE)
        take_peer_state(executor, msg);
    else if (tn_msg_info(msg->header.kind)->reply != TN_MSG_NONE)
        tn_peer_refuse(peer, &ref, "invalid", "an executor does not take %s", tn_msg_name(msg->header.kind));
    else if (executor->ops->on_message != NULL)
        executor->ops->on_message(executor, msg);
}

/* ---- the end ---- */

static void on_stop_deadline(evutil_socket_t fd, short what, void *arg)
{
    struct tn_executor *executor = arg;

    tn_warn("stops with environments that could not be removed in %d s", STOP_S);
    tn_service_stop(&executor->service);
}

/* A lasting installation leaves its environments to the next life; `tenon run` leaves nothing. */
static void on_stop(void *arg)
{
    struct tn_executor *executor = arg;
    struct timeval deadline = {STOP_S, 0};
    struct tn_task *task;
    struct tn_task *following;

    if (!executor->service.is_private || TAILQ_EMPTY(&executor->tasks)) {
        tn_service_stop(&executor->service);
        return;
    }
    executor->stopping = true;
    evtimer_add(executor->stop_deadline, &deadline);
    for (task = TAILQ_FIRST(&executor->tasks); task != NULL; task = following) {
        following = TAILQ_NEXT(task, next);
        tn_task_abandon(task);
    }
}

static int open_data(struct tn_executor *executor, struct tn_err *err)
{
    struct tn_service *service = &executor->service;
    auto_free char *url = tn_service_data_url(service->data_dir, service->address, service->life);
    struct tn_peer_config config = {.base = service->base,
                                    .transport = &tn_transport_ipc,
                                    .url = url,
                                    .mode = TN_ENDPOINT_CONNECT,
                                    .channel = TN_CHANNEL_DATA,
                                    .self = service->address,
                                    .remote = TN_ADDRESS(TN_ROLE_OUTPUT, 0),
                                    .life = service->life,
                                    .on_message = on_message,
                                    .arg = executor};

    executor->data = tn_peer_open(&config, err);
    return executor->data != NULL ? 0 : -1;
}

/* libcrypto reads its configuration at the first use: before Landlock. */
static void warm_up(void)
{
    unsigned char hash[EVP_MAX_MD_SIZE];
    unsigned length;

    if (EVP_Digest("", 0, hash, &length, EVP_sha256(), NULL) != 1)
        tn_warn("libcrypto has no SHA-256: caches cannot be named");
}

static void said(const struct tn_err *err)
{
    tn_debug("confinement: %s", err->text);
}

static int start(struct tn_executor *executor, char *confinement, size_t size, struct tn_err *err)
{
    struct tn_service *service = &executor->service;
    struct tn_confine confine = {.profile = executor->ops->profile};
    struct tn_err weak = TN_ERR_INIT;

    tn_secret_guard();
    if (tn_service_init(&executor->service, executor->ops->role, err) != 0)
        return -1;
    executor->service.on_stop = on_stop;
    executor->stop_deadline = evtimer_new(executor->service.base, on_stop_deadline, executor);
    if (executor->stop_deadline == NULL)
        return tn_err_set(err, TN_ERR_SYSTEM, "out of memory: a timer");
    warm_up();
    executor->keyring = tn_keyring_read(executor->service.settings);
    confine.roots[TN_PROFILE_RUN] = service->run_dir;
    confine.roots[TN_PROFILE_STATE] = service->state_dir;
    confine.roots[TN_PROFILE_STORE] = service->store_dir;
    executor->ops->confine(executor, &confine);
    if (tn_confine_files(&confine, confinement, size, &weak) != 0)
        said(&weak);
    if (tn_service_open_bus(&executor->service, on_message, executor, err) != 0 || open_data(executor, err) != 0 ||
        executor->ops->open(executor, err) != 0)
        return -1;
    if (tn_confine_syscalls(&confine, confinement, size, &weak) != 0)
        said(&weak);
    return 0;
}

int tn_executor_main(const struct tn_executor_ops *ops)
{
    struct tn_executor executor = {.ops = ops};
    struct tn_err err = TN_ERR_INIT;
    struct tn_task *task;
    char confinement[TN_CONFINE_TEXT] = "";
    int status;

    TAILQ_INIT(&executor.tasks);
    if (start(&executor, confinement, sizeof(confinement), &err) != 0)
        tn_fatal(3, "%s", err.text);
    tn_service_ready(&executor.service, confinement);
    ops->list(&executor);
    status = tn_service_run(&executor.service);
    while ((task = TAILQ_FIRST(&executor.tasks)) != NULL)
        tn_task_free(task);
    ops->close(&executor);
    tn_peer_close(executor.data);
    event_free(executor.stop_deadline);
    tn_keyring_free(executor.keyring);
    tn_service_close(&executor.service);
    free(executor.found);
    free(executor.reason);
    return status;
}
