/* The image of one container made present: which image it is (docker.images), whether it is there, where it comes from
 * (docker.mirrors, the registry itself), with whose credentials, and what is done when that fails.
 *
 * An image that is there is used without asking anybody if it was named by a digest, or if it was not Tenon that pulled
 * it. One that Tenon pulled by a tag is asked for again, for the tag may have moved, unless docker.refresh_after has
 * not passed yet. When its registry cannot be asked, the one that is there is used, and it is said why; what the
 * registry refuses is not had from here either, so a wrong password fails whether or not somebody else's job pulled the
 * image before.
 *
 * A fault that passes (rate limit, 5xx, a broken connection) is tried again with growing waits, docker.pull_attempts
 * times in all; what can only fail again is not. */
#ifndef TN_EXECUTORS_DOCKER_PULL_H
#define TN_EXECUTORS_DOCKER_PULL_H

#include "executors/docker/container_image.h"

#include <stdbool.h>

struct tn_docker;
struct tn_docker_pull;

/* The end. All pointers are borrowed for the call. */
struct tn_docker_pulled {
    const char *error;              /* NULL: the image is there */
    bool retry;                     /* the job may be tried again; else its config is at fault */
    bool engine_gone;               /* nobody answered at the engine's address */
    const struct tn_image_ref *ref; /* what the engine knows the image by */
    const cJSON *image;             /* the engine's answer to inspect */
};

struct tn_docker_pull_then {
    void (*say)(const char *text, void *arg);
    void (*done)(const struct tn_docker_pulled *pulled, void *arg); /* the pull is gone then */
    void *arg;
};

/* `image` and `lease` are borrowed until the end. Callbacks come from the loop only. */
struct tn_docker_pull *tn_docker_pull_start(struct tn_docker *docker, const struct tn_container_image *image,
                                            const cJSON *lease, struct tn_docker_pull_then then);
/* Without a callback. */
void tn_docker_pull_cancel(struct tn_docker_pull *pull);

#endif
