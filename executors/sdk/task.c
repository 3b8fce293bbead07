#include "executors/sdk/task.h"
#include "core/lib/fs.h"
#include "core/lib/json.h"
#include "core/lib/log.h"
#include "core/output/mask.h"
#include "executors/sdk/companion.h"
#include "executors/sdk/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    CONNECT_MS = 30000,     /* until a new environment's agent answers */
    JOB_LIMIT_S = 5 * 3600, /* where the settings say nothing */
};

uint64_t tn_now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u;
}

static void replace(char **place, const char *value)
{
    free(*place);
    *place = value != NULL ? tn_fs_path("%s", value) : NULL;
}

/* ---- the environment ---- */

uint64_t tn_task_id(const struct tn_task *task)
{
    return task->id;
}

uint32_t tn_task_attempt(const struct tn_task *task)
{
    return task->attempt;
}

const cJSON *tn_task_lease(const struct tn_task *task)
{
    return task->lease;
}

void tn_task_say(struct tn_task *task, const char *fmt, ...)
{
    char text[2048];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    if (task->phase >= TN_PHASE_ACQUIRING && task->phase <= TN_PHASE_STEPPING && task->progress.step == 0)
        tn_runner_say(task, "%s\n", text);
}

void tn_task_acquired(struct tn_task *task, const struct tn_environment *environment)
{
    replace(&task->agent_socket, environment->agent_socket);
    replace(&task->bin, environment->bin);
    replace(&task->scratch, environment->scratch);
    replace(&task->home, environment->home);
    replace(&task->root, environment->root != NULL ? environment->root : "");
    replace(&task->node, environment->node);
    task->patience_ms = environment->patience_ms > 0 ? environment->patience_ms : CONNECT_MS;
    task->acquire_pending = false;
    if (task->phase != TN_PHASE_ACQUIRING)
        return;                                   /* canceled meanwhile: release is on its way */
    tn_companion_keep_program(task, environment); /* its log is open before the agent says anything */
    tn_task__connect(task);
}

void tn_task_not_acquired(struct tn_task *task, bool retry, const char *fmt, ...)
{
    char reason[512];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(reason, sizeof(reason), fmt, ap);
    va_end(ap);
    task->acquire_pending = false;
    if (task->phase != TN_PHASE_ACQUIRING)
        return;
    task->progress.final = !retry;
    tn_task_finish(task, TN_TASK_INFRASTRUCTURE_FAILURE, "%s", reason);
}

void tn_task_environment_lost(struct tn_task *task, const char *fmt, ...)
{
    char reason[512];
    va_list ap;

    if (task->phase != TN_PHASE_CONNECTING && task->phase != TN_PHASE_STEPPING)
        return;
    va_start(ap, fmt);
    vsnprintf(reason, sizeof(reason), fmt, ap);
    va_end(ap);
    tn_task_finish(task, TN_TASK_INFRASTRUCTURE_FAILURE, "the environment is lost: %.450s", reason);
}

/* ---- beginning ---- */

static void on_room(void *arg)
{
    struct tn_task *task = arg;

    if (task->reading_paused && task->link != NULL) {
        task->reading_paused = false;
        if (!task->reading_held)
            tn_agent_link_resume(task->link);
    }
    if (tn_executor_ops(task->executor)->room != NULL)
        tn_executor_ops(task->executor)->room(task->executor, task);
}

static void acquire(struct tn_task *task)
{
    if (task->adopted && task->progress.step > 0)
        tn_info("task %llu.%u: adopted at step %u, agent offset %llu", (unsigned long long)task->id, task->attempt,
                task->progress.step, (unsigned long long)task->cursor);
    task->phase = TN_PHASE_ACQUIRING;
    task->acquire_pending = true;
    tn_executor_ops(task->executor)->acquire(task->executor, task);
}

static void begin_environment_step(struct tn_task *task)
{
    acquire(task);
}

/* The limit counts from the attempt's begin, whoever has died since. */
static void arm_limit(struct tn_task *task)
{
    uint64_t now = tn_now_ms();
    uint64_t left;
    struct timeval wait;

    if (task->progress.limit_at == 0)
        task->progress.limit_at = now + task->limit_ms;
    left = task->progress.limit_at > now ? task->progress.limit_at - now : 0;
    if (left > task->limit_ms)
        left = task->limit_ms; /* the clock was set back */
    wait = (struct timeval){(time_t)(left / 1000), (suseconds_t)(left % 1000 * 1000)};
    evtimer_add(task->job_timer, &wait);
}

static void on_opened(void *arg, const cJSON *answer, const struct tn_err *err)
{
    struct tn_task *task = arg;
    const cJSON *stream;

    if (err != NULL) {
        task->phase = TN_PHASE_SEALING;
        task->progress.ended = TN_TASK_INFRASTRUCTURE_FAILURE;
        snprintf(task->progress.reason, sizeof(task->progress.reason), "the output service: %.450s", err->text);
        tn_task__release(task);
        return;
    }
    replace(&task->folder, tn_json_string(answer, "folder", NULL));
    task->log_limit = tn_json_u64(answer, "log_limit", 0);
    replace(&task->timings, tn_json_string(tn_json_get(answer, "timings"), "id", NULL));
    tn_task__take_checkpoint(task, tn_json_get(answer, "checkpoint"));
    cJSON_ArrayForEach (stream, tn_json_get(answer, "streams")) {
        tn_outlet_set_offset(task->outlet, (uint32_t)tn_json_u64(stream, "stream", 0),
                             tn_json_u64(stream, "offset", 0));
    }
    if (task->progress.ended >= 0) {
        tn_task__sealed(task);
        return;
    }
    task->phase = TN_PHASE_ACQUIRING;
    if (task->cancel_wanted || task->progress.canceled) {
        tn_task_finish(task, TN_TASK_CANCELED, "canceled");
        return;
    }
    if (task->progress.timed_out) {
        tn_runner_time_out(task);
        return;
    }
    arm_limit(task);
    tn_task_report_state(task, TN_TASK_PREPARING, NULL);
    if (task->progress.step == 0)
        tn_runner_open_log(task, begin_environment_step);
    else
        acquire(task);
}

static void on_stream_failed(void *arg, uint32_t stream, const struct tn_err *err)
{
    tn_tree_on_stream_failed(arg, stream, err);
}

static void add_masks(cJSON *masks, const cJSON *pairs)
{
    const cJSON *pair;

    cJSON_ArrayForEach (pair, pairs) {
        const cJSON *value = cJSON_GetArrayItem(pair, 1);

        if (cJSON_IsString(value))
            cJSON_AddItemToArray(masks, cJSON_CreateString(value->valuestring));
    }
}

static void on_output_failed(void *arg, const struct tn_err *err)
{
    struct tn_task *task = arg;

    task->output_failed = true;
    tn_task_finish(task, TN_TASK_INFRASTRUCTURE_FAILURE, "its output cannot be kept: %.450s", err->text);
}

static void on_reset(void *arg)
{
    struct tn_task *task = arg;

    if (task->output_failed)
        return; /* nothing to go on from: the end is on its way */
    tn_info("task %llu.%u: the output service was restarted; going on from the last checkpoint",
            (unsigned long long)task->id, task->attempt);
    tn_task_begin(task);
}

/* Everything that only this life of the attempt knew is forgotten; the checkpoint knows the rest. */
static void forget_life(struct tn_task *task)
{
    tn_task__drop_link(task);
    tn_outlet_free(task->outlet);
    tn_companions_free(task);
    tn_tree_free(task);
    tn_peer_forget(tn_executor_service(task->executor)->bus, task);
    tn_task_reports_free(task);
    task->report_sent = task->drained = false;
    task->then = NULL;
    task->begin_waits = task->command_runs = task->rerun_waits = false;
    task->kept = (struct tn_kept){0};
    free(task->step_log);
    free(task->shell);
    task->step_log = task->shell = NULL;
    cJSON_Delete(task->tests);
    task->tests = NULL;
    task->checkpoint_sent = task->checkpoint_dirty = false;
    task->step_open = task->output_failed = false;
    task->op = (struct tn_op){0};
    task->stopping = TN_STOP_NONE;
    task->cursor = task->acked_cursor = 0;
    memset(task->boot, 0, sizeof(task->boot));
    memset(&task->progress, 0, sizeof(task->progress));
    task->progress.ended = -1;
    event_del(task->checkpoint_timer);
    event_del(task->step_timer);
    event_del(task->job_timer);
}

void tn_task_begin(struct tn_task *task)
{
    struct tn_outlet_callbacks callbacks = {.on_reset = on_reset,
                                            .on_room = on_room,
                                            .on_failed = on_output_failed,
                                            .on_stream_failed = on_stream_failed,
                                            .arg = task};
    auto_json cJSON *body = cJSON_CreateObject();
    cJSON *masks = cJSON_AddArrayToObject(body, "masks");

    forget_life(task);
    task->phase = TN_PHASE_OPENING;
    task->outlet = tn_outlet_new(tn_executor_data(task->executor), task->id, task->attempt, &callbacks);
    add_masks(masks, tn_json_get(task->lease, "project_environment"));
    add_masks(masks, tn_json_get(task->lease, "context_environment"));
    tn_keyring_masks(tn_executor_keyring(task->executor), masks);
    tn_task_mask_names(task, masks);
    cJSON_AddStringToObject(body, "grant", tn_json_string(task->lease, "grant", ""));
    tn_outlet_call(task->outlet, TN_MSG_TASK_OPEN, body, on_opened, task);
}

/* ---- ending ---- */

void tn_task_finish(struct tn_task *task, enum tn_task_state result, const char *fmt, ...)
{
    va_list ap;

    if (task->phase >= TN_PHASE_SEALING)
        return;
    task->progress.ended = (int)result;
    va_start(ap, fmt);
    vsnprintf(task->progress.reason, sizeof(task->progress.reason), fmt, ap);
    va_end(ap);
    event_del(task->step_timer);
    event_del(task->job_timer);
    task->phase = TN_PHASE_SEALING;
    task->checkpoint_held = true; /* one checkpoint with all of what follows */
    if (task->step_open)
        tn_runner_step_done(task, task->progress.reason);
    for (size_t i = 0; i < task->progress.backgrounds; i++)
        tn_runner_background_done(task, task->progress.background[i]);
    task->progress.backgrounds = 0;
    tn_task__drop_link(task);
    tn_tree_free(task);
    task->checkpoint_held = false;
    tn_task_touch(task);
}

static void report_end(struct tn_task *task)
{
    task->phase = TN_PHASE_REPORTING;
    tn_task_report_state(task, (enum tn_task_state)task->progress.ended, task->progress.reason);
}

static void on_closed(void *arg, const cJSON *answer, const struct tn_err *err)
{
    struct tn_task *task = arg;

    if (err != NULL)
        tn_warn("task %llu.%u: closing its output: %s", (unsigned long long)task->id, task->attempt, err->text);
    report_end(task);
}

void tn_task__sealed(struct tn_task *task)
{
    const struct tn_executor_ops *ops = tn_executor_ops(task->executor);

    if (!tn_companions_open(task)) {
        tn_task__release(task);
        return;
    }
    task->phase = TN_PHASE_DRAINING;
    if (ops->drain != NULL)
        ops->drain(task->executor, task);
    else
        tn_task_drained(task);
}

void tn_task_drained(struct tn_task *task)
{
    if (task->phase != TN_PHASE_DRAINING)
        return;
    task->drained = true;
    if (task->output_failed) {
        tn_task__release(task);
        return;
    }
    tn_companions_end(task);
    if (!tn_companions_open(task)) /* else the answer for a log is on its way */
        tn_task__checkpoint_now(task);
}

void tn_task__release(struct tn_task *task)
{
    task->phase = TN_PHASE_RELEASING;
    tn_executor_ops(task->executor)->release(task->executor, task);
}

void tn_task_released(struct tn_task *task)
{
    auto_json cJSON *body = NULL;

    if (task->phase != TN_PHASE_RELEASING)
        return;
    if (task->outlet == NULL || tn_executor_stopping(task->executor)) {
        /* The installation ends with this process, or the attempt was taken from us: nobody waits for a word. */
        tn_task_free(task);
        return;
    }
    body = cJSON_CreateObject();
    if (task->output_failed) { /* it may not answer any more */
        tn_outlet_call(task->outlet, TN_MSG_TASK_CLOSE, body, NULL, NULL);
        report_end(task);
        return;
    }
    task->phase = TN_PHASE_CLOSING;
    tn_outlet_call(task->outlet, TN_MSG_TASK_CLOSE, body, on_closed, task);
}

void tn_task_cancel(struct tn_task *task, bool force, const struct tn_msg_ref *request)
{
    if (request != NULL && task->phase < TN_PHASE_RELEASING) {
        task->has_cancel = true;
        task->cancel = *request;
    } else if (request != NULL) {
        tn_peer_reply(tn_executor_service(task->executor)->bus, request, TN_MSG_ACK, NULL, 0);
    }
    if (task->phase >= TN_PHASE_SEALING)
        return;
    task->cancel_wanted = true;
    task->progress.canceled = true;
    if (task->phase == TN_PHASE_OPENING)
        return; /* on_opened() sees it */
    if (task->phase == TN_PHASE_STEPPING && !force) {
        tn_runner_cancel(task, false);
        tn_task_touch(task);
    } else {
        tn_task_finish(task, TN_TASK_CANCELED, "canceled");
    }
}

void tn_task_abandon(struct tn_task *task)
{
    if (task->phase == TN_PHASE_RELEASING)
        return;
    tn_task__drop_link(task);
    tn_tree_free(task);
    tn_outlet_free(task->outlet);
    task->outlet = NULL;
    tn_peer_forget(tn_executor_service(task->executor)->bus, task);
    event_del(task->checkpoint_timer);
    event_del(task->step_timer);
    event_del(task->job_timer);
    tn_task__release(task);
}

/* ---- memory ---- */

static void on_job_limit(evutil_socket_t fd, short what, void *arg)
{
    tn_runner_time_out(arg);
}

static void on_checkpoint_timer(evutil_socket_t fd, short what, void *arg)
{
    tn_task__checkpoint(arg);
}

static void on_step_timer(evutil_socket_t fd, short what, void *arg)
{
    tn_runner_on_timer(arg);
}

struct tn_task *tn_task_new(struct tn_executor *executor, uint64_t id, uint32_t attempt, cJSON *lease)
{
    struct tn_task *task = calloc(1, sizeof(*task));
    struct event_base *base = tn_executor_service(executor)->base;
    const cJSON *jobs = tn_json_get(tn_executor_service(executor)->settings, "jobs");

    if (task == NULL)
        tn_fatal(3, "out of memory: a task");
    task->executor = executor;
    task->id = id;
    task->attempt = attempt;
    task->lease = lease;
    task->definition = tn_json_get(lease, "definition");
    task->steps = tn_json_get(task->definition, "steps");
    task->progress.ended = -1;
    STAILQ_INIT(&task->reports);
    task->checkpoint_timer = evtimer_new(base, on_checkpoint_timer, task);
    task->step_timer = evtimer_new(base, on_step_timer, task);
    task->job_timer = evtimer_new(base, on_job_limit, task);
    if (task->checkpoint_timer == NULL || task->step_timer == NULL || task->job_timer == NULL)
        tn_fatal(3, "out of memory: a task's timers");
    task->limit_ms = (uint64_t)(tn_json_number(jobs, "max_run_time", JOB_LIMIT_S) * 1000);
    return task;
}

void tn_task_free(struct tn_task *task)
{
    tn_executor_forget(task->executor, task);
    tn_task__drop_link(task);
    tn_tree_free(task);
    tn_outlet_free(task->outlet);
    tn_companions_free(task);
    tn_peer_forget(tn_executor_service(task->executor)->bus, task);
    tn_task_reports_free(task);
    event_free(task->checkpoint_timer);
    event_free(task->step_timer);
    event_free(task->job_timer);
    cJSON_Delete(task->lease);
    tn_mask_free(task->mask);
    cJSON_Delete(task->tests);
    free(task->timings);
    free(task->agent_socket);
    free(task->bin);
    free(task->scratch);
    free(task->home);
    free(task->root);
    free(task->node);
    free(task->facts);
    free(task->cwd);
    free(task->shell);
    free(task->folder);
    free(task->step_log);
    free(task);
}
