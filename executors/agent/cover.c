#include "executors/agent/cover.h"
#include "core/lib/cleanup.h"
#include "executors/agent/guise.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_below(const char *path, const char *folder)
{
    size_t length = strlen(folder);

    return path != NULL && strncmp(path, folder, length) == 0 && path[length] == '/';
}

static int make_folders(const char *wanted, struct tn_err *err)
{
    char path[PATH_MAX];

    if (snprintf(path, sizeof(path), "%s", wanted) >= (int)sizeof(path))
        return tn_err_set(err, TN_ERR_LIMIT, "the path %s is too long", wanted);
    for (char *slash = strchr(path + 1, '/');; slash = strchr(slash + 1, '/')) {
        if (slash != NULL)
            *slash = '\0';
        if (mkdir(path, 0755) != 0 && errno != EEXIST)
            return tn_err_sys(err, errno, "cannot make %s", path);
        if (slash == NULL)
            return 0;
        *slash = '/';
    }
}

int tn_cover(const char *folder, const char *keep, struct tn_err *err)
{
    const unsigned long flags = MS_NOSUID | MS_NODEV;
    bool kept = is_below(keep, folder);
    char source[64];
    char cwd[PATH_MAX];
    auto_fd int fd = -1;

    if (getcwd(cwd, sizeof(cwd)) == NULL)
        return tn_err_sys(err, errno, "the current folder");
    if (kept && (fd = tn_guise_open(keep, err)) < 0)
        return -1;
    if (mount("none", folder, "tmpfs", flags, "mode=0755,size=64k") != 0)
        return tn_err_sys(err, errno, "nothing can be mounted over %s", folder);
    if (kept) {
        if (make_folders(keep, err) != 0)
            return -1;
        snprintf(source, sizeof(source), "/proc/self/fd/%d", fd);
        if (mount(source, keep, NULL, MS_BIND | MS_REC, NULL) != 0)
            return tn_err_sys(err, errno, "cannot mount %s again", keep);
    }
    if (mount(NULL, folder, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | flags, NULL) != 0)
        return tn_err_sys(err, errno, "cannot make what covers %s read-only", folder);
    /* The same folder, seen by the new way; one that is covered is of no use to the job. */
    if (chdir(cwd) == 0 || (kept && chdir(keep) == 0) || chdir("/") == 0)
        return 0;
    return tn_err_sys(err, errno, "cannot go back to %s", cwd);
}
