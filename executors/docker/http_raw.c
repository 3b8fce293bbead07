/* Connections without requests: libcurl connects and shakes hands (CONNECT_ONLY), then bytes go both ways. */
#include "executors/docker/http_internal.h"

#include "core/lib/buf.h"
#include "core/lib/log.h"

#include <stdlib.h>
#include <string.h>

#define READ_SIZE 65536u
#define READS_A_TURN 16

struct tn_http_raw {
    struct tn_http_handle handle;
    TAILQ_ENTRY(tn_http_raw) link;
    struct tn_http *http; /* borrowed */
    struct tn_http_raw_config config;
    CURL *easy;          /* owned; NULL until it was handed to libcurl */
    struct event *read;  /* owned; NULL until it is connected */
    struct event *write; /* owned; the same */
    struct tn_buf out;   /* owned */
    char detail[CURL_ERROR_SIZE];
    bool paused;
    bool gone; /* no callback any more; freed at the next turn of the loop */
};

static void free_raw(struct tn_http_raw *raw)
{
    TAILQ_REMOVE(&raw->http->raws, raw, link);
    if (raw->read != NULL)
        event_free(raw->read);
    if (raw->write != NULL)
        event_free(raw->write);
    if (raw->easy != NULL) {
        curl_multi_remove_handle(raw->http->multi, raw->easy);
        curl_easy_cleanup(raw->easy);
    }
    tn_buf_free(&raw->out);
    free(raw);
}

void tn_http_raw_free(struct tn_http_raw *raw)
{
    raw->gone = true;
    if (raw->read != NULL)
        event_del(raw->read);
    if (raw->write != NULL)
        event_del(raw->write);
    tn_http__request_turn(raw->http);
}

static void end_raw(struct tn_http_raw *raw, CURLcode code)
{
    struct tn_http_result result;

    if (raw->gone)
        return;
    tn_http__result(raw->http, raw->easy, code, raw->detail, &result);
    tn_http_raw_free(raw);
    raw->config.on_end(&result, raw->config.arg);
}

static void transmit(struct tn_http_raw *raw)
{
    CURLcode code = CURLE_OK;
    bool some = raw->out.len > 0;

    while (raw->out.len > 0 && code == CURLE_OK) {
        size_t put = 0;

        code = curl_easy_send(raw->easy, raw->out.data, raw->out.len, &put);
        tn_buf_consume(&raw->out, put);
    }
    if (code == CURLE_AGAIN)
        event_add(raw->write, NULL);
    else if (code == CURLE_OK && some && raw->config.on_sent != NULL && !raw->gone)
        raw->config.on_sent(raw->config.arg);
    /* What is broken shows when reading, which says more. */
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    transmit(arg);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct tn_http_raw *raw = arg;
    static char bytes[READ_SIZE];

    /* TLS may hold what the socket no longer does: read until there is no more, or come back by ourselves. */
    for (int turn = 0; !raw->gone && !raw->paused; turn++) {
        size_t got = 0;
        CURLcode code;

        if (turn == READS_A_TURN) {
            event_active(raw->read, EV_READ, 0);
            return;
        }
        code = curl_easy_recv(raw->easy, bytes, sizeof(bytes), &got);
        if (code == CURLE_AGAIN)
            return;
        if (code != CURLE_OK || got == 0) {
            end_raw(raw, code);
            return;
        }
        if (raw->config.on_bytes(bytes, got, raw->config.arg) < 0)
            end_raw(raw, CURLE_WRITE_ERROR);
    }
}

static void raw_finished(struct tn_http_handle *handle, CURLcode code)
{
    struct tn_http_raw *raw = (struct tn_http_raw *)handle;
    curl_socket_t fd = CURL_SOCKET_BAD;

    if (raw->gone)
        return;
    if (code == CURLE_OK && curl_easy_getinfo(raw->easy, CURLINFO_ACTIVESOCKET, &fd) != CURLE_OK)
        code = CURLE_COULDNT_CONNECT;
    if (code != CURLE_OK || fd == CURL_SOCKET_BAD) {
        end_raw(raw, code != CURLE_OK ? code : CURLE_COULDNT_CONNECT);
        return;
    }
    raw->read = event_new(raw->http->base, fd, EV_READ | EV_PERSIST, on_readable, raw);
    raw->write = event_new(raw->http->base, fd, EV_WRITE, on_writable, raw);
    if (raw->read == NULL || raw->write == NULL)
        tn_fatal(3, "out of memory: the events of a connection to the Docker Engine");
    if (!raw->paused)
        event_add(raw->read, NULL);
    transmit(raw);
}

static CURLcode begin(struct tn_http_raw *raw)
{
    CURLcode code;

    raw->easy = curl_easy_init();
    if (raw->easy == NULL)
        return CURLE_OUT_OF_MEMORY;
    code = tn_http__peer_options(raw->http, raw->easy, raw->config.deadline_ms);
    if (code == CURLE_OK)
        code = curl_easy_setopt(raw->easy, CURLOPT_URL, raw->http->origin);
    if (code == CURLE_OK)
        code = curl_easy_setopt(raw->easy, CURLOPT_CONNECT_ONLY, 1L);
    if (code == CURLE_OK)
        code = curl_easy_setopt(raw->easy, CURLOPT_ERRORBUFFER, raw->detail);
    if (code == CURLE_OK)
        code = curl_easy_setopt(raw->easy, CURLOPT_PRIVATE, &raw->handle);
    if (code == CURLE_OK && curl_multi_add_handle(raw->http->multi, raw->easy) != CURLM_OK)
        code = CURLE_OUT_OF_MEMORY;
    return code;
}

void tn_http__raw_turn(struct tn_http *http)
{
    struct tn_http_raw *raw;
    struct tn_http_raw *next;

    for (raw = TAILQ_FIRST(&http->raws); raw != NULL; raw = next) {
        next = TAILQ_NEXT(raw, link);
        if (raw->gone) {
            free_raw(raw);
        } else if (raw->easy == NULL) {
            CURLcode code = begin(raw);

            if (code != CURLE_OK)
                end_raw(raw, code);
        }
    }
}

void tn_http__raw_free_all(struct tn_http *http)
{
    while (!TAILQ_EMPTY(&http->raws))
        free_raw(TAILQ_FIRST(&http->raws));
}

struct tn_http_raw *tn_http_raw_new(struct tn_http *http, const struct tn_http_raw_config *config)
{
    struct tn_http_raw *raw = calloc(1, sizeof(*raw));

    if (raw == NULL)
        tn_fatal(3, "out of memory: a connection to the Docker Engine");
    raw->handle.finished = raw_finished;
    raw->http = http;
    raw->config = *config;
    TAILQ_INSERT_TAIL(&http->raws, raw, link);
    tn_http__request_turn(http);
    return raw;
}

void tn_http_raw_send(struct tn_http_raw *raw, const void *bytes, size_t len)
{
    bool idle = raw->out.len == 0;

    tn_buf_add(&raw->out, bytes, len);
    /* From the loop: no callback comes from within a call. */
    if (idle && raw->write != NULL && !raw->gone)
        event_active(raw->write, EV_WRITE, 0);
}

size_t tn_http_raw_waiting(const struct tn_http_raw *raw)
{
    return raw->out.len;
}

void tn_http_raw_pause(struct tn_http_raw *raw, bool paused)
{
    if (raw->paused == paused)
        return;
    raw->paused = paused;
    if (raw->read == NULL || raw->gone)
        return;
    if (paused) {
        event_del(raw->read);
    } else {
        event_add(raw->read, NULL);
        event_active(raw->read, EV_READ, 0);
    }
}
