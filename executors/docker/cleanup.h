/* What keeps the engine's disk from filling up, on this host itself and outside the queue: images that Tenon pulled and
 * no job has used for a while are removed, the least recently used first; containers of runs that were killed are
 * removed; and below store.reserve no further job is begun. Looks at the start and every few seconds.
 *
 * The disk is measured, by tenond, where this host has the engine's data folder: of an engine on another host nothing
 * is known, and nothing is removed. */
#ifndef TN_EXECUTORS_DOCKER_CLEANUP_H
#define TN_EXECUTORS_DOCKER_CLEANUP_H

#include "executors/docker/owner.h"

#include <cjson/cJSON.h>
#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>

struct tn_docker;
struct tn_engine_call;

#define TN_CLEANUP_RUNS_MAX 64 /* that tenond is asked about at once */

struct tn_cleanup_image; /* what may be removed */

struct tn_docker_cleanup {
    struct tn_docker *docker; /* borrowed */
    struct event *timer;      /* owned */
    char *said_root;          /* owned; the engine's data folder, as it says */
    char *data_root;          /* owned; NULL: the engine's disk is not of this host */
    double above_percent;
    double unused_for_s;
    double reserve; /* bytes */
    char full[400]; /* why no further job is begun, or "" */

    struct tn_owner ours;
    bool is_owner; /* `ours` is known */

    /* the disk */
    bool asking;    /* tenond has not answered yet */
    bool ask_again; /* and what it will say is old */
    bool measured;
    double disk_size; /* bytes */
    double disk_available;
    void (*on_known)(struct tn_docker *docker);
    void (*then)(struct tn_docker_cleanup *cleanup); /* how the pass goes on */

    /* a pass; one request at a time */
    struct tn_engine_call *call;
    cJSON *containers; /* owned; all of the engine */
    bool passing;
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
/* It is known whether the engine is on this host: from now on there is something to do. Calls `known` when it has
 * looked whether there is room for jobs. */
void tn_docker_cleanup_engine(struct tn_docker_cleanup *cleanup, void (*known)(struct tn_docker *docker));
void tn_docker_cleanup_close(struct tn_docker_cleanup *cleanup);

/* The label's text for our containers, or NULL: this installation comes back. `text` is filled. */
const char *tn_docker_cleanup_owner(const struct tn_docker_cleanup *cleanup, char text[TN_OWNER_TEXT_MAX]);

/* Of a disk of `size` bytes with `available`: the percentage that is in use. Pure. */
double tn_cleanup_percent(double size, double available);

#endif
