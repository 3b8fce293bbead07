/* HTTP requests over a unix socket or TCP, with or without TLS, on libevent's loop by libcurl's multi interface:
 * nothing blocks. No threads either, but for one of libcurl's while it looks up a host's name.
 *
 * Any number of requests run at the same time; connections are kept and used again. Callbacks come from the event loop
 * only, never from within a call of this module, and may start, pause and cancel any request (their own included). They
 * must not free the client. */
#ifndef TN_EXECUTORS_DOCKER_HTTP_H
#define TN_EXECUTORS_DOCKER_HTTP_H

#include "core/lib/err.h"
#include "executors/docker/address.h"

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>

struct tn_http;      /* a client: connections and running requests */
struct tn_http_call; /* one request, alive until its on_done returned or it was cancelled */
struct tn_http_raw;  /* a connection whose bytes are the caller's */

enum tn_http_end {
    TN_HTTP_ANSWERED,   /* the response is complete; `status` says what it is */
    TN_HTTP_NO_CONNECT, /* nobody to talk to; `sys` holds errno, or 0 and `detail` says more */
    TN_HTTP_NO_TRUST,   /* TLS failed: a certificate is not believed, by us or by the peer; `detail` says more */
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
    const char *const *more;  /* still more headers, NULL at the end; or NULL */
    const void *body;         /* NULL for none */
    size_t body_len;
    bool anew;            /* not over a connection that is kept */
    unsigned deadline_ms; /* from start to the last byte; 0 for none */
    tn_http_on_bytes *on_bytes;
    tn_http_on_done *on_done;
    void *arg; /* borrowed by the request until it ends */
};

/* libcurl's and OpenSSL's own preparation, which reads their configuration: before Landlock. Idempotent. */
void tn_http_prepare(void);

/* `base` and `tls` are borrowed and must outlive the client; `address` is copied. */
struct tn_http *tn_http_new(struct event_base *base, const struct tn_engine_address *address,
                            const struct tn_engine_tls *tls, struct tn_err *err) TN_MUST_CHECK;

/* Ends all requests without a callback and closes all connections. NULL is allowed. Not from within a callback. */
void tn_http_free(struct tn_http *http);

/* Starts a request. Never fails here: whatever goes wrong comes to on_done. */
struct tn_http_call *tn_http_start(struct tn_http *http, const struct tn_http_request *request);

/* Ends a request; none of its callbacks comes any more. */
void tn_http_cancel(struct tn_http_call *call);

/* Stops (true) or resumes (false) reading the response, so that a slow reader slows the peer down. The deadline goes
 * on. A few kilobytes that were read already wait in memory. */
void tn_http_pause(struct tn_http_call *call, bool paused);

/* A connection that is no request: it is made, with TLS where that is on, and the rest is the caller's. */
struct tn_http_raw_config {
    unsigned deadline_ms;                                           /* until it is connected; 0: the usual */
    int (*on_bytes)(const char *bytes, size_t len, void *arg);      /* -1 ends it (on_end follows) */
    void (*on_sent)(void *arg);                                     /* all that was to be sent is; may be NULL */
    void (*on_end)(const struct tn_http_result *result, void *arg); /* ANSWERED: the peer closed it. Freed afterwards */
    void *arg;
};

/* Connects. Never fails here: whatever goes wrong comes to on_end. */
struct tn_http_raw *tn_http_raw_new(struct tn_http *http, const struct tn_http_raw_config *config);
/* Sends, at once or as soon as possible; what waits is kept in memory, so look at tn_http_raw_waiting() first. */
void tn_http_raw_send(struct tn_http_raw *raw, const void *bytes, size_t len);
size_t tn_http_raw_waiting(const struct tn_http_raw *raw);
/* Stops or resumes reading. */
void tn_http_raw_pause(struct tn_http_raw *raw, bool paused);
/* Closes it; none of its callbacks comes any more. */
void tn_http_raw_free(struct tn_http_raw *raw);

#endif
