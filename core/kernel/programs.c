#include "core/kernel/programs.h"
#include "core/kernel/cgroup.h"
#include "core/kernel/procs.h"
#include "core/kernel/spawn.h"
#include "core/kernel/strings.h"
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/json.h"
#include "core/lib/log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    PROGRAMS_MAX = 4096,
    CLEAR_FIRST_MS = 1, /* between looks at what is left, doubled up to CLEAR_MAX_MS */
    CLEAR_MAX_MS = 50,
    CLEAR_WARN_MS = 10000,
    RECORD_BYTES_MAX = 4096,
    GRACE_MAX_MS = 600000,
};

enum program_state {
    RUNNING,
    TERMINATING, /* SIGTERM is sent, the grace runs */
    CLEARING,    /* its first process has ended, or has no grace left: everything is killed until nothing is left */
    ENDED,       /* nothing is left; kept so that it is not started again */
};

struct program {
    LIST_ENTRY(program) next;
    struct tn_programs *programs; /* borrowed */
    char *executor;               /* owned; name */
    uint64_t task;
    uint32_t attempt;
    pid_t pid;
    uint64_t start_time;
    bool is_child; /* else adopted: its end is seen on `pid_fd`, without a status */
    bool alive;    /* its first process */
    int status;    /* of waitpid, if it was our child */
    int pid_fd;
    struct event *gone; /* owned; of pid_fd */
    enum program_state state;
    struct tn_cgroup cgroup;
    struct event *timer; /* owned */
    unsigned wait_ms;
    unsigned clearing_ms;
    bool stop_wanted; /* `stop` is to be answered */
    struct tn_header stop;
};

struct tn_programs {
    struct tn_programs_config config;
    struct tn_cgroups groups;
    LIST_HEAD(, program) list;
    size_t count;
    bool stopping;
    struct event *sweep; /* owned; looks for orphans while stopping */
    size_t orphans;      /* found by the last look */
};

/* ---- records ---- */

static void program_name(uint64_t task, uint32_t attempt, char out[32])
{
    snprintf(out, 32, "%016" PRIx64 ".%04" PRIx32, task, attempt);
}

static char *record_path(const struct program *program)
{
    char name[32];

    program_name(program->task, program->attempt, name);
    return tn_fs_path("%s/programs/%s", program->programs->config.run_dir, name);
}

static void record_write(const struct program *program)
{
    auto_free char *path = record_path(program);
    auto_json cJSON *record = cJSON_CreateObject();
    auto_free char *text = NULL;
    struct tn_err err = TN_ERR_INIT;

    if (program->programs->config.is_private)
        return;
    cJSON_AddStringToObject(record, "executor", program->executor);
    tn_json_add_u64(record, "task", program->task);
    cJSON_AddNumberToObject(record, "attempt", program->attempt);
    cJSON_AddNumberToObject(record, "pid", program->pid);
    tn_json_add_u64(record, "start_time", program->start_time);
    text = tn_json_print(record);
    if (tn_fs_write_atomic(path, text, strlen(text), 0600, &err) != 0)
        tn_warn("%s; a later tenond will not find this program", err.text);
}

static void program_free(struct program *program)
{
    if (!program->programs->config.is_private) {
        auto_free char *path = record_path(program);

        unlink(path);
    }
    LIST_REMOVE(program, next);
    program->programs->count--;
    if (program->gone != NULL)
        event_free(program->gone);
    if (program->pid_fd >= 0)
        close(program->pid_fd);
    event_free(program->timer);
    tn_cgroup_remove(&program->cgroup);
    free(program->executor);
    free(program);
}

static struct program *find(struct tn_programs *programs, const char *executor, uint64_t task, uint32_t attempt)
{
    struct program *program;

    LIST_FOREACH (program, &programs->list, next)
        if (program->task == task && program->attempt == attempt && strcmp(program->executor, executor) == 0)
            return program;
    return NULL;
}

/* ---- orphans ---- */

/* A child that nobody knows came from a program, whose own parent has ended. It is left alone if a control group says
 * that it belongs to a program that still runs. */
static void kill_orphan(void *arg, pid_t pid)
{
    struct tn_programs *programs = arg;
    struct program *program;

    if (programs->config.is_known(programs->config.arg, pid))
        return;
    LIST_FOREACH (program, &programs->list, next) {
        const char *part = tn_cgroup_path_part(&program->cgroup);

        if (program->alive && program->pid == pid)
            return;
        if (program->state == RUNNING && part[0] != '\0' && tn_procs_in_cgroup(pid, part))
            return;
    }
    programs->orphans++;
    kill(pid, SIGKILL);
}

static size_t kill_orphans(struct tn_programs *programs)
{
    programs->orphans = 0;
    tn_procs_children(kill_orphan, programs);
    return programs->orphans;
}

static void kill_one(void *arg, pid_t pid)
{
    kill(pid, SIGKILL);
    (*(size_t *)arg)++;
}

/* ---- the end of a program ---- */

static void set_timer(struct event *timer, unsigned ms)
{
    struct timeval time = {ms / 1000, ms % 1000 * 1000};

    event_add(timer, &time);
}

static cJSON *exit_body(const struct program *program)
{
    cJSON *body = cJSON_CreateObject();

    if (program->is_child && WIFEXITED(program->status))
        cJSON_AddNumberToObject(body, "status", WEXITSTATUS(program->status));
    if (program->is_child && WIFSIGNALED(program->status))
        cJSON_AddNumberToObject(body, "signal", WTERMSIG(program->status));
    return body;
}

static void check_idle(struct tn_programs *programs)
{
    struct program *program;

    if (!programs->stopping)
        return;
    LIST_FOREACH (program, &programs->list, next)
        if (program->state != ENDED)
            return;
    if (kill_orphans(programs) > 0) {
        set_timer(programs->sweep, 2);
        return;
    }
    programs->config.idle(programs->config.arg);
}

static const char *how_it_ended(const struct program *program, char *out, size_t size)
{
    if (!program->is_child)
        snprintf(out, size, "how, only an earlier tenond could see");
    else if (WIFSIGNALED(program->status))
        snprintf(out, size, "signal %d", WTERMSIG(program->status));
    else
        snprintf(out, size, "status %d", WEXITSTATUS(program->status));
    return out;
}

static void ended(struct program *program)
{
    char how[64];
    struct tn_programs *programs = program->programs;
    bool forget = program->stop_wanted;

    program->state = ENDED;
    tn_cgroup_remove(&program->cgroup);
    tn_info("program of task %" PRIu64 " attempt %" PRIu32 " (%s, pid %d) has ended (%s%s), and nothing of it is left",
            program->task, program->attempt, program->executor, (int)program->pid,
            program->stop_wanted ? "as asked, " : "", how_it_ended(program, how, sizeof(how)));
    if (program->stop_wanted) {
        programs->config.reply(programs->config.arg, &program->stop, TN_MSG_ACK, NULL);
    } else {
        auto_json cJSON *body = exit_body(program);

        programs->config.exited(programs->config.arg, program->executor, program->task, program->attempt, body);
    }
    if (forget)
        program_free(program);
    check_idle(programs);
}

/* One look at what is left; comes again until nothing is. */
static void clear(struct program *program)
{
    size_t left = program->alive ? 1 : 0;

    program->state = CLEARING;
    if (program->alive && program->cgroup.count == 0)
        tn_procs_descendants(program->pid, kill_one, &left); /* while they still descend from it */
    if (program->cgroup.count > 0 && !tn_cgroup_empty(&program->cgroup)) {
        tn_cgroup_kill(&program->cgroup);
        left++;
    }
    if (program->is_child && program->cgroup.count == 0 && kill(-program->pid, SIGKILL) == 0)
        left++;
    if (program->alive)
        kill(program->pid, SIGKILL);
    left += kill_orphans(program->programs);
    if (left == 0) {
        ended(program);
        return;
    }
    if (program->clearing_ms < CLEAR_WARN_MS && program->clearing_ms + program->wait_ms >= CLEAR_WARN_MS)
        tn_warn("program of task %" PRIu64 " attempt %" PRIu32 " (pid %d): %zu of its processes do not die; waiting",
                program->task, program->attempt, (int)program->pid, left);
    program->clearing_ms += program->wait_ms;
    program->wait_ms = program->wait_ms * 2 < CLEAR_MAX_MS ? program->wait_ms * 2 : CLEAR_MAX_MS;
    set_timer(program->timer, program->wait_ms);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    clear(arg);
}

static void on_sweep(evutil_socket_t fd, short what, void *arg)
{
    check_idle(arg);
}

static void begin_clearing(struct program *program)
{
    program->wait_ms = CLEAR_FIRST_MS;
    clear(program);
}

static void first_process_ended(struct program *program)
{
    program->alive = false;
    event_del(program->timer);
    if (program->state == CLEARING)
        clear(program);
    else
        begin_clearing(program);
}

bool tn_programs_reaped(struct tn_programs *programs, pid_t pid, int status)
{
    struct program *program;

    LIST_FOREACH (program, &programs->list, next) {
        if (program->pid != pid || !program->alive || !program->is_child)
            continue;
        program->status = status;
        first_process_ended(program);
        return true;
    }
    return false;
}

/* An adopted program's descriptor says that it is gone. */
static void on_gone(evutil_socket_t fd, short what, void *arg)
{
    struct program *program = arg;

    event_del(program->gone);
    first_process_ended(program);
}

static void terminate(struct program *program, unsigned grace_ms)
{
    if (program->state == ENDED || program->state == CLEARING)
        return;
    if (grace_ms == 0) {
        begin_clearing(program);
        return;
    }
    if (program->state == RUNNING) {
        kill(program->pid, SIGTERM);
        kill(program->pid, SIGCONT); /* a stopped process hears it, too */
    }
    program->state = TERMINATING;
    program->wait_ms = CLEAR_FIRST_MS;
    set_timer(program->timer, grace_ms);
}

/* ---- requests ---- */

static void refuse(struct tn_programs *programs, const struct tn_header *request, const char *code, const char *text)
{
    auto_json cJSON *body = cJSON_CreateObject();

    cJSON_AddStringToObject(body, "code", code);
    cJSON_AddStringToObject(body, "text", text);
    programs->config.reply(programs->config.arg, request, TN_MSG_REFUSED, body);
}

static struct program *program_new(struct tn_programs *programs, const char *executor, uint64_t task, uint32_t attempt)
{
    struct program *program = calloc(1, sizeof(*program));

    if (program == NULL || (program->timer = evtimer_new(programs->config.base, on_timer, program)) == NULL)
        tn_fatal(3, "out of memory for a program");
    program->programs = programs;
    program->executor = tn_fs_path("%s", executor);
    program->task = task;
    program->attempt = attempt;
    program->pid_fd = -1;
    LIST_INSERT_HEAD(&programs->list, program, next);
    programs->count++;
    return program;
}

static struct tn_cgroup_limits take_limits(const cJSON *body)
{
    const cJSON *limits = tn_json_get(body, "limits");

    return (struct tn_cgroup_limits){.cpu_milli = (unsigned)tn_json_u64(limits, "cpu_milli", 0),
                                     .memory_mb = (unsigned)tn_json_u64(limits, "memory_mb", 0),
                                     .pids = (unsigned)tn_json_u64(limits, "pids", 0)};
}

static int program_spawn(struct program *program, const char *path, char *const *arguments, char *const *environment,
                         const cJSON *body, struct tn_err *err)
{
    struct tn_programs *programs = program->programs;
    struct tn_cgroup_limits limits = take_limits(body);
    int fds[TN_CGROUP_TREES + 1];
    struct tn_spawn spawn = {.path = path,
                             .arguments = arguments,
                             .environment = environment,
                             .folder = tn_json_string(body, "folder", NULL),
                             .log_fd = programs->config.log_fd,
                             .pass_fd = -1,
                             .cgroup_fds = fds,
                             .death_signal = programs->config.is_private ? SIGTERM : 0};
    char name[32];

    program_name(program->task, program->attempt, name);
    if (tn_cgroup_make(&programs->groups, name, &limits, &program->cgroup, NULL) == 0)
        spawn.cgroup_count = tn_cgroup_enter_fds(&program->cgroup, fds);
    if ((limits.cpu_milli > 0 || limits.memory_mb > 0 || limits.pids > 0) && !program->cgroup.limited)
        tn_warn("task %" PRIu64 ": not all limits (CPU, memory, processes) can be set here", program->task);
    program->pid = tn_spawn(&spawn, err);
    for (size_t i = 0; i < spawn.cgroup_count; i++)
        close(fds[i]);
    if (program->pid < 0)
        return -1;
    program->is_child = true;
    program->alive = true;
    program->start_time = tn_procs_start_time(program->pid);
    return 0;
}

static void reply_started(struct tn_programs *programs, const struct program *program, const struct tn_header *request,
                          bool already)
{
    auto_json cJSON *body = cJSON_CreateObject();

    cJSON_AddNumberToObject(body, "pid", program->pid);
    cJSON_AddStringToObject(body, "enclosure", program->cgroup.count > 0 ? "cgroup" : "group");
    cJSON_AddBoolToObject(body, "already", already);
    programs->config.reply(programs->config.arg, request, TN_MSG_PROGRAM_STARTED, body);
}

void tn_programs_start(struct tn_programs *programs, const struct tn_manifest *executor,
                       const struct tn_header *request, const cJSON *body)
{
    const char *path = tn_manifest_program_path(executor, tn_json_string(body, "program", ""));
    struct program *program = find(programs, executor->name, request->task, request->attempt);
    char **arguments;
    char **environment;
    struct tn_err err = TN_ERR_INIT;

    if (program != NULL && program->state == RUNNING) {
        reply_started(programs, program, request, true);
        return;
    }
    if (program != NULL || programs->stopping || programs->count >= PROGRAMS_MAX) {
        refuse(programs, request, program != NULL ? "conflict" : "unavailable",
               program != NULL ? "the program of this attempt has ended or is being stopped: stop it to forget it"
                               : "tenond is stopping, or runs too many programs");
        return;
    }
    if (path == NULL) {
        refuse(programs, request, "not_found", "this executor's manifest names no such program");
        return;
    }
    arguments = tn_strings_arguments(path, tn_json_get(body, "arguments"));
    environment = tn_strings_environment(tn_json_get(body, "environment"));
    if (arguments == NULL || environment == NULL) {
        refuse(programs, request, "invalid", "expected arguments: [text, …], environment: [[name, value], …]");
    } else {
        program = program_new(programs, executor->name, request->task, request->attempt);
        if (program_spawn(program, path, arguments, environment, body, &err) == 0) {
            record_write(program);
            reply_started(programs, program, request, false);
        } else {
            refuse(programs, request, "failed", err.text);
            program_free(program);
        }
    }
    tn_strings_free(arguments);
    tn_strings_free(environment);
}

void tn_programs_stop(struct tn_programs *programs, const struct tn_manifest *executor, const struct tn_header *request,
                      const cJSON *body)
{
    struct program *program = find(programs, executor->name, request->task, request->attempt);
    uint64_t grace_ms = tn_json_u64(body, "grace_ms", 0);

    if (program == NULL || program->state == ENDED) {
        if (program != NULL)
            program_free(program);
        programs->config.reply(programs->config.arg, request, TN_MSG_ACK, NULL);
        return;
    }
    program->stop_wanted =
        true; /* an earlier request that is asked again by a new life of the executor: the last one */
    program->stop = *request;
    terminate(program, grace_ms < GRACE_MAX_MS ? (unsigned)grace_ms : GRACE_MAX_MS);
}

void tn_programs_list(struct tn_programs *programs, const struct tn_manifest *executor, const struct tn_header *request)
{
    auto_json cJSON *body = cJSON_CreateObject();
    cJSON *list = cJSON_AddArrayToObject(body, "programs");
    struct program *program;

    LIST_FOREACH (program, &programs->list, next) {
        cJSON *item;

        if (program->state == ENDED || strcmp(program->executor, executor->name) != 0)
            continue;
        item = cJSON_CreateObject();
        tn_json_add_u64(item, "task", program->task);
        cJSON_AddNumberToObject(item, "attempt", program->attempt);
        cJSON_AddNumberToObject(item, "pid", program->pid);
        cJSON_AddItemToArray(list, item);
    }
    programs->config.reply(programs->config.arg, request, TN_MSG_PROGRAM_LISTED, body);
}

void tn_programs_stop_all(struct tn_programs *programs, unsigned grace_ms)
{
    struct program *program = LIST_FIRST(&programs->list);

    programs->stopping = true;
    while (program != NULL) {
        struct program *next = LIST_NEXT(program, next);

        terminate(program, grace_ms);
        program = next;
    }
    set_timer(programs->sweep, 0);
}

/* ---- life ---- */

/* A program that an earlier tenond started: still there if a process with that id and start time is. */
static void adopt(struct tn_programs *programs, const char *file)
{
    auto_buf struct tn_buf text = TN_BUF_INIT;
    auto_json cJSON *record = NULL;
    struct tn_err err = TN_ERR_INIT;
    struct program *program;
    char name[32];

    if (tn_fs_read(file, RECORD_BYTES_MAX, &text, &err) == 0)
        record = tn_json_parse(text.data, text.len, file, &err);
    if (record == NULL) {
        tn_warn("%s; removed", err.text);
        unlink(file);
        return;
    }
    program = program_new(programs, tn_json_string(record, "executor", "?"), tn_json_u64(record, "task", 0),
                          (uint32_t)tn_json_u64(record, "attempt", 0));
    program->pid = (pid_t)tn_json_u64(record, "pid", 0);
    program->start_time = tn_json_u64(record, "start_time", 0);
    program_name(program->task, program->attempt, name);
    tn_cgroup_adopt(&programs->groups, name, &program->cgroup);
    program->pid_fd = program->pid > 1 ? (int)syscall(SYS_pidfd_open, program->pid, 0) : -1;
    program->alive = program->pid_fd >= 0 && tn_procs_start_time(program->pid) == program->start_time;
    if (program->alive) {
        program->gone = event_new(programs->config.base, program->pid_fd, EV_READ, on_gone, program);
        if (program->gone == NULL || event_add(program->gone, NULL) != 0)
            tn_fatal(3, "cannot watch process %d", (int)program->pid);
        tn_info("adopted the program of task %" PRIu64 " attempt %" PRIu32 " (pid %d)", program->task, program->attempt,
                (int)program->pid);
    } else {
        program->wait_ms = CLEAR_FIRST_MS;
        program->state = CLEARING;
        set_timer(program->timer, 0);
    }
}

static int adopt_all(struct tn_programs *programs, struct tn_err *err)
{
    auto_free char *folder = tn_fs_path("%s/programs", programs->config.run_dir);
    auto_dir DIR *dir = NULL;
    struct dirent *entry;

    if (tn_fs_make_dirs(folder, 0700, err) != 0)
        return -1;
    dir = opendir(folder);
    if (dir == NULL)
        return tn_err_sys(err, errno, "cannot read the folder %s", folder);
    while ((entry = readdir(dir)) != NULL) {
        auto_free char *file = tn_fs_path("%s/%s", folder, entry->d_name);

        if (entry->d_name[0] != '.')
            adopt(programs, file);
    }
    return 0;
}

struct tn_programs *tn_programs_open(const struct tn_programs_config *config, struct tn_err *err)
{
    struct tn_programs *programs = calloc(1, sizeof(*programs));
    /* Several private runs of one user must not meet in one control group. */
    auto_free char *group = config->is_private ? tn_fs_path("run-%s-%d", config->installation, (int)getpid())
                                               : tn_fs_path("%s", config->installation);

    if (programs == NULL || (programs->sweep = evtimer_new(config->base, on_sweep, programs)) == NULL) {
        free(programs);
        tn_err_set(err, TN_ERR_SYSTEM, "out of memory for programs");
        return NULL;
    }
    programs->config = *config;
    LIST_INIT(&programs->list);
    tn_cgroups_open(&programs->groups, group);
    if (!config->is_private && adopt_all(programs, err) != 0) {
        tn_programs_close(programs);
        return NULL;
    }
    return programs;
}

void tn_programs_close(struct tn_programs *programs)
{
    if (programs == NULL)
        return;
    while (!LIST_EMPTY(&programs->list))
        program_free(LIST_FIRST(&programs->list));
    event_free(programs->sweep);
    tn_cgroups_close(&programs->groups);
    free(programs);
}
