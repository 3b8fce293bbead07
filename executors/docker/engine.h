/* A client of the Docker Engine API (v1.25 to v1.41 and later) on libevent's loop: no threads, nothing blocks.
 *
 *     struct tn_engine *engine = tn_engine_new(base, getenv("DOCKER_HOST"), &err);
 *     tn_engine_start(engine, id, TN_ENGINE_THEN(30000, on_started, job));
 *
 * Every operation is one request. It returns a handle at once, valid until its `done` was called or it was cancelled;
 * whatever goes wrong comes to `done`, always from the loop and never from within a call of this module. Callbacks may
 * start, pause and cancel any request, their own included; they must not free the engine. Text arguments are copied.
 *
 * The API version is agreed on before the first request (GET /version, at most 10 s): 1.41, or less if the engine is
 * older, or the oldest that a newer engine still speaks. After a lost engine it is agreed on anew.
 *
 * An error names the engine's address, the request, the HTTP status and the engine's own words, and says what to do
 * where that is known. Its code tells what a caller may do about it:
 *     TN_ERR_UNAVAILABLE  no engine, no answer in time, the engine or its registry failed: a retry may help
 *     TN_ERR_NOT_FOUND    no such container or image (404)
 *     TN_ERR_CONFLICT     the name is in use, or the container is in another state (409)
 *     TN_ERR_CONFIG       the engine refuses what was asked for (400)
 *     TN_ERR_PROTOCOL     the answer is none that the API knows
 *     TN_ERR_LIMIT        the answer is larger than a stated bound
 *
 * Source: https://docs.docker.com/engine/api/v1.41/ */
#ifndef TN_EXECUTORS_DOCKER_ENGINE_H
#define TN_EXECUTORS_DOCKER_ENGINE_H

#include "core/lib/err.h"
#include "executors/docker/address.h"
#include "executors/docker/image_ref.h"
#include "executors/docker/stream.h"

#include <cjson/cJSON.h>
#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>

#define TN_ENGINE_ANSWER_MAX (16u << 20) /* bytes of an answer that is not streamed */

struct tn_engine;
struct tn_engine_call;

/* The end of a request. `err` is NULL when it succeeded. `status` is the HTTP status, 0 if none came. `json` is the
 * answer, NULL if it had none or is no JSON. Both pointers are borrowed for the call. */
typedef void tn_engine_done(int status, const cJSON *json, const struct tn_err *err, void *arg);

/* What every operation ends with: the time from sending to the last byte (0: no limit), and who hears of the end. */
struct tn_engine_then {
    unsigned deadline_ms;
    tn_engine_done *done;
    void *arg; /* borrowed until `done` was called or the request cancelled */
};

#define TN_ENGINE_THEN(deadline_ms_, done_, arg_) ((struct tn_engine_then){(deadline_ms_), (done_), (arg_)})

/* Nothing is connected yet. `base` is borrowed and must outlive the engine; `tls` is taken over. */
struct tn_engine *tn_engine_open(struct event_base *base, const struct tn_engine_address *address,
                                 struct tn_engine_tls *tls, struct tn_err *err) TN_MUST_CHECK;
/* The same for an address as in DOCKER_HOST (address.h) that needs no files. */
struct tn_engine *tn_engine_new(struct event_base *base, const char *docker_host, struct tn_err *err) TN_MUST_CHECK;

/* Ends all requests without a callback. NULL is allowed. Not from within a callback. */
void tn_engine_free(struct tn_engine *engine);

/* "unix:///var/run/docker.sock". */
const char *tn_engine_address(const struct tn_engine *engine);

/* Podman answers, behind the same API; known after the first answer. */
bool tn_engine_is_podman(const struct tn_engine *engine);

/* Ends a request without its callbacks. */
void tn_engine_cancel(struct tn_engine_call *call);

/* Stops (true) or resumes (false) reading what a request streams: the engine then waits, and so does what writes. */
void tn_engine_pause(struct tn_engine_call *call, bool paused);

/* GET /_ping, /version and /info. */
struct tn_engine_call *tn_engine_ping(struct tn_engine *engine, struct tn_engine_then then);
/* What the engine remembers of a container, by a connection of its own: `json` is the first event, NULL if there is
 * none. An engine remembers no event of before its own start. `until`: seconds since 1970 by the engine's clock; the
 * answer comes when that is past. */
struct tn_engine_call *tn_engine_events_of(struct tn_engine *engine, const char *container, int64_t until,
                                           struct tn_engine_then then);
struct tn_engine_call *tn_engine_version(struct tn_engine *engine, struct tn_engine_then then);
struct tn_engine_call *tn_engine_info(struct tn_engine *engine, struct tn_engine_then then);

/* GET /networks: an array. */
struct tn_engine_call *tn_engine_networks(struct tn_engine *engine, struct tn_engine_then then);

/* GET /images/NAME/json. */
struct tn_engine_call *tn_engine_image_inspect(struct tn_engine *engine, const struct tn_image_ref *image,
                                               struct tn_engine_then then);

/* Pulls an image (POST /images/create). `on_progress` (may be NULL) gets each line with then.arg. An error line within
 * the stream is an error, though its HTTP status says 200. `auth` is the value of the X-Registry-Auth header, of
 * tn_registry_auth_new(), or NULL. */
struct tn_engine_call *tn_engine_image_pull(struct tn_engine *engine, const struct tn_image_ref *image,
                                            const char *auth, tn_docker_on_progress *on_progress,
                                            struct tn_engine_then then);

/* POST /images/create?fromSrc=-: makes image REPOSITORY:TAG of a tar of its files, which is copied. */
struct tn_engine_call *tn_engine_image_import(struct tn_engine *engine, const struct tn_image_ref *image,
                                              const void *tar, size_t len, struct tn_engine_then then);

/* The same two by the engine's id of the image ("sha256:…"). One with several names, or in use, is TN_ERR_CONFLICT. */
struct tn_engine_call *tn_engine_image_inspect_id(struct tn_engine *engine, const char *id, struct tn_engine_then then);
struct tn_engine_call *tn_engine_image_remove_id(struct tn_engine *engine, const char *id, struct tn_engine_then then);

/* DELETE /images/NAME. */
struct tn_engine_call *tn_engine_image_remove(struct tn_engine *engine, const struct tn_image_ref *image,
                                              struct tn_engine_then then);

/* POST /containers/create?name=NAME with `body` (container_spec.h makes it); the answer's "Id" names the container.
 * A name in use is TN_ERR_CONFLICT. */
struct tn_engine_call *tn_engine_create(struct tn_engine *engine, const char *name, const cJSON *body,
                                        struct tn_engine_then then);

/* PUT /containers/ID/archive?path=/: unpacks `tar`, which is copied, into the container's file system. Also before it
 * was started. */
struct tn_engine_call *tn_engine_put_archive(struct tn_engine *engine, const char *id, const void *tar, size_t len,
                                             struct tn_engine_then then);

/* Does the engine see the folder `path` of this host? One request that makes nothing, whatever the answer: Docker
 * checks the sources of mounts before it misses the image "tenon.invalid/none"; Podman tells a folder without devices
 * from none. tn_engine_folder_seen() reads the answer. */
struct tn_engine_call *tn_engine_ask_folder(struct tn_engine *engine, const char *path, struct tn_engine_then then);
/* 1 it does, 0 it does not, -1 the answer says neither. */
int tn_engine_folder_seen(int status, const struct tn_err *err);

/* The container is named by its id or name from here on. Starting what runs and stopping what stands is no error. */
struct tn_engine_call *tn_engine_start(struct tn_engine *engine, const char *id, struct tn_engine_then then);
struct tn_engine_call *tn_engine_inspect(struct tn_engine *engine, const char *id, struct tn_engine_then then);

/* Waits until the container has ended; the answer's "StatusCode" is its exit status. Give it a deadline of 0 and cancel
 * it. Only after a successful start: of a container that was never started the engine says at once that it stands. */
struct tn_engine_call *tn_engine_wait(struct tn_engine *engine, const char *id, struct tn_engine_then then);

/* `signal` such as "SIGTERM". A container that does not run is TN_ERR_CONFLICT. */
struct tn_engine_call *tn_engine_kill(struct tn_engine *engine, const char *id, const char *signal,
                                      struct tn_engine_then then);

/* SIGTERM (or the image's stop signal), and SIGKILL after `grace_s` seconds. The deadline must be longer. */
struct tn_engine_call *tn_engine_stop(struct tn_engine *engine, const char *id, unsigned grace_s,
                                      struct tn_engine_then then);

/* Kills and removes the container with its anonymous volumes. Gone already, or just being removed by somebody else, is
 * no error. */
struct tn_engine_call *tn_engine_remove(struct tn_engine *engine, const char *id, struct tn_engine_then then);

/* All containers, ended ones too, that carry every one of `labels` ("NAME" or "NAME=VALUE"): an array. */
struct tn_engine_call *tn_engine_list(struct tn_engine *engine, const char *const *labels, size_t n_labels,
                                      struct tn_engine_then then);

/* What a container without a terminal wrote. */
struct tn_engine_logs {
    bool follow;        /* go on until the container ends */
    unsigned tail;      /* the last so many lines; 0 for all */
    uint64_t max_bytes; /* more than that ends the request with TN_ERR_LIMIT; 0 for no bound */
    const char *since;  /* only what was written at this time or later: "SECONDS.NANOSECONDS"; NULL: all. Copied */
    bool times;         /* each entry begins with the time of its writing and a blank */
    tn_docker_bytes *on_bytes;    /* gets then.arg; returning -1 ends the request, as a success */
    tn_docker_on_frame *on_entry; /* before each entry's bytes; gets then.arg; may be NULL */
};

/* The container's log driver must be one that can be read. */
struct tn_engine_call *tn_engine_logs(struct tn_engine *engine, const char *id, const struct tn_engine_logs *logs,
                                      struct tn_engine_then then);

#endif
