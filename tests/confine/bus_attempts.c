#include "tests/confine/bus_attempts.h"
#include "core/lib/cleanup.h"
#include "core/lib/json.h"
#include "core/lib/log.h"
#include "transports/ipc/ipc.h"

#include <stdio.h>
#include <string.h>

enum { LATER_MS = 40, ROUNDS = 12, WORKS_MS = 700, KINDS = 64 };

static const uint16_t tenond = TN_ADDRESS(TN_ROLE_KERNEL, 0);
static const uint16_t scheduler = TN_ADDRESS(TN_ROLE_SCHEDULER, 0);

/* One a process. Raw endpoints, since tn_peer would not say what must not be said. */
static struct {
    struct tn_service *service;
    struct tn_endpoint *bus;
    struct tn_endpoint *data; /* executors */
    struct event *timer;
    struct event *work; /* the end of the leased task */
    bus_say *say;
    void *arg;
    const char *role;
    const char *confinement;
    const char *asked[KINDS]; /* attempt by the counter of its sequence */
    uint32_t counter;
    unsigned rounds;
    bool begun;
    struct tn_header lease;
} self;

static struct tn_header to(enum tn_msg_kind kind, uint16_t destination, uint64_t task, uint32_t attempt)
{
    return (struct tn_header){.kind = (uint16_t)kind,
                              .source = self.service->address,
                              .destination = destination,
                              .sequence = (uint64_t)self.service->life << 32 | ++self.counter,
                              .task = task,
                              .attempt = attempt};
}

static void send_bytes(struct tn_endpoint *endpoint, const void *bytes, size_t size)
{
    struct tn_err err = TN_ERR_INIT;
    void *message = tn_transport_ipc.allocate(size);

    memcpy(message, bytes, size);
    /* Not connected yet: READY is said again, and nothing else is said before its answer. */
    if (tn_transport_ipc.send(endpoint, message, &err) != 1)
        tn_transport_ipc.release(message);
}

/* `attempt`: whose ending the answer is; NULL: nobody's. */
static void post(struct tn_endpoint *endpoint, struct tn_header header, const char *body, const char *attempt)
{
    uint8_t bytes[TN_HEADER_SIZE + 1024];

    header.length = (uint32_t)strlen(body);
    tn_header_encode(&header, bytes);
    memcpy(bytes + TN_HEADER_SIZE, body, header.length);
    self.asked[(uint32_t)header.sequence % KINDS] = attempt;
    send_bytes(endpoint, bytes, TN_HEADER_SIZE + header.length);
}

/* ---- for the router ---- */

static void to_router(void)
{
    struct tn_header header = to(TN_MSG_PEER_STATE, scheduler, 0, 0);
    uint8_t bytes[TN_HEADER_SIZE + 8];

    header.source = tenond;
    post(self.bus, header, "{\"address\":1025,\"life\":1,\"name\":\"x\",\"state\":\"failed\"}", NULL);
    header = to(TN_MSG_HEARTBEAT, tenond, 0, 0);
    header.sequence -= (uint64_t)1 << 32;
    post(self.bus, header, "", NULL);
    post(self.bus, to(TN_MSG_PEER_ADD, TN_ADDRESS(TN_ROLE_BUS, 0), 0, 0), "{}", NULL);
    if (TN_ADDRESS_ROLE(self.service->address) != TN_ROLE_EXECUTOR)
        post(self.bus, to(TN_MSG_PROGRAM_START, tenond, 1, 1), "{}", NULL);
    if (TN_ADDRESS_ROLE(self.service->address) != TN_ROLE_SCHEDULER)
        post(self.bus, to(TN_MSG_LEASE, TN_ADDRESS(TN_ROLE_EXECUTOR, 0), 1, 1), "{}", NULL);
    memset(bytes, 0xff, sizeof(bytes));
    send_bytes(self.bus, bytes, sizeof(bytes));
    header = to(TN_MSG_HEARTBEAT, tenond, 0, 0);
    header.length = 4000;
    tn_header_encode(&header, bytes);
    send_bytes(self.bus, bytes, sizeof(bytes));
    self.say(self.arg, "messages that the router must drop", "sent");
}

/* ---- for the scheduler, as an executor ---- */

static void state(uint64_t task, uint32_t attempt, const char *name, const char *what)
{
    char body[128];

    snprintf(body, sizeof(body), "{\"state\":\"%s\",\"steps_begun\":true,\"final\":true,\"reason\":\"forged\"}", name);
    post(self.bus, to(TN_MSG_TASK_STATE, scheduler, task, attempt), body, what);
}

static void register_as(const char *kind, const char *what)
{
    char body[128];

    snprintf(body, sizeof(body), "{\"kind\":\"%s\",\"state\":\"ready\",\"found\":[]}", kind);
    post(self.bus, to(TN_MSG_EXECUTOR_REGISTER, scheduler, 0, 0), body, what);
}

/* The machine executor goes for the task of the Docker executor, whose number is easy to guess. */
static void forge(void)
{
    state(1, 1, "failed", "forge the result of another's task");
    state(1, 1, "canceled", "forge the result of another's task");
    post(self.bus, to(TN_MSG_STEP_STATE, scheduler, 1, 1),
         "{\"step\":1,\"name\":\"forged\",\"type\":\"run\",\"state\":\"failed\"}", "forge a step of another's task");
    post(self.data, to(TN_MSG_TASK_OPEN, TN_ADDRESS(TN_ROLE_OUTPUT, 0), 1, 1),
         "{\"masks\":[],\"pipeline\":\"x\",\"workflow\":\"x\",\"job\":\"x\",\"index\":0,\"total\":1}",
         "open the output of another's task");
    post(self.data, to(TN_MSG_BLOB_FIND, TN_ADDRESS(TN_ROLE_OUTPUT, 0), 1, 1),
         "{\"type\":\"workspace\",\"tasks\":[1],\"jobs\":[{\"name\":\"x\",\"tasks\":[1],\"requires\":[]}]}",
         "find the workspace of another's task");
}

/* The Docker executor has the task: a word of an attempt that is not, then how it really ends. */
static void on_work(evutil_socket_t fd, short what, void *arg)
{
    uint64_t task = self.lease.task;
    uint32_t attempt = self.lease.attempt;

    state(task, attempt + 1, "failed", "speak for an attempt that is not");
    state(task, 0, "failed", "replay an attempt that is over");
    state(task, attempt, "succeeded", NULL);
}

static void take_lease(const struct tn_header *header)
{
    const struct timeval later = {0, WORKS_MS * 1000};
    struct tn_header answer = to(TN_MSG_ACK, header->source, header->task, header->attempt);

    answer.in_reply_to = header->sequence;
    post(self.bus, answer, "", NULL);
    if (self.lease.task != 0)
        return;
    self.lease = *header;
    state(header->task, header->attempt, "preparing", NULL);
    state(header->task, header->attempt, "running", NULL);
    event_add(self.work, &later);
}

/* ---- the loop ---- */

static void say_ready(void)
{
    auto_json cJSON *body = cJSON_CreateObject();
    auto_free char *text = NULL;

    cJSON_AddStringToObject(body, "confinement", self.confinement);
    text = tn_json_print(body);
    post(self.bus, to(TN_MSG_READY, tenond, 0, 0), text, NULL);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    const struct timeval later = {0, LATER_MS * 1000};
    bool executor = TN_ADDRESS_ROLE(self.service->address) == TN_ROLE_EXECUTOR;

    if (!self.begun) {
        say_ready();
        event_add(self.timer, &later);
        return;
    }
    if (self.rounds == 0)
        to_router();
    if (self.rounds == 0 && executor && strcmp(self.role, "machine") == 0)
        register_as("docker", "register as another kind");
    if (self.rounds == 1 && executor)
        register_as(self.role, NULL);
    if (self.rounds > 1 && executor && strcmp(self.role, "machine") == 0)
        forge();
    if (++self.rounds < ROUNDS && executor)
        event_add(self.timer, &later);
}

static void take(const struct tn_header *header, const uint8_t *body)
{
    const char *attempt = self.asked[(uint32_t)header->in_reply_to % KINDS];
    auto_json cJSON *json = NULL;

    if (header->kind == TN_MSG_LEASE)
        take_lease(header);
    if (header->in_reply_to == 0 || TN_SEQUENCE_LIFE(header->in_reply_to) != self.service->life)
        return;
    self.begun = true;
    if (attempt == NULL)
        return;
    json = header->kind == TN_MSG_REFUSED ? cJSON_ParseWithLength((const char *)body, header->length) : NULL;
    self.say(self.arg, attempt, json != NULL ? tn_json_string(json, "code", "?") : "done");
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct tn_endpoint *endpoint = arg;
    struct tn_header header;
    struct tn_err err = TN_ERR_INIT;
    void *message;
    size_t size;

    while (tn_transport_ipc.receive(endpoint, &message, &size, &err) > 0) {
        if (tn_header_decode(message, size, &header, &err) == 0)
            take(&header, (const uint8_t *)message + TN_HEADER_SIZE);
        tn_transport_ipc.release(message);
    }
}

static struct tn_endpoint *open_one(const char *url)
{
    struct tn_err err = TN_ERR_INIT;
    struct tn_endpoint *endpoint = tn_transport_ipc.open(url, TN_ENDPOINT_CONNECT, &err);
    struct event *event;

    if (endpoint == NULL)
        tn_fatal(3, "%s: %s", url, err.text);
    event = event_new(self.service->base, tn_transport_ipc.receive_fd(endpoint), EV_READ | EV_PERSIST, on_readable,
                      endpoint);
    if (event == NULL || event_add(event, NULL) != 0)
        tn_fatal(3, "out of memory: an event");
    return endpoint;
}

void bus_attempts_open(struct tn_service *service, bus_say *say, void *arg)
{
    self.service = service;
    self.say = say;
    self.arg = arg;
    self.bus = open_one(getenv("TENON_BUS"));
    if (TN_ADDRESS_ROLE(service->address) == TN_ROLE_EXECUTOR) {
        auto_free char *url = tn_service_data_url(service->data_dir, service->address, service->life);

        self.data = open_one(url);
    }
    self.timer = evtimer_new(service->base, on_timer, NULL);
    self.work = evtimer_new(service->base, on_work, NULL);
    if (self.timer == NULL || self.work == NULL)
        tn_fatal(3, "out of memory: a timer");
}

void bus_attempts_begin(const char *confinement, const char *role)
{
    self.role = role;
    self.confinement = confinement;
    on_timer(-1, 0, NULL);
}
