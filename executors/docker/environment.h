/* The environment of one attempt of a task: its containers and its socket's folder. Everything is found again by names
 * that follow from installation, task and attempt, so each operation may be repeated, also by a later process. */
#ifndef TN_EXECUTORS_DOCKER_ENVIRONMENT_H
#define TN_EXECUTORS_DOCKER_ENVIRONMENT_H

#include "executors/docker/attach.h"
#include "executors/docker/driver.h"
#include "executors/docker/pull.h"

enum tn_docker_phase {
    TN_DOCKER_ACQUIRING, /* containers are being found or made */
    TN_DOCKER_READY,     /* they run and are watched */
    TN_DOCKER_FAILED,    /* it was said so; release follows */
    TN_DOCKER_DRAINING,  /* the job is over: its services are ended, their output is read to the end */
    TN_DOCKER_REMOVING,
};

/* One container that runs. */
struct tn_docker_watch {
    struct tn_docker_env *env;
    size_t index;
    struct tn_engine_call *call; /* the long wait, or the inspection after it */
    struct event *again;         /* owned; the engine went away: ask again */
    bool ended;                  /* the engine said so, but not how */
    bool broken;                 /* the engine went away meanwhile */
    char why[500];               /* how it ended, while it is asked whether the engine is ending, too */
    struct tn_container_state state;
};

struct tn_docker_service; /* service.c */

/* For environment.c, watch.c, service.c and removal.c only. */
struct tn_docker_env {
    TAILQ_ENTRY(tn_docker_env) next;
    struct tn_docker *docker; /* borrowed */
    uint64_t task;
    uint32_t attempt;
    enum tn_docker_phase phase;

    /* acquire: one request at a time, container after container */
    char task_text[24];
    char class_name[64];
    struct tn_container_class resource_class; /* name points to class_name */
    char *socket_folder;                      /* owned */
    struct tn_container_image *images;        /* owned; images[0] is the primary's */
    size_t n_images;
    size_t index; /* the container that is worked on */
    struct tn_engine_call *call;
    bool remote;              /* the engine does not see our folders: attach */
    struct tn_attach *attach; /* owned; NULL: nobody is connected to the agent that way */
    bool told_to_end;         /* somebody sent the agent SIGTERM; the end of its container tells who */
    bool call_kept; /* it makes or starts a container, which the engine does even when nobody listens any more */
    void (*metadata_then)(struct tn_docker_env *env); /* what follows it */
    struct tn_docker_pull *pull;                      /* of the current image */
    struct tn_docker_watch *watches;                  /* owned; n_images */
    struct tn_docker_service *services;               /* owned; n_images; NULL: none has begun */
    struct event *drain_timer;                        /* owned; they are given up */
    cJSON *program; /* owned; what the primary's image would have run, if it is kept; or NULL */

    /* removal */
    struct event *timer; /* owned; another try */
    uint64_t removal_began_ms;
    size_t removals; /* unanswered ones */
    bool removal_failed;
    bool abandoned; /* the task was told that it is over; what is left goes away when the engine is back */
    char removal_error[512];
};

/* The environment with this id, or NULL. */
struct tn_docker_env *tn_docker_env_find(struct tn_docker *docker, uint64_t task, uint32_t attempt);
/* A new one that knows only its names; it is in `docker`'s list until tn_docker_env_free(). */
struct tn_docker_env *tn_docker_env_new(struct tn_docker *docker, uint64_t task, uint32_t attempt);
/* One for the images of the task's lease, of which nothing is known yet; NULL if that cannot be. */
struct tn_docker_env *tn_docker_env_of_lease(struct tn_docker *docker, struct tn_task *task);
/* Cancels what is under way; containers and folders stay. */
void tn_docker_env_free(struct tn_docker_env *env);
/* Ends all requests and watches of acquire, but not one that makes or starts a container: false while such a one is
 * under way (tn_docker_removal_go() follows from it). */
bool tn_docker_env_halt(struct tn_docker_env *env);

/* The operations of the SDK. */
void tn_docker_acquire(struct tn_executor *executor, struct tn_task *task);
void tn_docker_release(struct tn_executor *executor, struct tn_task *task);
void tn_docker_remove(struct tn_executor *executor, uint64_t task, uint32_t attempt);

/* service.c */
void tn_docker_drain(struct tn_executor *executor, struct tn_task *task);
void tn_docker_room(struct tn_executor *executor, struct tn_task *task);

/* remote.c */
int tn_docker_connect(struct tn_executor *executor, struct tn_task *task);
/* watch.c */
void tn_docker_told_to_end(struct tn_executor *executor, struct tn_task *task);

/* removal.c: begins, or goes on after tn_docker_env_halt() was false. */
void tn_docker_removal_go(struct tn_docker_env *env);

uint64_t tn_docker_now_ms(void); /* monotonic */

/* What every callback of acquire begins with. NULL: it failed or release was asked for meanwhile. */
struct tn_docker_env *tn_docker__answered(void *arg);
/* Between environment.c and watch.c. */
void tn_docker__say(struct tn_docker_env *env, const char *fmt, ...) TN_PRINTF(2, 3);
/* remote.c: puts the agent into a container. */
void tn_docker__upload(struct tn_docker_env *env, const char *container, tn_engine_done *done);
/* Acquire failed: no further callback comes, what is there waits for release. */
void tn_docker__fail(struct tn_docker_env *env, bool retry, const char *fmt, ...) TN_PRINTF(3, 4);
void tn_docker__image_name(const struct tn_docker_env *env, size_t index, char *text, size_t size);
/* What all containers of an environment are told alike; borrows of `env` and `owner`. */
struct tn_container_task tn_docker__container_task(const struct tn_docker_env *env, char owner[TN_OWNER_TEXT_MAX]);
void tn_docker__container_name(const struct tn_docker_env *env, size_t index, char *name, size_t size);
/* The container runs: from now on its end is heard of. */
void tn_docker__watch(struct tn_docker_env *env, size_t index);
void tn_docker__watch_end(struct tn_docker_watch *watch);
/* Why a container ended, in words. */
void tn_docker__describe_end(const struct tn_docker_env *env, const struct tn_container_state *state, char *text,
                             size_t size);
/* `state` NULL: nobody knows it. */
void tn_docker__container_ended(struct tn_docker_env *env, size_t index, const struct tn_container_state *state,
                                const char *why);

/* service.c: a service container was started, or found; its output goes into its log from now on. */
void tn_docker__service_begin(struct tn_docker_env *env, size_t index);
void tn_docker__service_ended(struct tn_docker_env *env, size_t index, const struct tn_container_state *state,
                              const char *why);
/* "Container cimg/redis:7.0 (cache)": what its log is called, or "". */
void tn_docker__log_name(const struct tn_docker_env *env, size_t index, char *out, size_t size);
/* Ends all requests about services. */
void tn_docker__services_halt(struct tn_docker_env *env);
void tn_docker__services_free(struct tn_docker_env *env);

#endif
