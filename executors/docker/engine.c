#include "executors/docker/engine_internal.h"

#include "core/lib/cleanup.h"
#include "core/lib/log.h"
#include "executors/docker/engine_error.h"

#include <openssl/crypto.h>
#include <string.h>

#define API_WANTED_MINOR 41 /* Docker 20.10, that of Debian 12 */
#define API_OLDEST_MINOR 25 /* Docker 1.13: the first with mounts, NanoCpus and a bounded wait */
#define NEGOTIATION_DEADLINE_MS 10000

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

/* With TLS 1.3 a client learns that its certificate was refused only when the first answer does not come. */
static bool refused_by_tls(const struct tn_engine_call *call, const struct tn_http_result *result,
                           struct tn_http_result *refused)
{
    *refused = *result;
    refused->end = TN_HTTP_NO_TRUST;
    return result->end == TN_HTTP_BROKEN && result->status == 0 && call->engine->tls.on && call->unversioned;
}

static void on_http_done(const struct tn_http_result *result, void *arg)
{
    struct tn_engine_call *call = arg;
    struct tn_engine_request_name name;
    struct tn_http_result refused;
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
        tn_engine_error_transport(&name, refused_by_tls(call, result, &refused) ? &refused : result, &err);
    }
    finish_call(call, result->status, json, err.code != TN_OK ? &err : NULL);
    cJSON_Delete(json);
}

/* ---- the answer's bytes ---- */

void tn_engine__pass_entry(enum tn_docker_stream stream, uint32_t length, void *arg)
{
    struct tn_engine_call *call = arg;

    if (!call->cancelled)
        call->on_entry(stream, length, call->then.arg);
}

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

static bool is_podman(const cJSON *version)
{
    const cJSON *part;

    cJSON_ArrayForEach (part, cJSON_GetObjectItemCaseSensitive(version, "Components")) {
        const char *name = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(part, "Name"));

        if (name != NULL && strcmp(name, "Podman Engine") == 0)
            return true;
    }
    return false;
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
    engine->podman = is_podman(version);
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

struct tn_engine_call *tn_engine__new_call(struct tn_engine *engine, const char *method, struct tn_engine_then then)
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
        .anew = call->anew,
        .on_bytes = on_http_bytes,
        .on_done = on_http_done,
        .arg = call,
    };

    if (call->libpod)
        tn_buf_adds(&path, "/v4.0.0/libpod");
    else if (!call->unversioned)
        tn_buf_addf(&path, "/v%d.%d", TN_ENGINE_API_MAJOR, call->engine->minor);
    tn_buf_adds(&path, call->path.data);
    request.path = path.data;
    call->http = tn_http_start(call->engine->http, &request);
    if (call->paused)
        tn_http_pause(call->http, true);
}

struct tn_engine_call *tn_engine__submit(struct tn_engine_call *call)
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

/* ---- the engine ---- */

struct tn_engine *tn_engine_open(struct event_base *base, const struct tn_engine_address *address,
                                 struct tn_engine_tls *tls, struct tn_err *err)
{
    struct tn_engine *engine = calloc(1, sizeof(*engine));

    if (engine == NULL || (engine->address = strdup(address->text)) == NULL)
        tn_fatal(3, "out of memory: a Docker Engine client");
    engine->tls = *tls;
    *tls = (struct tn_engine_tls){0};
    engine->minor = -1;
    TAILQ_INIT(&engine->calls);
    engine->http = tn_http_new(base, address, &engine->tls, err);
    if (engine->http == NULL) {
        tn_err_wrap(err, "%s is \"%s\"", address->setting, address->text);
        tn_engine_free(engine);
        return NULL;
    }
    return engine;
}

struct tn_engine *tn_engine_new(struct event_base *base, const char *docker_host, struct tn_err *err)
{
    struct tn_engine_address address;
    struct tn_engine_tls tls = {0};
    const struct tn_engine_tls_paths none = {0};

    if (tn_engine_address_parse(&address, docker_host, "DOCKER_HOST", err) != 0 ||
        tn_engine_tls_read(&tls, &address, &none, err) != 0) {
        tn_engine_tls_free(&tls);
        return NULL;
    }
    return tn_engine_open(base, &address, &tls, err);
}

void tn_engine_free(struct tn_engine *engine)
{
    if (engine == NULL)
        return;
    tn_http_free(engine->http);
    while (!TAILQ_EMPTY(&engine->calls))
        free_call(TAILQ_FIRST(&engine->calls));
    tn_engine_tls_free(&engine->tls);
    free(engine->address);
    free(engine);
}

const char *tn_engine_address(const struct tn_engine *engine)
{
    return engine->address;
}

bool tn_engine_is_podman(const struct tn_engine *engine)
{
    return engine->podman;
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
