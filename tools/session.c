#include "tools/session.h"

#include "core/lib/buf.h"
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/json.h"
#include "core/lib/log.h"
#include "core/output/room.h"
#include "core/peer/service.h"
#include "tools/tail.h"
#include "transports/ipc/ipc.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    START_MS = 15000,
    FULL_BYTES = 256 * 1024, /* with less free the services cannot begin */
    READY_BYTES = 65536,
    EVENTS_CAP = 256, /* events a wake-up */
    LOG_LINES = 12,
    FD_READY = 3, /* in tenond */
    FD_LIFE = 4,
    KILL_MS = 2000, /* between a second SIGTERM and SIGKILL */
    ORPHANS_MS = 2000,
    CHILDREN_BYTES = 65536,
};

extern char **environ;

static uint64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u;
}

/* ---- the process ---- */

/* A pipe whose ends are above what tenond gets them as, so that one dup2 does not overwrite the other's source. */
static int high_pipe(int ends[2], struct tn_err *err)
{
    int low[2];

    if (pipe2(low, O_CLOEXEC) != 0)
        return tn_err_sys(err, errno, "cannot make a pipe for tenond");
    for (int i = 0; i < 2; i++) {
        ends[i] = fcntl(low[i], F_DUPFD_CLOEXEC, 10);
        close(low[i]);
    }
    return ends[0] >= 0 && ends[1] >= 0 ? 0 : tn_err_sys(err, errno, "cannot make a pipe for tenond");
}

static int spawn(struct session *session, const char *program, char *const argv[], int ready, int life,
                 struct tn_err *err)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none;
    sigset_t all;
    int rc;

    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, session->state_log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
    posix_spawn_file_actions_adddup2(&actions, ready, FD_READY);
    posix_spawn_file_actions_adddup2(&actions, life, FD_LIFE);
    posix_spawnattr_init(&attributes);
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setpgroup(&attributes, 0); /* Ctrl-C at the terminal is for this process alone */
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    rc = posix_spawn(&session->pid, program, &actions, &attributes, argv, environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    if (rc == 0)
        return 0;
    session->pid = 0;
    return tn_err_sys(err, rc, "cannot start %s (TENON_LIBEXEC names the folder with the services' programs)", program);
}

static int start_process(struct session *session, const struct folders *folders, struct tn_err *err)
{
    auto_free char *root = folders_programs(err);
    auto_free char *program = NULL;
    int ready[2] = {-1, -1};
    int life[2] = {-1, -1};
    int rc;

    if (root == NULL || high_pipe(ready, err) != 0)
        return -1;
    if (high_pipe(life, err) != 0) {
        close(ready[0]);
        close(ready[1]);
        return -1;
    }
    program = tn_fs_path("%s/core/kernel/tenond", root);
    rc = spawn(session, program,
               (char *const[]){"tenond", "--state", folders->state, "--store", folders->store, "--run", folders->run,
                               "--root", root, "--private", "--ready-fd", "3", "--life-fd", "4", "--installation",
                               folders->name, folders->settings != NULL ? "--settings" : NULL, folders->settings, NULL},
               ready[1], life[0], err);
    close(ready[1]);
    close(life[0]);
    session->ready_fd = ready[0];
    session->life_fd = life[1];
    return rc;
}

static void describe_end(int status, char *text, size_t size)
{
    if (WIFSIGNALED(status))
        snprintf(text, size, "tenond was killed by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
    else
        snprintf(text, size, "tenond ended with status %d", WEXITSTATUS(status));
}

static void on_child(evutil_socket_t number, short what, void *arg)
{
    struct session *session = arg;
    char text[128];

    if (session->pid == 0 || waitpid(session->pid, &session->status, WNOHANG) != session->pid)
        return;
    session->pid = 0;
    describe_end(session->status, text, sizeof(text));
    if (!session->stopping && session->bus != NULL && session->handlers.on_death != NULL)
        session->handlers.on_death(session->handlers.arg, text);
}

char *session_log_tail(const struct session *session)
{
    struct tn_buf out = TN_BUF_INIT;

    if (session->log != NULL && (session->state_log == NULL || strcmp(session->log, session->state_log) != 0))
        tail_file(session->log, LOG_LINES, "  ", &out);
    if (out.len == 0 && session->state_log != NULL)
        tail_file(session->state_log, LOG_LINES, "  ", &out);
    return tn_buf_steal(&out);
}

/* ---- its ready line ---- */

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
    /* Only there so that the loop turns: the ready line, or the deadline. */
}

/* Appends what is there; true at the end of the line or of the pipe. */
static bool read_ready(int fd, struct tn_buf *line)
{
    ssize_t got = read(fd, tn_buf_reserve(line, 4096), 4096);

    if (got < 0)
        return errno != EINTR && errno != EAGAIN;
    line->len += (size_t)got;
    line->data[line->len] = '\0';
    return got == 0 || line->len > READY_BYTES || memchr(line->data, '\n', line->len) != NULL;
}

static int wait_ready(struct session *session, const bool *interrupted, struct tn_buf *line, struct tn_err *err)
{
    struct event *wake = event_new(session->base, session->ready_fd, EV_READ, on_wake, NULL);
    uint64_t end = now_ms() + START_MS;
    bool complete = false;
    int rc = 0;

    fcntl(session->ready_fd, F_SETFL, O_NONBLOCK);
    while (rc == 0 && !complete) {
        struct timeval wait = {1, 0};

        if (*interrupted)
            rc = tn_err_set(err, TN_ERR_UNAVAILABLE, "interrupted");
        else if (now_ms() > end)
            rc = tn_err_set(err, TN_ERR_UNAVAILABLE, "tenond is not ready after %d s%s", START_MS / 1000,
                            tn_room_free(session->state_log) < FULL_BYTES ? ": the disk of its state is full" : "");
        else if (wake == NULL || event_add(wake, &wait) != 0 || event_base_loop(session->base, EVLOOP_ONCE) < 0)
            rc = tn_err_set(err, TN_ERR_SYSTEM, "the event loop failed");
        else
            complete = read_ready(session->ready_fd, line);
    }
    if (wake != NULL)
        event_free(wake);
    if (rc == 0 && (line->len == 0 || memchr(line->data, '\n', line->len) == NULL))
        rc = tn_err_set(err, TN_ERR_UNAVAILABLE, "tenond ended before it was ready");
    return rc;
}

/* ---- connections ---- */

static void on_bus_message(void *arg, struct tn_peer *peer, const struct tn_msg *msg)
{
    struct session *session = arg;
    auto_json cJSON *body = NULL;
    uint16_t address;
    const char *state;

    if (msg->header.kind != TN_MSG_PEER_STATE)
        return;
    body = tn_json_parse(msg->body, msg->header.length, "PEER_STATE", NULL);
    if (body == NULL)
        return;
    address = (uint16_t)tn_json_u64(body, "address", 0);
    state = tn_json_string(body, "state", "");
    if (strcmp(state, "up") == 0 && session->data != NULL && address == TN_ADDRESS(TN_ROLE_OUTPUT, 0))
        tn_peer_note_life(session->data, (uint32_t)tn_json_u64(body, "life", 0)); /* nobody else tells that socket */
    if (session->handlers.on_peer != NULL)
        session->handlers.on_peer(session->handlers.arg, address, state);
}

static void on_data_message(void *arg, struct tn_peer *peer, const struct tn_msg *msg)
{
    /* The output service asks a client nothing; a late answer is of no use. */
}

static void take_event(struct session *session, const uint8_t *message, size_t size)
{
    struct tn_err err = TN_ERR_INIT;
    auto_json cJSON *body = NULL;
    struct tn_header header;

    if (tn_header_decode(message, size, &header, &err) != 0 || tn_header_permit(&header, TN_CHANNEL_EVENT, &err) != 0 ||
        (body = tn_json_parse(message + TN_HEADER_SIZE, header.length, "EVENT", &err)) == NULL) {
        tn_warn("an event was dropped: %s", err.text);
        return;
    }
    if (session->handlers.on_event != NULL)
        session->handlers.on_event(session->handlers.arg, body);
}

static void on_events(evutil_socket_t fd, short what, void *arg)
{
    struct session *session = arg;
    void *message;
    size_t size;
    int got = 0;

    for (int i = 0; i < EVENTS_CAP; i++) {
        got = tn_transport_ipc.receive(session->events, &message, &size, NULL);
        if (got != 1)
            break;
        take_event(session, message, size);
        tn_transport_ipc.release(message);
        if (session->events == NULL)
            return; /* closed by a handler */
    }
    if (got == 1)
        event_active(session->events_readable, EV_READ, 1);
}

static int subscribe(struct session *session, const char *url, struct tn_err *err)
{
    session->events = tn_transport_ipc.open(url, TN_ENDPOINT_SUBSCRIBE, err);
    if (session->events == NULL)
        return -1;
    session->events_readable = event_new(session->base, tn_transport_ipc.receive_fd(session->events),
                                         EV_READ | EV_PERSIST, on_events, session);
    if (session->events_readable == NULL || event_add(session->events_readable, NULL) != 0)
        return tn_err_set(err, TN_ERR_SYSTEM, "cannot watch the events' socket");
    return 0;
}

static int connect_all(struct session *session, const cJSON *ready, struct tn_err *err)
{
    uint16_t address = (uint16_t)tn_json_u64(ready, "address", 0);
    uint32_t life = (uint32_t)tn_json_u64(ready, "life", 0);
    const char *folder = tn_json_string(ready, "data", "");
    auto_free char *data_url = tn_service_data_url(folder, address, life);
    struct tn_peer_config config = {.base = session->base,
                                    .transport = &tn_transport_ipc,
                                    .url = tn_json_string(ready, "bus", ""),
                                    .mode = TN_ENDPOINT_CONNECT,
                                    .channel = TN_CHANNEL_BUS,
                                    .self = address,
                                    .life = life,
                                    .on_message = on_bus_message,
                                    .arg = session};

    if (TN_ADDRESS_ROLE(address) != TN_ROLE_CLIENT || folder[0] != '/' || config.url[0] == '\0')
        return tn_err_set(err, TN_ERR_PROTOCOL, "tenond's ready line names no bus, data folder or client's address");
    session->bus = tn_peer_open(&config, err);
    if (session->bus == NULL)
        return -1;
    config.url = data_url;
    config.channel = TN_CHANNEL_DATA;
    config.remote = TN_ADDRESS(TN_ROLE_OUTPUT, 0);
    config.on_message = on_data_message;
    session->data = tn_peer_open(&config, err);
    if (session->data == NULL)
        return -1;
    return subscribe(session, tn_json_string(ready, "events", ""), err);
}

static int start(struct session *session, const struct folders *folders, const bool *interrupted, struct tn_err *err)
{
    auto_buf struct tn_buf line = TN_BUF_INIT;
    auto_json cJSON *ready = NULL;

    prctl(PR_SET_CHILD_SUBREAPER, 1L, 0L, 0L, 0L);
    session->child = evsignal_new(session->base, SIGCHLD, on_child, session);
    if (session->child == NULL || event_add(session->child, NULL) != 0)
        return tn_err_set(err, TN_ERR_SYSTEM, "cannot watch for the end of tenond");
    if (start_process(session, folders, err) != 0 || wait_ready(session, interrupted, &line, err) != 0)
        return -1;
    ready = tn_json_parse(line.data, strcspn(line.data, "\n"), "tenond's ready line", err);
    if (ready == NULL)
        return -1;
    if (tn_json_string(ready, "error", NULL) != NULL)
        return tn_err_set(err, TN_ERR_UNAVAILABLE, "%s", tn_json_string(ready, "error", ""));
    if (tn_json_string(ready, "log", "")[0] != '\0')
        session->log = tn_fs_path("%s", tn_json_string(ready, "log", ""));
    return connect_all(session, ready, err);
}

int session_start(struct session *session, struct event_base *base, const struct folders *folders,
                  const struct session_handlers *handlers, const bool *interrupted, struct tn_err *err)
{
    memset(session, 0, sizeof(*session));
    session->base = base;
    session->handlers = *handlers;
    session->ready_fd = session->life_fd = -1;
    session->state_log = tn_fs_path("%s/tenond.start", folders->state);
    if (start(session, folders, interrupted, err) != 0)
        return -1;
    folders_clear_killed(folders);
    return 0;
}

/* ---- the end ---- */

/* Turns the loop until tenond is gone or the time is over. */
static bool wait_gone(struct session *session, unsigned ms)
{
    uint64_t end = now_ms() + ms;
    struct event *wake = evtimer_new(session->base, on_wake, NULL);

    while (session->pid != 0 && now_ms() < end) {
        struct timeval wait = {0, 50 * 1000};

        if (wake == NULL || event_add(wake, &wait) != 0 || event_base_loop(session->base, EVLOOP_ONCE) < 0)
            break;
        on_child(SIGCHLD, 0, session);
    }
    if (wake != NULL)
        event_free(wake);
    return session->pid == 0;
}

/* Kills what tenond has left if it could not end in order: as its "subreaper" this process is the parent of its orphans
 * (prctl(2)). Their children become ours in turn, so this goes on until none is left. */
static void kill_orphans(void)
{
    auto_free char *path = tn_fs_path("/proc/self/task/%d/children", (int)getpid());
    uint64_t end = now_ms() + ORPHANS_MS;
    bool said = false;

    while (now_ms() < end) {
        auto_buf struct tn_buf text = TN_BUF_INIT;
        char *rest;
        long pid;

        while (waitpid(-1, NULL, WNOHANG) > 0)
            continue;
        if (tn_fs_read(path, CHILDREN_BYTES, &text, NULL) != 0 || text.len == 0)
            return;
        if (!said)
            tn_warn("tenond has left processes; they are killed");
        said = true;
        for (rest = text.data; (pid = strtol(rest, &rest, 10)) > 0;)
            kill((pid_t)pid, SIGKILL);
        poll(NULL, 0, 5);
    }
}

static void close_sockets(struct session *session)
{
    tn_peer_close(session->bus);
    tn_peer_close(session->data);
    session->bus = session->data = NULL;
    if (session->events_readable != NULL)
        event_free(session->events_readable);
    session->events_readable = NULL;
    if (session->events != NULL)
        tn_transport_ipc.close(session->events);
    session->events = NULL;
}

void session_stop(struct session *session, unsigned patience_ms, bool at_once)
{
    bool started = session->state_log != NULL;

    session->stopping = true;
    if (session->life_fd >= 0)
        close(session->life_fd);
    session->life_fd = -1;
    if (session->pid != 0) {
        kill(session->pid, SIGTERM);
        if (at_once)
            kill(session->pid, SIGTERM);
    }
    if (!wait_gone(session, patience_ms) && session->pid != 0) {
        kill(session->pid, SIGTERM);
        if (!wait_gone(session, KILL_MS) && session->pid != 0) {
            tn_warn("tenond (process %d) does not end; it is killed", (int)session->pid);
            kill(session->pid, SIGKILL);
            wait_gone(session, KILL_MS);
        }
    }
    if (started)
        kill_orphans();
    close_sockets(session);
    if (session->child != NULL)
        event_free(session->child);
    session->child = NULL;
    if (session->ready_fd >= 0)
        close(session->ready_fd);
    session->ready_fd = -1;
    free(session->log);
    free(session->state_log);
    session->log = session->state_log = NULL;
}
