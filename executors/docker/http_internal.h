/* What http.c and http_raw.c share. Not for others. */
#ifndef TN_EXECUTORS_DOCKER_HTTP_INTERNAL_H
#define TN_EXECUTORS_DOCKER_HTTP_INTERNAL_H

#include "executors/docker/http.h"

#include <curl/curl.h>
#include <sys/queue.h>

/* What a handle of libcurl belongs to: its CURLINFO_PRIVATE. The first member of each kind of request. */
struct tn_http_handle {
    void (*finished)(struct tn_http_handle *handle, CURLcode code);
};

/* libcurl must not be entered from its own callbacks, and users call us from there. So starting, cancelling and
 * resuming only mark a request; `turn`, an event that is made active for it, does the work from the loop. */
struct tn_http {
    struct event_base *base;         /* borrowed */
    char *unix_path;                 /* owned; "" with TCP */
    char *origin;                    /* owned; "http://engine", "https://build1:2376" */
    const struct tn_engine_tls *tls; /* borrowed */
    CURLM *multi;                    /* owned */
    struct event *timer;             /* owned; libcurl's one timer */
    struct event *turn;              /* owned */
    TAILQ_HEAD(, tn_http_call) calls;
    TAILQ_HEAD(, tn_http_raw) raws;
};

void tn_http__request_turn(struct tn_http *http);
/* Where the peer is and how it proves who it is; no redirects, no proxy, no other protocol. */
CURLcode tn_http__peer_options(const struct tn_http *http, CURL *easy, unsigned deadline_ms);
/* What libcurl's code means; `detail` is its error buffer or "". */
void tn_http__result(const struct tn_http *http, CURL *easy, CURLcode code, const char *detail,
                     struct tn_http_result *result);
/* http_raw.c's part of a turn, and of the client's end. */
void tn_http__raw_turn(struct tn_http *http);
void tn_http__raw_free_all(struct tn_http *http);

#endif
