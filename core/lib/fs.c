#include "core/lib/fs.h"
#include "core/lib/cleanup.h"
#include "core/lib/log.h"
#include "core/lib/remove.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { NAME_BYTES = 100 };

char *tn_fs_path(const char *fmt, ...)
{
    va_list ap;
    char *path;

    va_start(ap, fmt);
    if (vasprintf(&path, fmt, ap) < 0)
        tn_fatal(3, "out of memory: a path");
    va_end(ap);
    return path;
}

int tn_fs_make_dirs(const char *path, mode_t mode, struct tn_err *err)
{
    auto_free char *copy = tn_fs_path("%s", path);

    for (char *slash = strchr(copy + 1, '/');; slash = strchr(slash + 1, '/')) {
        if (slash != NULL)
            *slash = '\0';
        if (mkdir(copy, mode) != 0 && errno != EEXIST)
            return tn_err_sys(err, errno, "cannot make the folder %s", copy);
        if (slash == NULL)
            return 0;
        *slash = '/';
    }
}

int tn_fs_remove_tree(const char *path, struct tn_err *err)
{
    struct tn_removal *removal = tn_removal_begin(path);

    while (tn_removal_step(removal, SIZE_MAX))
        continue;
    return tn_removal_end(removal, err);
}

int tn_fs_read(const char *path, size_t limit, struct tn_buf *out, struct tn_err *err)
{
    auto_fd int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return tn_err_sys(err, errno, "cannot read %s", path);
    for (;;) {
        char *room = tn_buf_reserve(out, 65536);
        ssize_t got = read(fd, room, 65536);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return tn_err_sys(err, errno, "cannot read %s", path);
        if (got == 0)
            return 0;
        out->len += (size_t)got;
        out->data[out->len] = '\0';
        if (out->len > limit)
            return tn_err_set(err, TN_ERR_LIMIT, "%s is larger than %zu bytes, the limit", path, limit);
    }
}

int tn_fs_write_all(int fd, const void *bytes, size_t length, struct tn_err *err)
{
    const char *at = bytes;

    while (length > 0) {
        ssize_t put = write(fd, at, length);

        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return tn_err_sys(err, errno, "cannot write %zu bytes", length);
        at += put;
        length -= (size_t)put;
    }
    return 0;
}

static int sync_folder_of(const char *path, struct tn_err *err)
{
    auto_free char *copy = tn_fs_path("%s", path);
    char *slash = strrchr(copy, '/');
    auto_fd int fd = -1;

    if (slash != NULL)
        slash[slash == copy ? 1 : 0] = '\0';
    fd = open(slash != NULL ? copy : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) != 0)
        return tn_err_sys(err, errno, "cannot sync the folder of %s", path);
    return 0;
}

int tn_fs_write_atomic(const char *path, const void *bytes, size_t length, mode_t mode, struct tn_err *err)
{
    auto_free char *temporary = tn_fs_path("%s.%ld.tmp", path, (long)getpid());
    auto_fd int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);

    if (fd < 0)
        return tn_err_sys(err, errno, "cannot write %s", temporary);
    if (tn_fs_write_all(fd, bytes, length, err) != 0) {
        unlink(temporary);
        return tn_err_wrap(err, "%s", path);
    }
    if (fsync(fd) != 0 || rename(temporary, path) != 0) {
        tn_err_sys(err, errno, "cannot replace %s", path);
        unlink(temporary);
        return -1;
    }
    return sync_folder_of(path, err);
}

char *tn_fs_safe_name(const char *name)
{
    auto_free char *safe = tn_fs_path("%.*s", (int)NAME_BYTES, name);

    for (char *at = safe; *at != '\0'; at++)
        if (!((*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z') || (*at >= '0' && *at <= '9') ||
              strchr("._+-", *at) != NULL))
            *at = '_';
    if (safe[0] == '\0' || strcmp(safe, ".") == 0 || strcmp(safe, "..") == 0)
        return tn_fs_path("_");
    if (safe[0] == '.')
        safe[0] = '_';
    return steal_ptr(&safe);
}

/* 0, or errno. */
static int check_program(const char *path)
{
    struct stat info;

    if (stat(path, &info) != 0 || access(path, X_OK) != 0)
        return errno;
    return S_ISREG(info.st_mode) ? 0 : EACCES;
}

char *tn_fs_find_program(const char *program, struct tn_err *err)
{
    const char *path = getenv("PATH");
    auto_free char *folders = tn_fs_path("%s", path != NULL ? path : "");
    char *save = NULL;
    int sys;

    if (strchr(program, '/') != NULL) {
        sys = check_program(program);
        if (sys == 0)
            return tn_fs_path("%s", program);
        tn_err_sys(err, sys, "cannot run %s", program);
        return NULL;
    }
    for (char *folder = strtok_r(folders, ":", &save); folder != NULL; folder = strtok_r(NULL, ":", &save)) {
        auto_free char *full = tn_fs_path("%s/%s", folder, program);

        if (check_program(full) == 0)
            return steal_ptr(&full);
    }
    tn_err_set(err, TN_ERR_NOT_FOUND, "no program \"%s\" in the PATH %s", program, path != NULL ? path : "(unset)");
    return NULL;
}
