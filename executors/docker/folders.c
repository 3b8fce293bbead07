#include "executors/docker/folders.h"

#include "core/lib/cleanup.h"
#include "core/lib/fs.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { AGENT_MAX = 16 << 20 };

/* ---- the agent ---- */

static char *find_agent(void)
{
    char self[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);

    if (length <= 0)
        return NULL;
    self[length] = '\0';
    for (int i = 0; i < 2; i++) {
        char *slash = strrchr(self, '/');

        if (slash == NULL)
            return NULL;
        *slash = '\0';
    }
    return tn_fs_path("%s/agent/tenon-agent", self);
}

int tn_docker_bin_make(const char *bin, struct tn_err *err)
{
    static const char *const names[] = {"circleci", "circleci-agent"};
    auto_free char *agent = find_agent();
    auto_free char *target = tn_fs_path("%s/tenon-agent", bin);
    auto_buf struct tn_buf program = TN_BUF_INIT;

    if (agent == NULL)
        return tn_err_set(err, TN_ERR_SYSTEM, "the agent cannot be found: /proc/self/exe does not name this program");
    if (tn_fs_make_dirs(bin, 0755, err) != 0)
        return -1;
    /* Whatever our umask is: users of the image run it. */
    if (chmod(bin, 0755) != 0)
        return tn_err_sys(err, errno, "cannot open %s to everybody", bin);
    /* Always anew: a container that runs keeps the file that it has. */
    if (tn_fs_read(agent, AGENT_MAX, &program, err) != 0 ||
        tn_fs_write_atomic(target, program.data, program.len, 0755, err) != 0)
        return -1;
    if (chmod(target, 0755) != 0)
        return tn_err_sys(err, errno, "cannot open %s to everybody", target);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        auto_free char *name = tn_fs_path("%s/%s", bin, names[i]);

        if (symlink("tenon-agent", name) != 0 && errno != EEXIST)
            return tn_err_sys(err, errno, "cannot make %s", name);
    }
    return 0;
}

/* ---- sockets ---- */

static char *attempt_folder(const char *sockets, uint64_t task, uint32_t attempt)
{
    return tn_fs_path("%s/%" PRIu64 ".%" PRIu32, sockets, task, attempt);
}

char *tn_docker_socket_folder(const char *sockets, uint64_t task, uint32_t attempt)
{
    return tn_fs_path("%s/%" PRIu64 ".%" PRIu32 "/run", sockets, task, attempt);
}

int tn_docker_sockets_make(const char *sockets, uint64_t task, uint32_t attempt, struct tn_err *err)
{
    auto_free char *outer = attempt_folder(sockets, task, attempt);
    auto_free char *run = tn_docker_socket_folder(sockets, task, attempt);
    /* The agent's own folder of names. It is ours from the start, so that we can empty it without being root. */
    auto_free char *names = tn_fs_path("%s/bin", run);

    if (tn_fs_make_dirs(outer, 0700, err) != 0 || tn_fs_make_dirs(names, 0777, err) != 0)
        return -1;
    if (chmod(outer, 0700) != 0 || chmod(run, 0777) != 0 || chmod(names, 0777) != 0)
        return tn_err_sys(err, errno, "cannot set the mode of %s", run);
    return 0;
}

int tn_docker_sockets_remove(const char *sockets, uint64_t task, uint32_t attempt, struct tn_err *err)
{
    auto_free char *outer = attempt_folder(sockets, task, attempt);

    return tn_fs_remove_tree(outer, err);
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
