#include "core/kernel/places.h"
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const char *tn_places_name(const struct tn_worker *worker)
{
    return worker->manifest != NULL ? worker->manifest->name : worker->row->folder;
}

void tn_places_of(const struct tn_worker *worker, const struct tn_kernel_config *config, struct tn_places *out)
{
    const char *name = tn_places_name(worker);
    bool lasts = name != NULL && worker->row->role != TN_ROLE_BUS;

    out->run = name != NULL ? tn_fs_path("%s/%s", config->run_dir, name) : tn_fs_path("%s", "");
    out->state = lasts ? tn_fs_path("%s/%s", config->state_dir, name) : tn_fs_path("%s", "");
    out->store = lasts ? tn_fs_path("%s/%s", config->store_dir, name) : tn_fs_path("%s", "");
}

void tn_places_free(struct tn_places *places)
{
    free(places->run);
    free(places->state);
    free(places->store);
}

/* ---- owners ---- */

enum { DEPTH_MAX = 64 };

static int give_tree(int fd, uid_t from, const struct tn_own_user *to, unsigned depth);

/* Entries of others stay theirs; so do files of several names, which might lie elsewhere, too. */
static int give_entry(int dir_fd, const char *name, uid_t from, const struct tn_own_user *to, unsigned depth)
{
    struct stat info;
    int fd;

    if (fstatat(dir_fd, name, &info, AT_SYMLINK_NOFOLLOW) != 0)
        return errno == ENOENT ? 0 : -1;
    if (info.st_uid != from)
        return 0;
    if (!S_ISDIR(info.st_mode))
        return info.st_nlink > 1 ? 0 : fchownat(dir_fd, name, to->uid, to->gid, AT_SYMLINK_NOFOLLOW);
    fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return -1;
    return give_tree(fd, from, to, depth + 1);
}

/* Takes the descriptor over. The folder itself last: until then the next tenond sees that it is not done. */
static int give_tree(int fd, uid_t from, const struct tn_own_user *to, unsigned depth)
{
    auto_dir DIR *dir = fdopendir(fd);
    const struct dirent *entry;
    int failed = 0;

    if (dir == NULL) {
        close(fd);
        return -1;
    }
    while (depth < DEPTH_MAX && failed == 0 && (entry = readdir(dir)) != NULL)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            failed = give_entry(dirfd(dir), entry->d_name, from, to, depth);
    return failed == 0 ? fchown(dirfd(dir), to->uid, to->gid) : -1;
}

static int give(const char *path, const struct tn_own_user *user, struct tn_err *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct stat info;

    if (fd < 0 || fstat(fd, &info) != 0) {
        int sys = errno;

        if (fd >= 0)
            close(fd);
        return tn_err_sys(err, sys, "the folder %s", path);
    }
    if (info.st_uid == user->uid || geteuid() != 0) {
        close(fd);
        return 0;
    }
    return give_tree(fd, info.st_uid, user, 0) == 0
               ? 0
               : tn_err_sys(err, errno, "cannot give %s to user %u", path, (unsigned)user->uid);
}

/* They may hold passwords: nobody but root and this process. */
static int give_settings(const struct tn_worker *worker, struct tn_err *err)
{
    const char *folder = worker->kernel->config->settings_dir;
    auto_free char *path = tn_fs_path("%s/%s.json", folder, worker->name);
    auto_fd int fd = -1;

    if (folder[0] == '\0' || !worker->user.is_own)
        return 0;
    fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : tn_err_sys(err, errno, "%s", path);
    if (fchown(fd, 0, worker->user.gid) != 0 || fchmod(fd, 0640) != 0)
        return tn_err_sys(err, errno, "cannot open %s to %s", path, worker->user.name);
    return 0;
}

int tn_places_make(const struct tn_places *places, const struct tn_worker *worker, struct tn_err *err)
{
    const char *const paths[] = {places->run, places->state, places->store};

    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        if (paths[i][0] == '\0')
            continue;
        if (tn_fs_make_dirs(paths[i], 0700, err) != 0)
            return -1;
        if (worker->row->role != TN_ROLE_BUS && give(paths[i], &worker->user, err) != 0)
            return -1;
    }
    return give_settings(worker, err);
}

static const struct tn_worker *worker_of(const struct tn_kernel *kernel, enum tn_role role)
{
    for (size_t i = 0; i < kernel->count; i++)
        if (kernel->workers[i].row->role == role)
            return &kernel->workers[i];
    return NULL;
}

static int open_folder(const char *path, mode_t mode, const struct tn_own_user *user, struct tn_err *err)
{
    if (chmod(path, mode) != 0)
        return tn_err_sys(err, errno, "cannot change the mode of %s", path);
    if (user != NULL && user->is_own && chown(path, user->uid, user->gid) != 0)
        return tn_err_sys(err, errno, "cannot give %s to %s", path, user->name);
    return 0;
}

int tn_places_open(struct tn_kernel *kernel, struct tn_err *err)
{
    const struct tn_kernel_config *config = kernel->config;
    const struct tn_worker *output = worker_of(kernel, TN_ROLE_OUTPUT);
    auto_free char *bus = tn_fs_path("%s/bus", config->run_dir);
    auto_free char *data = tn_fs_path("%s/data", config->run_dir);
    bool any = false;

    for (size_t i = 0; i < kernel->count; i++)
        any = any || kernel->workers[i].user.is_own;
    if (!any)
        return 0;
    if (open_folder(config->run_dir, 0711, NULL, err) != 0 || open_folder(config->state_dir, 0711, NULL, err) != 0 ||
        open_folder(config->store_dir, 0711, NULL, err) != 0 || open_folder(bus, 0711, &kernel->bus->user, err) != 0 ||
        open_folder(data, 0711, output != NULL ? &output->user : NULL, err) != 0)
        return -1;
    return config->settings_dir[0] != '\0' ? open_folder(config->settings_dir, 0711, NULL, err) : 0;
}

/* ---- sockets ---- */

static char *life_folder(const char *run_dir, const char *kind, uint16_t address, uint32_t life)
{
    return tn_fs_path("%s/%s/%04x.%08x", run_dir, kind, (unsigned)address, (unsigned)life);
}

static bool has_data(uint16_t address)
{
    return TN_ADDRESS_ROLE(address) == TN_ROLE_EXECUTOR || TN_ADDRESS_ROLE(address) == TN_ROLE_CLIENT;
}

/* The group of who comes to the socket; it runs as who started us if it is a client. */
static gid_t group_at(const struct tn_kernel *kernel, uint16_t address)
{
    for (size_t i = 0; i < kernel->count; i++)
        if (kernel->workers[i].address == address)
            return kernel->workers[i].user.gid;
    return getegid();
}

static int make_socket_folder(const char *path, const struct tn_worker *binds, gid_t group, struct tn_err *err)
{
    if (mkdir(path, 0700) != 0 && errno != EEXIST)
        return tn_err_sys(err, errno, "cannot make the folder %s", path);
    if (geteuid() != 0 || binds == NULL || (!binds->user.is_own && group == getegid()))
        return 0;
    /* What is made in it gets its group. */
    if (chown(path, binds->user.uid, group) != 0 || chmod(path, 02710) != 0)
        return tn_err_sys(err, errno, "cannot give the folder %s to its two ends", path);
    return 0;
}

int tn_places_add_life(const struct tn_kernel *kernel, uint16_t address, uint32_t life, struct tn_err *err)
{
    const char *run_dir = kernel->config->run_dir;
    auto_free char *bus = life_folder(run_dir, "bus", address, life);
    auto_free char *data = life_folder(run_dir, "data", address, life);
    gid_t group = group_at(kernel, address);

    if (make_socket_folder(bus, kernel->bus, group, err) != 0)
        return -1;
    return has_data(address) ? make_socket_folder(data, worker_of(kernel, TN_ROLE_OUTPUT), group, err) : 0;
}

static void remove_socket(const char *run_dir, const char *kind, uint16_t address, uint32_t life)
{
    auto_free char *folder = life_folder(run_dir, kind, address, life);
    auto_free char *path = tn_fs_path("%s/s", folder);

    if ((unlink(path) != 0 && errno != ENOENT) || (rmdir(folder) != 0 && errno != ENOENT))
        tn_warn("cannot remove %s: %s", folder, strerror(errno));
}

void tn_places_remove_life(const char *run_dir, uint16_t address, uint32_t life)
{
    remove_socket(run_dir, "bus", address, life);
    if (has_data(address))
        remove_socket(run_dir, "data", address, life);
}
