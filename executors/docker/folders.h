/* What the Docker executor keeps on this host: the folder with the agent's program under its names, mounted read-only
 * into every primary container, and for each attempt a private folder (0700) with the folder of its socket (0777, so
 * that any user of the image can make it). Blocks for as long as the file system does. */
#ifndef TN_EXECUTORS_DOCKER_FOLDERS_H
#define TN_EXECUTORS_DOCKER_FOLDERS_H

#include "core/lib/err.h"

#include <stdint.h>

/* Fills the folder `bin` with the agent, which lies beside this program's folder in the build tree and when
 * installed. */
int tn_docker_bin_make(const char *bin, struct tn_err *err) TN_MUST_CHECK;

/* SOCKETS/TASK.ATTEMPT, private. The caller frees it. */
char *tn_docker_attempt_folder(const char *sockets, uint64_t task, uint32_t attempt);
/* SOCKETS/TASK.ATTEMPT/run, the folder that is mounted. The caller frees it. */
char *tn_docker_socket_folder(const char *sockets, uint64_t task, uint32_t attempt);
/* Makes it; an existing one is kept. */
int tn_docker_sockets_make(const char *sockets, uint64_t task, uint32_t attempt, struct tn_err *err) TN_MUST_CHECK;
/* Calls `on_folder` for each attempt that has a folder. */
void tn_docker_sockets_each(const char *sockets, void (*on_folder)(uint64_t task, uint32_t attempt, void *arg),
                            void *arg);

#endif
