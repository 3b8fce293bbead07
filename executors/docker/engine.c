#include "executors/docker/engine.h"

#include "core/lib/buf.h"
#include "core/lib/cleanup.h"
#include "core/lib/log.h"
#include "executors/docker/engine_error.h"
#include "executors/docker/http.h"

#include <openssl/crypto.h>
#include <string.h>
#include <sys/queue.h>

#define API_MAJOR 1
#define API_WANTED_MINOR 41 /* Docker 20.10, that of Debian 12 */
#define API_OLDEST_MINOR 25 /* Docker 1.13: the first with mounts, NanoCpus and a bounded wait */
#define NEGOTIATION_DEADLINE_MS 10000

enum answer_kind { ANSWER_JSON, ANSWER_LINES, ANSWER_FRAMES };

struct tn_engine_call {
    TAILQ_ENTRY(tn_engine_call) link;
    struct tn_engine *engine;  /* borrowed */
    struct tn_http_call *http; /* NULL while it waits for the API version */
    unsigned round;            /* of agreeing on the version, whose end it waits for */
    bool unversioned;
    bool paused;
    bool decoding;     /* within a decoder, which may call the user */
    bool cancelled;    /* by such a call: freed when the decoder is left */
    bool gone_is_fine; /* 404 and "removal in progress" count as success */
    const char *method;
    struct tn_buf path; /* owned; without the version */
    const char *content_type;
    struct tn_buf body;      /* owned */
    char *header;            /* owned */
    struct tn_image_ref ref; /* of image requests: what advice names */
    struct tn_engine_then then;

    enum answer_kind kind;
    struct tn_buf answer; /* owned; what is not streamed */
    struct tn_docker_lines lines;
    struct tn_docker_demux demux;
    tn_docker_on_progress *on_progress;
    tn_docker_bytes *on_bytes;
    uint64_t max_bytes;
    uint64_t n_bytes;
    struct tn_err err; /* of the decoder */
};

struct tn_engine {
    struct tn_http *http; /* owned */
    char *address;        /* owned */
    int minor;            /* of the API version that was agreed on; -1: not yet */
    unsigned round;       /* counts the attempts to agree */
    bool negotiating;
    TAILQ_HEAD(, tn_engine_call) calls;
};

static void begin_call(struct tn_engine_call *call);

static void free_call(struct tn_engine_call *call)
{
    TAILQ_REMOVE(&call->engine->calls, call, link);
    tn_buf_free(&call->path);
    tn_buf_free(&call->body);
    tn_buf_free(&call->answer);
    tn_docker_lines_free(&call->lines);
    if (call->header != NULL)
        OPENSSL_cleanse(call->header, strlen(call->header));
    free(call->header);
    free(call);
}

/* ---- what decoders call ---- */

static void pass_progress(const struct tn_docker_progress *progress, void *arg)
{
    struct tn_engine_call *call = arg;

    if (call->on_progress != NULL && !call->cancelled)
        call->on_progress(progress, call->then.arg);
}

static int pass_bytes(enum tn_docker_stream stream, const char *bytes, size_t len, void *arg)
{
    struct tn_engine_call *call = arg;

    call->n_bytes += len;
    if (call->max_bytes != 0 && call->n_bytes > call->max_bytes)
        return tn_err_set(&call->err, TN_ERR_LIMIT, "more than the %llu bytes that were asked for",
                          (unsigned long long)call->max_bytes);
    if (call->on_bytes(stream, bytes, len, call->then.arg) < 0)
        return -1;
    return call->cancelled ? -1 : 0;
}

/* ---- the end of a request ---- */

static void finish_call(struct tn_engine_call *call, int status, const cJSON *json, const struct tn_err *err)
{
    struct tn_engine_then then = call->then;

    free_call(call);
    then.done(status, json, err, then.arg);
}

static void describe(const struct tn_engine_call *call, struct tn_engine_request_name *name)
{
    name->address = call->engine->address;
    name->method = call->method;
    name->path = call->path.data;
    name->image = call->ref.repository[0] != '\0' ? &call->ref : NULL;
    name->is_pull = call->kind == ANSWER_LINES && call->content_type == NULL;
    name->deadline_ms = call->then.deadline_ms;
}

/* Removing is idempotent: what is gone, or being removed by an earlier request, is as wanted. */
static bool is_removed(const struct tn_engine_call *call, int status, const cJSON *json)
{
    const char *message = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "message"));

    return call->gone_is_fine &&
           (status == 404 || (status == 409 && message != NULL && strstr(message, "already in progress") != NULL));
}

/* Decodes what is left at the end of a streamed answer. */
static int finish_stream(struct tn_engine_call *call, int status)
{
    if (status < 200 || status >= 300)
        return 0;
    if (call->kind == ANSWER_LINES)
        return tn_docker_lines_finish(&call->lines, pass_progress, call, &call->err);
    if (call->kind == ANSWER_FRAMES)
        return tn_docker_demux_finish(&call->demux, &call->err);
    return 0;
}

static void on_http_done(const struct tn_http_result *result, void *arg)
{
    struct tn_engine_call *call = arg;
    struct tn_engine_request_name name;
    struct tn_err err = TN_ERR_INIT;
    cJSON *json = NULL;

    describe(call, &name);
    if (result->end == TN_HTTP_STOPPED) {
        /* Without an error the reader of the stream has enough. */
        if (call->err.code != TN_OK)
            tn_engine_error_stream(&name, &call->err, &err);
    } else if (result->end == TN_HTTP_ANSWERED) {
        int decoded;

        call->decoding = true;
        decoded = finish_stream(call, result->status);
        call->decoding = false;
        if (call->cancelled) {
            free_call(call);
            return;
        }
        if (call->answer.len > 0)
            json = cJSON_ParseWithLength(call->answer.data, call->answer.len);
        if (decoded < 0)
            tn_engine_error_stream(&name, &call->err, &err);
        else if (result->status != 304 && (result->status < 200 || result->status >= 300) &&
                 !is_removed(call, result->status, json))
            tn_engine_error_status(&name, result->status, json, call->answer.data, &err);
    } else {
        /* Another engine may answer at this address next time. */
        if (result->end != TN_HTTP_TIMEOUT)
            call->engine->minor = -1;
        tn_engine_error_transport(&name, result, &err);
    }
    finish_call(call, result->status, json, err.code != TN_OK ? &err : NULL);
    cJSON_Delete(json);
}

/* ---- the answer's bytes ---- */

static int decode(struct tn_engine_call *call, int status, const char *bytes, size_t len)
{
    if (call->kind == ANSWER_LINES && status == 200)
        return tn_docker_lines_feed(&call->lines, bytes, len, pass_progress, call, &call->err);
    if (call->kind == ANSWER_FRAMES && status == 200)
        return tn_docker_demux_feed(&call->demux, bytes, len, pass_bytes, call, &call->err);
    if (call->answer.len + len > TN_ENGINE_ANSWER_MAX)
        return tn_err_set(&call->err, TN_ERR_LIMIT, "the answer is larger than %u bytes", TN_ENGINE_ANSWER_MAX);
    tn_buf_add(&call->answer, bytes, len);
    return 0;
}

static int on_http_bytes(int status, const char *bytes, size_t len, void *arg)
{
    struct tn_engine_call *call = arg;
    int result;

    call->decoding = true;
    result = decode(call, status, bytes, len);
    call->decoding = false;
    if (call->cancelled) {
        free_call(call);
        return -1;
    }
    return result;
}

/* ---- agreeing on the API version ---- */

/* The minor number of "1.N", or -1. */
static int minor_of(const cJSON *version, const char *key)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(version, key));
    char *end;
    long minor;

    if (text == NULL || strncmp(text, "1.", 2) != 0)
        return -1;
    minor = strtol(text + 2, &end, 10);
    return end != text + 2 && *end == '\0' && minor >= 0 && minor < 10000 ? (int)minor : -1;
}

static int agree(struct tn_engine *engine, const cJSON *version, struct tn_err *err)
{
    int newest = minor_of(version, "ApiVersion");
    int oldest = minor_of(version, "MinAPIVersion");
    int minor = newest < API_WANTED_MINOR ? newest : API_WANTED_MINOR;

    if (newest < 0)
        return tn_err_set(err, TN_ERR_PROTOCOL,
                          "what answers GET /version at %s is no Docker Engine: expected JSON with an \"ApiVersion\" "
                          "such as \"1.41\"; check DOCKER_HOST",
                          engine->address);
    if (newest < API_OLDEST_MINOR)
        return tn_err_set(err, TN_ERR_UNAVAILABLE,
                          "the Docker Engine at %s speaks API 1.%d, and 1.%d (Docker 1.13) is needed: upgrade it",
                          engine->address, newest, API_OLDEST_MINOR);
    engine->minor = minor > oldest ? minor : oldest;
    return 0;
}

static struct tn_engine_call *first_waiting(struct tn_engine *engine, unsigned round)
{
    struct tn_engine_call *call;

    TAILQ_FOREACH (call, &engine->calls, link)
        if (call->http == NULL && call->round == round)
            return call;
    return NULL;
}

/* Sends what waited, or ends it. Its callbacks may start and cancel requests; new ones belong to the next round. */
static void on_version(int status, const cJSON *json, const struct tn_err *failure, void *arg)
{
    struct tn_engine *engine = arg;
    struct tn_err err = TN_ERR_INIT;
    unsigned round = engine->round++;
    struct tn_engine_call *call;

    (void)status;
    engine->negotiating = false;
    if (failure != NULL)
        err = *failure;
    else if (agree(engine, json, &err) == 0)
        tn_debug("Docker Engine at %s: API 1.%d", engine->address, engine->minor);
    while ((call = first_waiting(engine, round)) != NULL) {
        if (err.code != TN_OK)
            finish_call(call, 0, NULL, &err);
        else
            begin_call(call);
    }
}

/* ---- the begin of a request ---- */

static struct tn_engine_call *new_call(struct tn_engine *engine, const char *method, struct tn_engine_then then)
{
    struct tn_engine_call *call = calloc(1, sizeof(*call));

    if (call == NULL)
        tn_fatal(3, "out of memory: a request to the Docker Engine");
    call->engine = engine;
    call->method = method;
    call->then = then;
    call->kind = ANSWER_JSON;
    call->round = engine->round;
    TAILQ_INSERT_TAIL(&engine->calls, call, link);
    return call;
}

static void begin_call(struct tn_engine_call *call)
{
    auto_buf struct tn_buf path = TN_BUF_INIT;
    struct tn_http_request request = {
        .method = call->method,
        .content_type = call->content_type,
        .header = call->header,
        .body = call->content_type != NULL ? call->body.data : NULL,
        .body_len = call->body.len,
        .deadline_ms = call->then.deadline_ms,
        .on_bytes = on_http_bytes,
        .on_done = on_http_done,
        .arg = call,
    };

    if (!call->unversioned)
        tn_buf_addf(&path, "/v%d.%d", API_MAJOR, call->engine->minor);
    tn_buf_adds(&path, call->path.data);
    request.path = path.data;
    call->http = tn_http_start(call->engine->http, &request);
    if (call->paused)
        tn_http_pause(call->http, true);
}

/* Sends a request, or lets it wait until the API version is known. Returns it for the caller's return. */
static struct tn_engine_call *submit(struct tn_engine_call *call)
{
    struct tn_engine *engine = call->engine;

    if (call->unversioned || engine->minor >= 0) {
        begin_call(call);
    } else if (!engine->negotiating) {
        engine->negotiating = true;
        tn_engine_version(engine, TN_ENGINE_THEN(NEGOTIATION_DEADLINE_MS, on_version, engine));
    }
    return call;
}

/* Appends `text` percent-encoded; `keep` are characters that stay besides letters, digits and "-_.~". */
static void add_encoded(struct tn_buf *path, const char *text, const char *keep)
{
    for (; *text != '\0'; text++) {
        if ((*text >= 'a' && *text <= 'z') || (*text >= 'A' && *text <= 'Z') || (*text >= '0' && *text <= '9') ||
            strchr("-_.~", *text) != NULL || strchr(keep, *text) != NULL)
            tn_buf_add(path, text, 1);
        else
            tn_buf_addf(path, "%%%02X", (unsigned char)*text);
    }
}

/* A request whose path is `before`, the encoded `name`, and `after`. */
static struct tn_engine_call *new_named(struct tn_engine *engine, const char *method, const char *before,
                                        const char *name, const char *after, struct tn_engine_then then)
{
    struct tn_engine_call *call = new_call(engine, method, then);

    tn_buf_adds(&call->path, before);
    add_encoded(&call->path, name, "");
    tn_buf_adds(&call->path, after);
    return call;
}

/* The same for an image; the engine's routes take its slashes as they are. */
static struct tn_engine_call *new_for_image(struct tn_engine *engine, const char *method,
                                            const struct tn_image_ref *image, const char *after,
                                            struct tn_engine_then then)
{
    struct tn_engine_call *call = new_call(engine, method, then);
    char name[TN_IMAGE_REF_TEXT_MAX + 1];

    call->ref = *image;
    tn_image_ref_format(image, name, sizeof(name));
    tn_buf_adds(&call->path, "/images/");
    add_encoded(&call->path, name, "/:@");
    tn_buf_adds(&call->path, after);
    return call;
}

static struct tn_engine_call *get(struct tn_engine *engine, const char *path, bool unversioned,
                                  struct tn_engine_then then)
{
    struct tn_engine_call *call = new_call(engine, "GET", then);

    tn_buf_adds(&call->path, path);
    call->unversioned = unversioned;
    return submit(call);
}

/* ---- the engine ---- */

struct tn_engine *tn_engine_new(struct event_base *base, const char *docker_host, struct tn_err *err)
{
    static const char scheme[] = "unix://";
    struct tn_http *http;
    struct tn_engine *engine;

    if (docker_host == NULL || docker_host[0] == '\0')
        docker_host = TN_ENGINE_DEFAULT_HOST;
    if (strncmp(docker_host, scheme, sizeof(scheme) - 1) != 0) {
        tn_err_set(err, TN_ERR_USAGE,
                   "DOCKER_HOST is \"%s\": only unix:///PATH is supported yet (no tcp://, ssh:// or TLS); expected "
                   "something like " TN_ENGINE_DEFAULT_HOST,
                   docker_host);
        return NULL;
    }
    http = tn_http_new(base, docker_host + sizeof(scheme) - 1, err);
    if (http == NULL) {
        tn_err_wrap(err, "DOCKER_HOST is \"%s\"", docker_host);
        return NULL;
    }
    engine = calloc(1, sizeof(*engine));
    if (engine == NULL || (engine->address = strdup(docker_host)) == NULL)
        tn_fatal(3, "out of memory: a Docker Engine client");
    engine->http = http;
    engine->minor = -1;
    TAILQ_INIT(&engine->calls);
    return engine;
}

void tn_engine_free(struct tn_engine *engine)
{
    if (engine == NULL)
        return;
    tn_http_free(engine->http);
    while (!TAILQ_EMPTY(&engine->calls))
        free_call(TAILQ_FIRST(&engine->calls));
    free(engine->address);
    free(engine);
}

const char *tn_engine_address(const struct tn_engine *engine)
{
    return engine->address;
}

void tn_engine_cancel(struct tn_engine_call *call)
{
    if (call->http != NULL)
        tn_http_cancel(call->http);
    call->cancelled = true;
    if (!call->decoding)
        free_call(call);
}

void tn_engine_pause(struct tn_engine_call *call, bool paused)
{
    call->paused = paused;
    if (call->http != NULL)
        tn_http_pause(call->http, paused);
}

struct tn_engine_call *tn_engine_ping(struct tn_engine *engine, struct tn_engine_then then)
{
    return get(engine, "/_ping", true, then);
}

struct tn_engine_call *tn_engine_version(struct tn_engine *engine, struct tn_engine_then then)
{
    return get(engine, "/version", true, then);
}

struct tn_engine_call *tn_engine_info(struct tn_engine *engine, struct tn_engine_then then)
{
    return get(engine, "/info", false, then);
}

struct tn_engine_call *tn_engine_networks(struct tn_engine *engine, struct tn_engine_then then)
{
    return get(engine, "/networks", false, then);
}

/* ---- images ---- */

struct tn_engine_call *tn_engine_image_inspect(struct tn_engine *engine, const struct tn_image_ref *image,
                                               struct tn_engine_then then)
{
    return submit(new_for_image(engine, "GET", image, "/json", then));
}

struct tn_engine_call *tn_engine_image_remove(struct tn_engine *engine, const struct tn_image_ref *image,
                                              struct tn_engine_then then)
{
    return submit(new_for_image(engine, "DELETE", image, "", then));
}

struct tn_engine_call *tn_engine_image_pull(struct tn_engine *engine, const struct tn_image_ref *image,
                                            const char *auth, tn_docker_on_progress *on_progress,
                                            struct tn_engine_then then)
{
    char name[TN_IMAGE_REF_NAME_MAX + 1];
    const char *tag = tn_image_ref_pull_name(image, name, sizeof(name));
    struct tn_engine_call *call = new_named(engine, "POST", "/images/create?fromImage=", name, "&tag=", then);

    add_encoded(&call->path, tag, "");
    call->ref = *image;
    call->kind = ANSWER_LINES;
    call->on_progress = on_progress;
    if (auth != NULL) {
        struct tn_buf header = TN_BUF_INIT;

        tn_buf_addf(&header, "X-Registry-Auth: %s", auth);
        call->header = tn_buf_steal(&header);
    }
    return submit(call);
}

struct tn_engine_call *tn_engine_image_import(struct tn_engine *engine, const struct tn_image_ref *image,
                                              const void *tar, size_t len, struct tn_engine_then then)
{
    char name[TN_IMAGE_REF_NAME_MAX + 1];
    const char *tag = tn_image_ref_pull_name(image, name, sizeof(name));
    struct tn_engine_call *call = new_named(engine, "POST", "/images/create?fromSrc=-&repo=", name, "&tag=", then);

    add_encoded(&call->path, tag, "");
    call->kind = ANSWER_LINES;
    call->content_type = "application/x-tar";
    tn_buf_add(&call->body, tar, len);
    return submit(call);
}

/* ---- containers ---- */

struct tn_engine_call *tn_engine_create(struct tn_engine *engine, const char *name, const cJSON *body,
                                        struct tn_engine_then then)
{
    struct tn_engine_call *call = new_named(engine, "POST", "/containers/create?name=", name, "", then);
    char *json = cJSON_PrintUnformatted(body);

    if (json == NULL)
        tn_fatal(3, "out of memory: the request to create container %s", name);
    tn_buf_adds(&call->body, json);
    cJSON_free(json);
    call->content_type = "application/json";
    return submit(call);
}

struct tn_engine_call *tn_engine_start(struct tn_engine *engine, const char *id, struct tn_engine_then then)
{
    return submit(new_named(engine, "POST", "/containers/", id, "/start", then));
}

struct tn_engine_call *tn_engine_inspect(struct tn_engine *engine, const char *id, struct tn_engine_then then)
{
    return submit(new_named(engine, "GET", "/containers/", id, "/json", then));
}

struct tn_engine_call *tn_engine_wait(struct tn_engine *engine, const char *id, struct tn_engine_then then)
{
    return submit(new_named(engine, "POST", "/containers/", id, "/wait?condition=not-running", then));
}

struct tn_engine_call *tn_engine_kill(struct tn_engine *engine, const char *id, const char *signal,
                                      struct tn_engine_then then)
{
    struct tn_engine_call *call = new_named(engine, "POST", "/containers/", id, "/kill?signal=", then);

    add_encoded(&call->path, signal, "");
    return submit(call);
}

struct tn_engine_call *tn_engine_stop(struct tn_engine *engine, const char *id, unsigned grace_s,
                                      struct tn_engine_then then)
{
    struct tn_engine_call *call = new_named(engine, "POST", "/containers/", id, "/stop", then);

    tn_buf_addf(&call->path, "?t=%u", grace_s);
    return submit(call);
}

struct tn_engine_call *tn_engine_remove(struct tn_engine *engine, const char *id, struct tn_engine_then then)
{
    struct tn_engine_call *call = new_named(engine, "DELETE", "/containers/", id, "?force=1&v=1", then);

    call->gone_is_fine = true;
    return submit(call);
}

struct tn_engine_call *tn_engine_list(struct tn_engine *engine, const char *const *labels, size_t n_labels,
                                      struct tn_engine_then then)
{
    struct tn_engine_call *call = new_call(engine, "GET", then);
    cJSON *filters = cJSON_CreateObject();
    cJSON *array = cJSON_AddArrayToObject(filters, "label");
    char *json;

    for (size_t i = 0; i < n_labels; i++)
        cJSON_AddItemToArray(array, cJSON_CreateString(labels[i]));
    json = cJSON_PrintUnformatted(filters);
    cJSON_Delete(filters);
    if (json == NULL)
        tn_fatal(3, "out of memory: the filters of a list of containers");
    tn_buf_adds(&call->path, "/containers/json?all=1&filters=");
    add_encoded(&call->path, json, "");
    cJSON_free(json);
    return submit(call);
}

struct tn_engine_call *tn_engine_logs(struct tn_engine *engine, const char *id, const struct tn_engine_logs *logs,
                                      struct tn_engine_then then)
{
    struct tn_engine_call *call = new_named(engine, "GET", "/containers/", id, "/logs?stdout=1&stderr=1", then);

    if (logs->follow)
        tn_buf_adds(&call->path, "&follow=1");
    if (logs->tail != 0)
        tn_buf_addf(&call->path, "&tail=%u", logs->tail);
    call->kind = ANSWER_FRAMES;
    call->on_bytes = logs->on_bytes;
    call->max_bytes = logs->max_bytes;
    return submit(call);
}
