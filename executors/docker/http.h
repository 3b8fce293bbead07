/* HTTP requests over a unix socket, on libevent's loop by libcurl's multi interface: no threads, nothing blocks.
 *
 * Any number of requests run at the same time; connections are kept and used again. Callbacks come from the event loop
 * only, never from within a call of this module, and may start, pause and cancel any request (their own included). They
 * must not free the client. */
#ifndef TN_EXECUTORS_DOCKER_HTTP_H
#define TN_EXECUTORS_DOCKER_HTTP_H

#include "core/lib/err.h"

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>

struct tn_http;      /* a client: connections and running requests */
struct tn_http_call; /* one request, alive until its on_done returned or it was cancelled */

enum tn_http_end {
    TN_HTTP_ANSWERED,   /* the response is complete; `status` says what it is */
    TN_HTTP_NO_CONNECT, /* nobody to talk to; `sys` holds errno */
    TN_HTTP_TIMEOUT,    /* the deadline passed */
    TN_HTTP_STOPPED,    /* on_bytes returned -1 */
    TN_HTTP_BROKEN,     /* the connection ended early, or what came is no HTTP; `detail` says more */
};

struct tn_http_result {
    enum tn_http_end end;
    int status;         /* HTTP status; 0 if none came */
    int sys;            /* errno of a failed connect, else 0 */
    const char *detail; /* libcurl's words, never NULL; borrowed for the callback */
};

/* Bytes of the response's body as they come. Returns 0, or -1 to end the request (on_done follows). */
typedef int tn_http_on_bytes(int status, const char *bytes, size_t len, void *arg);
typedef void tn_http_on_done(const struct tn_http_result *result, void *arg);

/* All pointers are borrowed for the call of tn_http_start() only; what is needed longer is copied. */
struct tn_http_request {
    const char *method;       /* "GET", "POST", ...; a string constant */
    const char *path;         /* begins with "/", percent-encoded, with its query */
    const char *content_type; /* of the body; NULL when there is none */
    const char *header;       /* one more header ("Name: value"), or NULL */
    const void *body;         /* NULL for none */
    size_t body_len;
    unsigned deadline_ms; /* from start to the last byte; 0 for none */
    tn_http_on_bytes *on_bytes;
    tn_http_on_done *on_done;
    void *arg; /* borrowed by the request until it ends */
};

/* `base` is borrowed and must outlive the client. `unix_path` is copied. */
struct tn_http *tn_http_new(struct event_base *base, const char *unix_path, struct tn_err *err) TN_MUST_CHECK;

/* Ends all requests without a callback and closes all connections. NULL is allowed. Not from within a callback. */
void tn_http_free(struct tn_http *http);

/* Starts a request. Never fails here: whatever goes wrong comes to on_done. */
struct tn_http_call *tn_http_start(struct tn_http *http, const struct tn_http_request *request);

/* Ends a request; none of its callbacks comes any more. */
void tn_http_cancel(struct tn_http_call *call);

/* Stops (true) or resumes (false) reading the response, so that a slow reader slows the peer down. The deadline goes
 * on. A few kilobytes that were read already wait in memory. */
void tn_http_pause(struct tn_http_call *call, bool paused);

#endif
