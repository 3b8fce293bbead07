#include "executors/agent/become.h"
#include "executors/agent/cover.h"
#include "executors/agent/users.h"

#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

/* May the user pass through? By the mode alone: what access lists allow besides is not seen, and then covered. */
static bool can_enter(const char *folder, const struct tn_user *user)
{
    struct stat info;
    mode_t bit = S_IXOTH;

    if (stat(folder, &info) != 0)
        return false;
    for (int i = 0; i < user->group_count; i++)
        if (info.st_gid == user->groups[i])
            bit = S_IXGRP;
    if (info.st_uid == user->uid)
        bit = S_IXUSR;
    return user->uid == 0 || (info.st_mode & bit) != 0;
}

/* The first folder above `path` (absolute) that the user cannot enter. False: it can enter all. */
static bool find_closed(const char *path, const struct tn_user *user, char *out, size_t size)
{
    for (const char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        snprintf(out, size, "%.*s", (int)(slash - path), path);
        if (!can_enter(out, user))
            return true;
    }
    return false;
}

static int open_the_way(const char *keep, const struct tn_user *user, struct tn_err *err)
{
    char closed[PATH_MAX];

    /* Only root could enter what this covers, so nothing that the user had is hidden. */
    if (find_closed(keep, user, closed, sizeof(closed)) && tn_cover(closed, keep, err) != 0)
        return tn_err_wrap(err, "user \"%s\" cannot enter %s", user->name, closed);
    return 0;
}

int tn_become(const char *who, const char *keep, struct tn_err *err)
{
    struct tn_user user;
    int death_signal = 0;
    pid_t parent = getppid();

    if (tn_user_find(who, &user, err) != 0)
        return -1;
    if (user.uid == geteuid() && user.gid == getegid())
        return 0;
    if (geteuid() != 0)
        return tn_err_set(err, TN_ERR_USAGE, "only root can run jobs as user \"%s\"; this is user %u", who,
                          (unsigned)geteuid());
    if (keep != NULL && open_the_way(keep, &user, err) != 0)
        return -1;
    /* The kernel forgets this signal when the user changes. */
    prctl(PR_GET_PDEATHSIG, &death_signal, 0, 0, 0);
    if (setgroups((size_t)user.group_count, user.groups) != 0 || setgid(user.gid) != 0 || setuid(user.uid) != 0)
        return tn_err_sys(err, errno, "cannot become user \"%s\"", who);
    if (death_signal != 0 && prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0) != 0)
        return tn_err_sys(err, errno, "PDEATHSIG");
    if (getppid() != parent)
        raise(SIGKILL);
    return 0;
}
