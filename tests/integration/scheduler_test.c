/* Drives the real tenon-scheduler: binds its PAIR socket as the bus does and plays client, compiler and executors.
 * Usage: scheduler_test [bench]. `bench` prints figures of load instead of checking behaviour. The program is the build
 * folder's, beside this test's own place in it, or the one that TENON_SCHEDULER names. */
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/json.h"
#include "proto/codec.h"
#include "tests/unit/check.h"
#include "transports/ipc/ipc.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { DEADLINE_MS = 20000, TEST_S = 120 };
#define SCHEDULER TN_ADDRESS(TN_ROLE_SCHEDULER, 0)
#define CLIENT TN_ADDRESS(TN_ROLE_CLIENT, 1)
#define COMPILER TN_ADDRESS(TN_ROLE_COMPILER, 0)
#define DOCKER TN_ADDRESS(TN_ROLE_EXECUTOR, 0)
#define MACHINE TN_ADDRESS(TN_ROLE_EXECUTOR, 1)

struct got {
    void *message; /* the transport's */
    struct tn_header header;
    cJSON *body;
};

struct bench {
    const char *program;
    char dir[64];
    unsigned life;
    pid_t pid;
    struct tn_endpoint *bus;
    uint32_t counter;
    uint64_t last_event;
    struct got kept[4096]; /* read while something else was awaited */
    size_t kept_count;
};

static double seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void die(const char *what)
{
    fprintf(stderr, "scheduler_test: %s\n", what);
    exit(1);
}

/* ---- messages ---- */

static void put(struct bench *t, const struct tn_header *header, const char *body)
{
    struct tn_err err = TN_ERR_INIT;
    uint8_t *message = tn_transport_ipc.allocate(TN_HEADER_SIZE + header->length);
    double until = seconds() + DEADLINE_MS / 1000.0;
    int sent;

    tn_header_encode(header, message);
    memcpy(message + TN_HEADER_SIZE, body, header->length);
    while ((sent = tn_transport_ipc.send(t->bus, message, &err)) == 0 && seconds() < until) {
        struct pollfd fd = {tn_transport_ipc.send_fd(t->bus), POLLIN, 0};

        poll(&fd, 1, 100);
    }
    if (sent != 1)
        die("cannot send to the scheduler");
}

static uint64_t say_as(struct bench *t, uint16_t source, unsigned life, enum tn_msg_kind kind, uint64_t task,
                       uint32_t attempt, const char *body)
{
    struct tn_header header = {.kind = (uint16_t)kind,
                               .source = source,
                               .destination = SCHEDULER,
                               .sequence = (uint64_t)life << 32 | ++t->counter,
                               .task = task,
                               .attempt = attempt,
                               .length = (uint32_t)strlen(body)};

    put(t, &header, body);
    return header.sequence;
}

static uint64_t say(struct bench *t, uint16_t source, enum tn_msg_kind kind, uint64_t task, uint32_t attempt,
                    const char *body)
{
    return say_as(t, source, 1000, kind, task, attempt, body);
}

static void answer(struct bench *t, const struct got *got, enum tn_msg_kind kind, const char *body)
{
    struct tn_header header = {.kind = (uint16_t)kind,
                               .source = got->header.destination,
                               .destination = SCHEDULER,
                               .sequence = (uint64_t)1000 << 32 | ++t->counter,
                               .in_reply_to = got->header.sequence,
                               .task = got->header.task,
                               .attempt = got->header.attempt,
                               .length = (uint32_t)strlen(body)};

    put(t, &header, body);
}

static void drop(struct got *got)
{
    cJSON_Delete(got->body);
    got->body = NULL;
}

/* The next message of any kind but heartbeats; false when `ms` pass without one. */
static bool next(struct bench *t, struct got *got, int ms)
{
    double until = seconds() + ms / 1000.0;
    struct tn_err err = TN_ERR_INIT;

    for (;;) {
        void *message;
        size_t size;
        struct pollfd fd = {tn_transport_ipc.receive_fd(t->bus), POLLIN, 0};
        int left = (int)((until - seconds()) * 1000);

        if (tn_transport_ipc.receive(t->bus, &message, &size, &err) == 1) {
            if (tn_header_decode(message, size, &got->header, &err) != 0)
                die(err.text);
            got->body = tn_json_parse((char *)message + TN_HEADER_SIZE, got->header.length, "a message", &err);
            if (got->body == NULL)
                die(err.text);
            tn_transport_ipc.release(message);
            if (got->header.kind == TN_MSG_HEARTBEAT) {
                answer(t, got, TN_MSG_ACK, "");
                drop(got);
                continue;
            }
            if (got->header.kind == TN_MSG_READY)
                answer(t, got, TN_MSG_ACK, "");
            if (got->header.kind == TN_MSG_EVENT) {
                uint64_t sequence = tn_json_u64(got->body, "sequence", 0);

                if (t->last_event != 0)
                    CHECK(sequence == t->last_event + 1);
                t->last_event = sequence;
            }
            return true;
        }
        if (left <= 0)
            return false;
        poll(&fd, 1, left);
    }
}

static bool fits(const struct got *got, enum tn_msg_kind kind, uint64_t task, uint64_t reply_to)
{
    return got->header.kind == kind && (task == 0 || got->header.task == task) &&
           (reply_to == 0 || got->header.in_reply_to == reply_to);
}

/* Waits for a message; others are kept for later, events are dropped. */
static struct got expect(struct bench *t, enum tn_msg_kind kind, uint64_t task, uint64_t reply_to)
{
    struct got got;

    for (size_t i = 0; i < t->kept_count; i++)
        if (fits(&t->kept[i], kind, task, reply_to)) {
            got = t->kept[i];
            memmove(&t->kept[i], &t->kept[i + 1], (--t->kept_count - i) * sizeof(got));
            return got;
        }
    while (next(t, &got, DEADLINE_MS)) {
        if (fits(&got, kind, task, reply_to))
            return got;
        if (reply_to != 0 && got.header.in_reply_to == reply_to) {
            char *text = cJSON_PrintUnformatted(got.body);

            fprintf(stderr, "answered by %s %s\n", tn_msg_name(got.header.kind), text);
            die("the answer is of another kind");
        }
        if (got.header.kind == TN_MSG_EVENT || t->kept_count == 4096)
            drop(&got);
        else
            t->kept[t->kept_count++] = got;
    }
    fprintf(stderr, "waited for %s in vain\n", tn_msg_name(kind));
    die("deadline");
    return got;
}

/* ---- the process ---- */

static void launch(struct bench *t)
{
    auto_free char *url = tn_fs_path("ipc://%s/s%u", t->dir, ++t->life);
    auto_free char *state = tn_fs_path("%s/state", t->dir);
    auto_free char *store = tn_fs_path("%s/store", t->dir);
    char life[16];
    char address[16];
    struct tn_err err = TN_ERR_INIT;
    struct got got;

    t->bus = tn_transport_ipc.open(url, TN_ENDPOINT_BIND, &err);
    if (t->bus == NULL)
        die(err.text);
    snprintf(life, sizeof(life), "%u", t->life);
    snprintf(address, sizeof(address), "%u", SCHEDULER);
    t->last_event = 0;
    if ((t->pid = fork()) == 0) {
        setenv("TENON_ADDRESS", address, 1);
        setenv("TENON_LIFE", life, 1);
        setenv("TENON_BUS", url, 1);
        setenv("TENON_EVENTS", "ipc:///nowhere", 1);
        setenv("TENON_DATA", t->dir, 1);
        setenv("TENON_RUN", t->dir, 1);
        setenv("TENON_STATE", state, 1);
        setenv("TENON_STORE", store, 1);
        setenv("TENON_INSTALLATION", "test", 1);
        setenv("TENON_PRIVATE", "1", 1);
        execl(t->program, t->program, NULL);
        _exit(127);
    }
    got = expect(t, TN_MSG_READY, 0, 0);
    drop(&got);
}

static int finish(struct bench *t, int signal_number)
{
    int status = 0;

    kill(t->pid, signal_number);
    waitpid(t->pid, &status, 0);
    tn_transport_ipc.close(t->bus);
    while (t->kept_count > 0)
        drop(&t->kept[--t->kept_count]);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/* ---- roles ---- */

static void introduce(struct bench *t, uint16_t address, unsigned life, const char *kind)
{
    auto_free char *peer =
        tn_fs_path("{\"address\":%u,\"life\":%u,\"name\":\"executor-%s\",\"state\":\"up\",\"kinds\":[\"%s\"]}", address,
                   life, kind, kind);

    say_as(t, TN_ADDRESS(TN_ROLE_KERNEL, 0), life, TN_MSG_PEER_STATE, 0, 0, peer);
}

static void register_executor(struct bench *t, uint16_t address, unsigned life, const char *kind, const char *rest)
{
    auto_free char *body = tn_fs_path("{\"kind\":\"%s\",%s}", kind, rest);
    struct got got;

    introduce(t, address, life, kind);
    got = expect(t, TN_MSG_EXECUTOR_REGISTERED, 0, say_as(t, address, life, TN_MSG_EXECUTOR_REGISTER, 0, 0, body));
    drop(&got);
}

static uint64_t create(struct bench *t, const char *id, const char *rest)
{
    auto_free char *body = tn_fs_path("{\"id\":\"%s\",\"config\":\"x\",\"file\":\"f\"%s}", id, rest);

    return say(t, CLIENT, TN_MSG_PIPELINE_CREATE, 0, 0, body);
}

static struct got run_plan(struct bench *t, const char *id, const char *rest, const char *jobs)
{
    auto_free char *plan = tn_fs_path("{\"plan\":{\"version\":1,\"workflows\":[{\"name\":\"w\",\"jobs\":[%s]}]},"
                                      "\"diagnostics\":[]}",
                                      jobs);
    uint64_t sequence = create(t, id, rest);
    struct got compile = expect(t, TN_MSG_COMPILE, 0, 0);

    CHECK_STR(tn_json_string(compile.body, "config", NULL), "x");
    answer(t, &compile, TN_MSG_COMPILED, plan);
    drop(&compile);
    return expect(t, TN_MSG_PIPELINE_CREATED, 0, sequence);
}

static struct got snapshot(struct bench *t, const char *id)
{
    auto_free char *body = tn_fs_path("{\"id\":\"%s\"}", id);

    return expect(t, TN_MSG_PIPELINE_IS, 0, say(t, CLIENT, TN_MSG_PIPELINE_GET, 0, 0, body));
}

static const cJSON *job_of(const struct got *got, const char *name)
{
    const cJSON *job;

    cJSON_ArrayForEach (job, tn_json_get(cJSON_GetArrayItem(tn_json_get(got->body, "workflows"), 0), "jobs"))
        if (strcmp(tn_json_string(job, "name", ""), name) == 0)
            return job;
    return NULL;
}

static void check_job(struct bench *t, const char *id, const char *name, const char *state, const char *reason)
{
    struct got got = snapshot(t, id);
    const cJSON *job = job_of(&got, name);

    CHECK_STR(tn_json_string(job, "state", NULL), state);
    if (reason != NULL)
        CHECK_STR(tn_json_string(job, "reason", ""), reason);
    drop(&got);
}

static void check_pipeline(struct bench *t, const char *id, const char *state)
{
    struct got got = snapshot(t, id);

    CHECK_STR(tn_json_string(tn_json_get(got.body, "pipeline"), "state", NULL), state);
    drop(&got);
}

static void report(struct bench *t, const struct got *lease, const char *state, const char *rest)
{
    auto_free char *body = tn_fs_path("{\"state\":\"%s\"%s}", state, rest);
    struct got got =
        expect(t, TN_MSG_ACK, 0,
               say(t, lease->header.destination, TN_MSG_TASK_STATE, lease->header.task, lease->header.attempt, body));

    drop(&got);
}

static struct got take_lease(struct bench *t)
{
    struct got lease = expect(t, TN_MSG_LEASE, 0, 0);

    answer(t, &lease, TN_MSG_ACK, "");
    return lease;
}

static void check_refused(struct bench *t, uint64_t sequence, const char *code)
{
    struct got got = expect(t, TN_MSG_REFUSED, 0, sequence);

    CHECK_STR(tn_json_string(got.body, "code", NULL), code);
    drop(&got);
}

#define JOB(name, more) "{\"name\":\"" name "\",\"kind\":\"docker\",\"resource_class\":\"small\"" more "}"

/* ---- what is tested ---- */

static void test_graph_and_lease(struct bench *t)
{
    struct got got = run_plan(
        t, "p1",
        ",\"environment\":{\"SECRET\":\"sesame-open\"},\"contexts\":{\"c\":{\"A\":\"1\"}},"
        "\"git\":{\"branch\":\"main\"},\"wait\":false",
        JOB("build", ",\"contexts\":[\"c\"]") "," JOB(
            "test",
            ",\"requires\":[{\"job\":\"build\"}]") ","
                                                   "{\"name\":\"noop\",\"type\":\"no-op\",\"requires\":[{\"job\":"
                                                   "\"test\"}]}," JOB(
                                                       "never",
                                                       ",\"requires\":[{\"job\":\"build\",\"status\":[\"failed\"]}"
                                                       "]") ","
                                                            "{\"name\":\"hold\",\"type\":\"approval\",\"requires\":"
                                                            "[{\"job\":\"build\"}]}," JOB(
                                                                "deploy", ",\"requires\":[{\"job\":\"hold\"}]"));
    struct got lease;
    uint64_t build;

    CHECK_STR(tn_json_string(got.body, "state", NULL), "running");
    CHECK(tn_json_number(got.body, "number", 0) >= 1);
    drop(&got);
    check_job(t, "p1", "test", "queued", "waits for job build (preparing)");
    lease = take_lease(t);
    build = lease.header.task;
    CHECK(lease.header.destination == DOCKER && lease.header.attempt == 1);
    CHECK_STR(tn_json_string(tn_json_get(lease.body, "job"), "name", NULL), "build");
    CHECK_INT(cJSON_GetArraySize(tn_json_get(lease.body, "context_environment")), 1);
    CHECK_INT(cJSON_GetArraySize(tn_json_get(lease.body, "project_environment")), 1);
    report(t, &lease, "preparing", "");
    report(t, &lease, "running", ",\"steps_begun\":true");
    report(t, &lease, "running", ",\"steps_begun\":true");
    report(t, &lease, "preparing", "");
    check_job(t, "p1", "build", "running", NULL);
    got = expect(t, TN_MSG_ACK, 0,
                 say(t, DOCKER, TN_MSG_STEP_STATE, build, 1,
                     "{\"step\":0,\"name\":\"Run\",\"type\":\"run\",\"state\":\"running\",\"started\":5}"));
    drop(&got);
    check_refused(t, say(t, DOCKER, TN_MSG_TASK_STATE, build, 9, "{\"state\":\"failed\"}"), "fenced");
    check_refused(t, say(t, MACHINE, TN_MSG_TASK_STATE, build, 1, "{\"state\":\"failed\"}"), "fenced");
    check_refused(t, say(t, MACHINE, TN_MSG_STEP_STATE, build, 1, "{\"step\":1,\"state\":\"failed\"}"), "fenced");
    check_refused(t, say(t, DOCKER, TN_MSG_TASK_STATE, build, 1, "{\"state\":\"odd\"}"), "invalid");
    report(t, &lease, "succeeded", ",\"folder\":\"/x\"");
    report(t, &lease, "succeeded", "");
    check_refused(t, say(t, DOCKER, TN_MSG_TASK_STATE, build, 1, "{\"state\":\"failed\"}"), "conflict");
    drop(&lease);
    check_job(t, "p1", "never", "not_run", "needs build to be failed, it ended success");
    check_job(t, "p1", "hold", "not_run", "on_hold: approve is not possible in a local run");
    check_job(t, "p1", "deploy", "not_run", "needs hold to be success, it ended not_run");
    lease = take_lease(t);
    CHECK_STR(tn_json_string(tn_json_get(lease.body, "job"), "name", NULL), "test");
    CHECK_INT(cJSON_GetArraySize(tn_json_get(lease.body, "upstream")), 1);
    CHECK_INT(strtoull(cJSON_GetArrayItem(tn_json_get(lease.body, "upstream"), 0)->valuestring, NULL, 10), build);
    report(t, &lease, "running", "");
    report(t, &lease, "succeeded", "");
    check_job(t, "p1", "noop", "succeeded", NULL);
    check_pipeline(t, "p1", "success");
    /* A word about an attempt of a pipeline that has ended. */
    report(t, &lease, "succeeded", "");
    check_refused(t, say(t, DOCKER, TN_MSG_TASK_STATE, lease.header.task, 1, "{\"state\":\"failed\"}"), "conflict");
    drop(&lease);
}

static void test_secret_is_gone(struct bench *t)
{
    const char *names[] = {"ledger.db", "ledger.db-wal"};

    for (int i = 0; i < 2; i++) {
        auto_free char *path = tn_fs_path("%s/state/%s", t->dir, names[i]);
        auto_buf struct tn_buf content = TN_BUF_INIT;
        struct tn_err err = TN_ERR_INIT;
        struct stat st;

        CHECK(stat(path, &st) == 0 && (st.st_mode & 0777) == 0600);
        CHECK(tn_fs_read(path, 1u << 26, &content, &err) == 0);
        CHECK(content.len == 0 || memmem(content.data, content.len, "sesame-open", 11) == NULL);
    }
}

static void test_errors(struct bench *t)
{
    uint64_t sequence = create(t, "bad", "");
    struct got got = expect(t, TN_MSG_COMPILE, 0, 0);

    answer(t, &got, TN_MSG_COMPILED, "{\"plan\":null,\"diagnostics\":[{\"message\":\"no\"}]}");
    drop(&got);
    got = expect(t, TN_MSG_PIPELINE_CREATED, 0, sequence);
    CHECK_STR(tn_json_string(got.body, "state", NULL), "error");
    CHECK_INT(cJSON_GetArraySize(tn_json_get(got.body, "diagnostics")), 1);
    drop(&got);
    got = expect(t, TN_MSG_PIPELINE_CREATED, 0, create(t, "bad", ""));
    CHECK_STR(tn_json_string(got.body, "state", NULL), "error");
    drop(&got);
    check_refused(t, say(t, CLIENT, TN_MSG_PIPELINE_GET, 0, 0, "{\"id\":\"none\"}"), "not_found");
    got = run_plan(
        t, "p2", ",\"wait\":false",
        JOB("ctx",
            ",\"contexts\":[\"org-global\"]") ","
                                              "{\"name\":\"class\",\"kind\":\"docker\",\"resource_class\":\"huge\"},"
                                              "{\"name\":\"arm\",\"kind\":\"arm\"}");
    drop(&got);
    check_job(t, "p2", "ctx", "failed", "context org-global is not defined: pass --context org-global=FILE");
    check_job(
        t, "p2", "class", "failed",
        "resource class \"huge\" is unknown for docker; known are: medium, small, medium+, large, xlarge, 2xlarge, "
        "2xlarge+");
    check_job(t, "p2", "arm", "infrastructure_failure", "no executor of kind arm is registered on this host");
    check_pipeline(t, "p2", "failed");
    got = run_plan(t, "p3", "",
                   JOB("a", ",\"requires\":[{\"job\":\"b\"}]") "," JOB("b", ",\"requires\":[{\"job\":\"a\"}]"));
    CHECK_STR(tn_json_string(got.body, "state", NULL), "error");
    drop(&got);
}

static void test_retry_and_cancel(struct bench *t)
{
    struct got got = run_plan(t, "p4", ",\"wait\":true,\"executor_map\":{\"docker\":\"machine\"}",
                              JOB("a", "") ",{\"name\":\"x\",\"kind\":\"arm\"}");
    struct got lease = take_lease(t);

    drop(&got);
    CHECK(lease.header.destination == MACHINE);
    check_job(t, "p4", "x", "queued", "waits for an executor of kind arm: none is registered");
    report(t, &lease, "preparing", "");
    report(t, &lease, "infrastructure_failure", ",\"reason\":\"no image\"");
    drop(&lease);
    check_job(t, "p4", "a", "queued", "attempt 2 starts in a moment, since the last one failed: no image");
    lease = take_lease(t);
    CHECK_INT(lease.header.attempt, 2);
    check_refused(t, say(t, MACHINE, TN_MSG_TASK_STATE, lease.header.task, 1, "{\"state\":\"running\"}"), "fenced");
    report(t, &lease, "running", ",\"steps_begun\":true");
    got = expect(t, TN_MSG_ACK, 0, say(t, CLIENT, TN_MSG_PIPELINE_CANCEL, 0, 0, "{\"id\":\"p4\"}"));
    drop(&got);
    check_job(t, "p4", "x", "canceled", "canceled");
    got = expect(t, TN_MSG_TASK_CANCEL, lease.header.task, 0);
    CHECK(!tn_json_bool(got.body, "force", true));
    answer(t, &got, TN_MSG_ACK, "");
    drop(&got);
    report(t, &lease, "canceled", ",\"reason\":\"canceled\"");
    drop(&lease);
    check_pipeline(t, "p4", "canceled");
}

/* The scheduler is killed while it compiles and while a lease is held. */
static void test_restart(struct bench *t)
{
    uint64_t sequence = create(t, "p5", "");
    struct got got = expect(t, TN_MSG_COMPILE, 0, 0);
    struct got lease;
    auto_free char *found = NULL;
    uint64_t task;

    drop(&got);
    (void)sequence;
    CHECK_INT(finish(t, SIGKILL), -SIGKILL);
    launch(t);
    register_executor(t, DOCKER, 1000, "docker", "\"state\":\"ready\"");
    got = expect(t, TN_MSG_COMPILE, 0, 0);
    answer(t, &got, TN_MSG_COMPILED,
           "{\"plan\":{\"version\":1,\"workflows\":[{\"name\":\"w\",\"jobs\":[" JOB(
               "a", ",\"parallelism\":2") "]}]},"
                                          "\"diagnostics\":[]}");
    drop(&got);
    got = expect(t, TN_MSG_PIPELINE_CREATED, 0, create(t, "p5", ""));
    CHECK_STR(tn_json_string(got.body, "state", NULL), "running");
    drop(&got);
    lease = take_lease(t);
    task = lease.header.task;
    report(t, &lease, "running", ",\"steps_begun\":true");
    drop(&lease);
    CHECK_INT(finish(t, SIGKILL), -SIGKILL);
    launch(t);
    check_job(t, "p5", "a", "running", NULL);
    introduce(t, DOCKER, 2000, "docker");
    found = tn_fs_path("{\"kind\":\"docker\",\"state\":\"ready\",\"found\":[{\"task\":\"%" PRIu64 "\",\"attempt\":1},"
                       "{\"task\":\"99999\",\"attempt\":1}]}",
                       task);
    got = expect(t, TN_MSG_REFUSED, 0,
                 say_as(t, DOCKER, 2000, TN_MSG_EXECUTOR_REGISTER, 0, 0,
                        "{\"kind\":\"machine\",\"state\":\"ready\",\"found\":[]}"));
    CHECK_STR(tn_json_string(got.body, "text", NULL), "the manifest of this executor does not name the kind machine");
    drop(&got);
    got = expect(t, TN_MSG_EXECUTOR_REGISTERED, 0, say_as(t, DOCKER, 2000, TN_MSG_EXECUTOR_REGISTER, 0, 0, found));
    CHECK_INT(cJSON_GetArraySize(tn_json_get(got.body, "leased")), 1);
    drop(&got);
    for (int i = 0; i < 2; i++) {
        lease = expect(t, TN_MSG_LEASE, i == 0 ? task : 0, 0);
        answer(t, &lease, TN_MSG_ACK, "");
        CHECK_INT(lease.header.attempt, 1);
        got = expect(t, TN_MSG_ACK, 0,
                     say_as(t, DOCKER, 2000, TN_MSG_TASK_STATE, lease.header.task, 1, "{\"state\":\"succeeded\"}"));
        drop(&got);
        drop(&lease);
    }
    check_pipeline(t, "p5", "success");
}

/* Nothing begins before tenon-output, which is there, has told of the disk, nor while there is too little room; then it
 * goes on. That `wait` is false changes nothing: the room comes back by itself. */
static void test_disk(struct bench *t)
{
    auto_free char *added = tn_fs_path("{\"address\":%u,\"life\":7,\"name\":\"output\",\"state\":\"added\"}",
                                       (unsigned)TN_ADDRESS(TN_ROLE_OUTPUT, 0));
    struct got got;
    struct got lease;

    say_as(t, TN_ADDRESS(TN_ROLE_KERNEL, 0), 9, TN_MSG_PEER_STATE, 0, 0, added);
    got = run_plan(t, "p8", "", JOB("a", ""));
    drop(&got);
    check_job(t, "p8", "a", "queued", "waits for its turn");
    say_as(t, TN_ADDRESS(TN_ROLE_OUTPUT, 0), 7, TN_MSG_DISK_STATE, 0, 0,
           "{\"low\":true,\"path\":\"/x\",\"free\":\"1572864\",\"reserve\":\"1073741824\"}");
    check_job(t, "p8", "a", "queued",
              "waits for room on the disk: 1.5 MiB are free on /x, 1.0 GiB are kept free (store.reserve)");
    say_as(t, TN_ADDRESS(TN_ROLE_OUTPUT, 0), 7, TN_MSG_DISK_STATE, 0, 0,
           "{\"low\":true,\"path\":\"/x\",\"free\":\"1500000\",\"reserve\":\"1073741824\"}"); /* as good as the same */
    check_job(t, "p8", "a", "queued",
              "waits for room on the disk: 1.5 MiB are free on /x, 1.0 GiB are kept free (store.reserve)");
    say_as(t, TN_ADDRESS(TN_ROLE_OUTPUT, 0), 7, TN_MSG_DISK_STATE, 0, 0,
           "{\"low\":false,\"path\":\"/x\",\"free\":\"2000000000\",\"reserve\":\"1073741824\"}");
    lease = take_lease(t);
    CHECK_STR(tn_json_string(lease.body, "project", NULL), "local/project");
    for (size_t i = 0; i < 2; i++) {
        got = expect(t, TN_MSG_ACK, 0,
                     say_as(t, DOCKER, 2000, TN_MSG_TASK_STATE, lease.header.task, 1,
                            i == 0 ? "{\"state\":\"running\"}" : "{\"state\":\"succeeded\"}"));
        drop(&got);
    }
    drop(&lease);
    check_pipeline(t, "p8", "success");
}

/* An executor that is given up: what had not begun is tried elsewhere, what had begun ends. */
static void test_executor_lost(struct bench *t)
{
    auto_free char *failed =
        tn_fs_path("{\"address\":%u,\"life\":2000,\"name\":\"executor-docker\",\"state\":\"failed\","
                   "\"reason\":\"it crashed 5 times\"}",
                   DOCKER);
    struct got got = run_plan(t, "p6", "", JOB("a", ""));
    struct got lease = take_lease(t);

    drop(&got);
    got = expect(t, TN_MSG_ACK, 0,
                 say_as(t, DOCKER, 2000, TN_MSG_TASK_STATE, lease.header.task, 1,
                        "{\"state\":\"running\",\"steps_begun\":true}"));
    drop(&got);
    say_as(t, TN_ADDRESS(TN_ROLE_KERNEL, 0), 9, TN_MSG_PEER_STATE, 0, 0, failed);
    check_job(t, "p6", "a", "infrastructure_failure",
              "executor-docker was given up: it crashed 5 times (not tried again: its steps had begun)");
    check_pipeline(t, "p6", "failed");
    drop(&lease);
}

/* Once all executors have spoken, a job that none of them takes ends; an executor that is still to start is waited for.
 */
static void test_unavailable(struct bench *t)
{
    auto_free char *added =
        tn_fs_path("{\"address\":%u,\"life\":3000,\"name\":\"executor-machine\",\"state\":\"added\"}", MACHINE);
    struct got got;

    say_as(t, TN_ADDRESS(TN_ROLE_KERNEL, 0), 9, TN_MSG_PEER_STATE, 0, 0, added);
    got = run_plan(t, "p7", "", JOB("d", "") ",{\"name\":\"m\",\"kind\":\"machine\"}");
    drop(&got);
    check_job(t, "p7", "d", "infrastructure_failure", "the docker executor was given up: it crashed 5 times");
    check_job(t, "p7", "m", "queued", "waits for the machine executor to start");
    register_executor(t, MACHINE, 3000, "machine", "\"state\":\"unavailable\",\"reason\":\"no room in /tmp\"");
    check_job(t, "p7", "m", "infrastructure_failure", "the machine executor is unavailable: no room in /tmp");
    check_pipeline(t, "p7", "failed");
}

/* ---- figures ---- */

static char *many_jobs(size_t count)
{
    auto_buf struct tn_buf text = TN_BUF_INIT;

    for (size_t i = 0; i < count; i++)
        tn_buf_addf(&text, "%s{\"name\":\"j%zu\",\"kind\":\"docker\",\"resource_class\":\"small\",\"steps\":[]}",
                    i > 0 ? "," : "", i);
    return tn_buf_steal(&text);
}

/* Runs `count` jobs as fast as the scheduler leases them; every job is leased, running, succeeded: three transitions.
 */
static void run_many(struct bench *t, const char *id, size_t count)
{
    auto_free char *jobs = many_jobs(count);
    double begun = seconds();
    double created;
    struct got got = run_plan(t, id, "", jobs);
    size_t ended = 0;

    drop(&got);
    created = seconds();
    while (ended < count) {
        if (!next(t, &got, DEADLINE_MS))
            die("no message in time");
        if (got.header.kind == TN_MSG_LEASE) {
            answer(t, &got, TN_MSG_ACK, "");
            say(t, DOCKER, TN_MSG_TASK_STATE, got.header.task, 1, "{\"state\":\"running\"}");
            say(t, DOCKER, TN_MSG_TASK_STATE, got.header.task, 1, "{\"state\":\"succeeded\"}");
        } else if (got.header.kind == TN_MSG_EVENT && strcmp(tn_json_string(got.body, "event", ""), "job") == 0 &&
                   strcmp(tn_json_string(got.body, "state", ""), "succeeded") == 0) {
            ended++;
        }
        drop(&got);
    }
    printf("%zu jobs: created in %.3f s, run in %.3f s: %.0f transitions/s, %.3f ms a job\n", count, created - begun,
           seconds() - created, 3.0 * (double)count / (seconds() - created),
           (seconds() - created) * 1000 / (double)count);
}

/* STEP_STATE messages in, acknowledgements out, with at most 64 on their way. */
static void run_steps(struct bench *t, size_t count)
{
    struct got got = run_plan(t, "steps", "", JOB("a", ""));
    struct got lease = take_lease(t);
    double begun;
    size_t sent = 0;
    size_t acked = 0;

    drop(&got);
    report(t, &lease, "running", "");
    begun = seconds();
    while (acked < count) {
        for (; sent < count && sent - acked < 64; sent++) {
            auto_free char *body =
                tn_fs_path("{\"step\":%zu,\"name\":\"s\",\"type\":\"run\",\"state\":\"running\"}", sent % 100);

            say(t, DOCKER, TN_MSG_STEP_STATE, lease.header.task, 1, body);
        }
        if (!next(t, &got, DEADLINE_MS))
            die("no message in time");
        acked += got.header.kind == TN_MSG_ACK ? 1 : 0;
        drop(&got);
    }
    printf("%zu durable step states: %.0f a second\n", count, (double)count / (seconds() - begun));
    report(t, &lease, "succeeded", "");
    drop(&lease);
}

static char *find_program(void)
{
    const char *named = getenv("TENON_SCHEDULER");
    char self[4096];
    ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);

    if (named != NULL)
        return tn_fs_path("%s", named);
    if (length < 0)
        die("cannot find its own place");
    self[length] = '\0';
    for (int up = 0; up < 3; up++)
        *strrchr(self, '/') = '\0';
    return tn_fs_path("%s/core/scheduler/tenon-scheduler", self);
}

int main(int argc, char **argv)
{
    auto_free char *program = find_program();
    static struct bench t;
    struct tn_err err = TN_ERR_INIT;

    if (access(program, X_OK) != 0)
        die("tenon-scheduler is not built: ninja -C build");
    alarm(TEST_S);
    t.program = program;
    snprintf(t.dir, sizeof(t.dir), "/tmp/tenon-scheduler-test.XXXXXX");
    if (mkdtemp(t.dir) == NULL)
        die("cannot make a folder in /tmp");
    launch(&t);
    register_executor(&t, DOCKER, 1000, "docker", "\"state\":\"ready\"");
    register_executor(&t, MACHINE, 1000, "machine", "\"state\":\"ready\"");
    if (argc > 1) {
        run_steps(&t, 20000);
        run_many(&t, "m1", 1000);
        run_many(&t, "m2", 10000);
        CHECK_INT(finish(&t, SIGTERM), 0);
    } else {
        test_graph_and_lease(&t);
        test_secret_is_gone(&t);
        test_errors(&t);
        test_retry_and_cancel(&t);
        test_restart(&t);
        test_disk(&t);
        test_executor_lost(&t);
        test_unavailable(&t);
        CHECK_INT(finish(&t, SIGTERM), 0);
    }
    CHECK(tn_fs_remove_tree(t.dir, &err) == 0);
    return tn_check_result();
}
