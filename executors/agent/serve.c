#include "executors/agent/serve.h"
#include "core/lib/log.h"
#include "executors/agent/become.h"
#include "executors/agent/facts.h"
#include "executors/agent/guise.h"
#include "executors/agent/oom.h"
#include "executors/agent/private_tmp.h"
#include "executors/agent/procs.h"
#include "executors/agent/uplink.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define SPOOL_DEFAULT (4u * 1024u * 1024u)
#define SPOOL_MIN (256u * 1024u)
#define SPOOL_MAX (1024u * 1024u * 1024u)
#define GRACE_DEFAULT_MS 5000
#define LAST_WORDS_MS 500
#define HIDDEN_MAX 8
#define OWN_MAX 8

struct options {
    const char *listen;      /* borrowed; NULL: none */
    const char *private_tmp; /* borrowed; NULL: the host's */
    const char *keep;        /* borrowed; NULL: nothing */
    const char *user;        /* borrowed; to become after all that needs root; NULL: who it is */
    const char *dir;         /* borrowed; NULL: the socket's folder */
    int fd;                  /* -1: none */
    bool stdio;
    size_t spool;
    mode_t mode;
    long long peer; /* -1: any user */
    int grace_ms;
    const char *hidden[HIDDEN_MAX + 1]; /* borrowed; ends with NULL */
    const char *own[OWN_MAX];           /* borrowed */
    size_t own_count;
};

struct agent {
    struct options options;
    struct tn_stream stream;
    struct tn_channels channels;
    struct tn_uplinks uplinks;
    struct tn_buf facts;
    char dir[PATH_MAX];
    char bin[PATH_MAX];
    char halt_prefix[PATH_MAX];
    int signals;
    int listener;
    long long term_end; /* SIGTERM came: everything is killed at that time; 0 if it did not come */
    struct tn_poll poll;
};

static const char usage_text[] =
    "usage: tenon-agent serve (--listen PATH | --fd N | --stdio) [--dir DIR] [--spool BYTES] [--mode OCTAL]\n"
    "                         [--grace MS] [--private-tmp DIR [--hide DIR]...] [--keep DIR] [--user NAME]\n"
    "                         [--own DIR]... [--peer UID]\n"
    "  --listen PATH   the unix socket that executors connect to\n"
    "  --fd N          an inherited descriptor that carries the connection (a socket, a virtio port)\n"
    "  --stdio         stdin and stdout carry the connection (Docker's attach)\n"
    "  --dir DIR       the agent's own folder; by default the socket's\n"
    "  --spool BYTES   output kept until the executor has acknowledged it; default 4194304\n"
    "  --mode OCTAL    permissions of the socket; default 0700\n"
    "  --grace MS      time between SIGTERM and SIGKILL for the steps when the agent gets SIGTERM; default 5000\n"
    "  --private-tmp DIR  /tmp and /var/tmp of the job, where the kernel allows to mount it\n"
    "  --hide DIR      a folder that the job sees empty, with --private-tmp\n"
    "  --keep DIR      a folder that stays visible although it lies below /tmp or --hide, or where --user may not "
    "enter\n"
    "  --user NAME     run as this user, once the socket and the mounts are made; only root can\n"
    "  --own DIR       a folder of --peer's that is to belong to the user who runs the job\n"
    "  --peer UID      the executor's user, the only one whose connections are taken; by default any, but none of the\n"
    "                  job's processes. Root makes and removes files as that user\n";

static int usage(const char *what, const char *value)
{
    fprintf(stderr, "tenon-agent serve: %s%s%s\n%s", what, value != NULL ? " " : "", value != NULL ? value : "",
            usage_text);
    return 2;
}

/* A number in [min, max]; -1 if `text` is none. */
static long long parse_number(const char *text, int base, long long min, long long max)
{
    char *end;
    long long value;

    errno = 0;
    value = strtoll(text, &end, base);
    return errno == 0 && end != text && *end == '\0' && value >= min && value <= max ? value : -1;
}

static int parse_options(int argc, char **argv, struct options *options)
{
    static const struct option names[] = {
        {"listen", required_argument, NULL, 'l'}, {"fd", required_argument, NULL, 'f'},
        {"stdio", no_argument, NULL, 'i'},        {"dir", required_argument, NULL, 'd'},
        {"spool", required_argument, NULL, 's'},  {"mode", required_argument, NULL, 'm'},
        {"grace", required_argument, NULL, 'g'},  {"private-tmp", required_argument, NULL, 't'},
        {"keep", required_argument, NULL, 'k'},   {"user", required_argument, NULL, 'u'},
        {"hide", required_argument, NULL, 'h'},   {"peer", required_argument, NULL, 'p'},
        {"own", required_argument, NULL, 'o'},    {NULL, 0, NULL, 0},
    };
    long long number = 0;
    size_t hidden = 0;
    int option;

    *options =
        (struct options){.fd = -1, .spool = SPOOL_DEFAULT, .mode = 0700, .peer = -1, .grace_ms = GRACE_DEFAULT_MS};
    opterr = 0;
    while ((option = getopt_long(argc, argv, "", names, NULL)) >= 0) {
        if (option == 'l')
            options->listen = optarg;
        else if (option == 'i')
            options->stdio = true;
        else if (option == 'd')
            options->dir = optarg;
        else if (option == 't')
            options->private_tmp = optarg;
        else if (option == 'k')
            options->keep = optarg;
        else if (option == 'u')
            options->user = optarg;
        else if (option == 'f')
            options->fd = (int)(number = parse_number(optarg, 10, 0, INT_MAX));
        else if (option == 's')
            options->spool = (size_t)(number = parse_number(optarg, 10, SPOOL_MIN, SPOOL_MAX));
        else if (option == 'm')
            options->mode = (mode_t)(number = parse_number(optarg, 8, 0, 0777));
        else if (option == 'p')
            options->peer = number = parse_number(optarg, 10, 0, UINT32_MAX);
        else if (option == 'h' && hidden < HIDDEN_MAX)
            options->hidden[hidden++] = optarg;
        else if (option == 'o' && options->own_count < OWN_MAX)
            options->own[options->own_count++] = optarg;
        else if (option == 'g')
            options->grace_ms = (int)(number = parse_number(optarg, 10, 0, 3600000));
        else
            return usage("unknown option or missing value:", argv[optind - 1]);
        if (number < 0)
            return usage("the value is not a number in the allowed range:", optarg);
    }
    if (optind < argc)
        return usage("unexpected argument:", argv[optind]);
    if (options->listen == NULL && options->fd < 0 && !options->stdio)
        return usage("--listen PATH, --fd N or --stdio is needed", NULL);
    if (options->stdio && options->fd >= 0)
        return usage("--fd and --stdio exclude each other", NULL);
    return 0;
}

/* A socket that somebody serves is an error; one that a dead agent left is replaced. */
static int open_listener(const struct options *options, struct tn_err *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd;

    if (strlen(options->listen) >= sizeof(address.sun_path))
        return tn_err_set(err, TN_ERR_USAGE, "the socket's path %s is longer than %zu bytes: choose a shorter one",
                          options->listen, sizeof(address.sun_path) - 1);
    memcpy(address.sun_path, options->listen, strlen(options->listen));
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return tn_err_sys(err, errno, "a unix socket");
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 || errno == EAGAIN) {
        close(fd);
        return tn_err_set(err, TN_ERR_CONFLICT, "%s: another agent serves there", options->listen);
    }
    unlink(options->listen);
    if (bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0 || chmod(options->listen, options->mode) != 0 ||
        listen(fd, 16) != 0) {
        tn_err_sys(err, errno, "cannot listen on %s", options->listen);
        close(fd);
        return -1;
    }
    return fd;
}

static int open_signals(void)
{
    sigset_t wanted;

    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&wanted);
    sigaddset(&wanted, SIGCHLD);
    sigaddset(&wanted, SIGTERM);
    sigaddset(&wanted, SIGINT);
    sigaddset(&wanted, SIGHUP);
    sigprocmask(SIG_BLOCK, &wanted, NULL);
    return signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* A folder with the names that a job calls the agent by. Without it (a read-only folder) the job still runs; then the
 * executor has to provide the names, so the fact "bin" stays empty. */
static void make_names(struct agent *agent)
{
    static const char *const names[] = {"circleci", "circleci-agent"};
    char self[PATH_MAX];
    char path[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);

    if (len <= 0 || snprintf(agent->bin, sizeof(agent->bin), "%s/bin", agent->dir) >= (int)sizeof(agent->bin))
        return;
    self[len] = '\0';
    mkdir(agent->bin, 0755);
    for (int i = 0; i < 2; i++) {
        if (snprintf(path, sizeof(path), "%s/%s", agent->bin, names[i]) >= (int)sizeof(path))
            break;
        unlink(path);
        if (symlink(self, path) != 0)
            agent->bin[0] = '\0';
    }
}

static int open_dir(struct agent *agent, struct tn_err *err)
{
    const char *dir = agent->options.dir;
    char parent[PATH_MAX] = ".";

    if (dir == NULL && agent->options.listen != NULL) {
        const char *slash = strrchr(agent->options.listen, '/');

        if (slash != NULL)
            snprintf(parent, sizeof(parent), "%.*s", (int)(slash - agent->options.listen + 1), agent->options.listen);
    }
    dir = dir != NULL ? dir : parent;
    if (realpath(dir, agent->dir) == NULL)
        return tn_err_sys(err, errno, "the agent's folder %s", dir);
    if (snprintf(agent->halt_prefix, sizeof(agent->halt_prefix), "%s/halt-%02x%02x%02x%02x-", agent->dir,
                 agent->uplinks.boot[0], agent->uplinks.boot[1], agent->uplinks.boot[2],
                 agent->uplinks.boot[3]) >= (int)sizeof(agent->halt_prefix))
        return tn_err_set(err, TN_ERR_USAGE, "the path of the agent's folder %s is too long", dir);
    make_names(agent);
    return 0;
}

/* The connection gets descriptors of its own, so that nothing else is ever read from or written to it. */
static int take_stdio(struct agent *agent, struct tn_err *err)
{
    int in = fcntl(0, F_DUPFD_CLOEXEC, 3);
    int out = fcntl(1, F_DUPFD_CLOEXEC, 3);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    if (in < 0 || out < 0)
        return tn_err_sys(err, errno, "stdin and stdout");
    if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0)
        return tn_err_sys(err, errno, "/dev/null");
    close(null);
    tn_uplinks_add(&agent->uplinks, in, out, true, tn_now_ms());
    return 0;
}

/* Last, with the socket bound: from here on paths below /tmp mean something else, and then the user is another one.
 * Where a /tmp of its own cannot be had the job runs all the same; the fact `shared_tmp` says why. */
static int settle(struct agent *agent, struct tn_err *err)
{
    const struct options *options = &agent->options;
    struct tn_err shared = TN_ERR_INIT;

    if (options->private_tmp != NULL &&
        tn_private_tmp(options->private_tmp, options->keep, options->hidden, &shared) != 0 && options->user != NULL &&
        geteuid() == 0)
        return tn_err_set(err, TN_ERR_UNAVAILABLE, "--user needs mounts of its own: %s", shared.text);
    if (options->user != NULL &&
        tn_become(options->user, options->private_tmp != NULL ? options->keep : NULL, err) != 0)
        return -1;
    tn_facts_collect(&agent->facts, agent->dir, agent->bin);
    if (shared.code != TN_OK)
        tn_buf_addf(&agent->facts, "shared_tmp=%s\n", shared.text);
    /* Not before: until here files of /proc/self had to be written. From now on nobody without CAP_SYS_PTRACE over this
     * program reads its memory or opens its descriptors, the same user's job included; what a step execs is its own. */
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
        return tn_err_sys(err, errno, "cannot become unreadable for others");
    return 0;
}

/* What the executor names outside of the job, as the executor. */
static int open_named(struct agent *agent, struct tn_err *err)
{
    const struct options *options = &agent->options;
    int failed;

    if (tn_guise_of(options->peer, options->user, err) != 0 || tn_guise_on(err) != 0)
        return -1;
    failed = open_dir(agent, err);
    if (failed == 0 && options->listen != NULL && (agent->listener = open_listener(options, err)) < 0)
        failed = -1;
    tn_guise_off();
    for (size_t i = 0; failed == 0 && i < options->own_count; i++)
        failed = tn_guise_give(options->own[i], err);
    return failed;
}

static int open_agent(struct agent *agent, struct tn_err *err)
{
    umask(022); /* the steps', whatever the one is that started us */
    /* Descriptors 0 to 2 must be taken, or a pipe would get their place. */
    for (int fd = 0; fd < 3; fd++)
        if (fcntl(fd, F_GETFD) < 0)
            fd = open("/dev/null", O_RDWR);
    if (getrandom(agent->uplinks.boot, sizeof(agent->uplinks.boot), 0) != sizeof(agent->uplinks.boot))
        return tn_err_sys(err, errno, "no random numbers");
    if (open_named(agent, err) != 0 || tn_ring_open(&agent->stream.spool, agent->options.spool, err) != 0)
        return -1;
    /* Orphans of the steps become our children, so that they are reaped and can be ended. */
    if (getpid() != 1 && prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0)
        tn_warn("cannot become a subreaper (%s): daemons that steps leave behind may outlive the job", strerror(errno));
    agent->signals = open_signals();
    if (agent->signals < 0)
        return tn_err_sys(err, errno, "cannot receive signals");
    tn_oom_find();
    agent->channels.stream = &agent->stream;
    agent->channels.halt_prefix = agent->halt_prefix;
    agent->uplinks.stream = &agent->stream;
    agent->uplinks.channels = &agent->channels;
    agent->uplinks.facts = &agent->facts;
    agent->uplinks.peer = agent->options.peer;
    tn_uplinks_open(&agent->uplinks);
    if (agent->options.fd >= 0)
        tn_uplinks_add(&agent->uplinks, agent->options.fd, -1, true, tn_now_ms());
    if (agent->options.stdio && take_stdio(agent, err) != 0)
        return -1;
    return settle(agent, err);
}

static void take_signals(struct agent *agent, long long now)
{
    struct signalfd_siginfo info;
    int status;
    pid_t pid;

    while (read(agent->signals, &info, sizeof(info)) == sizeof(info)) {
        if (info.ssi_signo != SIGTERM && info.ssi_signo != SIGINT)
            continue;
        agent->channels.ending = true;
        tn_warn("signal %u from process %u: everything is ended", info.ssi_signo, info.ssi_pid);
        tn_channels_signal_all(&agent->channels, SIGTERM);
        if (agent->term_end == 0)
            agent->term_end = now + agent->options.grace_ms;
        else
            agent->term_end = now;
    }
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        tn_channels_reaped(&agent->channels, pid, status, now);
}

static int sooner(int a, int b)
{
    return a < 0 || (b >= 0 && b < a) ? b : a;
}

static void dispatch(struct agent *agent)
{
    long long now = tn_now_ms();

    for (unsigned i = 0; i < agent->poll.count; i++) {
        const struct pollfd *fd = &agent->poll.fds[i];

        if (fd->revents == 0)
            continue;
        switch (agent->poll.who[i].role) {
        case TN_POLL_SIGNAL:
            take_signals(agent, now);
            break;
        case TN_POLL_LISTEN:
            tn_uplinks_accept(&agent->uplinks, agent->listener, now);
            break;
        case TN_POLL_LINK:
            tn_uplinks_event(&agent->uplinks, agent->poll.who[i].owner, fd->revents, now);
            break;
        case TN_POLL_LINK_OUT:
            break;
        case TN_POLL_IN:
        case TN_POLL_OUT:
        case TN_POLL_SIDE:
        case TN_POLL_ORPHAN:
            tn_channels_event(&agent->channels, agent->poll.who[i].role, agent->poll.who[i].owner, fd->fd);
            break;
        }
    }
}

/* One turn of the loop. Channels end only in tn_channels_tick(), so what poll() reported stays valid meanwhile. */
static void turn(struct agent *agent, int timeout)
{
    long long now = tn_now_ms();

    timeout = sooner(timeout, tn_channels_tick(&agent->channels, now));
    agent->poll.count = 0;
    tn_poll_add(&agent->poll, agent->signals, POLLIN, TN_POLL_SIGNAL, NULL);
    tn_poll_add(&agent->poll, agent->listener, POLLIN, TN_POLL_LISTEN, NULL);
    timeout = sooner(timeout, tn_uplinks_poll(&agent->uplinks, &agent->poll, now));
    tn_channels_poll(&agent->channels, &agent->poll);
    if (poll(agent->poll.fds, agent->poll.count, timeout) > 0)
        dispatch(agent);
}

/* Returns the exit status. */
static int serve(struct agent *agent)
{
    for (;;) {
        int timeout = -1;

        if (agent->channels.stop)
            return 0;
        if (agent->uplinks.ended && agent->listener < 0) {
            tn_warn("the inherited connection has ended: nobody can come back, so everything is stopped");
            return 0;
        }
        if (agent->term_end != 0) {
            long long left = agent->term_end - tn_now_ms();

            if (left <= 0 || agent->channels.count == 0)
                return 143;
            timeout = (int)left;
        }
        turn(agent, timeout);
    }
}

static void clean_up(struct agent *agent)
{
    static const char *const names[] = {"circleci", "circleci-agent"};
    char path[PATH_MAX];

    if (agent->options.listen != NULL)
        unlink(agent->options.listen);
    for (int i = 0; i < 2 && agent->bin[0] != '\0'; i++)
        if (snprintf(path, sizeof(path), "%s/%s", agent->bin, names[i]) < (int)sizeof(path))
            unlink(path);
    if (agent->bin[0] != '\0')
        rmdir(agent->bin);
}

int tn_serve_main(int argc, char **argv)
{
    static struct agent agent; /* 40 KB, and there is one only */
    struct tn_err err = TN_ERR_INIT;
    long long end;
    int left;
    int status = parse_options(argc, argv, &agent.options);

    if (status != 0)
        return status;
    agent.signals = agent.listener = -1;
    tn_log_open("agent");
    if (open_agent(&agent, &err) != 0) {
        tn_error("%s", err.text);
        return err.code == TN_ERR_USAGE ? 2 : 3;
    }
    status = serve(&agent);
    /* No process of the job is left before anybody learns that the agent has stopped. */
    left = tn_procs_kill_all();
    if (left > 0)
        tn_error("%d processes of other users could not be ended", left);
    for (end = tn_now_ms() + LAST_WORDS_MS; tn_uplinks_owes(&agent.uplinks) && tn_now_ms() < end;)
        turn(&agent, (int)(end - tn_now_ms() > 0 ? end - tn_now_ms() : 0));
    clean_up(&agent);
    tn_uplinks_close(&agent.uplinks);
    tn_buf_free(&agent.facts);
    return status;
}
