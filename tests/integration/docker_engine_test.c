/* The Docker Engine client against a real engine: TENON_TEST_DOCKER_HOST names it (unix:///PATH). The image is made of
 * a static busybox: TENON_TEST_BUSYBOX, or /bin/busybox. Whatever the test makes carries its own label and is removed.
 */
#include "core/lib/buf.h"
#include "core/lib/cleanup.h"
#include "executors/docker/container_spec.h"
#include "executors/docker/engine.h"
#include "executors/docker/registry_auth.h"
#include "tests/unit/check.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <sys/stat.h>

#define DEADLINE_MS 60000

struct outcome {
    bool done;
    int status;
    cJSON *json; /* owned */
    struct tn_err err;
};

struct reader {
    struct outcome outcome; /* first: `arg` of a logs request is both */
    struct tn_engine_call *call;
    struct tn_buf text[3]; /* by stream */
    size_t total;
    int cancel_after; /* parts; 0: never */
    bool stop;        /* have enough after the first part */
    struct event *resume;
};

static struct event_base *base;
static struct tn_engine *engine;
static char installation[64];
static struct tn_image_ref image;
static struct tn_container_host host;
static char folder[] = "/tmp/tenon-docker-engine-test-XXXXXX";

static void on_done(int status, const cJSON *json, const struct tn_err *err, void *arg)
{
    struct outcome *outcome = arg;

    outcome->done = true;
    outcome->status = status;
    outcome->json = json != NULL ? cJSON_Duplicate(json, true) : NULL;
    if (err != NULL)
        outcome->err = *err;
}

static void reset(struct outcome *outcome)
{
    cJSON_Delete(outcome->json);
    *outcome = (struct outcome){0};
}

static void await(struct outcome *outcome)
{
    while (!outcome->done)
        if (event_base_loop(base, EVLOOP_ONCE) != 0) {
            fprintf(stderr, "the loop has nothing to wait for\n");
            exit(1);
        }
}

static struct outcome last;

static struct tn_engine_then then_last(void)
{
    reset(&last);
    return TN_ENGINE_THEN(DEADLINE_MS, on_done, &last);
}

/* The answer, which is good until the next request. */
static const cJSON *await_success(void)
{
    await(&last);
    CHECK_STR(last.err.text, "");
    return last.json;
}

static const char *await_failure(enum tn_err_code code)
{
    await(&last);
    CHECK_INT(last.err.code, code);
    return last.err.text;
}

/* Runs one request to its end. */
#define OK(function, ...) (function(engine, ##__VA_ARGS__, then_last()), await_success())
#define FAILS(code, function, ...) (function(engine, ##__VA_ARGS__, then_last()), await_failure(code))

static const char *text_of(const cJSON *object, const char *key)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, key));

    return text != NULL ? text : "";
}

static int number_of(const cJSON *object, const char *key)
{
    const cJSON *number = cJSON_GetObjectItemCaseSensitive(object, key);

    return cJSON_IsNumber(number) ? number->valueint : -1;
}

static void write_file(const char *path, const char *text)
{
    auto_fd int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);

    CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
}

static bool read_file(const char *path, struct tn_buf *to)
{
    auto_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = -1;

    while (fd >= 0 && (got = read(fd, tn_buf_reserve(to, 65536), 65536)) > 0)
        to->len += (size_t)got;
    tn_buf_add(to, "", 0);
    return got == 0;
}

/* A tar with one file, the busybox. */
static bool make_tar(const char *busybox, struct tn_buf *tar)
{
    auto_buf struct tn_buf program = TN_BUF_INIT;
    struct archive *archive = archive_write_new();
    struct archive_entry *entry = archive_entry_new();
    size_t used = 0;
    bool ok = read_file(busybox, &program);

    tn_buf_reserve(tar, program.len + 65536);
    archive_write_set_format_ustar(archive);
    archive_write_open_memory(archive, tar->data, program.len + 65536, &used);
    archive_entry_set_pathname(entry, "bin/busybox");
    archive_entry_set_filetype(entry, AE_IFREG);
    archive_entry_set_perm(entry, 0755);
    archive_entry_set_size(entry, (la_int64_t)program.len);
    ok = ok && archive_write_header(archive, entry) == ARCHIVE_OK &&
         archive_write_data(archive, program.data, program.len) == (la_ssize_t)program.len;
    ok = archive_write_close(archive) == ARCHIVE_OK && ok;
    archive_write_free(archive);
    archive_entry_free(entry);
    tar->len = used;
    return ok;
}

static void test_no_engine(void)
{
    struct tn_err err = TN_ERR_INIT;
    struct outcome first = {0};
    struct outcome second = {0};
    struct tn_engine *nobody;
    char address[128];
    char expected[512];

    CHECK(tn_engine_new(base, "tcp://build1:2376", &err) == NULL);
    CHECK_STR(err.text,
              "DOCKER_HOST is \"tcp://build1:2376\" without TLS: whoever reaches such an engine is root on its host, so "
              "it is used on loopback only; set docker.tls (ca, certificate, key) or DOCKER_TLS_VERIFY and "
              "DOCKER_CERT_PATH, and start the engine with --tlsverify");
    snprintf(address, sizeof(address), "unix://%s/nobody.sock", folder);
    nobody = tn_engine_new(base, address, &err);
    tn_engine_ping(nobody, TN_ENGINE_THEN(DEADLINE_MS, on_done, &first));
    tn_engine_info(nobody, TN_ENGINE_THEN(DEADLINE_MS, on_done, &second));
    await(&first);
    await(&second);
    snprintf(expected, sizeof(expected),
             "no Docker Engine answers at %s: No such file or directory; start it (systemctl start docker), set "
             "DOCKER_HOST, or use --executor docker=machine",
             address);
    CHECK_STR(first.err.text, expected);
    CHECK_STR(second.err.text, expected);
    /* Freed with requests under way: none of their callbacks comes. */
    tn_engine_info(nobody, TN_ENGINE_THEN(DEADLINE_MS, NULL, NULL));
    tn_engine_free(nobody);
}

static void test_engine(void)
{
    struct tn_err err = TN_ERR_INIT;
    cJSON *networks;

    OK(tn_engine_ping);
    CHECK_STR(text_of(OK(tn_engine_version), "Os"), "linux");
    networks = cJSON_Duplicate(OK(tn_engine_networks), true);
    CHECK(cJSON_IsArray(networks));
    CHECK(tn_container_host_parse(OK(tn_engine_info), networks, &host, &err) == 0);
    CHECK(host.cpus > 0);
    cJSON_Delete(networks);
}

static void on_pull(const struct tn_docker_progress *progress, void *arg)
{
    (void)progress;
    (void)arg;
}

static void test_images(const char *busybox)
{
    auto_buf struct tn_buf tar = TN_BUF_INIT;
    struct tn_image_ref missing;
    struct tn_err err = TN_ERR_INIT;
    char expected[256];
    const char *said;
    auto_free char *auth = NULL;

    CHECK(make_tar(busybox, &tar));
    OK(tn_engine_image_import, &image, tar.data, tar.len);
    CHECK(strncmp(text_of(OK(tn_engine_image_inspect, &image), "Id"), "sha256:", 7) == 0);

    CHECK(tn_image_ref_parse("localhost:1/none:x", &missing, &err) == 0);
    snprintf(expected, sizeof(expected),
             "Docker Engine at %s: GET /images/localhost:1/none:x/json: HTTP 404: ", tn_engine_address(engine));
    said = FAILS(TN_ERR_NOT_FOUND, tn_engine_image_inspect, &missing);
    CHECK(strncmp(said, expected, strlen(expected)) == 0);
    CHECK(strstr(said, "o such image: localhost:1/none:x; pull or load it into this engine first, or check its name") !=
          NULL);
    /* Port 1 of this host: nobody listens there. */
    auth = tn_registry_auth_new(&missing, "me", "secret");
    said = FAILS(TN_ERR_UNAVAILABLE, tn_engine_image_pull, &missing, auth, on_pull);
    CHECK(strstr(said, "connection refused") != NULL);
}

static struct tn_container_task make_task(void)
{
    static const struct tn_container_class class = {.name = "any", .cpus = 20, .memory_mib = 40960, .pids = 32768};
    static char agent[256];
    static char sockets[256];
    auto_buf struct tn_buf path = TN_BUF_INIT;

    snprintf(agent, sizeof(agent), "%s/agent", folder);
    snprintf(sockets, sizeof(sockets), "%s/sockets", folder);
    CHECK(mkdir(agent, 0755) == 0 && mkdir(sockets, 0777) == 0 && chmod(sockets, 0777) == 0);
    tn_buf_addf(&path, "%s/tenon-agent", agent);
    write_file(path.data, "#!/bin/busybox sh\nb=/bin/busybox\necho \"$*\" > /.tenon/run/args\n"
                          "$b touch /.tenon/bin/x 2>/dev/null && echo writable >> /.tenon/run/args\n"
                          "$b grep db /etc/hosts >> /.tenon/run/args\n"
                          "$b mv /.tenon/run/args /.tenon/run/told\n"
                          "trap 'exit 7' TERM\nwhile :; do $b sleep 1000 & wait; done\n");
    return (struct tn_container_task){
        .installation = installation,
        .task = "task",
        .attempt = 1,
        .resource_class = &class,
        .host = &host,
        .agent_folder = agent,
        .socket_folder = sockets,
    };
}

static void parse_image(const char *rest, struct tn_container_image *to)
{
    auto_buf struct tn_buf json = TN_BUF_INIT;
    struct tn_err err = TN_ERR_INIT;
    cJSON *entry;

    tn_buf_addf(&json, "{\"image\":\"%s:%s\"%s}", image.repository, image.tag, rest);
    entry = cJSON_Parse(json.data);
    CHECK(tn_container_image_parse(entry, to, &err) == 0);
    CHECK_STR(err.text, "");
    cJSON_Delete(entry);
}

static void make_service(const struct tn_container_task *task, const char *script, const char *primary, size_t index,
                         char *name, size_t size)
{
    auto_buf struct tn_buf rest = TN_BUF_INIT;
    struct tn_container_image service;
    cJSON *body;

    tn_buf_addf(&rest, ",\"entrypoint\":[\"/bin/busybox\",\"sh\",\"-c\"],\"command\":[\"%s\"]", script);
    parse_image(rest.data, &service);
    tn_container_name(task, index, name, size);
    body = tn_container_service_new(task, &service, primary);
    OK(tn_engine_create, name, body);
    CHECK_INT(last.status, 201);
    cJSON_Delete(body);
    tn_container_image_free(&service);
    OK(tn_engine_start, name);
}

static int on_log(enum tn_docker_stream stream, const char *bytes, size_t len, void *arg)
{
    struct reader *reader = arg;

    if (len < 4096 && stream <= TN_DOCKER_STDERR)
        tn_buf_add(&reader->text[stream], bytes, len);
    reader->total += len;
    if (reader->cancel_after > 0 && --reader->cancel_after == 0) {
        tn_engine_cancel(reader->call);
        reader->outcome.done = true;
    }
    if (reader->resume != NULL) {
        static const struct timeval soon = {0, 1000};

        tn_engine_pause(reader->call, true);
        evtimer_add(reader->resume, &soon);
    }
    return reader->stop ? -1 : 0;
}

static void read_logs(struct reader *reader, const char *id, bool follow, uint64_t max_bytes)
{
    struct tn_engine_logs logs = {.follow = follow, .max_bytes = max_bytes, .on_bytes = on_log};

    reader->call = tn_engine_logs(engine, id, &logs, TN_ENGINE_THEN(DEADLINE_MS, on_done, reader));
    await(&reader->outcome);
}

static void end_reader(struct reader *reader)
{
    for (int i = 0; i < 3; i++)
        tn_buf_free(&reader->text[i]);
    reset(&reader->outcome);
    *reader = (struct reader){0};
}

static void on_resume(evutil_socket_t fd, short what, void *arg)
{
    struct reader *reader = arg;

    (void)fd;
    (void)what;
    tn_engine_pause(reader->call, false);
}

static void test_logs(const struct tn_container_task *task, const char *primary)
{
    struct reader reader = {0};
    char name[TN_CONTAINER_NAME_MAX + 1];

    make_service(task, "echo out; echo err >&2; exit 3", primary, 1, name, sizeof(name));
    CHECK_INT(number_of(OK(tn_engine_wait, name), "StatusCode"), 3);
    read_logs(&reader, name, true, 0);
    CHECK_STR(reader.outcome.err.text, "");
    CHECK_STR(reader.text[TN_DOCKER_STDOUT].data, "out\n");
    CHECK_STR(reader.text[TN_DOCKER_STDERR].data, "err\n");
    end_reader(&reader);
    read_logs(&reader, name, true, 5);
    CHECK_INT(reader.outcome.err.code, TN_ERR_LIMIT);
    CHECK(strstr(reader.outcome.err.text, "more than the 5 bytes that were asked for") != NULL);
    end_reader(&reader);

    make_service(task, "yes 0123456789abcde | head -c 400000", primary, 2, name, sizeof(name));
    CHECK_INT(number_of(OK(tn_engine_wait, name), "StatusCode"), 0);
    reader.resume = evtimer_new(base, on_resume, &reader);
    read_logs(&reader, name, false, 0);
    CHECK_STR(reader.outcome.err.text, "");
    CHECK_INT(reader.total, 400000);
    event_free(reader.resume);
    end_reader(&reader);
    reader.stop = true;
    read_logs(&reader, name, false, 0);
    CHECK_STR(reader.outcome.err.text, "");
    CHECK(reader.total < 400000);
    end_reader(&reader);
    reader.cancel_after = 3;
    read_logs(&reader, name, false, 0);
    CHECK(reader.total < 400000);
    end_reader(&reader);
    CHECK(strstr(FAILS(TN_ERR_CONFLICT, tn_engine_kill, name, "SIGTERM"), "is not running") != NULL);
}

/* Cancelling and deadlines, with a request on each side of the one that ends. */
static void test_waiting(const char *primary)
{
    struct outcome short_wait = {0};
    struct outcome long_wait = {0};
    struct outcome never = {0};
    struct tn_engine_call *call;
    char expected[512];

    tn_engine_wait(engine, primary, TN_ENGINE_THEN(0, on_done, &long_wait));
    call = tn_engine_wait(engine, primary, TN_ENGINE_THEN(0, on_done, &never));
    tn_engine_wait(engine, primary, TN_ENGINE_THEN(100, on_done, &short_wait));
    await(&short_wait);
    snprintf(expected, sizeof(expected),
             "the Docker Engine at %s did not finish POST /containers/%s/wait?condition=not-running within 0.100 s; it "
             "may be overloaded or hang (journalctl -u docker)",
             tn_engine_address(engine), primary);
    CHECK_STR(short_wait.err.text, expected);
    tn_engine_cancel(call);
    tn_engine_cancel(tn_engine_info(engine, TN_ENGINE_THEN(0, on_done, &never)));
    OK(tn_engine_kill, primary, "SIGTERM");
    await(&long_wait);
    CHECK_INT(number_of(long_wait.json, "StatusCode"), 7);
    CHECK(!never.done);
    reset(&long_wait);
}

/* The agent's stand-in says what it was started with as soon as it runs; its file appears by rename. */
static void check_told(const struct tn_container_task *task)
{
    auto_buf struct tn_buf path = TN_BUF_INIT;
    auto_buf struct tn_buf told = TN_BUF_INIT;
    static const struct timeval tick = {0, 5000};

    tn_buf_addf(&path, "%s/told", task->socket_folder);
    for (int i = 0; i < 2000 && access(path.data, F_OK) != 0; i++) {
        event_base_loopexit(base, &tick);
        event_base_loop(base, 0);
    }
    CHECK(read_file(path.data, &told));
    CHECK_STR(told.data, "serve --listen /.tenon/run/agent.sock\n127.0.0.1\tdb\n");
}

static void test_life(void)
{
    struct tn_container_task task = make_task();
    char label[128];
    const char *const labels[] = {label, TN_LABEL_ROLE "=" TN_ROLE_PRIMARY};
    const char *const unknown[] = {TN_LABEL_INSTALLATION "=nobody"};
    struct tn_container_image primary_image;
    struct tn_container_state state;
    struct tn_err err = TN_ERR_INIT;
    char name[TN_CONTAINER_NAME_MAX + 1];
    cJSON *body;

    snprintf(label, sizeof(label), TN_LABEL_INSTALLATION "=%s", installation);
    parse_image(",\"name\":\"db\",\"user\":\"1234:1234\"", &primary_image);
    body = tn_container_primary_new(&task, &primary_image, 1);
    tn_container_name(&task, 0, name, sizeof(name));
    CHECK(strlen(text_of(OK(tn_engine_create, name, body), "Id")) == 64);
    FAILS(TN_ERR_CONFLICT, tn_engine_create, name, body);
    CHECK(strstr(last.err.text, "; remove the container that has the name (docker rm -f), or use it") != NULL);
    OK(tn_engine_start, name);
    OK(tn_engine_start, name);
    CHECK_INT(last.status, 304);
    CHECK(tn_container_state_parse(OK(tn_engine_inspect, name), &state, &err) == 0);
    CHECK(state.running);
    CHECK_STR(state.status, "running");
    check_told(&task);
    CHECK_INT(cJSON_GetArraySize(OK(tn_engine_list, labels, 2)), 1);
    CHECK_INT(cJSON_GetArraySize(OK(tn_engine_list, unknown, 1)), 0);

    test_logs(&task, name);
    CHECK_INT(cJSON_GetArraySize(OK(tn_engine_list, labels, 1)), 3);
    test_waiting(name);
    CHECK(tn_container_state_parse(OK(tn_engine_inspect, name), &state, &err) == 0);
    CHECK(!state.running && state.exit_code == 7 && !state.oom_killed);
    OK(tn_engine_stop, name, 1);
    OK(tn_engine_remove, name);
    OK(tn_engine_remove, name);
    FAILS(TN_ERR_NOT_FOUND, tn_engine_inspect, name);
    cJSON_Delete(body);
    tn_container_image_free(&primary_image);
}

/* Removes what the test has made, also after a failure. */
static void clean_up(void)
{
    char label[128];
    const char *const labels[] = {label};
    const cJSON *item;
    cJSON *list;

    snprintf(label, sizeof(label), TN_LABEL_INSTALLATION "=%s", installation);
    list = cJSON_Duplicate(OK(tn_engine_list, labels, 1), true);
    cJSON_ArrayForEach (item, list)
        OK(tn_engine_remove, text_of(item, "Id"));
    cJSON_Delete(list);
    CHECK_INT(cJSON_GetArraySize(OK(tn_engine_list, labels, 1)), 0);
    OK(tn_engine_image_remove, &image);
}

static void remove_folder(void)
{
    static const char *const names[] = {"agent/tenon-agent", "sockets/told", "sockets/args", "agent", "sockets", ""};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char path[256];

        snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
        remove(path);
    }
    CHECK(access(folder, F_OK) != 0);
}

int main(void)
{
    const char *address = getenv("TENON_TEST_DOCKER_HOST");
    const char *busybox = getenv("TENON_TEST_BUSYBOX") != NULL ? getenv("TENON_TEST_BUSYBOX") : "/bin/busybox";
    struct tn_err err = TN_ERR_INIT;

    if (address == NULL || address[0] == '\0') {
        fprintf(stderr, "skipped: TENON_TEST_DOCKER_HOST names no engine\n");
        return 77;
    }
    if (access(busybox, X_OK) != 0) {
        fprintf(stderr, "skipped: no static busybox at %s (package busybox-static, or TENON_TEST_BUSYBOX)\n", busybox);
        return 77;
    }
    base = event_base_new();
    engine = tn_engine_new(base, address, &err);
    CHECK_STR(err.text, "");
    if (engine == NULL || mkdtemp(folder) == NULL || chmod(folder, 0755) < 0)
        return 1;
    snprintf(installation, sizeof(installation), "engine-test-%d", (int)getpid());
    snprintf(image.registry, sizeof(image.registry), "docker.io");
    snprintf(image.repository, sizeof(image.repository), "tenon-test/busybox");
    snprintf(image.tag, sizeof(image.tag), "%s", installation);
    test_no_engine();
    test_engine();
    test_images(busybox);
    test_life();
    clean_up();
    reset(&last);
    tn_engine_free(engine);
    event_base_free(base);
    remove_folder();
    return tn_check_result();
}
