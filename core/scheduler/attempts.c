/* What executors say of attempts. Each word is checked against the lease: who holds it and which attempt it is. */
#include "core/lib/log.h"
#include "core/scheduler/handlers.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* A task of a pipeline that has ended is in the ledger only. What was said already is acknowledged again. */
static void answer_ended(struct tn_sched *sched, const struct tn_msg_ref *ref, const char *state)
{
    struct tn_task_row row;

    if (tn_ledger_find_task(sched->ledger, ref->task, &row) != 0)
        tn_outbox_refuse(&sched->outbox, ref, "not_found", "task %" PRIu64 " is not known", ref->task);
    else if (row.attempt != ref->attempt || row.executor != ref->source)
        tn_outbox_refuse(&sched->outbox, ref, "fenced", "task %" PRIu64 " is in attempt %u, this is about attempt %u",
                         ref->task, row.attempt, ref->attempt);
    else if (state != NULL && tn_task_state_terminal((enum tn_task_state)tn_task_state_parse(state)) &&
             strcmp(state, tn_task_state_name(row.state)) != 0)
        tn_outbox_refuse(&sched->outbox, ref, "conflict", "task %" PRIu64 " has ended already: %s", ref->task,
                         tn_task_state_name(row.state));
    else
        tn_outbox_reply(&sched->outbox, ref, TN_MSG_ACK, NULL);
}

/* The task that `ref` speaks of if it may; else it is answered and NULL is returned. */
static struct tn_task *find(struct tn_sched *sched, const struct tn_msg_ref *ref, const char *state)
{
    struct tn_task *task = tn_sched_task(sched, ref->task);

    if (task == NULL) {
        answer_ended(sched, ref, state);
        return NULL;
    }
    if (task->attempt == ref->attempt && task->executor == ref->source)
        return task;
    tn_outbox_refuse(&sched->outbox, ref, "fenced",
                     "task %" PRIu64 " is in attempt %u and leased to 0x%04x; this is about attempt %u from 0x%04x",
                     ref->task, task->attempt, task->executor, ref->attempt, ref->source);
    return NULL;
}

static void keep_json(char **place, const cJSON *body, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(body, key);

    if (item == NULL)
        return;
    free(*place);
    *place = tn_json_print(item);
}

/* What comes with a state, whichever it is. */
static void keep_results(struct tn_task *task, const cJSON *body)
{
    task->steps_begun = task->steps_begun || tn_json_bool(body, "steps_begun", false);
    if (tn_json_string(body, "folder", NULL) != NULL)
        tn_text_set(&task->folder, tn_json_string(body, "folder", NULL));
    keep_json(&task->artifacts, body, "artifacts");
    keep_json(&task->tests, body, "tests");
}

static void apply_state(struct tn_sched *sched, struct tn_task *task, enum tn_task_state to, const cJSON *body)
{
    const char *reason = tn_json_string(body, "reason", NULL);

    keep_results(task, body);
    if (to == TN_TASK_INFRASTRUCTURE_FAILURE && !tn_json_bool(body, "final", false)) {
        /* The executor itself knows whether a step had an effect: what was reported of steps does not count here. */
        task->steps_seen = task->steps_begun;
        tn_sched_task_lost(sched, task, reason != NULL ? reason : "the environment failed");
    } else {
        tn_sched_task_set(sched, task, to, reason);
    }
}

void tn_handle_task_state(struct tn_sched *sched, const struct tn_msg_ref *ref, const cJSON *body)
{
    const char *name = tn_json_string(body, "state", "");
    int to = tn_task_state_parse(name);
    struct tn_task *task;

    if (to < 0 || to == TN_TASK_QUEUED || to == TN_TASK_LEASED || to == TN_TASK_NOT_RUN) {
        tn_outbox_refuse(&sched->outbox, ref, "invalid", "\"%s\" is no state that an executor may report", name);
        return;
    }
    if ((task = find(sched, ref, name)) == NULL)
        return;
    if (tn_task_state_follows(task->state, (enum tn_task_state)to)) {
        apply_state(sched, task, (enum tn_task_state)to, body);
    } else if (tn_task_state_terminal(task->state) && tn_task_state_terminal((enum tn_task_state)to) &&
               (int)task->state != to) {
        tn_outbox_refuse(&sched->outbox, ref, "conflict", "task %" PRIu64 " has ended already: %s", ref->task,
                         tn_task_state_name(task->state));
        return;
    } else if ((int)task->state == to && !tn_task_state_terminal(task->state) &&
               tn_json_bool(body, "steps_begun", false) && !task->steps_begun) {
        /* The same state again, but now steps have begun: that must outlive this process. */
        keep_results(task, body);
        tn_sched_task_put(sched, task);
    }
    /* A state said again, or one that was passed already, is no news: acknowledged. */
    tn_outbox_reply(&sched->outbox, ref, TN_MSG_ACK, NULL);
}

void tn_handle_step_state(struct tn_sched *sched, const struct tn_msg_ref *ref, const cJSON *body)
{
    const char *state = tn_json_string(body, "state", "");
    double number = tn_json_number(body, "step", -1);
    struct tn_task *task;
    char *text;

    if (number < 0 || number > 1e6 || state[0] == '\0') {
        tn_outbox_refuse(&sched->outbox, ref, "invalid", "a step's state needs \"step\", from 0, and \"state\"");
        return;
    }
    if ((task = find(sched, ref, NULL)) == NULL)
        return;
    text = tn_json_print(body);
    task->steps_seen = true;
    if (tn_task_put_step(task, (unsigned)number, strcmp(state, "running") != 0, text)) {
        tn_ledger_put(sched->ledger, TN_LEDGER_STEP_PUT, "iiis", (int64_t)task->id, (int64_t)task->attempt,
                      (int64_t)number, text);
        tn_sched_emit(sched, tn_event_step(task, cJSON_Duplicate(body, true)));
    }
    free(text);
    tn_outbox_reply(&sched->outbox, ref, TN_MSG_ACK, NULL);
}
