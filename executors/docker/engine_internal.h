/* A request's and an engine's state, between engine.c (agreeing on the version, sending, decoding) and
 * engine_requests.c (what is asked for). Not for others. */
#ifndef TN_EXECUTORS_DOCKER_ENGINE_INTERNAL_H
#define TN_EXECUTORS_DOCKER_ENGINE_INTERNAL_H

#include "core/lib/buf.h"
#include "executors/docker/engine.h"
#include "executors/docker/http.h"

#include <sys/queue.h>

#define TN_ENGINE_API_MAJOR 1

enum answer_kind { ANSWER_JSON, ANSWER_LINES, ANSWER_FRAMES };

struct tn_engine_call {
    TAILQ_ENTRY(tn_engine_call) link;
    struct tn_engine *engine;  /* borrowed */
    struct tn_http_call *http; /* NULL while it waits for the API version */
    unsigned round;            /* of agreeing on the version, whose end it waits for */
    bool unversioned;
    bool anew;   /* not over a connection that is kept */
    bool libpod; /* a request of Podman's own API */
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
    tn_docker_on_frame *on_entry;
    uint64_t max_bytes;
    uint64_t n_bytes;
    struct tn_err err; /* of the decoder */
};

struct tn_engine {
    struct tn_http *http;     /* owned */
    struct tn_engine_tls tls; /* owned */
    char *address;            /* owned */
    bool podman;              /* it is Podman that answers */
    int minor;                /* of the API version that was agreed on; -1: not yet */
    unsigned round;           /* counts the attempts to agree */
    bool negotiating;
    TAILQ_HEAD(, tn_engine_call) calls;
};

struct tn_engine_call *tn_engine__new_call(struct tn_engine *engine, const char *method, struct tn_engine_then then);
/* Sends a request, or lets it wait until the API version is known. Returns it for the caller's return. */
struct tn_engine_call *tn_engine__submit(struct tn_engine_call *call);
/* A frame begins: told to the request's owner. */
void tn_engine__pass_entry(enum tn_docker_stream stream, uint32_t length, void *arg);

#endif
