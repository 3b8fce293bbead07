/* An attempt's agent: what its frames mean for the attempt, and the connection. */
#include "executors/sdk/internal.h"

#include "core/lib/fs.h"

#include <stdlib.h>
#include <string.h>

static void moved(struct tn_task *task, uint64_t offset)
{
    task->cursor = offset;
    tn_task_touch(task);
    if (tn_outlet_full(task->outlet) && !task->reading_paused) {
        task->reading_paused = true;
        tn_agent_link_pause(task->link);
    }
}

static void on_hello(void *arg, const char *facts, const uint8_t boot[TN_AGENT_BOOT], uint64_t head)
{
    struct tn_task *task = arg;

    memcpy(task->boot, boot, sizeof(task->boot));
    if (task->phase != TN_PHASE_CONNECTING)
        return; /* a reconnect: everything goes on */
    free(task->facts);
    task->facts = facts != NULL ? tn_fs_path("%s", facts) : NULL;
    task->phase = TN_PHASE_STEPPING;
    tn_task_report_state(task, TN_TASK_RUNNING, NULL);
    tn_task_touch(task);
    tn_runner_start(task);
}

static void on_out(void *arg, uint32_t channel, const uint8_t *bytes, size_t length, uint64_t offset)
{
    struct tn_task *task = arg;

    tn_runner_on_out(task, channel, bytes, length);
    moved(task, offset);
}

static void on_exit_frame(void *arg, uint32_t channel, const struct tn_agent_exit *end, uint64_t offset)
{
    struct tn_task *task = arg;
    const struct tn_executor_ops *ops = tn_executor_ops(task->executor);

    if ((end->flags & TN_AGENT_ENDING) != 0 && !task->progress.canceled && ops->told_to_end != NULL) {
        ops->told_to_end(task->executor, task); /* what became of the command says nothing about it */
        return;
    }
    /* Before, and with no checkpoint meanwhile: what follows from the exit belongs to the state after it. One with this
     * offset and the step still open would wait for an exit that never comes again. */
    task->cursor = offset;
    task->checkpoint_held = true;
    tn_runner_on_exit(task, channel, end);
    task->checkpoint_held = false;
    if (task->link != NULL)
        moved(task, offset);
}

static void on_spawned(void *arg, uint32_t channel, uint32_t pid, uint64_t offset)
{
    moved(arg, offset);
}

static void on_window(void *arg, uint32_t channel, uint64_t applied, uint64_t limit, uint64_t offset)
{
    struct tn_task *task = arg;

    tn_tree_on_window(task, channel, limit);
    if (task->link != NULL)
        moved(task, offset);
}

static void on_warn(void *arg, uint32_t channel, enum tn_agent_warning kind, const char *text, uint64_t offset)
{
    struct tn_task *task = arg;

    task->cursor = offset; /* before: a checkpoint with the line and not the frame would have the line twice */
    tn_runner_say(task, kind == TN_AGENT_WARN_MISSING ? "No such file or folder: %s\n" : "%s\n", text);
    moved(task, offset);
}

static void on_error(void *arg, uint32_t channel, const char *text, uint64_t offset)
{
    struct tn_task *task = arg;

    task->cursor = offset;
    tn_runner_say(task, "%s\n", text);
    moved(task, offset);
}

static void on_gap(void *arg, uint64_t asked, uint64_t start, enum tn_agent_result why)
{
    tn_task_environment_lost(arg, "the agent's output from byte %llu to %llu is gone", (unsigned long long)asked,
                             (unsigned long long)start);
}

static void on_lost(void *arg, const struct tn_err *err)
{
    tn_task_environment_lost(arg, "%s", err->text);
}

void tn_task__drop_link(struct tn_task *task)
{
    tn_agent_link_free(task->link);
    task->link = NULL;
    task->reading_paused = task->reading_held = false;
}

static int open_connection(void *arg)
{
    struct tn_task *task = arg;

    return tn_executor_ops(task->executor)->connect(task->executor, task);
}

void tn_task__connect(struct tn_task *task)
{
    struct tn_err err = TN_ERR_INIT;
    struct tn_agent_link_config config = {.path = task->agent_socket,
                                          .open = task->agent_socket == NULL ? open_connection : NULL,
                                          .name = task->node,
                                          .fd = -1,
                                          .start = {.offset = task->cursor},
                                          .connect_timeout_ms = task->patience_ms,
                                          .callbacks = {.on_hello = on_hello,
                                                        .on_out = on_out,
                                                        .on_spawned = on_spawned,
                                                        .on_exit = on_exit_frame,
                                                        .on_window = on_window,
                                                        .on_warn = on_warn,
                                                        .on_error = on_error,
                                                        .on_gap = on_gap,
                                                        .on_lost = on_lost},
                                          .arg = task};

    memcpy(config.start.boot, task->boot, sizeof(task->boot));
    task->phase = TN_PHASE_CONNECTING;
    task->link = tn_agent_link_new(tn_executor_service(task->executor)->base, &config, &err);
    if (task->link == NULL)
        tn_task_finish(task, TN_TASK_INFRASTRUCTURE_FAILURE, "agent: %s", err.text);
}
