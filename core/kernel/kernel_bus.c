#include "core/kernel/kernel.h"
#include "core/kernel/host.h"
#include "core/kernel/mechanisms.h"
#include "core/kernel/places.h"
#include "core/kernel/status.h"
#include "core/kernel/procs.h"
#include "core/kernel/worker.h"
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/json.h"
#include "core/lib/log.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- saying ---- */

static uint64_t say(struct tn_kernel *kernel, enum tn_msg_kind kind, uint16_t destination, uint64_t in_reply_to,
                    uint64_t task, uint32_t attempt, const cJSON *body)
{
    auto_free char *text = body != NULL ? tn_json_print(body) : NULL;
    struct tn_header header = {.kind = (uint16_t)kind,
                               .source = TN_ADDRESS(TN_ROLE_KERNEL, 0),
                               .destination = destination,
                               .sequence = (uint64_t)kernel->life << 32 | ++kernel->counter,
                               .in_reply_to = in_reply_to,
                               .task = task,
                               .attempt = attempt,
                               .length = (uint32_t)(text != NULL ? strlen(text) : 0)};

    if (kernel->link != NULL) /* else it is lost, as any message may be */
        (void)tn_link_send(kernel->link, &header, text);
    return header.sequence;
}

void tn_kernel__reply(void *arg, const struct tn_header *request, enum tn_msg_kind kind, const cJSON *body)
{
    struct tn_kernel *kernel = arg;
    auto_free char *text = body != NULL ? tn_json_print(body) : NULL;

    tn_seen_answered(kernel->seen, request->source, request->sequence, (uint16_t)kind, text,
                     text != NULL ? strlen(text) : 0);
    say(kernel, kind, request->source, request->sequence, request->task, request->attempt, body);
}

static void refuse(struct tn_kernel *kernel, const struct tn_header *request, const char *code, const char *text)
{
    auto_json cJSON *body = cJSON_CreateObject();

    cJSON_AddStringToObject(body, "code", code);
    cJSON_AddStringToObject(body, "text", text);
    tn_kernel__reply(kernel, request, TN_MSG_REFUSED, body);
}

/* The scheduler believes an executor no other kind than its manifest says. */
static void add_kinds(cJSON *body, const struct tn_manifest *manifest)
{
    if (manifest != NULL)
        cJSON_AddItemToObject(body, "kinds", cJSON_Duplicate(manifest->kinds, true));
}

void tn_kernel__tell_state(struct tn_worker *worker, const char *state)
{
    auto_json cJSON *body = cJSON_CreateObject();

    if (worker == worker->kernel->bus)
        return;
    cJSON_AddNumberToObject(body, "address", worker->address);
    cJSON_AddNumberToObject(body, "life", worker->life);
    cJSON_AddStringToObject(body, "name", worker->name);
    cJSON_AddStringToObject(body, "state", state);
    add_kinds(body, worker->manifest);
    if (worker->reason[0] != '\0' && strcmp(state, "up") != 0)
        cJSON_AddStringToObject(body, "reason", worker->reason);
    say(worker->kernel, TN_MSG_PEER_STATE, TN_ADDRESS(TN_ROLE_BUS, 0), 0, 0, 0, body);
}

uint64_t tn_kernel__add_peer(struct tn_kernel *kernel, uint16_t address, uint32_t life, const char *name,
                             const struct tn_manifest *manifest)
{
    auto_json cJSON *body = cJSON_CreateObject();
    struct tn_err err = TN_ERR_INIT;

    if (tn_places_add_life(kernel, address, life, &err) != 0)
        tn_error("%s", err.text); /* the bus will say that it has no socket there */
    cJSON_AddNumberToObject(body, "address", address);
    cJSON_AddNumberToObject(body, "life", life);
    cJSON_AddStringToObject(body, "name", name);
    add_kinds(body, manifest);
    return say(kernel, TN_MSG_PEER_ADD, TN_ADDRESS(TN_ROLE_BUS, 0), 0, 0, 0, body);
}

/* A new bus knows nobody: everybody who has a life is added with it again, and is said to be up if it is. Who is to be
 * started again in a moment is said to be down: a scheduler that is as new as the bus would take it for missing. */
void tn_kernel__introduce_all(struct tn_kernel *kernel)
{
    if (!kernel->client_cut)
        tn_kernel__add_peer(kernel, kernel->client, kernel->client_life, "client", NULL);
    for (size_t i = 1; i < kernel->count; i++) {
        struct tn_worker *worker = &kernel->workers[i];

        if (worker->sup.state == TN_SUP_ADDING || worker->pid != 0)
            worker->add_sequence =
                tn_kernel__add_peer(kernel, worker->address, worker->life, worker->name, worker->manifest);
        if (worker->sup.state == TN_SUP_READY)
            tn_kernel__tell_state(worker, "up");
        if (worker->sup.state == TN_SUP_BACKOFF)
            tn_kernel__tell_state(worker, "down");
        if (worker->sup.state == TN_SUP_FAILED)
            tn_kernel__tell_state(worker, "failed");
    }
}

/* ---- hearing ---- */

static struct tn_worker *worker_at(struct tn_kernel *kernel, uint16_t address)
{
    for (size_t i = 0; i < kernel->count; i++)
        if (kernel->workers[i].address == address)
            return &kernel->workers[i];
    return NULL;
}

/* One line of JSON: where the client finds everything, or why it does not. Written once. */
void tn_kernel__tell_ready(struct tn_kernel *kernel)
{
    const struct tn_kernel_config *config = kernel->config;
    auto_json cJSON *line = cJSON_CreateObject();
    char programs[512];
    auto_free char *text = NULL;
    auto_free char *bus = tn_fs_path("ipc://%s/bus/%04x.%08x/s", config->run_dir, (unsigned)kernel->client,
                                     (unsigned)kernel->client_life);
    auto_free char *events = tn_fs_path("ipc://%s/bus/events", config->run_dir);
    auto_free char *data = tn_fs_path("%s/data", config->run_dir);
    auto_free char *with_end = NULL;

    if (kernel->ready_told)
        return;
    for (size_t i = 0; i < kernel->count; i++) {
        const struct tn_worker *worker = &kernel->workers[i];

        if (worker->row->core && worker->sup.state == TN_SUP_FAILED) {
            auto_free char *why = tn_fs_path("%s: %s", worker->name, worker->reason);

            cJSON_AddStringToObject(line, "error", why);
        } else if (worker->row->core && worker->sup.state != TN_SUP_READY && kernel->status == 0) {
            return;
        }
    }
    kernel->ready_told = true;
    tn_status_write(kernel); /* who reads the line may look into it */
    cJSON_AddStringToObject(line, "bus", bus);
    cJSON_AddStringToObject(line, "events", events);
    cJSON_AddStringToObject(line, "data", data);
    cJSON_AddNumberToObject(line, "address", kernel->client);
    cJSON_AddNumberToObject(line, "life", kernel->client_life);
    cJSON_AddStringToObject(line, "log", config->log_path);
    cJSON_AddStringToObject(line, "run", config->run_dir);
    cJSON_AddStringToObject(line, "state", config->state_dir);
    cJSON_AddStringToObject(line, "store", config->store_dir);
    cJSON_AddStringToObject(line, "programs", tn_programs_text(kernel->programs, programs, sizeof(programs)));
    text = tn_json_print(line);
    with_end = tn_fs_path("%s\n", text);
    if (config->ready_fd >= 0 && tn_fs_write_all(config->ready_fd, with_end, strlen(with_end), NULL) != 0)
        tn_warn("nobody reads the ready line");
    if (config->ready_fd >= 0)
        close(config->ready_fd);
    tn_info("ready");
}

/* Looks at what confines it now. If that is less than the operator demands, it is ended before it hears anything. */
static bool is_confined_enough(struct tn_worker *worker)
{
    const cJSON *required = tn_json_get(tn_json_get(worker->kernel->settings, "security"), "require");
    char text[2048];

    if (worker->pid <= 0)
        return true;
    cJSON_Delete(worker->mechanisms);
    worker->mechanisms = tn_mechanisms_of(worker, true);
    tn_mechanisms_text(worker->mechanisms, text, sizeof(text));
    if (worker->sup.state == TN_SUP_STARTING)
        tn_info("%s (pid %d, life %u) is ready: %s", worker->name, (int)worker->pid, worker->life, text);
    if (!tn_mechanisms_lack(worker->mechanisms, required, worker->reason, sizeof(worker->reason)))
        return true;
    worker->is_refused = true;
    kill(worker->pid, SIGKILL);
    return false;
}

static void take_ready(struct tn_kernel *kernel, const struct tn_header *header, const uint8_t *body)
{
    struct tn_worker *worker = worker_at(kernel, header->source);
    auto_json cJSON *json = tn_json_parse(body, header->length, "READY", NULL);

    tn_kernel__reply(kernel, header, TN_MSG_ACK, NULL);
    if (worker == NULL || TN_SEQUENCE_LIFE(header->sequence) != worker->life)
        return;
    free(worker->confinement);
    worker->confinement = tn_fs_path("%s", tn_json_string(json, "confinement", ""));
    if (!is_confined_enough(worker)) {
        tn_kernel__step(worker, TN_SUP_ON_HOPELESS);
        return;
    }
    tn_kernel__step(worker, TN_SUP_ON_READY);
    tn_kernel__tell_ready(kernel);
}

static void take_status(struct tn_kernel *kernel, const struct tn_header *header)
{
    auto_json cJSON *body = tn_status_body(kernel);

    tn_kernel__reply(kernel, header, TN_MSG_STATUS_IS, body);
}

static void take_clear(struct tn_worker *worker, const struct tn_header *header, const cJSON *body)
{
    struct tn_kernel *kernel = worker->kernel;
    struct tn_places own;

    tn_places_of(worker, kernel->config, &own);
    tn_clears_request(kernel->clears, worker->manifest->name, &own, header, body);
    tn_places_free(&own);
}

static void take_program(struct tn_kernel *kernel, const struct tn_header *header, const uint8_t *body)
{
    struct tn_worker *worker = worker_at(kernel, header->source);
    struct tn_err err = TN_ERR_INIT;
    auto_json cJSON *json = tn_json_parse(body, header->length, tn_msg_name(header->kind), &err);

    if (json == NULL || worker == NULL || worker->manifest == NULL) {
        refuse(kernel, header, "invalid", json == NULL ? err.text : "the sender is no executor");
        return;
    }
    if (header->kind == TN_MSG_PROGRAM_START)
        tn_programs_start(kernel->programs, worker->manifest, header, json);
    else if (header->kind == TN_MSG_PROGRAM_STOP)
        tn_programs_stop(kernel->programs, worker->manifest, header, json);
    else if (header->kind == TN_MSG_PROGRAM_CLEAR)
        take_clear(worker, header, json);
    else
        tn_programs_list(kernel->programs, worker->manifest, header);
}

/* Who it is, not who it was meant to be. */
bool tn_kernel__user_of(void *arg, const char *executor, uid_t *user)
{
    const struct tn_kernel *kernel = arg;

    for (size_t i = 0; i < kernel->count; i++)
        if (kernel->workers[i].manifest != NULL && strcmp(kernel->workers[i].manifest->name, executor) == 0)
            return kernel->workers[i].pid > 0 && tn_procs_user(kernel->workers[i].pid, user);
    return false;
}

void tn_kernel__program_exited(void *arg, const char *executor, uint64_t task, uint32_t attempt, const cJSON *body)
{
    struct tn_kernel *kernel = arg;

    for (size_t i = 0; i < kernel->count; i++)
        if (kernel->workers[i].manifest != NULL && strcmp(kernel->workers[i].manifest->name, executor) == 0)
            say(kernel, TN_MSG_PROGRAM_EXITED, kernel->workers[i].address, 0, task, attempt, body);
}

static void take_host(struct tn_kernel *kernel, const struct tn_header *header, const uint8_t *body)
{
    struct tn_err err = TN_ERR_INIT;
    auto_json cJSON *json = tn_json_parse(body, header->length, "HOST_ASK", &err);
    auto_json cJSON *answer = json != NULL ? tn_host_answer(kernel->config->run_dir, json, &err) : NULL;

    if (answer == NULL)
        refuse(kernel, header, "invalid", err.text);
    else
        tn_kernel__reply(kernel, header, TN_MSG_HOST_IS, answer);
}

/* The bus has said whether it has a socket for a process's new life. */
static void take_answer(struct tn_kernel *kernel, const struct tn_header *header, const uint8_t *body)
{
    for (size_t i = 0; i < kernel->count; i++) {
        struct tn_worker *worker = &kernel->workers[i];

        if (worker->add_sequence != header->in_reply_to)
            continue;
        worker->add_sequence = 0;
        if (header->kind == TN_MSG_ACK) {
            tn_kernel__step(worker, TN_SUP_ON_ADDED); /* means nothing but in the state `adding` */
        } else {
            auto_json cJSON *json = tn_json_parse(body, header->length, "REFUSED", NULL);

            snprintf(worker->reason, sizeof(worker->reason), "tenon-bus: %.200s", tn_json_string(json, "text", "?"));
            tn_kernel__step(worker, TN_SUP_ON_HOPELESS);
        }
        return;
    }
}

/* What the bus counted of each peer, for STATUS_IS. */
static void take_traffic(struct tn_kernel *kernel, const cJSON *body)
{
    const cJSON *item;

    cJSON_ArrayForEach (item, tn_json_get(body, "peers")) {
        uint16_t address = (uint16_t)tn_json_u64(item, "address", 0);
        struct tn_worker *worker = worker_at(kernel, address);
        cJSON **place = worker != NULL ? &worker->traffic : address == kernel->client ? &kernel->client_traffic : NULL;

        if (place == NULL)
            continue;
        cJSON_Delete(*place);
        *place = cJSON_Duplicate(item, true);
    }
}

/* The bus serves that life no more. Said again and again until there is another one. */
static void take_cut(struct tn_kernel *kernel, const cJSON *body)
{
    uint16_t address = (uint16_t)tn_json_u64(body, "address", 0);
    uint64_t life = tn_json_u64(body, "life", 0);
    struct tn_worker *worker = worker_at(kernel, address);

    if (address == kernel->client && life == kernel->client_life)
        kernel->client_cut = true;
    if (worker == NULL || worker->life != life || worker->is_cut || worker->pid <= 0)
        return;
    worker->is_cut = true;
    worker->cuts++;
    snprintf(worker->reason, sizeof(worker->reason), "cut off by the bus: %.220s", tn_json_string(body, "reason", "?"));
    tn_kernel__step(worker, TN_SUP_ON_CUT);
}

/* What the bus says of itself and its peers. */
static void take_bus(struct tn_kernel *kernel, const struct tn_header *header, const uint8_t *body)
{
    auto_json cJSON *json = NULL;

    if (header->in_reply_to != 0) {
        take_answer(kernel, header, body);
        return;
    }
    json = tn_json_parse(body, header->length, tn_msg_name(header->kind), NULL);
    if (header->kind == TN_MSG_BUS_STATUS)
        take_traffic(kernel, json);
    else if (header->kind == TN_MSG_PEER_CUT)
        take_cut(kernel, json);
}

static void take_request(struct tn_kernel *kernel, const struct tn_header *header, const uint8_t *body)
{
    switch (header->kind) {
    case TN_MSG_READY:
        take_ready(kernel, header, body);
        return;
    case TN_MSG_STATUS:
        take_status(kernel, header);
        return;
    case TN_MSG_PROGRAM_START:
    case TN_MSG_PROGRAM_STOP:
    case TN_MSG_PROGRAM_LIST:
    case TN_MSG_PROGRAM_CLEAR:
        take_program(kernel, header, body);
        return;
    case TN_MSG_HOST_ASK:
        take_host(kernel, header, body);
        return;
    default:
        refuse(kernel, header, "invalid", "tenond does not do that");
    }
}

static void on_message(void *arg, const struct tn_header *header, const uint8_t *body)
{
    struct tn_kernel *kernel = arg;
    struct tn_seen_answer answer;
    struct tn_worker *worker;
    struct tn_err err = TN_ERR_INIT;

    if (TN_ADDRESS_ROLE(header->destination) != TN_ROLE_KERNEL || tn_header_permit(header, TN_CHANNEL_BUS, &err) != 0) {
        tn_warn("dropped %s: %s", tn_msg_name(header->kind), err.text);
        return;
    }
    /* An answer of anybody else is none: tenond asks only the bus. */
    if (header->in_reply_to != 0 || header->kind == TN_MSG_BUS_STATUS || header->kind == TN_MSG_PEER_CUT) {
        if (TN_ADDRESS_ROLE(header->source) == TN_ROLE_BUS)
            take_bus(kernel, header, body);
        return;
    }
    if (header->kind == TN_MSG_HEARTBEAT) {
        worker = worker_at(kernel, header->source);
        if (worker != NULL && TN_SEQUENCE_LIFE(header->sequence) == worker->life)
            tn_kernel__step(worker, TN_SUP_ON_HEARTBEAT);
        if (TN_ADDRESS_ROLE(header->source) != TN_ROLE_BUS) /* the answer tells a worker that the bus hears it */
            say(kernel, TN_MSG_ACK, header->source, header->sequence, 0, 0, NULL);
        return;
    }
    switch (tn_seen_enter(kernel->seen, header->source, header->sequence, &answer)) {
    case TN_SEEN_NEW:
        take_request(kernel, header, body);
        return;
    case TN_SEEN_ANSWERED: {
        auto_json cJSON *json = answer.length > 0 ? cJSON_ParseWithLength(answer.body, answer.length) : NULL;

        say(kernel, (enum tn_msg_kind)answer.kind, header->source, header->sequence, header->task, header->attempt,
            json);
        return;
    }
    case TN_SEEN_IN_PROGRESS:
    case TN_SEEN_STALE:
        return;
    }
}

/* The bus closed the link, or sent what is no message: if it is not dead already it is no bus any more. */
static void on_link_broken(void *arg, const char *why)
{
    struct tn_kernel *kernel = arg;

    tn_debug("the link to tenon-bus is over: %s", why);
    tn_link_close(kernel->link);
    kernel->link = NULL;
    if (kernel->bus->pid > 0)
        kill(kernel->bus->pid, SIGKILL);
}

int tn_kernel__open_link(struct tn_kernel *kernel, struct tn_err *err)
{
    int ends[2];

    tn_link_close(kernel->link);
    kernel->link = NULL;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
        return tn_err_sys(err, errno, "socket pair to tenon-bus");
    kernel->bus_fd = ends[1];
    kernel->link = tn_link_open(kernel->base, ends[0], on_message, on_link_broken, kernel, err);
    if (kernel->link != NULL)
        return 0;
    close(ends[0]);
    close(ends[1]);
    return -1;
}
