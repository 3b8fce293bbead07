#include "core/kernel/mounts.h"
#include "core/kernel/procs.h"
#include "core/kernel/programs_internal.h"
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/json.h"
#include "core/lib/log.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

enum {
    CLEAR_FIRST_MS = 1, /* between looks at what is left, doubled up to CLEAR_MAX_MS */
    CLEAR_MAX_MS = 50,
    CLEAR_WARN_MS = 10000,
    FOREIGN_WAIT_MS = 1000, /* for processes that we may not kill, which may end by themselves */
};

/* ---- orphans ---- */

/* What one look at the processes of a program found. */
struct look {
    struct tn_programs *programs;
    size_t left;    /* killed, but not dead yet */
    size_t foreign; /* of other users: we may not kill them */
    pid_t example;  /* one of these */
    const char *mark;
};

static void kill_one(void *arg, pid_t pid)
{
    struct look *look = arg;

    if (kill(pid, SIGKILL) == 0) {
        look->left++;
    } else if (errno == EPERM) {
        look->foreign++;
        look->example = pid;
    }
}

static void kill_marked(void *arg, pid_t pid, const char *mark)
{
    const struct look *look = arg;

    if (strcmp(mark, look->mark) == 0)
        kill_one(arg, pid);
}

/* A child that nobody knows came from a program, whose own parent has ended. It is left alone if a control group says
 * that it belongs to a program that still runs. */
static void kill_orphan(void *arg, pid_t pid)
{
    struct look *look = arg;
    struct tn_programs *programs = look->programs;
    struct tn_program *program;

    if (programs->config.is_known(programs->config.arg, pid))
        return;
    LIST_FOREACH (program, &programs->list, next) {
        const char *part = tn_cgroup_path_part(&program->cgroup);

        if (program->alive && program->pid == pid)
            return;
        if (program->state == TN_PROGRAM_RUNNING && part[0] != '\0' && tn_procs_in_cgroup(pid, part))
            return;
    }
    kill_one(look, pid);
}

/* ---- the end of a program ---- */

void tn_programs__set_timer(struct event *timer, unsigned ms)
{
    struct timeval time = {ms / 1000, ms % 1000 * 1000};

    event_add(timer, &time);
}

static cJSON *exit_body(const struct tn_program *program)
{
    cJSON *body = cJSON_CreateObject();

    if (program->is_child && WIFEXITED(program->status))
        cJSON_AddNumberToObject(body, "status", WEXITSTATUS(program->status));
    if (program->is_child && WIFSIGNALED(program->status))
        cJSON_AddNumberToObject(body, "signal", WTERMSIG(program->status));
    return body;
}

void tn_programs__check_idle(struct tn_programs *programs)
{
    struct look look = {.programs = programs};
    struct tn_program *program;

    if (!programs->stopping)
        return;
    LIST_FOREACH (program, &programs->list, next)
        if (program->state != TN_PROGRAM_ENDED)
            return;
    tn_procs_children(kill_orphan, &look);
    if (look.left > 0) {
        tn_programs__set_timer(programs->sweep, 2);
        return;
    }
    programs->config.idle(programs->config.arg);
}

static const char *how_it_ended(const struct tn_program *program, char *out, size_t size)
{
    if (!program->is_child)
        snprintf(out, size, "how, only an earlier tenond could see");
    else if (WIFSIGNALED(program->status))
        snprintf(out, size, "signal %d", WTERMSIG(program->status));
    else
        snprintf(out, size, "status %d", WEXITSTATUS(program->status));
    return out;
}

/* Only what lies in the executor's own folder is unmounted for it. */
static bool is_below(const char *folder, const char *above)
{
    size_t length = strlen(above);

    return strncmp(folder, above, length) == 0 && folder[length] == '/' && strstr(folder, "/../") == NULL;
}

static void ended(struct tn_program *program)
{
    char how[64];
    struct tn_programs *programs = program->programs;
    bool forget = program->stop_wanted;
    auto_free char *own = tn_fs_path("%s/%s", programs->config.state_dir, program->executor);

    program->state = TN_PROGRAM_ENDED;
    tn_cgroup_remove(&program->cgroup);
    if (is_below(program->folder, own))
        tn_mounts_remove_below(program->folder);
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
        tn_program__free(program);
    tn_programs__check_idle(programs);
}

/* Kills what is left of it. In a namespace the death of the first process is that of all. */
static void kill_all(struct tn_program *program, struct look *look)
{
    auto_free char *mark = NULL;

    if (program->enclosure == TN_ENCLOSURE_GROUP) {
        if (program->alive)
            tn_procs_descendants(program->pid, kill_one, look); /* while they still descend from it */
        if (program->is_child && kill(-program->pid, SIGKILL) == 0)
            look->left++;
        look->mark = mark = tn_program__mark(program);
        tn_procs_marked(TN_PROGRAM_MARK, kill_marked, look);
    }
    if (program->cgroup.count > 0 && !tn_cgroup_empty(&program->cgroup)) {
        tn_cgroup_kill(&program->cgroup);
        look->left++;
    }
    if (program->alive) {
        kill(program->pid, SIGKILL);
        look->left++;
    }
    tn_procs_children(kill_orphan, look);
}

/* One look at what is left; comes again until nothing is. */
static void clear(struct tn_program *program)
{
    struct look look = {.programs = program->programs};

    program->state = TN_PROGRAM_CLEARING;
    kill_all(program, &look);
    if (look.left == 0 && (look.foreign == 0 || program->clearing_ms >= FOREIGN_WAIT_MS)) {
        if (look.foreign > 0)
            tn_warn("program of task %" PRIu64 " attempt %" PRIu32 ": %zu of its processes belong to other users and "
                    "live on, one of them is %d: end them as that user or as root",
                    program->task, program->attempt, look.foreign, (int)look.example);
        ended(program);
        return;
    }
    if (program->clearing_ms < CLEAR_WARN_MS && program->clearing_ms + program->wait_ms >= CLEAR_WARN_MS)
        tn_warn("program of task %" PRIu64 " attempt %" PRIu32 " (pid %d): %zu of its processes do not die; waiting",
                program->task, program->attempt, (int)program->pid, look.left);
    program->clearing_ms += program->wait_ms;
    program->wait_ms = program->wait_ms * 2 < CLEAR_MAX_MS ? program->wait_ms * 2 : CLEAR_MAX_MS;
    tn_programs__set_timer(program->timer, program->wait_ms);
}

void tn_program__on_timer(evutil_socket_t fd, short what, void *arg)
{
    clear(arg);
}

void tn_programs__on_sweep(evutil_socket_t fd, short what, void *arg)
{
    tn_programs__check_idle(arg);
}

void tn_program__begin_clearing(struct tn_program *program)
{
    program->wait_ms = CLEAR_FIRST_MS;
    clear(program);
}

void tn_program__first_process_ended(struct tn_program *program)
{
    program->alive = false;
    event_del(program->timer);
    if (program->state == TN_PROGRAM_CLEARING)
        clear(program);
    else
        tn_program__begin_clearing(program);
}

bool tn_programs_reaped(struct tn_programs *programs, pid_t pid, int status)
{
    struct tn_program *program;

    LIST_FOREACH (program, &programs->list, next) {
        if (program->pid != pid || !program->alive || !program->is_child)
            continue;
        program->status = status;
        tn_program__first_process_ended(program);
        return true;
    }
    return false;
}

void tn_program__terminate(struct tn_program *program, unsigned grace_ms)
{
    if (program->state == TN_PROGRAM_ENDED || program->state == TN_PROGRAM_CLEARING)
        return;
    if (grace_ms == 0) {
        tn_program__begin_clearing(program);
        return;
    }
    if (program->state == TN_PROGRAM_RUNNING) {
        kill(program->pid, SIGTERM);
        kill(program->pid, SIGCONT); /* a stopped process hears it, too */
    }
    program->state = TN_PROGRAM_TERMINATING;
    program->wait_ms = CLEAR_FIRST_MS;
    tn_programs__set_timer(program->timer, grace_ms);
}
