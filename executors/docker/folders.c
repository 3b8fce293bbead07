#include "executors/docker/folders.h"

#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "executors/sdk/agent_files.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int tn_docker_bin_make(const char *bin, struct tn_err *err)
{
    auto_free char *agent = tn_agent_files_find();

    if (agent == NULL)
        return tn_err_set(err, TN_ERR_SYSTEM, "the agent cannot be found: the path of this program is not known");
    return tn_agent_files_install(agent, bin, err);
}

/* ---- sockets ---- */

char *tn_docker_attempt_folder(const char *sockets, uint64_t task, uint32_t attempt)
{
    return tn_fs_path("%s/%" PRIu64 ".%" PRIu32, sockets, task, attempt);
}

char *tn_docker_socket_folder(const char *sockets, uint64_t task, uint32_t attempt)
{
    return tn_fs_path("%s/%" PRIu64 ".%" PRIu32 "/run", sockets, task, attempt);
}

int tn_docker_sockets_make(const char *sockets, uint64_t task, uint32_t attempt, struct tn_err *err)
{
    auto_free char *outer = tn_docker_attempt_folder(sockets, task, attempt);
    auto_free char *run = tn_docker_socket_folder(sockets, task, attempt);
    /* The agent's own folder of names. It is ours from the start, so that we can empty it without being root. */
    auto_free char *names = tn_fs_path("%s/bin", run);

    if (tn_fs_make_dirs(outer, 0700, err) != 0 || tn_fs_make_dirs(names, 0777, err) != 0)
        return -1;
    if (chmod(outer, 0700) != 0 || chmod(run, 0777) != 0 || chmod(names, 0777) != 0)
        return tn_err_sys(err, errno, "cannot set the mode of %s", run);
    return 0;
}

void tn_docker_sockets_each(const char *sockets, void (*on_folder)(uint64_t task, uint32_t attempt, void *arg),
                            void *arg)
{
    auto_dir DIR *dir = opendir(sockets);
    struct dirent *entry;

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        uint64_t task;
        uint32_t attempt;
        int end = 0;

        if (sscanf(entry->d_name, "%" SCNu64 ".%" SCNu32 "%n", &task, &attempt, &end) == 2 &&
            entry->d_name[end] == '\0')
            on_folder(task, attempt, arg);
    }
}
