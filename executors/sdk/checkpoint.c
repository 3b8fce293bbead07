/* When an attempt's progress is kept and what follows once it is: the agent may forget, a cancel is answered, a sealed
 * result's environment is released. */
#include "core/lib/json.h"
#include "core/lib/log.h"
#include "executors/sdk/internal.h"
#include "executors/sdk/progress.h"

#include <stdio.h>
#include <string.h>

enum {
    CHECKPOINT_BYTES = 512 * 1024, /* of agent stream since the last one: then at once */
    CHECKPOINT_MS = 20,            /* else this long after the first change */
};

static void hex(const uint8_t *bytes, size_t length, char *out)
{
    for (size_t i = 0; i < length; i++)
        snprintf(out + 2 * i, 3, "%02x", bytes[i]);
}

static bool unhex(const char *text, uint8_t *out, size_t length)
{
    if (text == NULL || strlen(text) != 2 * length)
        return false;
    for (size_t i = 0; i < length; i++) {
        unsigned value;

        if (sscanf(text + 2 * i, "%2x", &value) != 1)
            return false;
        out[i] = (uint8_t)value;
    }
    return true;
}

static void after_checkpoint(struct tn_task *task)
{
    if (task->has_cancel) {
        task->has_cancel = false;
        tn_peer_reply(tn_executor_service(task->executor)->bus, &task->cancel, TN_MSG_ACK, NULL, 0);
    }
    if (task->phase == TN_PHASE_SEALING && !task->checkpoint_dirty)
        tn_task__sealed(task);
    else if (task->phase == TN_PHASE_DRAINING && task->drained && !task->checkpoint_dirty)
        tn_task__release(task);
    else if (task->checkpoint_dirty)
        tn_task_touch(task);
    tn_runner_on_kept(task);
}

static void on_checkpoint(void *arg, const cJSON *answer, const struct tn_err *err)
{
    struct tn_task *task = arg;

    task->checkpoint_sent = false;
    if (err != NULL) {
        /* Nothing can be kept any more (a full disk): the job cannot go on safely, but it can end and say why. */
        tn_error("task %llu.%u: checkpoint: %s", (unsigned long long)task->id, task->attempt, err->text);
        task->output_failed = true;
        if (task->phase == TN_PHASE_SEALING || (task->phase == TN_PHASE_DRAINING && task->drained)) {
            tn_task__release(task);
        } else if (task->phase < TN_PHASE_SEALING) {
            task->checkpoint_dirty = false;
            tn_task_finish(task, TN_TASK_INFRASTRUCTURE_FAILURE, "its output cannot be kept: %s", err->text);
        }
        return;
    }
    task->acked_cursor = task->checkpoint_cursor;
    task->kept = task->kept_next;
    if (task->link != NULL)
        tn_agent_link_ack(task->link, task->acked_cursor);
    after_checkpoint(task);
}

void tn_task__checkpoint(struct tn_task *task)
{
    auto_json cJSON *state = NULL;
    char boot[2 * TN_AGENT_BOOT + 1];

    if (task->checkpoint_sent || task->outlet == NULL || task->phase == TN_PHASE_OPENING)
        return;
    event_del(task->checkpoint_timer);
    state = tn_progress_save(task);
    hex(task->boot, sizeof(task->boot), boot);
    task->checkpoint_sent = true;
    task->checkpoint_dirty = false;
    task->checkpoint_cursor = task->cursor;
    task->kept_next =
        (struct tn_kept){task->progress.step, task->progress.tries, task->progress.rerun, task->step_open};
    tn_outlet_checkpoint(task->outlet, boot, task->cursor, state, on_checkpoint, task);
}

void tn_task__checkpoint_now(struct tn_task *task)
{
    task->checkpoint_dirty = true;
    tn_task__checkpoint(task);
}

void tn_task_touch(struct tn_task *task)
{
    struct timeval soon = {0, CHECKPOINT_MS * 1000};

    task->checkpoint_dirty = true;
    if (task->output_failed && task->phase == TN_PHASE_SEALING && !task->checkpoint_held) {
        tn_task__release(task); /* no checkpoint can be kept */
        return;
    }
    if (task->checkpoint_sent || task->checkpoint_held || task->phase >= TN_PHASE_RELEASING)
        return;
    if (task->phase >= TN_PHASE_SEALING || task->has_cancel || task->begin_waits ||
        task->cursor - task->acked_cursor >= CHECKPOINT_BYTES)
        tn_task__checkpoint(task);
    else if (!evtimer_pending(task->checkpoint_timer, NULL))
        evtimer_add(task->checkpoint_timer, &soon);
}

void tn_task__take_checkpoint(struct tn_task *task, const cJSON *checkpoint)
{
    uint8_t boot[TN_AGENT_BOOT];

    if (checkpoint == NULL)
        return;
    task->adopted = true;
    task->cursor = task->acked_cursor = tn_json_u64(checkpoint, "cursor", 0);
    if (unhex(tn_json_string(checkpoint, "boot", NULL), boot, sizeof(boot)))
        memcpy(task->boot, boot, sizeof(boot));
    tn_progress_load(task, tn_json_get(checkpoint, "state"));
    task->kept = (struct tn_kept){task->progress.step, task->progress.tries, task->progress.rerun, task->step_open};
}
