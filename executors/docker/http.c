#include "executors/docker/http_internal.h"

#include "core/lib/buf.h"
#include "core/lib/fs.h"
#include "core/lib/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define CONNECT_DEADLINE_MS 10000
#define KEPT_CONNECTIONS 8

struct tn_http_call {
    struct tn_http_handle handle;
    TAILQ_ENTRY(tn_http_call) link;
    struct tn_http *http;       /* borrowed */
    CURL *easy;                 /* owned; NULL until the request was handed to libcurl */
    struct curl_slist *headers; /* owned */
    const char *method;
    struct tn_buf url;  /* owned */
    struct tn_buf body; /* owned */
    bool has_body;
    bool anew;
    unsigned deadline_ms;
    tn_http_on_bytes *on_bytes;
    tn_http_on_done *on_done;
    void *arg;
    char detail[CURL_ERROR_SIZE];
    bool want_pause; /* what the user asked for */
    bool is_paused;  /* libcurl has stopped reading */
    bool stopped;    /* on_bytes returned -1 */
    bool cancelled;  /* no callback any more; freed at the next turn of the loop */
};

void tn_http__request_turn(struct tn_http *http)
{
    event_active(http->turn, EV_TIMEOUT, 0);
}

static void free_call(struct tn_http_call *call)
{
    TAILQ_REMOVE(&call->http->calls, call, link);
    if (call->easy != NULL) {
        curl_multi_remove_handle(call->http->multi, call->easy);
        curl_easy_cleanup(call->easy);
    }
    curl_slist_free_all(call->headers);
    tn_buf_free(&call->url);
    tn_buf_free(&call->body);
    free(call);
}

/* libcurl does not pass on errno of a failed connect to a unix socket in every version: ask the kernel once more. A
 * non-blocking connect to a unix socket is answered at once. */
static int connect_errno(const char *unix_path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int sys = 0;

    if (fd < 0)
        return errno;
    memcpy(address.sun_path, unix_path, strlen(unix_path) + 1);
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        sys = errno;
    close(fd);
    return sys != 0 ? sys : ECONNREFUSED;
}

static enum tn_http_end end_of(CURLcode code, bool connected)
{
    if (code == CURLE_OK)
        return TN_HTTP_ANSWERED;
    if (code == CURLE_OPERATION_TIMEDOUT)
        return connected ? TN_HTTP_TIMEOUT : TN_HTTP_NO_CONNECT;
    if (code == CURLE_COULDNT_CONNECT || code == CURLE_COULDNT_RESOLVE_HOST)
        return TN_HTTP_NO_CONNECT;
    if (code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CONNECT_ERROR || code == CURLE_SSL_CERTPROBLEM ||
        code == CURLE_SSL_CACERT_BADFILE || code == CURLE_SSL_ISSUER_ERROR)
        return TN_HTTP_NO_TRUST;
    return TN_HTTP_BROKEN;
}

void tn_http__result(const struct tn_http *http, CURL *easy, CURLcode code, const char *detail,
                     struct tn_http_result *result)
{
    long status = 0;
    long sys = 0;
    curl_off_t connected = 0;

    *result = (struct tn_http_result){.end = TN_HTTP_BROKEN};
    if (easy != NULL) {
        curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
        curl_easy_getinfo(easy, CURLINFO_OS_ERRNO, &sys);
        curl_easy_getinfo(easy, CURLINFO_CONNECT_TIME_T, &connected);
    }
    result->status = (int)status;
    result->detail = detail[0] != '\0' ? detail : curl_easy_strerror(code);
    result->end = end_of(code, http->unix_path[0] != '\0' || connected > 0);
    /* With TLS 1.3 the peer's word about our certificate comes after the handshake, as an alert when we read. */
    if (result->end == TN_HTTP_BROKEN && strstr(result->detail, " alert ") != NULL)
        result->end = TN_HTTP_NO_TRUST;
    if (result->end == TN_HTTP_NO_CONNECT)
        result->sys = http->unix_path[0] != '\0'      ? connect_errno(http->unix_path)
                      : code == CURLE_COULDNT_CONNECT ? (int)sys
                                                      : 0;
}

static void end_call(struct tn_http_call *call, CURLcode code)
{
    struct tn_http_result result;

    if (!call->cancelled) {
        tn_http__result(call->http, call->easy, code, call->detail, &result);
        if (call->stopped)
            result.end = TN_HTTP_STOPPED;
        call->on_done(&result, call->arg);
    }
    free_call(call);
}

static void call_finished(struct tn_http_handle *handle, CURLcode code)
{
    end_call((struct tn_http_call *)handle, code);
}

static size_t on_write(char *bytes, size_t size, size_t count, void *arg)
{
    struct tn_http_call *call = arg;
    long status = 0;

    if (call->cancelled || call->stopped)
        return 0;
    if (call->want_pause) {
        call->is_paused = true;
        return CURL_WRITEFUNC_PAUSE;
    }
    curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
    if (call->on_bytes((int)status, bytes, size * count, call->arg) < 0) {
        call->stopped = true;
        return 0;
    }
    /* Cancelled by its own callback: a short count makes libcurl end the transfer. */
    return call->cancelled ? 0 : size * count;
}

static curl_socket_t on_open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
    (void)arg;
    (void)purpose;
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

/* The blobs stay ours: no copy of the key in libcurl's memory. */
static struct curl_blob blob_of(const struct tn_buf *pem)
{
    return (struct curl_blob){.data = pem->data, .len = pem->len, .flags = CURL_BLOB_NOCOPY};
}

#define SET(option, value) code = code != CURLE_OK ? code : curl_easy_setopt(easy, option, value)

static CURLcode tls_options(const struct tn_engine_tls *tls, CURL *easy)
{
    struct curl_blob ca = blob_of(&tls->ca);
    struct curl_blob certificate = blob_of(&tls->certificate);
    struct curl_blob key = blob_of(&tls->key);
    CURLcode code = CURLE_OK;

    SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    SET(CURLOPT_SSL_VERIFYPEER, 1L);
    SET(CURLOPT_SSL_VERIFYHOST, 2L);
    /* Only what was named is believed, not the system's authorities beside it. */
    SET(CURLOPT_CAPATH, NULL);
    SET(CURLOPT_CAINFO, NULL);
    SET(CURLOPT_CAINFO_BLOB, &ca);
    if (tls->certificate.len > 0) {
        SET(CURLOPT_SSLCERTTYPE, "PEM");
        SET(CURLOPT_SSLCERT_BLOB, &certificate);
        SET(CURLOPT_SSLKEYTYPE, "PEM");
        SET(CURLOPT_SSLKEY_BLOB, &key);
    }
    return code;
}

CURLcode tn_http__peer_options(const struct tn_http *http, CURL *easy, unsigned deadline_ms)
{
    long connect_ms = deadline_ms != 0 && deadline_ms < CONNECT_DEADLINE_MS ? (long)deadline_ms : CONNECT_DEADLINE_MS;
    CURLcode code = CURLE_OK;

    SET(CURLOPT_PROTOCOLS_STR, http->tls->on ? "https" : "http");
    if (http->unix_path[0] != '\0')
        SET(CURLOPT_UNIX_SOCKET_PATH, http->unix_path);
    SET(CURLOPT_PROXY, "");
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_CONNECTTIMEOUT_MS, connect_ms);
    SET(CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
    SET(CURLOPT_TCP_KEEPALIVE, 1L); /* a wait is silent for hours: a host that is gone must show */
    if (http->tls->on && code == CURLE_OK)
        code = tls_options(http->tls, easy);
    return code;
}

static CURLcode set_options(struct tn_http_call *call)
{
    CURL *easy = call->easy;
    CURLcode code = tn_http__peer_options(call->http, easy, call->deadline_ms);

    SET(CURLOPT_URL, call->url.data);
    SET(CURLOPT_PATH_AS_IS, 1L);
    SET(CURLOPT_CUSTOMREQUEST, call->method);
    SET(CURLOPT_HTTPHEADER, call->headers);
    if (call->has_body) {
        SET(CURLOPT_POST, 1L);
        SET(CURLOPT_POSTFIELDS, call->body.data);
        SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->body.len);
    }
    SET(CURLOPT_FRESH_CONNECT, call->anew ? 1L : 0L);
    SET(CURLOPT_TIMEOUT_MS, (long)call->deadline_ms);
    SET(CURLOPT_WRITEFUNCTION, on_write);
    SET(CURLOPT_WRITEDATA, call);
    SET(CURLOPT_ERRORBUFFER, call->detail);
    SET(CURLOPT_PRIVATE, &call->handle);
    return code;
}

#undef SET

/* Hands a new request to libcurl; a failure ends it. */
static void begin_call(struct tn_http_call *call)
{
    CURLcode code = CURLE_OUT_OF_MEMORY;
    CURL *easy = curl_easy_init();

    if (easy != NULL) {
        call->easy = easy;
        code = set_options(call);
        if (code == CURLE_OK && curl_multi_add_handle(call->http->multi, easy) != CURLM_OK)
            code = CURLE_OUT_OF_MEMORY;
    }
    if (code != CURLE_OK)
        end_call(call, code);
}

/* Reports the requests that libcurl has finished. */
static void reap(struct tn_http *http)
{
    CURLMsg *message;
    int left;

    while ((message = curl_multi_info_read(http->multi, &left)) != NULL) {
        CURLcode code = message->data.result;
        struct tn_http_handle *handle = NULL;

        if (message->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&handle);
        handle->finished(handle, code);
    }
}

/* One event on libcurl's behalf: a socket that is ready, or CURL_SOCKET_TIMEOUT for its timer. */
static void drive(struct tn_http *http, curl_socket_t fd, int mask)
{
    int running;

    curl_multi_socket_action(http->multi, fd, mask, &running);
    reap(http);
}

/* Does what was asked for since the last turn. Callbacks may append and mark requests meanwhile, but only this function
 * and reap() free them, so the next one stays valid. */
static void on_turn(evutil_socket_t fd, short what, void *arg)
{
    struct tn_http *http = arg;
    struct tn_http_call *call;
    struct tn_http_call *next;

    (void)fd;
    (void)what;
    for (call = TAILQ_FIRST(&http->calls); call != NULL; call = next) {
        next = TAILQ_NEXT(call, link);
        if (call->cancelled) {
            free_call(call);
        } else if (call->easy == NULL) {
            begin_call(call);
        } else if (call->is_paused && !call->want_pause) {
            call->is_paused = false;
            curl_easy_pause(call->easy, CURLPAUSE_CONT);
        }
    }
    tn_http__raw_turn(http);
    drive(http, CURL_SOCKET_TIMEOUT, 0);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    drive(arg, CURL_SOCKET_TIMEOUT, 0);
}

static int on_curl_timer(CURLM *multi, long timeout_ms, void *arg)
{
    struct tn_http *http = arg;
    struct timeval delay = {timeout_ms / 1000, timeout_ms % 1000 * 1000};

    (void)multi;
    if (timeout_ms < 0)
        evtimer_del(http->timer);
    else
        evtimer_add(http->timer, &delay);
    return 0;
}

static void on_socket_ready(evutil_socket_t fd, short what, void *arg)
{
    int mask = (what & EV_READ ? CURL_CSELECT_IN : 0) | (what & EV_WRITE ? CURL_CSELECT_OUT : 0);

    drive(arg, fd, mask);
}

/* libcurl says what it waits for on a socket; `socket_data` is the event that we gave it for that socket. */
static int on_curl_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_data)
{
    struct tn_http *http = arg;
    struct event *event = socket_data;
    short wanted = EV_PERSIST;

    (void)easy;
    if (event != NULL)
        event_free(event);
    event = NULL;
    if (what != CURL_POLL_REMOVE) {
        wanted |= what & CURL_POLL_IN ? EV_READ : 0;
        wanted |= what & CURL_POLL_OUT ? EV_WRITE : 0;
        event = event_new(http->base, fd, wanted, on_socket_ready, http);
        if (event == NULL || event_add(event, NULL) < 0)
            tn_fatal(3, "cannot wait for a connection to %s", http->origin);
    }
    curl_multi_assign(http->multi, fd, event);
    return 0;
}

void tn_http_prepare(void)
{
    if (curl_global_init(CURL_GLOBAL_SSL) != CURLE_OK)
        tn_fatal(3, "libcurl cannot be initialised");
}

static char *origin_of(const struct tn_engine_address *address, bool tls)
{
    bool v6 = strchr(address->host, ':') != NULL;

    if (address->socket[0] != '\0')
        return tn_fs_path("http://engine");
    return tn_fs_path("%s://%s%s%s:%d", tls ? "https" : "http", v6 ? "[" : "", address->host, v6 ? "]" : "",
                      address->port != 0 ? address->port
                      : tls              ? 2376
                                         : 2375);
}

struct tn_http *tn_http_new(struct event_base *base, const struct tn_engine_address *address,
                            const struct tn_engine_tls *tls, struct tn_err *err)
{
    struct tn_http *http;

    /* Counted by libcurl: every client takes one and gives it back. */
    if (curl_global_init(CURL_GLOBAL_SSL) != CURLE_OK) {
        tn_err_set(err, TN_ERR_SYSTEM, "libcurl cannot be initialised");
        return NULL;
    }
    http = calloc(1, sizeof(*http));
    if (http == NULL)
        tn_fatal(3, "out of memory: an HTTP client");
    TAILQ_INIT(&http->calls);
    TAILQ_INIT(&http->raws);
    http->base = base;
    http->tls = tls;
    http->unix_path = tn_fs_path("%s", address->socket);
    http->origin = origin_of(address, tls->on);
    http->multi = curl_multi_init();
    http->timer = evtimer_new(base, on_timer, http);
    http->turn = event_new(base, -1, 0, on_turn, http);
    if (http->multi == NULL || http->timer == NULL || http->turn == NULL)
        tn_fatal(3, "out of memory: an HTTP client");
    curl_multi_setopt(http->multi, CURLMOPT_SOCKETFUNCTION, on_curl_socket);
    curl_multi_setopt(http->multi, CURLMOPT_SOCKETDATA, http);
    curl_multi_setopt(http->multi, CURLMOPT_TIMERFUNCTION, on_curl_timer);
    curl_multi_setopt(http->multi, CURLMOPT_TIMERDATA, http);
    curl_multi_setopt(http->multi, CURLMOPT_MAXCONNECTS, (long)KEPT_CONNECTIONS);
    return http;
}

void tn_http_free(struct tn_http *http)
{
    if (http == NULL)
        return;
    while (!TAILQ_EMPTY(&http->calls))
        free_call(TAILQ_FIRST(&http->calls));
    tn_http__raw_free_all(http);
    /* Closes the kept connections, and thereby frees their events. */
    curl_multi_cleanup(http->multi);
    event_free(http->timer);
    event_free(http->turn);
    free(http->unix_path);
    free(http->origin);
    free(http);
    curl_global_cleanup();
}

struct tn_http_call *tn_http_start(struct tn_http *http, const struct tn_http_request *request)
{
    struct tn_http_call *call = calloc(1, sizeof(*call));
    auto_buf struct tn_buf line = TN_BUF_INIT;

    if (call == NULL)
        tn_fatal(3, "out of memory: an HTTP request");
    call->handle.finished = call_finished;
    call->http = http;
    call->method = request->method;
    call->has_body = request->body != NULL;
    call->anew = request->anew;
    call->deadline_ms = request->deadline_ms;
    call->on_bytes = request->on_bytes;
    call->on_done = request->on_done;
    call->arg = request->arg;
    tn_buf_addf(&call->url, "%s%s", http->origin, request->path);
    tn_buf_add(&call->body, request->body, request->body_len);
    /* No waiting for "100 Continue": bodies are small, or wanted in any case. */
    call->headers = curl_slist_append(call->headers, "Expect:");
    if (request->content_type != NULL) {
        tn_buf_addf(&line, "Content-Type: %s", request->content_type);
        call->headers = curl_slist_append(call->headers, line.data);
    }
    if (request->header != NULL)
        call->headers = curl_slist_append(call->headers, request->header);
    for (size_t i = 0; request->more != NULL && request->more[i] != NULL; i++)
        call->headers = curl_slist_append(call->headers, request->more[i]);
    TAILQ_INSERT_TAIL(&http->calls, call, link);
    tn_http__request_turn(http);
    return call;
}

void tn_http_cancel(struct tn_http_call *call)
{
    call->cancelled = true;
    tn_http__request_turn(call->http);
}

void tn_http_pause(struct tn_http_call *call, bool paused)
{
    call->want_pause = paused;
    if (!paused && call->is_paused)
        tn_http__request_turn(call->http);
}
