#include "executors/agent/private_tmp.h"
#include "core/lib/cleanup.h"
#include "executors/agent/cover.h"
#include "executors/agent/guise.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

static int write_text(const char *path, const char *text, struct tn_err *err)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    ssize_t put = fd >= 0 ? write(fd, text, strlen(text)) : -1;
    int failed = errno;

    if (fd >= 0)
        close(fd);
    return put >= 0 ? 0 : tn_err_sys(err, failed, "cannot write %s", path);
}

/* A user namespace in which this user stays who it is. */
static int map_user(uid_t uid, gid_t gid, struct tn_err *err)
{
    char text[64];

    if (write_text("/proc/self/setgroups", "deny", err) != 0)
        return -1;
    snprintf(text, sizeof(text), "%u %u 1", (unsigned)gid, (unsigned)gid);
    if (write_text("/proc/self/gid_map", text, err) != 0)
        return -1;
    snprintf(text, sizeof(text), "%u %u 1", (unsigned)uid, (unsigned)uid);
    return write_text("/proc/self/uid_map", text, err);
}

/* Makes `keep`, which lies below `target`, visible at the same path below `tmp`, which will cover `target`. */
static int keep_visible(const char *tmp, const char *target, const char *keep, struct tn_err *err)
{
    size_t length = strlen(target);
    char path[PATH_MAX];
    char source[64];
    auto_fd int fd = -1;
    char *slash;

    if (keep == NULL || strncmp(keep, target, length) != 0 || keep[length] != '/')
        return 0;
    if (snprintf(path, sizeof(path), "%s%s", tmp, keep + length) >= (int)sizeof(path))
        return tn_err_set(err, TN_ERR_LIMIT, "the path %s is too long", keep);
    for (slash = strchr(path + strlen(tmp) + 1, '/');; slash = strchr(slash + 1, '/')) {
        if (slash != NULL)
            *slash = '\0';
        if (mkdir(path, 0755) != 0 && errno != EEXIST)
            return tn_err_sys(err, errno, "cannot make %s", path);
        if (slash == NULL)
            break;
        *slash = '/';
    }
    fd = tn_guise_open(keep, err);
    if (fd < 0)
        return -1;
    snprintf(source, sizeof(source), "/proc/self/fd/%d", fd);
    if (mount(source, path, NULL, MS_BIND, NULL) != 0)
        return tn_err_sys(err, errno, "cannot mount %s at %s", keep, path);
    return 0;
}

static int mount_tmp(const char *tmp, const char *keep, struct tn_err *err)
{
    static const char *const targets[] = {"/tmp", "/var/tmp"};
    const size_t count = sizeof(targets) / sizeof(targets[0]);
    auto_fd int fd = tn_guise_open(tmp, err);
    char source[64];

    if (fd < 0)
        return -1;
    snprintf(source, sizeof(source), "/proc/self/fd/%d", fd);
    for (size_t i = 0; i < count; i++)
        if (access(targets[i], F_OK) == 0 && keep_visible(source, targets[i], keep, err) != 0)
            return -1;
    /* /var/tmp first: `tmp` itself may lie below /tmp and would not be found by its path any more. */
    for (size_t i = count; i-- > 0;)
        if (access(targets[i], F_OK) == 0 && mount(source, targets[i], NULL, MS_BIND | MS_REC, NULL) != 0)
            return tn_err_sys(err, errno, "cannot mount %s at %s", tmp, targets[i]);
    return 0;
}

int tn_private_tmp(const char *tmp, const char *keep, const char *const *hidden, struct tn_err *err)
{
    uid_t uid = geteuid();
    gid_t gid = getegid();
    char cwd[PATH_MAX];
    int failed;

    if (getcwd(cwd, sizeof(cwd)) == NULL)
        return tn_err_sys(err, errno, "the current folder");
    if (unshare(CLONE_NEWNS) != 0) {
        if (errno != EPERM || unshare(CLONE_NEWNS | CLONE_NEWUSER) != 0)
            return tn_err_sys(err, errno, "no mount namespace");
        if (map_user(uid, gid, err) != 0)
            return -1;
    }
    if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) != 0)
        return tn_err_sys(err, errno, "cannot part from the host's mounts");
    if (tn_guise_on(err) != 0)
        return -1;
    failed = mount_tmp(tmp, keep, err);
    /* The same folder, seen from inside. */
    if (failed == 0 && chdir(cwd) != 0)
        failed = tn_err_sys(err, errno, "cannot go back to %s", cwd);
    tn_guise_off();
    if (failed != 0)
        return -1;
    /* One that is not there any more lay below /tmp. */
    for (size_t i = 0; hidden[i] != NULL; i++)
        if (access(hidden[i], F_OK) == 0 && tn_cover(hidden[i], keep, err) != 0)
            return -1;
    return 0;
}
