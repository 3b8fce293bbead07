/* How the Docker Engine is reached and whether it shares this host's folders.
 *
 * Read before Landlock holds: the settings docker.engine, docker.tls and docker.shared_folders, DOCKER_HOST and its
 * companions, the files of TLS.
 *
 * Shared folders: an agent's socket in a mounted folder works only if the engine's containers run under this very
 * kernel and the engine sees our run folder. `auto` finds out with one request, which makes nothing, about a folder
 * with a name that nobody else has; nothing is inferred from the address, because a socket may be forwarded by ssh and
 * an engine on loopback may be a virtual machine's. */
#ifndef TN_EXECUTORS_DOCKER_REACH_H
#define TN_EXECUTORS_DOCKER_REACH_H

#include "executors/docker/address.h"
#include "executors/docker/container_spec.h"
#include "executors/docker/engine.h"

#include <cjson/cJSON.h>
#include <stdint.h>

enum tn_docker_sharing { TN_DOCKER_SHARED_AUTO, TN_DOCKER_SHARED_YES, TN_DOCKER_SHARED_NO };

struct tn_docker_reach {
    struct tn_engine_address address;
    struct tn_engine_tls tls; /* owned until the engine takes it */
    char error[1024];         /* why there can be no engine, or "" */
    enum tn_docker_sharing sharing;
    char *probe; /* owned; a folder with a name of its own below the run folder */
    bool local;  /* the run folder's file system holds sockets that others can use */

    struct tn_buf agents[2]; /* owned; the agent's program for x86-64 and for arm64, empty: not built */
};

/* `settings` is the section docker, or NULL; `sockets` the folder of the agents' sockets. Never fails: `error` says
 * what is wrong. */
void tn_docker_reach_open(struct tn_docker_reach *reach, const cJSON *settings, const char *sockets);
/* The TCP port that the engine is reached by, or 0 with a unix socket. */
uint16_t tn_docker_reach_port(const struct tn_docker_reach *reach);
void tn_docker_reach_close(struct tn_docker_reach *reach);

/* What is known without a request: 1 shared, 0 not, -1 the engine must be asked about `probe`. */
int tn_docker_reach_guess(const struct tn_docker_reach *reach, const struct tn_container_host *host);
/* The agent's program for an architecture as uname says it, or NULL and why. */
const struct tn_buf *tn_docker_reach_agent(const struct tn_docker_reach *reach, const char *arch,
                                           struct tn_err *err) TN_MUST_CHECK;

#endif
