#include "core/lib/remove.h"
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/log.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/openat2.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

enum {
    OPEN_FOLDERS = 48, /* deeper ones are moved up to the tree's root: bounded descriptors, any depth */
    PASSES_MAX = 3,    /* over a folder that fills again meanwhile */
    MOVES_MAX = 1000000,
    PATH_SHOWN = 300,
};

struct level {
    DIR *dir;   /* owned */
    char *name; /* owned; in the folder above */
    bool failed;
    bool again; /* folders were moved into it */
    unsigned passes;
};

struct tn_removal {
    char *path;    /* owned */
    char *name;    /* owned; its last component */
    int parent_fd; /* of the folder above `path`; -1: there is nothing to do */
    bool begun;
    struct level levels[OPEN_FOLDERS]; /* the first is the tree's root */
    size_t depth;
    unsigned moves;
    struct tn_err err; /* the first failure */
};

static int fd_above(const struct tn_removal *removal, size_t depth)
{
    return depth == 0 ? removal->parent_fd : dirfd(removal->levels[depth - 1].dir);
}

/* ---- what went wrong ---- */

static char *path_of(const struct tn_removal *removal, const char *name)
{
    char *path = tn_fs_path("%s", removal->path);

    for (size_t i = 1; i <= removal->depth; i++) {
        const char *part = i < removal->depth ? removal->levels[i].name : name;
        char *longer = tn_fs_path("%s/%s", path, part);

        if (removal->depth == 0 || strlen(longer) > PATH_SHOWN) {
            free(longer);
            break;
        }
        free(path);
        path = longer;
    }
    return path;
}

static bool is_kept_by_mark(int dir_fd, const char *name)
{
    struct statx info;

    return statx(dir_fd, name, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &info) == 0 &&
           (info.stx_attributes & (STATX_ATTR_IMMUTABLE | STATX_ATTR_APPEND)) != 0;
}

static void note_failure(struct tn_removal *removal, const char *name, int sys)
{
    auto_free char *path = path_of(removal, name);
    int dir_fd = fd_above(removal, removal->depth);
    struct stat info;

    if (removal->depth > 0)
        removal->levels[removal->depth - 1].failed = true;
    if (removal->err.code != TN_OK)
        return;
    if (sys == EXDEV || sys == EBUSY)
        tn_err_set(&removal->err, TN_ERR_CONFLICT,
                   "cannot remove %s: a file system is mounted there: unmount it (umount %s)", path, path);
    else if (sys == EPERM && is_kept_by_mark(dir_fd, name))
        tn_err_set(&removal->err, TN_ERR_CONFLICT,
                   "cannot remove %s: it is marked immutable or append-only: take the mark off (chattr -ia %s)", path,
                   path);
    else if ((sys == EPERM || sys == EACCES) && fstatat(dir_fd, name, &info, AT_SYMLINK_NOFOLLOW) == 0 &&
             info.st_uid != geteuid())
        tn_err_set(&removal->err, TN_ERR_CONFLICT,
                   "cannot remove %s: it belongs to user %u: remove it as that user or as root", path,
                   (unsigned)info.st_uid);
    else
        tn_err_sys(&removal->err, sys, "cannot remove %s", path);
    if (removal->err.sys == 0)
        removal->err.sys = sys;
}

/* ---- one entry ---- */

/* Takes the marks off that forbid removal; root may. */
static bool take_marks_off(int fd)
{
    int marks = 0;

    if (ioctl(fd, FS_IOC_GETFLAGS, &marks) != 0 || (marks & (FS_IMMUTABLE_FL | FS_APPEND_FL)) == 0)
        return false;
    marks &= ~(FS_IMMUTABLE_FL | FS_APPEND_FL);
    return ioctl(fd, FS_IOC_SETFLAGS, &marks) == 0;
}

/* A folder below `dir_fd`: never by a symbolic link, never on another mount (EXDEV; a bind mount, too). */
static int open_folder(int dir_fd, const char *name, int flags)
{
    struct open_how how = {.flags = (uint64_t)(flags | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC),
                           .resolve = RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH};
    int fd = (int)syscall(SYS_openat2, dir_fd, name, &how, sizeof(how));
    struct stat above;
    struct stat info;

    if (fd >= 0 || errno != ENOSYS)
        return fd;
    /* Kernels before 5.6 cannot tell a bind mount of the same file system. */
    fd = openat(dir_fd, name, (int)how.flags);
    if (fd >= 0 && fstat(fd, &info) == 0 && fstatat(dir_fd, "", &above, AT_EMPTY_PATH) == 0 &&
        info.st_dev != above.st_dev) {
        close(fd);
        errno = EXDEV;
        return -1;
    }
    return fd;
}

/* Opened for reading, and writable as far as we can make it so. */
static int open_writable(int dir_fd, const char *name)
{
    auto_fd int fd = open_folder(dir_fd, name, O_RDONLY);
    struct stat info;

    if (fd < 0 && errno == EACCES) { /* the mode of exactly this folder, whoever renames what meanwhile */
        auto_fd int path_fd = open_folder(dir_fd, name, O_PATH);
        char self[64];

        snprintf(self, sizeof(self), "/proc/self/fd/%d", path_fd);
        if (path_fd < 0 || chmod(self, 0700) != 0) {
            errno = EACCES;
            return -1;
        }
        fd = open_folder(dir_fd, name, O_RDONLY);
    }
    if (fd < 0)
        return -1;
    if (geteuid() == 0)
        (void)take_marks_off(fd);
    if (fstat(fd, &info) == 0 && (info.st_mode & 0700) != 0700)
        (void)fchmod(fd, 0700); /* where that fails the entries will */
    return steal_fd(&fd);
}

/* Moves a folder that lies too deep up into the tree's root, to be found there by the next look. */
static int move_up(struct tn_removal *removal, int dir_fd, const char *name)
{
    struct level *root = &removal->levels[0];
    char unique[32];

    if (removal->moves >= MOVES_MAX) {
        errno = ELOOP;
        return -1;
    }
    do
        snprintf(unique, sizeof(unique), ".removed-%u", removal->moves++);
    while (renameat2(dir_fd, name, dirfd(root->dir), unique, RENAME_NOREPLACE) != 0 && errno == EEXIST);
    if (faccessat(dirfd(root->dir), unique, F_OK, AT_SYMLINK_NOFOLLOW) != 0)
        return -1;
    root->again = true;
    return 0;
}

static void enter(struct tn_removal *removal, const char *name)
{
    int dir_fd = fd_above(removal, removal->depth);
    auto_fd int fd = open_writable(dir_fd, name);
    DIR *dir;

    if (fd < 0) {
        int sys = errno;

        /* An empty folder that cannot be read may still go. */
        if (sys != ENOENT && unlinkat(dir_fd, name, AT_REMOVEDIR) != 0)
            note_failure(removal, name, errno == EBUSY ? EBUSY : sys);
        return;
    }
    if (removal->depth == OPEN_FOLDERS) {
        if (move_up(removal, dir_fd, name) != 0)
            note_failure(removal, name, errno);
        return;
    }
    dir = fdopendir(fd);
    if (dir == NULL) {
        note_failure(removal, name, errno);
        return;
    }
    (void)steal_fd(&fd);
    removal->levels[removal->depth++] = (struct level){.dir = dir, .name = tn_fs_path("%s", name)};
}

static void remove_marked_file(struct tn_removal *removal, int dir_fd, const char *name)
{
    auto_fd int fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

    if (fd < 0 || !take_marks_off(fd) || unlinkat(dir_fd, name, 0) != 0)
        note_failure(removal, name, EPERM);
}

static void remove_entry(struct tn_removal *removal, const char *name)
{
    int dir_fd = fd_above(removal, removal->depth);
    struct stat info;
    int sys;

    if (unlinkat(dir_fd, name, 0) == 0 || errno == ENOENT)
        return;
    sys = errno;
    if (fstatat(dir_fd, name, &info, AT_SYMLINK_NOFOLLOW) != 0)
        info.st_mode = 0;
    if (sys == EISDIR || S_ISDIR(info.st_mode))
        enter(removal, name);
    else if (sys == EPERM && S_ISREG(info.st_mode))
        remove_marked_file(removal, dir_fd, name);
    else
        note_failure(removal, name, sys);
}

/* The folder has been read to its end. */
static void leave(struct tn_removal *removal)
{
    struct level *level = &removal->levels[removal->depth - 1];
    struct level done;
    int sys;

    if (level->again) {
        level->again = false;
        rewinddir(level->dir);
        return;
    }
    sys = unlinkat(fd_above(removal, removal->depth - 1), level->name, AT_REMOVEDIR) == 0 ? 0 : errno;
    if (sys == ENOTEMPTY && !level->failed && ++level->passes < PASSES_MAX) {
        rewinddir(level->dir);
        return;
    }
    done = *level;
    removal->depth--;
    closedir(done.dir);
    if (done.failed && removal->depth > 0)
        removal->levels[removal->depth - 1].failed = true;
    if (sys != 0 && sys != ENOENT && !done.failed)
        note_failure(removal, done.name, sys);
    free(done.name);
}

/* ---- the whole ---- */

static struct tn_removal *new_removal(const char *path)
{
    struct tn_removal *removal = calloc(1, sizeof(*removal));
    char *slash;

    if (removal == NULL)
        tn_fatal(3, "out of memory: a removal");
    removal->path = tn_fs_path("%s", path);
    while ((slash = strrchr(removal->path, '/')) != NULL && slash[1] == '\0' && slash != removal->path)
        *slash = '\0';
    return removal;
}

struct tn_removal *tn_removal_begin(const char *path)
{
    struct tn_removal *removal = new_removal(path);
    auto_free char *above = tn_fs_path("%s", removal->path);
    char *slash = strrchr(above, '/');

    removal->name = tn_fs_path("%s", slash != NULL ? slash + 1 : above);
    if (slash != NULL)
        slash[slash == above ? 1 : 0] = '\0';
    removal->parent_fd = open(slash != NULL ? above : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (removal->parent_fd < 0 && errno != ENOENT)
        tn_err_sys(&removal->err, errno, "cannot remove %s", removal->path);
    return removal;
}

struct tn_removal *tn_removal_begin_at(int parent_fd, const char *name, const char *path)
{
    struct tn_removal *removal = new_removal(path);

    removal->name = tn_fs_path("%s", name);
    removal->parent_fd = fcntl(parent_fd, F_DUPFD_CLOEXEC, 3);
    if (removal->parent_fd < 0)
        tn_err_sys(&removal->err, errno, "cannot remove %s", removal->path);
    return removal;
}

bool tn_removal_step(struct tn_removal *removal, size_t entries)
{
    if (removal->parent_fd < 0)
        return false;
    if (!removal->begun) {
        removal->begun = true;
        remove_entry(removal, removal->name);
    }
    while (removal->depth > 0 && entries > 0) {
        const struct dirent *entry = readdir(removal->levels[removal->depth - 1].dir);

        entries--;
        if (entry == NULL)
            leave(removal);
        else if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            remove_entry(removal, entry->d_name);
    }
    return removal->depth > 0;
}

int tn_removal_end(struct tn_removal *removal, struct tn_err *err)
{
    int failed = removal->err.code != TN_OK ? -1 : 0;

    if (failed != 0 && err != NULL)
        *err = removal->err;
    while (removal->depth > 0) {
        removal->depth--;
        closedir(removal->levels[removal->depth].dir);
        free(removal->levels[removal->depth].name);
    }
    if (removal->parent_fd >= 0)
        close(removal->parent_fd);
    free(removal->name);
    free(removal->path);
    free(removal);
    return failed;
}
