/* tenond: starts, watches, restarts and stops the processes of an installation, and what its executors ask for.
 *
 * Single-threaded, owns no nanomsg socket, parses only headers, small JSON and manifests. See README.md. */
#include "core/kernel/kernel.h"
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/log.h"

#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/stat.h>

enum {
    OPTION_STATE = 256,
    OPTION_STORE,
    OPTION_RUN,
    OPTION_ROOT,
    OPTION_PRIVATE,
    OPTION_READY_FD,
    OPTION_LIFE_FD,
    OPTION_INSTALLATION,
    OPTION_SETTINGS,
    RUN_PATH_MAX = 78, /* a socket's path below it needs 22 bytes more, and may have 100 */
};

static const struct argp_option options[] = {
    {"state", OPTION_STATE, "DIR", 0, "state folder: ledger, logs, artifacts, checkpoints", 0},
    {"store", OPTION_STORE, "DIR", 0, "store folder: caches, counters", 0},
    {"run", OPTION_RUN, "DIR", 0, "run folder: sockets, records; at most 78 bytes long", 0},
    {"root", OPTION_ROOT, "DIR", 0, "folder with core/ and executors/, the programs", 0},
    {"private", OPTION_PRIVATE, NULL, 0, "for one run: log to STATE/tenon.log, leave nothing behind", 0},
    {"ready-fd", OPTION_READY_FD, "N", 0, "write one JSON line to this descriptor when all is up", 0},
    {"life-fd", OPTION_LIFE_FD, "N", 0, "stop when this descriptor reaches its end of file", 0},
    {"installation", OPTION_INSTALLATION, "ID", 0, "label of environments; default: a random one", 0},
    {"settings", OPTION_SETTINGS, "DIR", 0, "folder with a file ROLE.json of settings for each service", 0},
    {NULL, 0, NULL, 0, NULL, 0},
};

static int parse_fd(const char *text, struct argp_state *state)
{
    char *end;
    long fd = strtol(text, &end, 10);

    if (*end != '\0' || end == text || fd < 0 || fcntl((int)fd, F_GETFD) < 0)
        argp_error(state, "\"%s\" is no open descriptor", text);
    fcntl((int)fd, F_SETFD, FD_CLOEXEC);
    return (int)fd;
}

static error_t parse_option(int key, char *value, struct argp_state *state)
{
    struct tn_kernel_config *config = state->input;

    switch (key) {
    case OPTION_STATE:
        config->state_dir = value;
        return 0;
    case OPTION_STORE:
        config->store_dir = value;
        return 0;
    case OPTION_RUN:
        config->run_dir = value;
        return 0;
    case OPTION_ROOT:
        config->root = value;
        return 0;
    case OPTION_PRIVATE:
        config->is_private = true;
        return 0;
    case OPTION_READY_FD:
        config->ready_fd = parse_fd(value, state);
        return 0;
    case OPTION_LIFE_FD:
        config->life_fd = parse_fd(value, state);
        return 0;
    case OPTION_INSTALLATION:
        config->installation = value;
        return 0;
    case OPTION_SETTINGS:
        config->settings_dir = value;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "\"%s\": no argument is expected", value);
        return 0;
    case ARGP_KEY_END:
        if (config->state_dir == NULL || config->store_dir == NULL || config->run_dir == NULL || config->root == NULL)
            argp_error(state, "--state, --store, --run and --root are needed");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* Absolute, since every process begins in "/"; made if it is missing. */
static char *make_folder(const char *path)
{
    struct tn_err err = TN_ERR_INIT;
    char *real;

    if (tn_fs_make_dirs(path, 0700, &err) != 0)
        tn_fatal(3, "%s", err.text);
    real = realpath(path, NULL);
    if (real == NULL)
        tn_fatal(3, "%s: %s", path, strerror(errno));
    return real;
}

static char *random_installation(void)
{
    uint64_t number;

    if (getrandom(&number, sizeof(number), 0) != sizeof(number))
        tn_fatal(3, "getrandom: %s", strerror(errno));
    return tn_fs_path("%016llx", (unsigned long long)number);
}

/* The run folder is this tenond's alone: its sockets are theirs who know the way. */
static int lock_run_folder(const char *run_dir)
{
    auto_free char *path = tn_fs_path("%s/lock", run_dir);
    int fd;

    if (strlen(run_dir) > RUN_PATH_MAX)
        tn_fatal(2, "--run %s: the path has %zu bytes, at most %d fit into socket names: choose a shorter one", run_dir,
                 strlen(run_dir), RUN_PATH_MAX);
    if (chmod(run_dir, 0700) != 0)
        tn_fatal(3, "--run %s: %s", run_dir, strerror(errno));
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        tn_fatal(3, "%s: %s", path, strerror(errno));
    if (flock(fd, LOCK_EX | LOCK_NB) != 0)
        tn_fatal(3, "--run %s: another tenond runs there", run_dir);
    return fd;
}

/* Who finds it unlocked knows that nobody works in this folder any more. */
static int lock_state_folder(const char *state_dir)
{
    auto_free char *path = tn_fs_path("%s/tenond.lock", state_dir);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0)
        tn_fatal(3, "%s: %s", path, strerror(errno));
    if (flock(fd, LOCK_EX | LOCK_NB) != 0)
        tn_fatal(3, "--state %s: another tenond works there", state_dir);
    return fd;
}

/* What an earlier life of this installation left there; workers of it have died with it. */
static void make_run_folders(const char *run_dir)
{
    static const char *const names[] = {"bus", "data"};
    struct tn_err err = TN_ERR_INIT;

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        auto_free char *path = tn_fs_path("%s/%s", run_dir, names[i]);

        if (tn_fs_remove_tree(path, &err) != 0 || tn_fs_make_dirs(path, 0700, &err) != 0)
            tn_fatal(3, "%s", err.text);
    }
}

/* A private run keeps its user's terminal clean: from here on, this process and its children log to a file. */
static void log_to_file(struct tn_kernel_config *config, char **path)
{
    auto_fd int fd = -1;

    *path = tn_fs_path("%s/tenon.log", config->state_dir);
    fd = open(*path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0 || dup2(fd, STDERR_FILENO) < 0)
        tn_fatal(3, "%s: %s", *path, strerror(errno));
    config->log_path = *path;
}

int main(int argc, char **argv)
{
    static const struct argp argp = {
        options, parse_option, NULL, "Starts and watches the processes of a Tenon installation.", NULL, NULL, NULL};
    struct tn_kernel_config config = {
        .settings_dir = "", .log_path = "", .log_fd = STDERR_FILENO, .ready_fd = -1, .life_fd = -1};
    auto_free char *state_dir = NULL;
    auto_free char *store_dir = NULL;
    auto_free char *run_dir = NULL;
    auto_free char *root = NULL;
    auto_free char *installation = random_installation();
    auto_free char *log_path = NULL;
    auto_fd int lock = -1;
    auto_fd int state_lock = -1;
    struct tn_err err = TN_ERR_INIT;
    int status;

    /* 1. Configuration. */
    tn_log_open("tenond");
    umask(077);
    signal(SIGPIPE, SIG_IGN);
    argp_err_exit_status = 2;
    config.installation = installation;
    argp_parse(&argp, argc, argv, 0, NULL, &config);
    config.state_dir = state_dir = make_folder(config.state_dir);
    config.store_dir = store_dir = make_folder(config.store_dir);
    config.run_dir = run_dir = make_folder(config.run_dir);
    root = realpath(config.root, NULL);
    if (root == NULL)
        tn_fatal(2, "--root %s: %s", config.root, strerror(errno));
    config.root = root;
    lock = lock_run_folder(run_dir);
    state_lock = lock_state_folder(state_dir);
    make_run_folders(run_dir);
    if (config.is_private)
        log_to_file(&config, &log_path);

    /* 2. What comes from our children's children comes to us. */
    if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0)
        tn_fatal(3, "PR_SET_CHILD_SUBREAPER: %s", strerror(errno));

    /* 3. Start everything, until it is told to stop. */
    status = tn_kernel_run(&config, &err);
    if (err.code != TN_OK)
        tn_error("%s", err.text);
    if (config.is_private && tn_fs_remove_tree(run_dir, &err) != 0)
        tn_warn("%s", err.text);
    return status;
}
