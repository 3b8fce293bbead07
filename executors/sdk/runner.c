/* The semantics of steps: which runs next, when it may begin and what becomes of the job. */
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/json.h"
#include "core/lib/log.h"
#include "executors/sdk/checkout.h"
#include "executors/sdk/companion.h"
#include "executors/sdk/internal.h"
#include "executors/sdk/tests.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    TRIES_MAX = 500, /* of an attempt over restarts; fits 16 bits of channel */
};

static unsigned step_count(const struct tn_task *task)
{
    return (unsigned)cJSON_GetArraySize(task->steps) + 1;
}

/* ---- the log of a step ---- */

void tn_runner_say(struct tn_task *task, const char *fmt, ...)
{
    char text[4096];
    va_list ap;
    int length;

    if (task->outlet == NULL || !task->step_open)
        return;
    va_start(ap, fmt);
    length = vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    if (length >= (int)sizeof(text))
        length = (int)sizeof(text) - 1;
    tn_outlet_write(task->outlet, tn_runner_stream(task->progress.step), text, (size_t)length);
    tn_task_touch(task);
}

static cJSON *times(const struct tn_task *task, bool ended)
{
    cJSON *result = cJSON_CreateObject();

    cJSON_AddNumberToObject(result, "started", (double)task->step_started_ms);
    if (ended)
        cJSON_AddNumberToObject(result, "ended", (double)tn_now_ms());
    if (task->step_log != NULL)
        cJSON_AddStringToObject(result, "log", task->step_log);
    return result;
}

static void on_log_open(void *arg, const cJSON *answer, const struct tn_err *err)
{
    struct tn_task *task = arg;
    void (*then)(struct tn_task *) = task->then;
    auto_json cJSON *result = NULL;

    if (err != NULL) {
        tn_task_finish(task, TN_TASK_INFRASTRUCTURE_FAILURE, "the step's log cannot be kept: %s", err->text);
        return;
    }
    free(task->step_log);
    task->step_log = tn_fs_path("%s", tn_json_string(answer, "path", ""));
    result = times(task, false);
    tn_task_report_step(task, task->progress.step, "running", result);
    task->then = NULL;
    if (task->phase < TN_PHASE_SEALING && then != NULL)
        then(task);
}

void tn_runner_open_log(struct tn_task *task, void (*then)(struct tn_task *task))
{
    auto_json cJSON *body = cJSON_CreateObject();

    if (!task->step_open || task->step_started_ms == 0)
        task->step_started_ms = tn_now_ms();
    task->step_open = true;
    task->then = then;
    cJSON_AddStringToObject(body, "type", "log");
    cJSON_AddNumberToObject(body, "step", task->progress.step);
    cJSON_AddStringToObject(body, "name", tn_runner_step_name(task, task->progress.step));
    tn_outlet_open_stream(task->outlet, tn_runner_stream(task->progress.step), body, on_log_open, task);
}

/* ---- one step after the other ---- */

void tn_runner_sent(struct tn_task *task, int failed, const struct tn_err *err)
{
    if (failed != 0)
        tn_task_environment_lost(task, "%s", err->text);
}

void tn_runner__end_step(struct tn_task *task, const char *state, const struct tn_agent_exit *end, const char *reason)
{
    auto_json cJSON *result = times(task, true);
    unsigned step = task->progress.step;

    if (end != NULL && end->kind == TN_AGENT_EXITED)
        cJSON_AddNumberToObject(result, "exit", end->code);
    if (end != NULL && end->kind == TN_AGENT_SIGNALED)
        cJSON_AddNumberToObject(result, "signal", end->code);
    if (reason != NULL && reason[0] != '\0')
        cJSON_AddStringToObject(result, "reason", reason);
    event_del(task->step_timer);
    task->op = (struct tn_op){0};
    task->step_open = false;
    task->command_runs = task->rerun_waits = false;
    task->stopping = TN_STOP_NONE;
    tn_task_report_step(task, step, state, result);
    tn_outlet_close_stream(task->outlet, tn_runner_stream(step), false, NULL, NULL);
    tn_task_touch(task);
}

void tn_runner_step_done(struct tn_task *task, const char *fail_reason)
{
    bool canceled = task->progress.canceled || task->progress.timed_out;

    if (fail_reason != NULL) {
        task->progress.failed = true;
        tn_runner_say(task, "%s\n", fail_reason);
    }
    tn_runner__end_step(task, fail_reason == NULL ? "succeeded" : canceled ? "canceled" : "failed", NULL, fail_reason);
    if (task->phase == TN_PHASE_STEPPING && task->link != NULL)
        tn_runner__next_step(task);
}

void tn_runner_background_done(struct tn_task *task, unsigned step)
{
    auto_json cJSON *result = cJSON_CreateObject();

    cJSON_AddNumberToObject(result, "ended", (double)tn_now_ms());
    tn_task_report_step(task, step, "succeeded", result);
    tn_outlet_close_stream(task->outlet, tn_runner_stream(step), false, NULL, NULL);
}

/* A command is started only when a checkpoint says that its step, and its try, has begun: whoever takes the attempt up
 * from there knows what the agent repeats. Before, it would be at an earlier step, ignore the end of this one, and wait
 * for it for ever. Steps that move files start over, under numbers that no life before may have used. */
static bool may_begin(const struct tn_task *task, const char *type)
{
    const struct tn_kept *kept = &task->kept;
    bool is_run = strcmp(type, "run") == 0;

    if (!is_run && kept->tries != task->progress.tries)
        return false;
    return (!is_run && !tn_checkout_is_remote(task, type)) ||
           (kept->open && kept->step == task->progress.step && kept->rerun == task->progress.rerun);
}

static void release_reading(struct tn_task *task)
{
    if (!task->reading_held)
        return;
    task->reading_held = false;
    if (task->link != NULL && !task->reading_paused)
        tn_agent_link_resume(task->link);
}

void tn_runner__begin_step(struct tn_task *task)
{
    const cJSON *step = tn_runner_step(task, task->progress.step);
    const char *type = tn_json_string(step, "type", "?");

    task->begin_waits = !may_begin(task, type);
    if (task->begin_waits) {
        tn_task_touch(task);
        return;
    }
    release_reading(task); /* takes effect in the loop, after what follows */
    if (tn_command_delayed(task)) {
        return;
    } else if (strcmp(type, "run") == 0) {
        tn_command_run(task);
    } else if (!tn_tree_begin(task, type, step)) {
        char reason[160];

        snprintf(reason, sizeof(reason), "this executor cannot do the step \"%.60s\": %s", type,
                 strcmp(type, "setup_remote_docker") == 0 ? "no remote-docker executor is part of this installation"
                                                          : "it is not part of this version of Tenon");
        tn_runner_step_done(task, reason);
    }
}

void tn_runner_on_kept(struct tn_task *task)
{
    if (!task->begin_waits || task->phase != TN_PHASE_STEPPING || task->link == NULL)
        return;
    if (task->step_open && task->then == NULL)
        tn_runner__begin_step(task);
    else
        task->begin_waits = false; /* the log is not open yet: it comes and looks for itself */
}

/* on_success, always, on_fail; artifacts and test results are always stored. */
static bool wanted(const struct tn_task *task, const cJSON *step)
{
    const char *type = tn_json_string(step, "type", "");
    const char *when = tn_json_string(step, "when", "on_success");

    if (task->progress.halted)
        return false;
    if (strcmp(type, "store_artifacts") == 0 || strcmp(type, "store_test_results") == 0 || strcmp(when, "always") == 0)
        return true;
    return task->progress.failed == (strcmp(when, "on_fail") == 0);
}

static void skip_step(struct tn_task *task, unsigned step)
{
    task->step_started_ms = tn_now_ms();
    free(task->step_log);
    task->step_log = NULL;
    task->progress.step = step;
    {
        auto_json cJSON *result = times(task, true);

        tn_task_report_step(task, step, "skipped", result);
    }
}

static void finish_stopped(struct tn_task *task)
{
    char limit[64];

    if (task->progress.timed_out)
        tn_task_finish(task, TN_TASK_TIMED_OUT, "the job ran longer than its limit of %s (jobs.max_run_time)",
                       tn_command_duration(task->limit_ms, limit, sizeof(limit)));
    else
        tn_task_finish(task, TN_TASK_CANCELED, "canceled");
}

void tn_runner__next_step(struct tn_task *task)
{
    if (task->progress.timed_out || task->progress.canceled) {
        finish_stopped(task);
        return;
    }
    while (task->progress.step + 1 < step_count(task)) {
        unsigned step = task->progress.step + 1;

        if (!wanted(task, tn_runner_step(task, step))) {
            skip_step(task, step);
            continue;
        }
        task->progress.step = step;
        task->progress.rerun = 0;
        task->progress.rerun_at = 0;
        task->channels = 0;
        task->progress.begun = true;
        task->step_started_ms = 0;
        task->begin_waits = true; /* the checkpoint and the log at the same time */
        tn_runner_open_log(task, tn_runner__begin_step);
        tn_task_touch(task);
        return;
    }
    if (task->progress.failed)
        tn_task_finish(task, TN_TASK_FAILED, "a step failed");
    else
        tn_task_finish(task, TN_TASK_SUCCEEDED, "%s", "");
}

/* ---- what the agent says ---- */

static bool take_background(struct tn_task *task, unsigned step)
{
    struct tn_progress *progress = &task->progress;

    for (size_t i = 0; i < progress->backgrounds; i++) {
        if (progress->background[i] != step)
            continue;
        progress->background[i] = progress->background[--progress->backgrounds];
        return true;
    }
    return false;
}

static bool is_background(const struct tn_task *task, unsigned step)
{
    for (size_t i = 0; i < task->progress.backgrounds; i++)
        if (task->progress.background[i] == step)
            return true;
    return false;
}

void tn_runner_on_out(struct tn_task *task, uint32_t channel, const void *bytes, size_t length)
{
    unsigned step = channel >> 16;

    if (channel == task->op.channel) {
        if (task->op.on_out != NULL)
            task->op.on_out(task, bytes, length);
        return;
    }
    if (tn_companion_on_out(task, channel, bytes, length) || !tn_command_is_channel(channel))
        return; /* the latter: of a try before a crash */
    if (channel == tn_command_channel(task) && task->step_open)
        task->last_output_ms = tn_now_ms();
    else if (!is_background(task, step))
        return;
    tn_outlet_write(task->outlet, tn_runner_stream(step), bytes, length);
}

void tn_runner_on_exit(struct tn_task *task, uint32_t channel, const struct tn_agent_exit *end)
{
    unsigned step = channel >> 16;

    if ((end->flags & TN_AGENT_ENDING) != 0 && !task->progress.canceled) {
        /* Whatever became of the command says nothing about it. */
        tn_task_environment_lost(task, "it was told to end (SIGTERM) while the job ran in it");
        return;
    }
    if (channel == task->op.channel) {
        void (*on_exit)(struct tn_task *, const struct tn_agent_exit *) = task->op.on_exit;

        task->op = (struct tn_op){0};
        on_exit(task, end);
    } else if (tn_companion_on_exit(task, channel, end) || !tn_command_is_channel(channel)) {
        return;
    } else if (channel == tn_command_channel(task) && task->step_open) {
        tn_command_ended(task, end);
    } else if (take_background(task, step)) {
        if ((end->flags & TN_AGENT_HALTED) != 0)
            task->progress.halted = true; /* no further step begins */
        tn_runner_background_done(task, step);
    }
}

void tn_runner_cancel(struct tn_task *task, bool force)
{
    if (task->step_open && task->command_runs)
        tn_command_stop(task, force);
    else
        finish_stopped(task);
}

void tn_runner_time_out(struct tn_task *task)
{
    task->progress.timed_out = true;
    if (task->phase == TN_PHASE_STEPPING && task->step_open)
        tn_runner_cancel(task, false);
    else
        finish_stopped(task);
}

/* ---- the first things in an environment ---- */

static void go_on(struct tn_task *task)
{
    const cJSON *step = tn_runner_step(task, task->progress.step);

    if (!task->step_open) {
        tn_runner__next_step(task);
        return;
    }
    if (step == NULL) {
        tn_runner_step_done(task, NULL); /* the environment is up */
        return;
    }
    /* What the agent repeats of the command is for the log, which must be open first. */
    task->reading_held = true;
    tn_agent_link_pause(task->link);
    tn_runner_open_log(task, tn_runner__begin_step);
}

static void on_cwd_made(struct tn_task *task, const struct tn_agent_exit *end)
{
    if (end->kind != TN_AGENT_EXITED || end->code != 0) {
        char user[32];

        tn_task_finish(
            task, TN_TASK_FAILED,
            "the working directory %s cannot be made: %.*s; set `working_directory` to a folder that user %s "
            "may write to",
            task->cwd, (int)end->text_len, end->text, tn_runner_fact(task, "uid", user, sizeof(user)));
        return;
    }
    tn_tests_put_timings(task, go_on);
}

/* Unpacking nothing makes the folder. */
static void make_cwd(struct tn_task *task)
{
    static const char empty_tar[1024]; /* an archive's end mark: two blocks of zeros */
    struct tn_err err = TN_ERR_INIT;

    task->op = (struct tn_op){.channel = tn_runner_channel(task), .on_exit = on_cwd_made};
    if (tn_agent_link_tree_put(task->link, task->op.channel, task->cwd, &err) != 0 ||
        tn_agent_link_stdin(task->link, task->op.channel, 0, empty_tar, sizeof(empty_tar), &err) != 0 ||
        tn_agent_link_stdin_eof(task->link, task->op.channel, sizeof(empty_tar), &err) != 0)
        tn_runner_sent(task, -1, &err);
}

static void on_shell_probed(struct tn_task *task, const struct tn_agent_exit *end)
{
    bool pipefail = end->kind == TN_AGENT_EXITED && end->code == 0;

    task->shell = tn_fs_path("%s", pipefail ? "/bin/sh -eo pipefail" : "/bin/sh -e");
    make_cwd(task);
}

/* /bin/sh is told `-o pipefail` only if it knows it: dash refuses to start with it. */
static void probe_shell(struct tn_task *task)
{
    static const char *argv[] = {"/bin/sh", "-eo", "pipefail", "-c", ":", NULL};
    static const char *envp[] = {NULL};
    struct tn_agent_spawn spawn = {.cwd = "/", .user = "", .argc = 5, .argv = argv, .envp = envp};
    struct tn_err err = TN_ERR_INIT;

    task->op = (struct tn_op){.channel = tn_runner_channel(task), .on_exit = on_shell_probed};
    tn_runner_sent(task, tn_agent_link_spawn(task->link, task->op.channel, &spawn, &err), &err);
}

void tn_runner_start(struct tn_task *task)
{
    char bash[8];
    char shared[512];

    task->channels = 0;
    if (tn_runner_fact(task, "shared_tmp", shared, sizeof(shared))[0] != '\0' && task->progress.step == 0)
        tn_runner_say(task, "/tmp is shared with everything on this host: %s\n", shared);
    if (task->adopted && ++task->progress.tries + 1 >= TRIES_MAX) { /* fresh channel numbers for what follows */
        tn_task_finish(task, TN_TASK_INFRASTRUCTURE_FAILURE, "the job was interrupted %d times", TRIES_MAX);
        return;
    }
    free(task->cwd);
    task->cwd = tn_runner_working_directory(task);
    if (task->progress.step > 0 && task->shell != NULL) {
        go_on(task); /* before the agent repeats anything: it must meet the step that it belongs to */
        return;
    }
    free(task->shell);
    task->shell = NULL;
    tn_companion_start_program(task);
    if (strcmp(tn_runner_fact(task, "shell_bash", bash, sizeof(bash)), "") != 0 && strcmp(bash, "0") != 0) {
        task->shell = tn_fs_path("/bin/bash -eo pipefail");
        make_cwd(task);
    } else {
        probe_shell(task);
    }
}
