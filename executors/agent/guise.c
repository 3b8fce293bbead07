#include "executors/agent/guise.h"
#include "core/lib/cleanup.h"
#include "executors/agent/users.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdbool.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <unistd.h>

#define NO_GROUP 65534
#define GROUPS_MAX 256

static struct {
    long long peer;
    int group_count;
    gid_t groups[GROUPS_MAX]; /* ours, for afterwards */
    gid_t group;
} guise = {.peer = -1};

void tn_guise_of(long long peer)
{
    guise.peer = geteuid() == 0 && peer > 0 ? peer : -1;
    guise.group = getegid();
}

int tn_guise_on(struct tn_err *err)
{
    if (guise.peer < 0)
        return 0;
    guise.group_count = getgroups(GROUPS_MAX, guise.groups);
    if (guise.group_count < 0 || setgroups(0, NULL) != 0)
        return tn_err_sys(err, errno, "the groups of the agent");
    setfsgid(NO_GROUP);
    setfsuid((uid_t)guise.peer);
    /* Both tell only what was before. */
    if (setfsgid(NO_GROUP) != NO_GROUP || setfsuid((uid_t)guise.peer) != (int)guise.peer) {
        tn_guise_off();
        return tn_err_set(err, TN_ERR_SYSTEM, "cannot look up files as user %lld", guise.peer);
    }
    return 0;
}

void tn_guise_off(void)
{
    int before = errno;

    if (guise.peer < 0)
        return;
    setfsuid(geteuid());
    setfsgid(guise.group);
    if (setgroups((size_t)guise.group_count, guise.groups) != 0)
        _exit(3); /* root can */
    errno = before;
}

int tn_guise_give(const char *path, const char *name, struct tn_err *err)
{
    struct tn_user user = {.uid = geteuid(), .gid = getegid()};
    auto_fd int fd = -1;
    struct stat info;

    if (name != NULL && tn_user_find(name, &user, err) != 0)
        return -1;
    if (tn_guise_on(err) != 0)
        return -1;
    fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    tn_guise_off();
    if (fd < 0 || fstat(fd, &info) != 0)
        return tn_err_sys(err, errno, "cannot open the folder %s for user %u", path, (unsigned)user.uid);
    if (info.st_uid == user.uid)
        return 0;
    if (info.st_uid != (guise.peer >= 0 ? (uid_t)guise.peer : geteuid()))
        return tn_err_set(err, TN_ERR_CONFLICT, "the folder %s belongs to user %u, who is not the executor", path,
                          (unsigned)info.st_uid);
    if (geteuid() == 0 && fchown(fd, user.uid, user.gid) != 0)
        return tn_err_sys(err, errno, "cannot give the folder %s to user %u", path, (unsigned)user.uid);
    return 0;
}
