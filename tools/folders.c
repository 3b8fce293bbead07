#include "tools/folders.h"

#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/log.h"
#include "core/lib/units.h"
#include "core/output/room.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <stdint.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>

enum {
    /* A socket's path is at most 100 bytes; the longest that is made below a run folder is "/SUBFOLDER/name.XXXXXXXX"
     * and an agent's "/docker/jobs/TASK.ATTEMPT/run/agent.sock", which may have 107. */
    RUN_PATH_MAX = 100 - 58,
    ROOM_LEAST = 1 << 20,
};

static char *random_hex(size_t bytes)
{
    uint8_t noise[8];
    char text[17];

    if (getrandom(noise, sizeof(noise), 0) != (ssize_t)sizeof(noise))
        tn_fatal(3, "the system has no random numbers: %s", strerror(errno));
    for (size_t i = 0; i < bytes; i++)
        snprintf(text + 2 * i, 3, "%02x", noise[i]);
    return tn_fs_path("%s", text);
}

/* The lock of that name that says that the folder is in use; -1 when somebody else has it or it cannot be made. */
static int lock_by(const char *folder, const char *name)
{
    auto_free char *path = tn_fs_path("%s/%s", folder, name);
    auto_fd int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) != 0)
        return -1;
    return steal_fd(&fd);
}

static int lock_folder(const char *folder)
{
    return lock_by(folder, "client.lock");
}

/* Makes nothing: that would make an old folder look new. One without a lock of its own is locked itself. */
static int lock_as_it_is(const char *folder, const char *name)
{
    auto_free char *path = tn_fs_path("%s/%s", folder, name);
    auto_fd int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);

    if (fd < 0 && errno == ENOENT)
        fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) != 0)
        return -1;
    return steal_fd(&fd);
}

int folders_lock(const char *folder)
{
    auto_free char *path = tn_fs_path("%s/tenond.lock", folder);
    auto_fd int client = lock_as_it_is(folder, "client.lock");
    auto_fd int tenond = -1;

    if (client < 0 || access(path, F_OK) != 0)
        return steal_fd(&client);
    tenond = lock_as_it_is(folder, "tenond.lock");
    return tenond >= 0 ? steal_fd(&client) : -1;
}

static int visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

/* ---- the run folder ---- */

/* Ours alone: made by us, or found as ours with no rights for others. */
static bool private_folder(const char *path)
{
    struct stat status;

    if (mkdir(path, 0700) != 0 && errno != EEXIST)
        return false;
    return lstat(path, &status) == 0 && S_ISDIR(status.st_mode) && status.st_uid == geteuid() &&
           (status.st_mode & 077) == 0;
}

static char *try_run_folder(const char *base)
{
    auto_free char *name = random_hex(3);
    auto_free char *path = tn_fs_path("%s/%s", base, name);

    if (strlen(path) > RUN_PATH_MAX || !private_folder(base))
        return NULL;
    return mkdir(path, 0700) == 0 ? steal_ptr(&path) : NULL;
}

static char *make_run_folder(struct tn_err *err)
{
    const char *xdg = getenv("XDG_RUNTIME_DIR");
    auto_free char *first = xdg != NULL && xdg[0] == '/' ? tn_fs_path("%s/tenon", xdg) : NULL;
    auto_free char *second = tn_fs_path("/tmp/tenon-%u", (unsigned)geteuid());
    char *path = first != NULL ? try_run_folder(first) : NULL;

    if (path == NULL)
        path = try_run_folder(second);
    if (path == NULL) {
        path = tn_fs_path("/tmp/tenon-%u-XXXXXX", (unsigned)geteuid());
        if (mkdtemp(path) == NULL) {
            tn_err_sys(err, errno,
                       "cannot make a folder for sockets: neither in $XDG_RUNTIME_DIR (%s; the path must be short) nor "
                       "in /tmp",
                       xdg != NULL ? xdg : "not set");
            free(path);
            return NULL;
        }
    }
    return path;
}

/* ---- all of them ---- */

char *folders_home(void)
{
    const char *xdg = getenv("XDG_STATE_HOME");
    const char *home = getenv("HOME");
    const struct passwd *user;

    if (xdg != NULL && xdg[0] == '/')
        return tn_fs_path("%s/tenon", xdg);
    if (home == NULL || home[0] != '/') {
        user = getpwuid(geteuid());
        home = user != NULL ? user->pw_dir : "/tmp";
    }
    return tn_fs_path("%s/.local/state/tenon", home);
}

static char *run_name(void)
{
    auto_free char *noise = random_hex(2);
    char text[32];
    time_t now = time(NULL);
    struct tm utc;

    gmtime_r(&now, &utc);
    strftime(text, sizeof(text), "%Y%m%dT%H%M%SZ", &utc);
    return tn_fs_path("%s-%s", text, noise);
}

static int make_state(struct folders *folders, const char *home, struct tn_err *err)
{
    auto_free char *runs = tn_fs_path("%s/runs", home);

    if (!folders->keep_state) {
        folders->state = tn_fs_path("%s/state", folders->run);
        return tn_fs_make_dirs(folders->state, 0700, err);
    }
    if (tn_fs_make_dirs(runs, 0700, err) != 0)
        return -1;
    folders->state = tn_fs_path("%s/%s", runs, folders->name);
    if (tn_fs_make_dirs(folders->state, 0700, err) != 0)
        return -1;
    folders->state_lock = lock_folder(folders->state);
    return folders->state_lock >= 0 ? 0 : tn_err_sys(err, errno, "cannot lock %s", folders->state);
}

/* With less, the ledger and the logs of the services cannot even begin, and nobody could say why. */
static int check_room(const char *home, struct tn_err *err)
{
    auto_free char *there = tn_fs_path("%s", home);
    uint64_t room;
    char has[32];
    char needs[32];

    while (access(there, F_OK) != 0 && strrchr(there, '/') > there)
        *strrchr(there, '/') = '\0';
    room = tn_room_free(there);
    if (room >= ROOM_LEAST)
        return 0;
    tn_err_set(err, TN_ERR_SYSTEM,
               "the disk of %s is full: %s are free, a run needs %s; make room there, or choose another disk with "
               "$XDG_STATE_HOME",
               home, tn_units_size_text(room, has, sizeof(has)),
               tn_units_size_text(ROOM_LEAST, needs, sizeof(needs)));
    return -1;
}

int folders_make(struct folders *folders, bool keep_state, struct tn_err *err)
{
    auto_free char *home = folders_home();

    memset(folders, 0, sizeof(*folders));
    folders->state_lock = folders->run_lock = -1;
    folders->keep_state = keep_state;
    folders->name = run_name();
    if (keep_state && check_room(home, err) != 0)
        return -1;
    folders->run = make_run_folder(err);
    if (folders->run == NULL)
        return -1;
    folders->run_lock = lock_folder(folders->run);
    folders->store = keep_state ? tn_fs_path("%s/store", home) : tn_fs_path("%s/store", folders->run);
    if (make_state(folders, home, err) != 0 || tn_fs_make_dirs(folders->store, 0700, err) != 0)
        return tn_err_wrap(err, "folders of the run ($XDG_STATE_HOME chooses where)");
    return 0;
}

static void clear_killed(const char *state)
{
    auto_free char *jobs = tn_fs_path("%s/machine/jobs", state);
    auto_fd int client = -1;
    auto_fd int tenond = -1;
    struct tn_err err = TN_ERR_INIT;

    if (access(jobs, F_OK) != 0)
        return;
    client = lock_folder(state);
    tenond = client >= 0 ? lock_by(state, "tenond.lock") : -1;
    if (tenond >= 0 && tn_fs_remove_tree(jobs, &err) != 0)
        tn_warn("what a killed run left: %s", err.text);
}

void folders_clear_killed(const struct folders *folders)
{
    auto_free char *runs = tn_fs_path("%s", folders->state);
    char *slash = strrchr(runs, '/');
    auto_dir DIR *dir = NULL;
    const struct dirent *entry;

    if (!folders->keep_state || slash == NULL)
        return;
    *slash = '\0';
    dir = opendir(runs);
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        auto_free char *state = tn_fs_path("%s/%s", runs, entry->d_name);

        if (visible(entry) && strcmp(entry->d_name, folders->name) != 0)
            clear_killed(state);
    }
}

void folders_close(struct folders *folders)
{
    struct tn_err err = TN_ERR_INIT;

    if (folders->run != NULL && tn_fs_remove_tree(folders->run, &err) != 0)
        tn_warn("%s", err.text);
    if (folders->run_lock >= 0)
        close(folders->run_lock);
    if (folders->state_lock >= 0)
        close(folders->state_lock);
    free(folders->store);
    free(folders->state);
    free(folders->run);
    free(folders->settings);
    free(folders->name);
    memset(folders, 0, sizeof(*folders));
    folders->run_lock = folders->state_lock = -1;
}

char *folders_programs(struct tn_err *err)
{
    const char *given = getenv("TENON_LIBEXEC");
    char self[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);
    auto_free char *tree = NULL;
    auto_free char *tenond = NULL;
    char *slash;

    if (given != NULL && given[0] != '\0')
        return tn_fs_path("%s", given);
    if (length < 0) {
        tn_err_sys(err, errno, "cannot read /proc/self/exe to find the services' programs; set TENON_LIBEXEC");
        return NULL;
    }
    self[length] = '\0';
    for (int up = 0; up < 2; up++)
        if ((slash = strrchr(self, '/')) != NULL)
            *slash = '\0';
    tree = tn_fs_path("%s", self);
    tenond = tn_fs_path("%s/core/kernel/tenond", tree);
    if (access(tenond, X_OK) == 0)
        return steal_ptr(&tree);
    return tn_fs_path("%s/lib/tenon", self);
}
