/* The Docker executor as the SDK sees it, and the state that its environments share.
 *
 * driver.c       the engine: is it there, what can its host do, which containers of ours does it have
 * environment.c  acquire: the containers of one attempt
 * watch.c        what is said and done when one of them ends
 * removal.c      release: the containers and folders of one attempt go away
 * folders.c      what lies on this host: the agent's folder, the folders of the sockets */
#ifndef TN_EXECUTORS_DOCKER_DRIVER_H
#define TN_EXECUTORS_DOCKER_DRIVER_H

#include "executors/docker/container_spec.h"
#include "executors/docker/engine.h"
#include "executors/docker/images.h"
#include "executors/sdk/executor.h"

#include <limits.h>
#include <sys/queue.h>

#define TN_DOCKER_PATHS_MAX 64

struct tn_docker_env; /* environment.h */

struct tn_docker {
    struct tn_executor *executor; /* borrowed */
    struct tn_engine *engine;     /* owned; NULL: DOCKER_HOST is of no use, and the reason was said */
    struct tn_container_host host;
    struct tn_docker_images images;
    bool usable;         /* the engine answered, and `host` is true */
    bool listed;         /* the SDK was told once what is there */
    bool list_wanted;    /* it asked */
    cJSON *info;         /* owned; between two requests of a probe */
    struct event *retry; /* owned; the next probe */
    char *sockets;       /* owned; RUN/docker: a folder for each attempt */
    char *bin;           /* owned; RUN/docker-bin: what is mounted at TN_CONTAINER_BIN */
    char bin_error[512]; /* why there is no agent to mount, or "" */
    char node[HOST_NAME_MAX + 1];
    struct tn_confine_path paths[TN_DOCKER_PATHS_MAX];
    TAILQ_HEAD(, tn_docker_env) envs;
};

extern const struct tn_executor_ops tn_docker_ops;

/* A request found nobody at the engine's address: no more tasks until it answers again. */
void tn_docker_engine_gone(struct tn_docker *docker, const char *reason);

#endif
