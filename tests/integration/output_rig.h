/* Drives the real tenon-output as its neighbours would: plays the bus on TENON_BUS, and an executor and a client on
 * their data sockets. For output_test.c; all static, so that the test is one program. */
#ifndef TN_TESTS_OUTPUT_RIG_H
#define TN_TESTS_OUTPUT_RIG_H

#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/grant.h"
#include "core/lib/json.h"
#include "core/lib/log.h"
#include "core/peer/service.h"
#include "transports/ipc/ipc.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#define EXECUTOR TN_ADDRESS(TN_ROLE_EXECUTOR, 1)
#define CLIENT TN_ADDRESS(TN_ROLE_CLIENT, 1)
#define OUTPUT TN_ADDRESS(TN_ROLE_OUTPUT, 0)
#define KERNEL TN_ADDRESS(TN_ROLE_KERNEL, 0)
#define SCHEDULER TN_ADDRESS(TN_ROLE_SCHEDULER, 0)

static const uint8_t rig_key[TN_GRANT_KEY] = {7, 1, 2};

struct rig {
    const char *program;
    char folder[64];
    char *data;
    struct event_base *base;
    struct tn_endpoint *bus;
    struct event *bus_readable;
    pid_t pid;
    uint32_t life; /* of tenon-output */
    uint32_t sequence;
    struct tn_peer *executor;
    struct tn_peer *client;
    bool ready;
    bool keyless; /* tenon-output is not told the key of grants */
    unsigned events;
    uint64_t event_size;
    bool event_ended;
};

/* The last reply of rig_call(). */
struct rig_reply {
    unsigned kind;
    struct tn_buf bytes;
    cJSON *json;
    bool done;
};

static void rig_bus_send(struct rig *rig, enum tn_msg_kind kind, uint64_t in_reply_to, const char *text)
{
    struct tn_header header = {.kind = (uint16_t)kind,
                               .source = kind == TN_MSG_LEASE_KEY ? SCHEDULER : KERNEL,
                               .destination = OUTPUT,
                               .sequence = 1ull << 32 | ++rig->sequence,
                               .in_reply_to = in_reply_to,
                               .length = (uint32_t)strlen(text)};
    uint8_t *message = tn_transport_ipc.allocate(TN_HEADER_SIZE + strlen(text));
    struct tn_err err = TN_ERR_INIT;
    struct timespec moment = {0, 200000};

    tn_header_encode(&header, message);
    memcpy(message + TN_HEADER_SIZE, text, strlen(text));
    while (tn_transport_ipc.send(rig->bus, message, &err) == 0)
        nanosleep(&moment, NULL); /* not connected yet */
}

static void rig_tell_peer(struct rig *rig, uint16_t address, uint32_t life, const char *state)
{
    auto_free char *text = tn_fs_path("{\"address\":%u,\"life\":%u,\"name\":\"x\",\"state\":\"%s\"}", (unsigned)address,
                                      (unsigned)life, state);

    rig_bus_send(rig, TN_MSG_PEER_STATE, 0, text);
}

static void rig_on_bus(evutil_socket_t fd, short what, void *arg)
{
    struct rig *rig = arg;
    void *message;
    size_t size;

    while (tn_transport_ipc.receive(rig->bus, &message, &size, NULL) == 1) {
        struct tn_header header;
        struct tn_err err = TN_ERR_INIT;

        if (tn_header_decode(message, size, &header, &err) != 0)
            tn_fatal(1, "from tenon-output: %s", err.text);
        if (header.kind == TN_MSG_READY) {
            rig_bus_send(rig, TN_MSG_ACK, header.sequence, "");
            rig->ready = true;
        } else if (header.kind == TN_MSG_EVENT) {
            auto_json cJSON *body = tn_json_parse((uint8_t *)message + TN_HEADER_SIZE, header.length, "EVENT", NULL);

            rig->events++;
            rig->event_size = tn_json_u64(body, "size", 0);
            rig->event_ended = tn_json_bool(body, "ended", false);
        }
        tn_transport_ipc.release(message);
    }
}

/* As the scheduler does when it hears that tenon-output is up. */
static void rig_tell_key(struct rig *rig)
{
    char text[TN_GRANT_KEY_TEXT];
    auto_free char *body = NULL;

    tn_grant_key_write(rig_key, text);
    body = tn_fs_path("{\"key\":\"%s\"}", text);
    rig_bus_send(rig, TN_MSG_LEASE_KEY, 0, body);
}

/* The body of a TASK_OPEN with a grant for what it names (pipeline, workflow, job, …); tasks 1 to 128 are upstream. */
static char *rig_grant(const char *text, uint64_t task, uint32_t attempt)
{
    auto_json cJSON *body = cJSON_Parse(text);
    auto_json cJSON *claims = cJSON_Duplicate(body, true);
    auto_free char *grant = NULL;
    cJSON *upstream;

    if (!cJSON_IsObject(body) || cJSON_HasObjectItem(body, "grant"))
        return tn_fs_path("%s", text);
    cJSON_DeleteItemFromObject(claims, "masks");
    tn_json_add_u64(claims, "task", task);
    cJSON_AddNumberToObject(claims, "attempt", attempt);
    cJSON_AddNumberToObject(claims, "executor", EXECUTOR);
    upstream = cJSON_AddArrayToObject(claims, "upstream");
    for (int i = 1; i <= 128; i++)
        cJSON_AddItemToArray(upstream, cJSON_CreateNumber(i));
    grant = tn_grant_sign(rig_key, claims);
    cJSON_AddStringToObject(body, "grant", grant);
    return tn_json_print(body);
}

/* A socket of its own for each life, as tenon-bus makes them. */
static void rig_open_bus(struct rig *rig, const char *url)
{
    struct tn_err err = TN_ERR_INIT;

    if (rig->bus != NULL) {
        event_free(rig->bus_readable);
        tn_transport_ipc.close(rig->bus);
    }
    rig->bus = tn_transport_ipc.open(url, TN_ENDPOINT_BIND, &err);
    if (rig->bus == NULL)
        tn_fatal(1, "%s", err.text);
    rig->bus_readable =
        event_new(rig->base, tn_transport_ipc.receive_fd(rig->bus), EV_READ | EV_PERSIST, rig_on_bus, rig);
    event_add(rig->bus_readable, NULL);
}

static void rig_start(struct rig *rig)
{
    auto_free char *life = NULL;
    auto_free char *bus = NULL;

    rig->life++;
    rig->ready = false;
    life = tn_fs_path("%u", (unsigned)rig->life);
    bus = tn_fs_path("ipc://%s/bus.%s", rig->folder, life);
    rig_open_bus(rig, bus);
    rig->pid = fork();
    if (rig->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        setenv("TENON_LIFE", life, 1);
        setenv("TENON_BUS", bus, 1);
        execl(rig->program, rig->program, (char *)NULL);
        _exit(127);
    }
    while (!rig->ready)
        event_base_loop(rig->base, EVLOOP_ONCE);
    if (!rig->keyless)
        rig_tell_key(rig);
    rig_tell_peer(rig, EXECUTOR, 7, "added");
    rig_tell_peer(rig, CLIENT, 8, "added");
    /* As executors and clients do when they hear of a new life of tenon-output. */
    if (rig->executor != NULL)
        tn_peer_reconnect(rig->executor);
    if (rig->client != NULL)
        tn_peer_reconnect(rig->client);
}

static int rig_stop(struct rig *rig, int signal_number)
{
    int status = 0;

    kill(rig->pid, signal_number);
    while (waitpid(rig->pid, &status, 0) < 0 && errno == EINTR)
        continue;
    return status;
}

static void rig_ignore(void *arg, struct tn_peer *peer, const struct tn_msg *msg)
{
}

static struct tn_peer *rig_connect(struct rig *rig, uint16_t address, uint32_t life)
{
    auto_free char *url = tn_service_data_url(rig->data, address, life);
    struct tn_peer_config config = {.base = rig->base,
                                    .transport = &tn_transport_ipc,
                                    .url = url,
                                    .mode = TN_ENDPOINT_CONNECT,
                                    .channel = TN_CHANNEL_DATA,
                                    .self = address,
                                    .remote = OUTPUT,
                                    .life = life,
                                    .on_message = rig_ignore};
    struct tn_err err = TN_ERR_INIT;
    struct tn_peer *peer = tn_peer_open(&config, &err);

    if (peer == NULL)
        tn_fatal(1, "%s", err.text);
    return peer;
}

static void rig_open(struct rig *rig, const char *program)
{
    auto_free char *address = tn_fs_path("%u", (unsigned)OUTPUT);

    memset(rig, 0, sizeof(*rig));
    rig->program = program;
    snprintf(rig->folder, sizeof(rig->folder), "%s/tenon-output-test-XXXXXX",
             getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp");
    if (mkdtemp(rig->folder) == NULL || chdir(rig->folder) != 0)
        tn_fatal(1, "no folder: %s", strerror(errno));
    rig->data = tn_fs_path("%s/data", rig->folder);
    if (mkdir("data", 0700) != 0 || mkdir("data/0701.00000007", 0700) != 0 || mkdir("data/0601.00000008", 0700) != 0 ||
        mkdir("state", 0700) != 0 || mkdir("store", 0700) != 0 || mkdir("run", 0700) != 0)
        tn_fatal(1, "no folders: %s", strerror(errno));
    setenv("TENON_ADDRESS", address, 1);
    setenv("TENON_EVENTS", "ipc://unused", 1);
    setenv("TENON_DATA", rig->data, 1);
    setenv("TENON_INSTALLATION", "test", 1);
    setenv("TENON_PRIVATE", "1", 1);
    for (size_t i = 0; i < 3; i++) {
        static const char *const names[][2] = {
            {"TENON_RUN", "run"}, {"TENON_STATE", "state"}, {"TENON_STORE", "store"}};
        auto_free char *path = tn_fs_path("%s/%s", rig->folder, names[i][1]);

        setenv(names[i][0], path, 1);
    }
    rig->base = event_base_new();
    rig->life = 100;
    rig_start(rig);
    rig->executor = rig_connect(rig, EXECUTOR, 7);
    rig->client = rig_connect(rig, CLIENT, 8);
}

static void rig_close(struct rig *rig)
{
    struct tn_err err = TN_ERR_INIT;

    tn_peer_close(rig->executor);
    tn_peer_close(rig->client);
    event_free(rig->bus_readable);
    tn_transport_ipc.close(rig->bus);
    event_base_free(rig->base);
    free(rig->data);
    if (chdir("/") != 0 || tn_fs_remove_tree(rig->folder, &err) != 0)
        tn_warn("%s", err.text);
}

static void rig_on_reply(void *arg, const struct tn_msg *msg)
{
    struct rig_reply *reply = arg;

    reply->done = true;
    reply->kind = msg != NULL ? msg->header.kind : 0;
    tn_buf_reset(&reply->bytes);
    if (msg != NULL)
        tn_buf_add(&reply->bytes, msg->body, msg->header.length);
    cJSON_Delete(reply->json);
    reply->json = reply->kind != TN_MSG_BLOB_DATA && reply->kind != TN_MSG_LOG_DATA
                      ? tn_json_parse(reply->bytes.data, reply->bytes.len, "a reply", NULL)
                      : NULL;
}

static void rig_reply_free(struct rig_reply *reply)
{
    tn_buf_free(&reply->bytes);
    cJSON_Delete(reply->json);
    reply->json = NULL;
}

/* Sends a request and waits for its reply. */
static unsigned rig_call(struct rig *rig, struct tn_peer *peer, struct rig_reply *reply, enum tn_msg_kind kind,
                         uint64_t task, uint32_t attempt, const char *fmt, ...) TN_PRINTF(7, 8);
static unsigned rig_call(struct rig *rig, struct tn_peer *peer, struct rig_reply *reply, enum tn_msg_kind kind,
                         uint64_t task, uint32_t attempt, const char *fmt, ...)
{
    va_list ap;
    char *text;

    va_start(ap, fmt);
    if (vasprintf(&text, fmt, ap) < 0)
        tn_fatal(1, "out of memory");
    va_end(ap);
    if (kind == TN_MSG_TASK_OPEN) {
        char *granted = rig_grant(text, task, attempt);

        free(text);
        text = granted;
    }
    reply->done = false;
    tn_peer_request(peer, kind, OUTPUT, task, attempt, text, strlen(text), 30000, rig_on_reply, reply);
    free(text);
    while (!reply->done)
        event_base_loop(rig->base, EVLOOP_ONCE);
    return reply->kind;
}

/* One STREAM_WRITE, not waited for. */
static void rig_send(struct tn_peer *peer, struct rig_reply *reply, uint64_t task, uint32_t attempt, uint32_t stream,
                     uint64_t offset, const void *bytes, size_t length, tn_reply_cb *cb, void *arg)
{
    struct tn_chunk chunk = {.stream = stream, .offset = offset};
    uint8_t prefix[TN_CHUNK_SIZE];

    tn_chunk_encode(&chunk, prefix);
    if (reply != NULL)
        reply->done = false;
    tn_peer_request2(peer, TN_MSG_STREAM_WRITE, OUTPUT, task, attempt, prefix, sizeof(prefix), bytes, length, 0, cb,
                     arg);
}

static unsigned rig_write(struct rig *rig, struct tn_peer *peer, struct rig_reply *reply, uint64_t task,
                          uint32_t stream, uint64_t offset, const void *bytes, size_t length)
{
    rig_send(peer, reply, task, peer == rig->client ? 0 : 1, stream, offset, bytes, length, rig_on_reply, reply);
    while (!reply->done)
        event_base_loop(rig->base, EVLOOP_ONCE);
    return reply->kind;
}

#endif
