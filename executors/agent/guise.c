#include "executors/agent/guise.h"
#include "core/lib/cleanup.h"
#include "executors/agent/users.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdint.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NO_GROUP 65534
#define GROUPS_MAX 256
/* linux/capability.h, which musl's compiler does not find */
#define CAPABILITIES_VERSION_3 0x20080522u
#define DAC_READ_SEARCH (1u << 2)

static struct {
    long long peer; /* -1: no guise is needed */
    uid_t user;     /* of the job */
    gid_t user_group;
    gid_t group; /* ours, and our further ones, for afterwards */
    int group_count;
    gid_t groups[GROUPS_MAX];
} guise = {.peer = -1};

int tn_guise_of(long long peer, const char *user, struct tn_err *err)
{
    struct tn_user job = {.uid = geteuid(), .gid = getegid()};

    if (user != NULL && tn_user_find(user, &job, err) != 0)
        return -1;
    guise.peer = geteuid() == 0 && peer > 0 ? peer : -1;
    guise.user = job.uid;
    guise.user_group = job.gid;
    guise.group = getegid();
    return 0;
}

/* The kernel takes it with the user. With it folders can be passed and read, nothing can be written. */
static int keep_search(void)
{
    struct {
        uint32_t version;
        int pid;
    } head = {CAPABILITIES_VERSION_3, 0};
    struct {
        uint32_t effective;
        uint32_t permitted;
        uint32_t inheritable;
    } sets[2];

    if (syscall(SYS_capget, &head, sets) != 0)
        return -1;
    sets[0].effective |= DAC_READ_SEARCH & sets[0].permitted;
    return (int)syscall(SYS_capset, &head, sets);
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
    if (setfsgid(NO_GROUP) != NO_GROUP || setfsuid((uid_t)guise.peer) != (int)guise.peer || keep_search() != 0) {
        tn_guise_off();
        return tn_err_set(err, TN_ERR_SYSTEM, "cannot make files as user %lld", guise.peer);
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

int tn_guise_open(const char *path, struct tn_err *err)
{
    auto_fd int fd = open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct stat info;

    if (fd < 0 || fstat(fd, &info) != 0)
        return tn_err_sys(err, errno, "the folder %s", path);
    if (guise.peer >= 0 && info.st_uid != (uid_t)guise.peer && info.st_uid != guise.user)
        return tn_err_set(err, TN_ERR_CONFLICT,
                          "the folder %s belongs to user %u: expected the executor's, %lld, or the job's, %u", path,
                          (unsigned)info.st_uid, guise.peer, (unsigned)guise.user);
    return steal_fd(&fd);
}

int tn_guise_give(const char *path, struct tn_err *err)
{
    auto_fd int fd = tn_guise_open(path, err);

    if (fd < 0)
        return -1;
    if (geteuid() == 0 && fchownat(fd, "", guise.user, guise.user_group, AT_EMPTY_PATH) != 0)
        return tn_err_sys(err, errno, "cannot give the folder %s to user %u", path, (unsigned)guise.user);
    return 0;
}
