/* The Docker executor as the SDK sees it, and the state that its environments share.
 *
 * driver.c       the engine: is it there, what can its host do, which containers of ours does it have
 * environment.c  acquire: the containers of one attempt
 * watch.c        what is said and done when one of them ends
 * removal.c      release: the containers and folders of one attempt go away
 * folders.c      what lies on this host: the agent's folder, the folders of the sockets */
#ifndef TN_EXECUTORS_DOCKER_DRIVER_H
#define TN_EXECUTORS_DOCKER_DRIVER_H

#include "executors/docker/cleanup.h"
#include "executors/docker/container_spec.h"
#include "executors/docker/engine.h"
#include "executors/docker/images.h"
#include "executors/docker/reach.h"
#include "executors/sdk/executor.h"

#include <limits.h>
#include <sys/queue.h>

#define TN_DOCKER_PATHS_MAX 64

struct tn_docker_env; /* environment.h */

struct tn_docker {
    struct tn_executor *executor; /* borrowed */
    struct tn_engine *engine;     /* owned; NULL: its address is of no use, and the reason was said */
    struct tn_docker_reach reach;
    bool remote; /* the engine does not see our folders */
    struct tn_container_host host;
    struct tn_docker_images images;
    struct tn_docker_cleanup cleanup;
    bool usable;         /* the engine answered, and `host` is true */
    bool listed;         /* the SDK was told once what is there */
    bool list_wanted;    /* it asked */
    cJSON *info;         /* owned; between two requests of a probe */
    struct event *retry; /* owned; the next probe */
    char *sockets;       /* owned; RUN/jobs: a folder for each attempt */
    char *bin;           /* owned; RUN/bin: what is mounted at TN_CONTAINER_BIN */
    char bin_error[512]; /* why there is no agent to mount, or "" */
    uint16_t ports[5];   /* that may be connected to, and 0: the registries' and the engine's */
    char node[HOST_NAME_MAX + 1];
    struct tn_confine_path paths[TN_DOCKER_PATHS_MAX];
    TAILQ_HEAD(, tn_docker_env) envs;
};

extern const struct tn_executor_ops tn_docker_ops;

/* The operator's wishes for primary containers: bytes of /mnt/ramdisk (0: a quarter of the memory), and whether their
 * root file system is read-only. */
double tn_docker_ramdisk(const struct tn_docker *docker);
bool tn_docker_read_only(const struct tn_docker *docker);

/* Tells whether jobs can run, and why not: for cleanup.c, when that has changed. */
void tn_docker_announce(struct tn_docker *docker);

/* A request found nobody at the engine's address: no more tasks until it answers again. */
void tn_docker_engine_gone(struct tn_docker *docker, const char *reason);

#endif
