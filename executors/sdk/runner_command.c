/* The command of a step: its shell and environment, silence and stopping, and running it again when it fails. */
#include "core/lib/argv.h"
#include "core/lib/cleanup.h"
#include "core/lib/json.h"
#include "core/lib/log.h"
#include "executors/sdk/checkout.h"
#include "executors/sdk/internal.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    GRACE_S = 10,               /* between TERM and KILL */
    SECONDS_MAX = 1000000000,   /* of a limit or a delay */
    COMMAND_BYTES = 120 * 1024, /* Linux takes at most 128 KiB as one argument */
};

/* The plan is what the compiler made of a stranger's text: it is not believed to be small. */
static uint64_t milliseconds(const cJSON *step, const char *key, double fallback)
{
    double seconds = tn_json_number(step, key, fallback);

    return seconds >= 0 && seconds <= SECONDS_MAX ? (uint64_t)(seconds * 1000) : (uint64_t)(fallback * 1000);
}

uint32_t tn_command_channel(const struct tn_task *task)
{
    return (uint32_t)task->progress.step << 16 | (1 + task->progress.rerun % (TN_COMMAND_CHANNELS - 1));
}

bool tn_command_is_channel(uint32_t channel)
{
    return (channel & 0xffff) != 0 && (channel & 0xffff) < TN_COMMAND_CHANNELS;
}

static void arm(struct tn_task *task, uint64_t ms)
{
    struct timeval wait = {(time_t)(ms / 1000), (suseconds_t)(ms % 1000 * 1000)};

    evtimer_add(task->step_timer, &wait);
}

const char *tn_command_duration(uint64_t ms, char *out, size_t size)
{
    uint64_t seconds = ms / 1000;

    if (seconds >= 3600)
        snprintf(out, size, "%lluh%llum%llus", (unsigned long long)(seconds / 3600),
                 (unsigned long long)(seconds / 60 % 60), (unsigned long long)(seconds % 60));
    else if (seconds >= 60)
        snprintf(out, size, "%llum%llus", (unsigned long long)(seconds / 60), (unsigned long long)(seconds % 60));
    else if (ms % 1000 == 0)
        snprintf(out, size, "%llus", (unsigned long long)seconds);
    else
        snprintf(out, size, "%.3gs", (double)ms / 1000);
    return out;
}

/* ---- starting ---- */

bool tn_command_spawn(struct tn_task *task, const char *const *words, const struct tn_environ *env, const char *cwd)
{
    static const char *const none[] = {NULL};
    struct tn_agent_spawn spawn = {.flags = TN_AGENT_ENV_ADD, .cwd = cwd, .user = ""};
    struct tn_err err = TN_ERR_INIT;
    int failed;

    while (words[spawn.argc] != NULL)
        spawn.argc++;
    spawn.argv = (const char **)words;
    spawn.envp = env->entries != NULL ? (const char **)env->entries : (const char **)none;
    spawn.envc = (uint32_t)env->count;
    failed = tn_agent_link_spawn(task->link, tn_command_channel(task), &spawn, &err);
    if (failed != 0) {
        tn_runner_sent(task, failed, &err);
        return false;
    }
    task->command_runs = true;
    return true;
}

static void to_background(struct tn_task *task)
{
    if (task->progress.backgrounds >= sizeof(task->progress.background) / sizeof(unsigned)) {
        tn_runner_step_done(task, "a job may have at most 64 background steps");
        return;
    }
    task->progress.background[task->progress.backgrounds++] = task->progress.step;
    task->step_open = task->command_runs = false;
    tn_task_touch(task);
    tn_runner__next_step(task);
}

void tn_command_run(struct tn_task *task)
{
    const cJSON *step = tn_runner_step(task, task->progress.step);
    const char *command = tn_json_string(step, "command", "");
    const char *shell = tn_json_string(step, "shell", tn_json_string(task->definition, "shell", task->shell));
    auto_environ struct tn_environ env = TN_ENVIRON_INIT;
    auto_free char *cwd = tn_runner_path(task, tn_json_string(step, "working_directory", "."));
    char **words = tn_argv_split(shell);
    bool started;

    if (strlen(command) > COMMAND_BYTES || words == NULL) {
        tn_argv_free(words);
        tn_runner_step_done(
            task, words == NULL ? "the step's `shell` is not a command line: it is empty, or a quote is not closed"
                                : "the command is longer than 120 KiB, which the kernel does not take; "
                                  "put it into a script of the project");
        return;
    }
    words = tn_argv_add(tn_argv_add(words, "-c"), command);
    tn_runner_environ(task, step, &env);
    started = tn_command_spawn(task, (const char *const *)words, &env, cwd);
    tn_argv_free(words);
    if (!started)
        return;
    if (tn_json_bool(step, "background", false)) {
        to_background(task);
        return;
    }
    task->no_output_ms = milliseconds(step, "no_output_timeout", 600);
    task->last_output_ms = tn_now_ms();
    arm(task, task->no_output_ms);
}

/* ---- running it again ---- */

void tn_command_again(struct tn_task *task, uint64_t delay_ms)
{
    task->progress.rerun++;
    task->progress.rerun_at = delay_ms > 0 ? tn_now_ms() + delay_ms : 0;
    task->command_runs = false;
    task->stopping = TN_STOP_NONE;
    event_del(task->step_timer);
    task->begin_waits = true; /* the checkpoint comes at once */
    tn_task_touch(task);
}

bool tn_command_delayed(struct tn_task *task)
{
    uint64_t now = tn_now_ms();

    task->rerun_waits = task->progress.rerun_at > now;
    if (task->rerun_waits)
        arm(task, task->progress.rerun_at - now);
    return task->rerun_waits;
}

/* False: the step has failed for good. */
static bool rerun(struct tn_task *task, const char *reason)
{
    const cJSON *step = tn_runner_step(task, task->progress.step);
    unsigned most = (unsigned)tn_json_u64(step, "max_auto_reruns", 0);
    uint64_t delay_ms = milliseconds(step, "auto_rerun_delay", 0);
    char text[64];

    if (task->progress.rerun >= most || task->progress.halted || task->progress.canceled || task->progress.timed_out)
        return false;
    if (delay_ms > 0)
        tn_runner_say(task, "\n%s\n\nAutomatic rerun %u of %u in %s\n\n", reason, task->progress.rerun + 1, most,
                      tn_command_duration(delay_ms, text, sizeof(text)));
    else
        tn_runner_say(task, "\n%s\n\nAutomatic rerun %u of %u\n\n", reason, task->progress.rerun + 1, most);
    tn_command_again(task, delay_ms);
    return true;
}

/* ---- stopping ---- */

void tn_command_stop(struct tn_task *task, bool kill)
{
    struct tn_err err = TN_ERR_INIT;

    task->stopping = kill ? TN_STOP_KILL : TN_STOP_TERM;
    if (tn_agent_link_signal(task->link, tn_command_channel(task), kill ? SIGKILL : SIGTERM,
                             kill ? TN_AGENT_TREE : TN_AGENT_GROUP, &err) != 0)
        tn_warn("task %llu.%u: %s", (unsigned long long)task->id, task->attempt, err.text);
    arm(task, GRACE_S * 1000);
}

void tn_runner_on_timer(struct tn_task *task)
{
    uint64_t silent = tn_now_ms() - task->last_output_ms;

    if (task->phase != TN_PHASE_STEPPING || !task->step_open)
        return;
    if (task->rerun_waits) {
        tn_runner__begin_step(task);
        return;
    }
    if (task->stopping == TN_STOP_KILL) {
        tn_runner_step_done(task, "the command could not be killed");
        return;
    }
    if (task->stopping == TN_STOP_TERM) {
        tn_command_stop(task, true);
        return;
    }
    if (silent + 1 < task->no_output_ms) {
        arm(task, task->no_output_ms - silent);
        return;
    }
    task->no_output_over = true;
    tn_command_stop(task, false);
}

/* ---- ending ---- */

/* False: it ended well. */
static bool failure(struct tn_task *task, const struct tn_agent_exit *end, char *reason, size_t size)
{
    char text[64];

    if (task->no_output_over)
        snprintf(reason, size, "Too long with no output (exceeded %s): context deadline exceeded",
                 tn_command_duration(task->no_output_ms, text, sizeof(text)));
    else if (tn_runner_out_of_memory(task, end, reason, size))
        return true;
    else if (end->kind == TN_AGENT_NO_SPAWN && tn_runner_lacks_shell(task))
        snprintf(
            reason, size,
            "The command could not be started: there is no shell here, neither /bin/bash nor /bin/sh; use an image "
            "that has one, or name a program of the image in the step's `shell`");
    else if (end->kind == TN_AGENT_NO_SPAWN)
        snprintf(reason, size, "The command could not be started: %.*s", (int)end->text_len, end->text);
    else if (end->kind == TN_AGENT_SIGNALED)
        snprintf(reason, size, "Killed by signal %u (%s)", end->code, strsignal((int)end->code));
    else if (end->code != 0)
        snprintf(reason, size, "Exited with code exit status %u", end->code);
    else
        return false;
    return true;
}

void tn_command_ended(struct tn_task *task, const struct tn_agent_exit *end)
{
    const char *type = tn_json_string(tn_runner_step(task, task->progress.step), "type", "");
    char reason[TN_AGENT_TEXT_MAX];
    bool failed;

    if (strcmp(type, "run") != 0) {
        tn_checkout_ended(task, end);
        return;
    }
    failed = failure(task, end, reason, sizeof(reason));
    task->no_output_over = false;
    task->progress.halted = task->progress.halted || (end->flags & TN_AGENT_HALTED) != 0;
    if (!failed) {
        tn_runner__end_step(task, "succeeded", end, NULL);
    } else if (rerun(task, reason)) {
        return;
    } else {
        task->progress.failed = true;
        if (task->progress.canceled || task->progress.timed_out) {
            tn_runner__end_step(task, "canceled", end, reason);
        } else {
            tn_runner_say(task, "\n%s\n", reason);
            tn_runner__end_step(task, "failed", end, reason);
        }
    }
    tn_runner__next_step(task);
}
