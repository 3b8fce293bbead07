/* The JSON bodies of POST /containers/create for a task's containers, and what is read from the engine's answers to
 * make them. Pure.
 *
 * The primary container runs the agent as its first program, from a folder of this host that is mounted read-only; it
 * is reached through a socket in a second mounted folder. With an engine that does not see our folders, the agent is
 * unpacked into the container and reached by attaching to it. A service container runs its own program and shares the
 * primary's network, so localhost reaches it. No container is ever restarted: a restarted primary would get a new
 * network and strand its services.
 *
 * Source: Docker Engine API v1.41, "ContainerCreate"; labels and mounts are explained in README.md. */
#ifndef TN_EXECUTORS_DOCKER_CONTAINER_SPEC_H
#define TN_EXECUTORS_DOCKER_CONTAINER_SPEC_H

#include "core/lib/err.h"
#include "executors/docker/container_image.h"

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TN_CONTAINER_BIN "/.tenon/bin"
#define TN_CONTAINER_RUN "/.tenon/run"
#define TN_CONTAINER_RAMDISK "/mnt/ramdisk" /* of the primary: memory that looks like a folder, as CircleCI's */
#define TN_CONTAINER_AGENT TN_CONTAINER_BIN "/tenon-agent"
#define TN_CONTAINER_SOCKET TN_CONTAINER_RUN "/agent.sock"

#define TN_LABEL_INSTALLATION "com.tenon.installation"
#define TN_LABEL_OWNER "com.tenon.owner" /* of a private installation: owner.h */
#define TN_LABEL_TASK "com.tenon.task"
#define TN_LABEL_ATTEMPT "com.tenon.attempt"
#define TN_LABEL_PROGRAM "com.tenon.program" /* of a primary that keeps its program: its words, in JSON */
#define TN_LABEL_ROLE "com.tenon.role"       /* TN_ROLE_PRIMARY or TN_ROLE_SERVICE */
#define TN_ROLE_PRIMARY "primary"
#define TN_ROLE_SERVICE "service"
#define TN_ROLE_METADATA "metadata" /* what keeps the metadata addresses away */

#define TN_CONTAINER_NAME_MAX 255

/* What the lease grants to each container of the task. */
struct tn_container_class {
    const char *name;
    int cpus;
    int memory_mib;
    int pids;
};

/* What the engine's host can do. */
struct tn_container_host {
    int cpus;
    bool cpu_limit; /* its kernel can limit CPUs; else the engine refuses NanoCpus */
    bool memory_limit;
    bool swap_limit;
    bool pids_limit;
    bool bridge;      /* the engine has its network "bridge" (not so with --bridge=none) */
    bool remapped;    /* users of its containers have other numbers on the host (rootless, userns-remap) */
    bool own_network; /* rootless Podman: its bridge is of little use, and by default each container has its own */
    char arch[32];    /* as uname says it: "x86_64", "aarch64" */
    char kernel[80];  /* its release, as uname says it */
};

/* From the answers to GET /info and GET /networks. Fails with TN_ERR_UNAVAILABLE when it is no Linux engine. */
int tn_container_host_parse(const cJSON *info, const cJSON *networks, struct tn_container_host *host,
                            struct tn_err *err) TN_MUST_CHECK;

/* One attempt of a task; everything is borrowed. */
struct tn_container_task {
    const char *installation;
    const char *owner; /* the label's text, or NULL: none */
    const char *task;
    unsigned attempt;
    const struct tn_container_class *resource_class;
    const struct tn_container_host *host;
    const char *agent_folder; /* on the engine's host: holds tenon-agent. NULL: the engine does not see our folders, so
                               * the agent is unpacked into the container and serves over stdin and stdout (attach) */
    const char
        *socket_folder;   /* on the engine's host: mode 0777 within a folder of the executor's with 0700; or NULL */
    const cJSON *program; /* what the agent starts beside the steps (tn_container_kept_argv), or NULL */
    double ramdisk;       /* bytes of TN_CONTAINER_RAMDISK; 0: a quarter of the memory */
    bool read_only;       /* the primary's root file system; /tmp can be written to */
    const char *const *agent_args; /* more arguments of "tenon-agent serve", NULL at the end; or NULL */
};

/* The name of the task's container number `index` (0 is the primary). The same task and attempt always give the same
 * names, so a create that is sent twice is a conflict and never a second container. */
void tn_container_name(const struct tn_container_task *task, size_t index, char *name, size_t size);

/* The primary container: images[0]; the `name`s of all become names of localhost. The caller deletes the body. */
cJSON *tn_container_primary_new(const struct tn_container_task *task, const struct tn_container_image *images,
                                size_t n_images) TN_MUST_CHECK;

/* What runs once in the primary's network, before anything of the job: the agent's `deny-metadata`, as root with no
 * capability but CAP_NET_ADMIN. Of the primary's image it uses nothing. */
cJSON *tn_container_metadata_new(const struct tn_container_task *task, const struct tn_container_image *image,
                                 const char *primary_id);

/* A service container in the network of the primary. The caller deletes the body. */
cJSON *tn_container_service_new(const struct tn_container_task *task, const struct tn_container_image *image,
                                const char *primary_id) TN_MUST_CHECK;

/* The program that the agent must start beside the steps because the config names an entrypoint or command for the
 * primary, or its image has the label com.circleci.preserve-entrypoint=true. `inspected` is the answer to image
 * inspect. An array of strings that the caller deletes, or NULL: nothing to start. */
cJSON *tn_container_kept_argv(const struct tn_container_image *image, const cJSON *inspected) TN_MUST_CHECK;

/* The same of a primary container that was made before: an array of strings that the caller deletes, or NULL. */
cJSON *tn_container_kept_parse(const cJSON *inspected) TN_MUST_CHECK;

/* What a container that was inspected is doing. */
struct tn_container_state {
    char status[16]; /* "created", "running", "exited", "dead", ... */
    bool running;
    bool attached;   /* made without an agent_folder: its agent serves over stdin and stdout */
    bool oom_killed; /* the kernel's OOM killer ended it: say so where the exit status is 137 */
    int exit_code;
    int64_t finished; /* seconds since 1970 by the engine's clock; 0: not known */
    char error[300];  /* why it could not start, in the engine's words, or "" */
};

/* From the answer to inspect. Fails with TN_ERR_PROTOCOL. */
int tn_container_state_parse(const cJSON *inspected, struct tn_container_state *state,
                             struct tn_err *err) TN_MUST_CHECK;

#endif
