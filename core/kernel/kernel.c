#include "core/kernel/kernel.h"
#include "core/kernel/confine_worker.h"
#include "core/kernel/operator.h"
#include "core/kernel/places.h"
#include "core/kernel/status.h"
#include "core/kernel/worker.h"
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/json.h"
#include "core/lib/log.h"

#include <errno.h>
#include <glob.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PROGRAM_GRACE_MS = 5000 };

static void begin_stop(struct tn_kernel *kernel, const char *why);
static void continue_stop(struct tn_kernel *kernel);

static uint64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u;
}

/* ---- lives ---- */

/* Lives only ever grow: they begin with the time, or behind the last one that an earlier tenond gave in this run
 * folder. */
static uint32_t next_life(struct tn_kernel *kernel)
{
    auto_free char *path = tn_fs_path("%s/life", kernel->config->run_dir);
    char text[16];
    struct tn_err err = TN_ERR_INIT;

    if (kernel->last_life == 0) {
        auto_buf struct tn_buf old = TN_BUF_INIT;
        uint32_t now = (uint32_t)time(NULL);

        if (!kernel->config->is_private && tn_fs_read(path, sizeof(text), &old, NULL) == 0)
            kernel->last_life = (uint32_t)strtoul(old.data, NULL, 10);
        kernel->last_life = kernel->last_life > now ? kernel->last_life : now;
    }
    kernel->last_life++;
    snprintf(text, sizeof(text), "%u", kernel->last_life);
    if (!kernel->config->is_private && tn_fs_write_atomic(path, text, strlen(text), 0600, &err) != 0)
        tn_warn("%s", err.text);
    return kernel->last_life;
}

/* ---- one process ---- */

static void spawn(struct tn_worker *worker)
{
    struct tn_kernel *kernel = worker->kernel;
    struct tn_err err = TN_ERR_INIT;
    bool is_bus = worker == kernel->bus;

    if (is_bus && tn_kernel__open_link(kernel, &err) != 0)
        tn_fatal(3, "%s", err.text);
    worker->pid = tn_worker_spawn(worker, kernel->config, is_bus ? kernel->bus_fd : -1, &err);
    if (is_bus) {
        close(kernel->bus_fd);
        kernel->bus_fd = -1;
    }
    if (worker->pid > 0) {
        if (is_bus)
            tn_kernel__introduce_all(kernel);
        return;
    }
    worker->pid = 0;
    snprintf(worker->reason, sizeof(worker->reason), "%.250s", err.text);
    tn_error("%s: %s", worker->name, err.text);
    if (err.code == TN_ERR_CONFIG || err.sys == ENOENT || err.sys == EACCES || err.sys == ENOEXEC || err.sys == ENOTDIR)
        tn_kernel__step(worker, TN_SUP_ON_HOPELESS);
    else
        tn_kernel__step(worker, TN_SUP_ON_EXITED);
}

static void add(struct tn_worker *worker)
{
    if (worker->life != 0)
        tn_places_remove_life(worker->kernel->config->run_dir, worker->address, worker->life);
    worker->life = next_life(worker->kernel);
    free(worker->confinement);
    worker->confinement = NULL;
    worker->is_cut = false;
    worker->is_refused = false;
    if (worker == worker->kernel->bus)
        tn_kernel__step(worker, TN_SUP_ON_ADDED);
    else if (worker->kernel->link != NULL)
        worker->add_sequence = tn_kernel__add_peer(worker->kernel, worker->address, worker->life, worker->name,
                                                   worker->manifest);
    /* else tn_kernel__introduce_all() does it */
}

static void failed(struct tn_worker *worker)
{
    struct tn_kernel *kernel = worker->kernel;

    tn_error("%s is given up: %s", worker->name, worker->reason);
    tn_kernel__tell_state(worker, "failed");
    if (!worker->row->core || !kernel->config->is_private || kernel->stopping)
        return;
    kernel->status = 3;
    tn_kernel__tell_ready(kernel);
    begin_stop(kernel, "a process that nothing works without has failed");
}

static void perform(struct tn_worker *worker, unsigned actions)
{
    if ((actions & TN_SUP_DO_TERM) != 0) {
        kill(worker->pid, SIGTERM);
        kill(worker->pid, SIGCONT); /* a stopped process hears it, too */
    }
    if ((actions & TN_SUP_DO_KILL) != 0) {
        tn_warn("%s (pid %d) %s: killed", worker->name, (int)worker->pid,
                worker->is_cut                         ? "is cut off by the bus"
                : worker->sup.state == TN_SUP_STARTING ? "is not ready in time"
                : worker->sup.state == TN_SUP_STOPPING ? "does not stop in time"
                                                       : "gives no sign of life");
        kill(worker->pid, SIGKILL);
    }
    if ((actions & TN_SUP_DO_TELL_UP) != 0)
        tn_kernel__tell_state(worker, "up");
    if ((actions & TN_SUP_DO_TELL_DOWN) != 0)
        tn_kernel__tell_state(worker, "down");
    if ((actions & TN_SUP_DO_TELL_FAILED) != 0)
        failed(worker);
    /* These two may lead to the next step: last. */
    if ((actions & TN_SUP_DO_ADD) != 0)
        add(worker);
    if ((actions & TN_SUP_DO_SPAWN) != 0)
        spawn(worker);
}

/* One event of a process. The timer is set before the actions, for these can lead to the next step. */
void tn_kernel__step(struct tn_worker *worker, enum tn_sup_event event)
{
    bool same;
    unsigned actions = tn_sup_step(&worker->sup, event, now_ms(), &same);

    if (same)
        return;
    if (worker->sup.timer_ms > 0) {
        struct timeval time = {worker->sup.timer_ms / 1000, worker->sup.timer_ms % 1000 * 1000};

        event_add(worker->timer, &time);
    } else {
        event_del(worker->timer);
    }
    perform(worker, actions);
    tn_status_changed(worker->kernel);
    continue_stop(worker->kernel);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct tn_worker *worker = arg;

    tn_kernel__step(worker, worker->sup.timer_event);
}

/* Who may open no socket once it is ready cannot come to the next bus: it begins anew, too. */
static void end_the_stranded(struct tn_kernel *kernel)
{
    for (size_t i = 0; i < kernel->count; i++) {
        struct tn_worker *worker = &kernel->workers[i];

        if (worker != kernel->bus && worker->pid > 0 && worker->row->profile != NULL &&
            (tn_profile_groups(worker->row->profile) & TN_PROFILE_RECONNECT) == 0)
            kill(worker->pid, SIGKILL);
    }
}

static void worker_ended(struct tn_worker *worker, int status)
{
    struct tn_kernel *kernel = worker->kernel;
    bool wanted = worker->sup.state == TN_SUP_STOPPING;

    if (worker->is_cut || worker->is_refused)
        ; /* the reason is known already */
    else if (WIFSIGNALED(status))
        snprintf(worker->reason, sizeof(worker->reason), "signal %d (%s)", WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
    else
        snprintf(worker->reason, sizeof(worker->reason), "exit status %d", WEXITSTATUS(status));
    if (!wanted)
        tn_warn("%s (pid %d) ended: %s", worker->name, (int)worker->pid, worker->reason);
    worker->pid = 0;
    if (worker == kernel->bus) {
        tn_link_close(kernel->link);
        kernel->link = NULL;
        end_the_stranded(kernel);
    }
    tn_kernel__step(worker, WIFEXITED(status) && WEXITSTATUS(status) == TN_EXIT_HOPELESS ? TN_SUP_ON_HOPELESS
                                                                                         : TN_SUP_ON_EXITED);
}

static struct tn_worker *worker_of_pid(struct tn_kernel *kernel, pid_t pid)
{
    for (size_t i = 0; i < kernel->count; i++)
        if (kernel->workers[i].pid == pid)
            return &kernel->workers[i];
    return NULL;
}

static bool is_known(void *arg, pid_t pid)
{
    const struct tn_kernel *kernel = arg;

    return worker_of_pid(arg, pid) != NULL || tn_clears_knows(kernel->clears, pid);
}

static void on_child(evutil_socket_t number, short what, void *arg)
{
    struct tn_kernel *kernel = arg;
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        struct tn_worker *worker = worker_of_pid(kernel, pid);

        if (worker != NULL)
            worker_ended(worker, status);
        else if (!tn_clears_reaped(kernel->clears, pid, status))
            (void)tn_programs_reaped(kernel->programs, pid, status); /* or it was an orphan */
    }
}

/* ---- the end ---- */

static bool phase_is_over(const struct tn_kernel *kernel, unsigned phase)
{
    for (size_t i = 0; i < kernel->count; i++)
        if (kernel->workers[i].row->stop_phase == phase && kernel->workers[i].sup.state != TN_SUP_STOPPED &&
            kernel->workers[i].sup.state != TN_SUP_FAILED)
            return false;
    return true;
}

static void stop_phase(struct tn_kernel *kernel, unsigned phase)
{
    for (size_t i = 0; i < kernel->count; i++) {
        struct tn_worker *worker = &kernel->workers[i];

        if (worker->row->stop_phase != phase)
            continue;
        tn_kernel__step(worker, TN_SUP_ON_STOP);
        if (kernel->forced && worker->pid > 0)
            kill(worker->pid, SIGKILL);
    }
}

static void programs_idle(void *arg)
{
    struct tn_kernel *kernel = arg;

    kernel->programs_stopped = true;
    continue_stop(kernel);
}

/* Executors; then the services; then what executors started; then the bus, over which all of them could still talk. */
static void continue_stop(struct tn_kernel *kernel)
{
    while (kernel->stopping && phase_is_over(kernel, kernel->stop_phase)) {
        if (kernel->stop_phase + 2 == TN_STOP_PHASES && !kernel->programs_stopped) {
            if (!kernel->stopping_programs) {
                kernel->stopping_programs = true;
                tn_programs_stop_all(kernel->programs, kernel->forced ? 0 : PROGRAM_GRACE_MS);
            }
            return;
        }
        if (kernel->stop_phase + 1 == TN_STOP_PHASES) {
            kernel->is_over = true;
            event_base_loopbreak(kernel->base);
            return;
        }
        stop_phase(kernel, ++kernel->stop_phase);
    }
}

static void begin_stop(struct tn_kernel *kernel, const char *why)
{
    if (kernel->stopping)
        return;
    tn_info("stopping: %s", why);
    kernel->stopping = true;
    stop_phase(kernel, 0);
    continue_stop(kernel);
}

static void force_stop(struct tn_kernel *kernel)
{
    if (kernel->forced)
        return;
    tn_info("stopping at once");
    kernel->forced = true;
    kernel->stopping_programs = true;
    for (unsigned phase = 0; phase < TN_STOP_PHASES; phase++)
        stop_phase(kernel, phase);
    tn_programs_stop_all(kernel->programs, 0);
    continue_stop(kernel);
}

/* Who started us may close its end of the life descriptor and send SIGTERM, too: that is one request, not two. */
static void on_term(evutil_socket_t number, short what, void *arg)
{
    struct tn_kernel *kernel = arg;

    if (kernel->terms++ > 0)
        force_stop(kernel);
    else
        begin_stop(kernel, number == SIGINT ? "SIGINT" : "SIGTERM");
}

static void on_life(evutil_socket_t fd, short what, void *arg)
{
    struct tn_kernel *kernel = arg;
    char byte;
    ssize_t got = read(fd, &byte, 1);

    if (got > 0 || (got < 0 && (errno == EINTR || errno == EAGAIN)))
        return;
    event_del(kernel->events[0]);
    begin_stop(kernel, "who started it is gone");
}

/* ---- the beginning ---- */

static struct tn_worker *worker_new(struct tn_kernel *kernel, const struct tn_role_row *row, unsigned index)
{
    struct tn_worker *worker = &kernel->workers[kernel->count++];

    worker->kernel = kernel;
    worker->row = row;
    worker->address = TN_ADDRESS(row->role, index);
    worker->sup.ready_ms = row->ready_ms;
    worker->sup.heartbeat_ms = row->heartbeat_ms;
    worker->sup.stop_ms = row->stop_ms;
    worker->timer = evtimer_new(kernel->base, on_timer, worker);
    if (worker->timer == NULL)
        tn_fatal(3, "out of memory for a timer");
    return worker;
}

/* One worker for each ROOT/executors/NAME/manifest.json, in the order of the folders' names. */
static int add_executors(struct tn_kernel *kernel, const struct tn_role_row *row, struct tn_err *err)
{
    auto_free char *pattern = tn_fs_path("%s/executors/*/manifest.json", kernel->config->root);
    glob_t found;
    int failed = glob(pattern, 0, NULL, &found) == GLOB_NOSPACE ? -1 : 0;

    for (size_t i = 0; failed == 0 && i < found.gl_pathc && i < TN_MANIFESTS_MAX; i++) {
        struct tn_manifest *manifest = tn_manifest_read(found.gl_pathv[i], err);
        struct tn_worker *worker;

        if (manifest == NULL) {
            failed = -1;
            break;
        }
        worker = worker_new(kernel, row, (unsigned)i);
        worker->manifest = manifest;
        worker->name = tn_fs_path("executor-%s", manifest->name);
        worker->program = tn_fs_path("%s", manifest->program);
    }
    globfree(&found);
    return failed;
}

static int add_workers(struct tn_kernel *kernel, struct tn_err *err)
{
    size_t count;
    const struct tn_role_row *rows = tn_roles(&count);

    for (size_t i = 0; i < count; i++) {
        struct tn_worker *worker;

        if (rows[i].program == NULL) {
            if (add_executors(kernel, &rows[i], err) != 0)
                return -1;
            continue;
        }
        worker = worker_new(kernel, &rows[i], 0);
        worker->name = tn_fs_path("%s", rows[i].name);
        worker->program = tn_fs_path("%s/%s", kernel->config->root, rows[i].program);
    }
    kernel->bus = &kernel->workers[0];
    return 0;
}

static void watch(struct tn_kernel *kernel, int what, short flags, event_callback_fn cb)
{
    struct event *event = event_new(kernel->base, what, flags | EV_PERSIST, cb, kernel);

    if (event == NULL || event_add(event, NULL) != 0)
        tn_fatal(3, "cannot watch signal or descriptor %d", what);
    kernel->events[kernel->event_count++] = event;
}

static int kernel_open(struct tn_kernel *kernel, struct tn_err *err)
{
    char text[512];
    struct tn_programs_config programs = {.run_dir = kernel->config->run_dir,
                                          .state_dir = kernel->config->state_dir,
                                          .store_dir = kernel->config->store_dir,
                                          .installation = kernel->config->installation,
                                          .is_private = kernel->config->is_private,
                                          .log_fd = kernel->config->log_fd,
                                          .reply = tn_kernel__reply,
                                          .exited = tn_kernel__program_exited,
                                          .user_of = tn_kernel__user_of,
                                          .is_known = is_known,
                                          .idle = programs_idle,
                                          .arg = kernel};

    kernel->settings = tn_operator_settings(kernel->config->settings_dir, err);
    if (kernel->settings == NULL)
        return -1;
    programs.settings = kernel->settings;
    programs.enclosure = tn_json_string(tn_json_get(kernel->settings, "machine"), "enclosure", "auto");
    kernel->base = programs.base = event_base_new();
    kernel->seen = tn_seen_new();
    if (kernel->base == NULL || kernel->seen == NULL)
        return tn_err_set(err, TN_ERR_SYSTEM, "cannot make an event loop");
    if (kernel->config->life_fd >= 0)
        watch(kernel, kernel->config->life_fd, EV_READ, on_life);
    watch(kernel, SIGCHLD, EV_SIGNAL, on_child);
    watch(kernel, SIGTERM, EV_SIGNAL, on_term);
    if (kernel->config->life_fd < 0)
        watch(kernel, SIGINT, EV_SIGNAL, on_term);
    else
        signal(SIGINT, SIG_IGN); /* Ctrl-C is for who started us, and it says what follows from it */
    kernel->clears = tn_clears_open(
        &(struct tn_clears_config){.base = kernel->base, .reply = tn_kernel__reply, .arg = kernel});
    kernel->programs = tn_programs_open(&programs, err);
    if (kernel->programs == NULL || add_workers(kernel, err) != 0)
        return -1;
    tn_means_probe(&kernel->means, kernel->config->run_dir);
    for (size_t i = 0; i < kernel->count; i++)
        tn_worker_settle_user(&kernel->workers[i], kernel->config);
    if (tn_places_open(kernel, err) != 0)
        return -1;
    tn_info("programs: %s", tn_programs_text(kernel->programs, text, sizeof(text)));
    kernel->life = next_life(kernel);
    kernel->client = TN_ADDRESS(TN_ROLE_CLIENT, 0);
    kernel->client_life = next_life(kernel);
    return 0;
}

static void kernel_close(struct tn_kernel *kernel)
{
    for (size_t i = 0; i < kernel->count; i++) {
        struct tn_worker *worker = &kernel->workers[i];

        event_free(worker->timer);
        tn_manifest_free(worker->manifest);
        free(worker->name);
        free(worker->program);
        free(worker->confinement);
        cJSON_Delete(worker->mechanisms);
        cJSON_Delete(worker->traffic);
    }
    cJSON_Delete(kernel->client_traffic);
    if (kernel->status_timer != NULL)
        event_free(kernel->status_timer);
    tn_link_close(kernel->link);
    tn_programs_close(kernel->programs);
    tn_clears_close(kernel->clears);
    for (size_t i = 0; i < kernel->event_count; i++)
        event_free(kernel->events[i]);
    tn_seen_free(kernel->seen);
    cJSON_Delete(kernel->settings);
    if (kernel->base != NULL)
        event_base_free(kernel->base);
    free(kernel);
}

int tn_kernel_run(const struct tn_kernel_config *config, struct tn_err *err)
{
    struct tn_kernel *kernel = calloc(1, sizeof(*kernel));
    int status = 3;

    if (kernel == NULL)
        tn_fatal(3, "out of memory");
    kernel->config = config;
    if (kernel_open(kernel, err) == 0) {
        /* The bus first: the others' sockets are asked of it. */
        for (size_t i = 0; i < kernel->count && !kernel->stopping; i++)
            tn_kernel__step(&kernel->workers[i], TN_SUP_ON_START);
        if (!kernel->is_over) /* what could not even begin may have ended it all already */
            event_base_dispatch(kernel->base);
        status = kernel->status;
    }
    kernel_close(kernel);
    return status;
}
