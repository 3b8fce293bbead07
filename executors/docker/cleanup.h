/* What keeps the engine's disk from filling up, on this host itself and outside the queue: images that Tenon pulled and
 * no job has used for a while are removed, the least recently used first; containers of runs that were killed are
 * removed; and below store.reserve no further job is begun. Looks at the start and every few seconds.
 *
 * The disk is measured where this host has the engine's data folder: of an engine on another host nothing is known, and
 * nothing is removed. */
#ifndef TN_EXECUTORS_DOCKER_CLEANUP_H
#define TN_EXECUTORS_DOCKER_CLEANUP_H

#include "executors/docker/owner.h"

#include <cjson/cJSON.h>
#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>

struct tn_docker;
struct tn_engine_call;

#define TN_CLEANUP_NAME_MAX 64 /* of a run folder that nobody holds any more */
#define TN_CLEANUP_DEAD_MAX 64

struct tn_cleanup_image; /* what may be removed */

struct tn_docker_cleanup {
    struct tn_docker *docker; /* borrowed */
    struct event *timer;      /* owned */
    char *said_root;          /* owned; the engine's data folder, as it says */
    char *data_root;          /* owned; NULL: the engine's disk cannot be seen from here */
    double above_percent;
    double unused_for_s;
    double reserve; /* bytes */
    char full[400]; /* why no further job is begun, or "" */

    struct tn_owner ours;
    bool is_owner;                                       /* `ours` is known */
    char dead[TN_CLEANUP_DEAD_MAX][TN_CLEANUP_NAME_MAX]; /* run folders that nobody held at the start */
    size_t n_dead;

    /* a pass; one request at a time */
    struct tn_engine_call *call;
    bool begun; /* at least one */
    uint64_t next_pass_ms;
    struct tn_cleanup_image *images; /* owned; the next to go first */
    size_t n_images;
    size_t at;
    size_t n_removed;
    double freed; /* bytes */
};

/* Before Landlock. `settings` are the service's. */
void tn_docker_cleanup_open(struct tn_docker_cleanup *cleanup, struct tn_docker *docker, const cJSON *settings);
/* What the engine says of itself. */
void tn_docker_cleanup_info(struct tn_docker_cleanup *cleanup, const cJSON *info);
/* It is known whether the engine is on this host: from now on there is something to do. */
void tn_docker_cleanup_engine(struct tn_docker_cleanup *cleanup);
void tn_docker_cleanup_close(struct tn_docker_cleanup *cleanup);

/* The label's text for our containers, or NULL: this installation comes back. `text` is filled. */
const char *tn_docker_cleanup_owner(const struct tn_docker_cleanup *cleanup, char text[TN_OWNER_TEXT_MAX]);

/* Of a disk of `size` bytes with `available`: the percentage that is in use. Pure. */
double tn_cleanup_percent(double size, double available);

#endif
