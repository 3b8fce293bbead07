#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/log.h"
#include "core/lib/units.h"
#include "core/scheduler/graph.h"
#include "core/scheduler/sched.h"
#include "core/scheduler/task_env.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HEADS = 32 }; /* waiting tasks whose changed reason is an event, a round */

/* ---- lists ---- */

static struct tn_share share_of(const struct tn_task *task)
{
    return (struct tn_share){task->job->cpu_milli, task->job->memory_mb};
}

static void take_turn(struct tn_sched *sched, struct tn_workflow *workflow)
{
    if (!workflow->has_turn)
        TAILQ_INSERT_TAIL(&sched->turns, workflow, turn);
    workflow->has_turn = true;
}

static void lose_turn(struct tn_sched *sched, struct tn_workflow *workflow)
{
    if (workflow->has_turn)
        TAILQ_REMOVE(&sched->turns, workflow, turn);
    workflow->has_turn = false;
}

void tn_dispatch_remove(struct tn_sched *sched, struct tn_task *task)
{
    struct tn_workflow *workflow = task->job->workflow;

    switch (task->place) {
    case TN_PLACE_NONE:
        return;
    case TN_PLACE_READY:
        TAILQ_REMOVE(&workflow->ready, task, queue);
        if (TAILQ_EMPTY(&workflow->ready))
            lose_turn(sched, workflow);
        break;
    case TN_PLACE_PARKED:
        TAILQ_REMOVE(&sched->parked, task, queue);
        break;
    case TN_PLACE_DELAYED:
        TAILQ_REMOVE(&sched->delayed, task, queue);
        break;
    case TN_PLACE_LEASED:
        TAILQ_REMOVE(&sched->leased, task, queue);
        break;
    }
    task->place = TN_PLACE_NONE;
}

void tn_dispatch_enqueue(struct tn_sched *sched, struct tn_task *task)
{
    struct tn_workflow *workflow = task->job->workflow;

    tn_dispatch_remove(sched, task);
    if (task->not_before > sched->now()) {
        TAILQ_INSERT_TAIL(&sched->delayed, task, queue);
        task->place = TN_PLACE_DELAYED;
        return;
    }
    TAILQ_INSERT_TAIL(&workflow->ready, task, queue);
    task->place = TN_PLACE_READY;
    take_turn(sched, workflow);
}

static void park(struct tn_sched *sched, struct tn_task *task)
{
    tn_dispatch_remove(sched, task);
    TAILQ_INSERT_TAIL(&sched->parked, task, queue);
    task->place = TN_PLACE_PARKED;
}

void tn_dispatch_hold(struct tn_sched *sched, struct tn_task *task)
{
    tn_dispatch_remove(sched, task);
    TAILQ_INSERT_TAIL(&sched->leased, task, queue);
    task->place = TN_PLACE_LEASED;
    tn_place_take(&sched->capacity, share_of(task));
    task->holds = true;
}

/* ---- executors ---- */

/* Since when the bus tells who is there. A bus that is away longer than executors have to register must not count. */
static int64_t since_heard(const struct tn_sched *sched)
{
    return sched->heard != 0 ? sched->now() - sched->heard : 0;
}

/* Start-up is over when every executor that tenond named has registered or was given up, or when time is. */
static bool settled(const struct tn_sched *sched)
{
    size_t known = 0;

    if (since_heard(sched) >= TN_SCHED_SETTLE_MS)
        return true;
    for (unsigned i = 0; i < TN_SCHED_EXECUTORS; i++) {
        const struct tn_executor *executor = &sched->executors[i];

        known += executor->life != TN_PEER_UNKNOWN ? 1 : 0;
        if (executor->life != TN_PEER_UNKNOWN && executor->life != TN_PEER_FAILED && !executor->registered)
            return false;
    }
    return known > 0;
}

/* Is it of that kind? One that never registered is known by its process's name only: "executor-docker". */
static bool is_kind(const struct tn_executor *executor, const char *kind)
{
    size_t name = strlen(executor->name);
    size_t length = strlen(kind);

    if (executor->kind[0] != '\0')
        return strcmp(executor->kind, kind) == 0;
    return length > 0 && name > length && executor->name[name - length - 1] == '-' &&
           strcmp(executor->name + name - length, kind) == 0;
}

enum choice { CHOICE_FOUND, CHOICE_WAIT, CHOICE_NONE };

static enum choice choose(const struct tn_sched *sched, const char *kind, const struct tn_executor **found, char *why,
                          size_t size)
{
    const struct tn_executor *best = NULL;

    for (unsigned i = 0; i < TN_SCHED_EXECUTORS; i++) {
        const struct tn_executor *executor = &sched->executors[i];

        if (executor->life == TN_PEER_UNKNOWN || !is_kind(executor, kind))
            continue;
        if (executor->registered && executor->ready) {
            *found = executor;
            return CHOICE_FOUND;
        }
        if (best == NULL || best->life == TN_PEER_FAILED)
            best = executor;
    }
    if (best == NULL) {
        snprintf(why, size, "waits for an executor of kind %s: none is registered", kind);
        return settled(sched) ? CHOICE_NONE : CHOICE_WAIT;
    }
    if (best->life == TN_PEER_FAILED) {
        snprintf(why, size, "the %s executor was given up: %s", kind,
                 best->reason != NULL ? best->reason : "it failed");
        return CHOICE_NONE;
    }
    if (best->registered && best->passes) {
        snprintf(why, size, "waits for the %s executor: %s", kind,
                 best->reason != NULL ? best->reason : "it gives no reason");
        return CHOICE_WAIT;
    }
    if (best->registered) {
        snprintf(why, size, "the %s executor is unavailable: %s", kind,
                 best->reason != NULL ? best->reason : "it gives no reason");
        return settled(sched) ? CHOICE_NONE : CHOICE_WAIT;
    }
    snprintf(why, size, "waits for the %s executor to start", kind);
    return CHOICE_WAIT;
}

static void end_without_executor(struct tn_sched *sched, struct tn_task *task, const char *why)
{
    auto_free char *text = NULL;

    if (strncmp(why, "waits for ", 10) == 0)
        text = tn_fs_path("no executor of kind %s is registered on this host", task->job->kind);
    tn_sched_task_set(sched, task, TN_TASK_INFRASTRUCTURE_FAILURE, text != NULL ? text : why);
}

/* ---- room ---- */

/* Nothing begins: the disk is nearly full, or it is not yet known whether it is. */
static bool held(const struct tn_sched *sched)
{
    return sched->disk.low || (sched->disk.expected && since_heard(sched) < TN_SCHED_SETTLE_MS);
}

void tn_dispatch_disk_state(struct tn_sched *sched, const cJSON *body)
{
    uint64_t there = tn_json_u64(body, "free", 0);
    uint64_t moved = there > sched->disk.told ? there - sched->disk.told : sched->disk.told - there;
    bool was_low = sched->disk.low;
    char room[32];
    char reserve[32];

    sched->disk.expected = false;
    sched->disk.low = tn_json_bool(body, "low", false);
    if (was_low && moved < tn_json_u64(body, "reserve", 0) / 20)
        return; /* not every byte is worth an event */
    sched->disk.told = there;
    snprintf(sched->disk.text, sizeof(sched->disk.text),
             "waits for room on the disk: %s are free on %.200s, %s are kept free (store.reserve)",
             tn_units_size_text(there, room, sizeof(room)), tn_json_string(body, "path", "?"),
             tn_units_size_text(tn_json_u64(body, "reserve", 0), reserve, sizeof(reserve)));
}

/* ---- why ---- */

const char *tn_dispatch_why(void *arg, const struct tn_task *task, char *out, size_t size)
{
    const struct tn_sched *sched = arg;
    const struct tn_executor *executor;

    out[0] = '\0';
    if (task->state != TN_TASK_QUEUED)
        return out;
    if (!task->job->released)
        return tn_graph_waits_text(task->job, out, size);
    if (task->place == TN_PLACE_DELAYED || (task->place == TN_PLACE_NONE && task->attempt > 1)) {
        snprintf(out, size, "attempt %u starts in a moment, since the last one failed: %s", task->attempt,
                 task->reason != NULL ? task->reason : "?");
        return out;
    }
    if (task->job->type != TN_JOB_BUILD || choose(sched, task->job->kind, &executor, out, size) != CHOICE_FOUND)
        return out;
    if (sched->disk.low) {
        snprintf(out, size, "%s", sched->disk.text);
        return out;
    }
    tn_place_reason(&sched->capacity, share_of(task), out, size);
    if (out[0] == '\0' && task->place == TN_PLACE_READY)
        snprintf(out, size, "waits for its turn");
    return out;
}

/* A waiting task says so when its reason has changed. That is kept in `reason`, but written to no disk. */
static void tell(struct tn_sched *sched, struct tn_task *task)
{
    struct tn_view view = tn_sched_view(sched);
    char why[TN_DISPATCH_WHY];

    tn_dispatch_why(sched, task, why, sizeof(why));
    if (task->reason != NULL && strcmp(task->reason, why) == 0)
        return;
    tn_text_set(&task->reason, why);
    tn_sched_emit(sched, tn_event_task(&view, task));
}

static void tell_heads(struct tn_sched *sched)
{
    struct tn_workflow *workflow;
    int told = 0;

    TAILQ_FOREACH (workflow, &sched->turns, turn) {
        if (told++ == HEADS)
            return;
        tell(sched, TAILQ_FIRST(&workflow->ready));
    }
}

/* ---- leases ---- */

static bool still_leased(const void *arg, uint32_t attempt)
{
    const struct tn_task *task = arg;

    return task->attempt == attempt && task->place == TN_PLACE_LEASED;
}

/* What a refusal says, in one line. The caller frees it. */
static char *refusal_text(const struct tn_msg *reply, char *code, size_t size)
{
    auto_json cJSON *body = tn_json_parse(reply->body, reply->header.length, "REFUSED", NULL);

    snprintf(code, size, "%s", tn_json_string(body, "code", "failed"));
    return tn_fs_path("%s", tn_json_string(body, "text", "refused without a reason"));
}

static void on_leased(void *arg, const struct tn_msg *reply)
{
    struct tn_task *task = arg;
    struct tn_sched *sched = task->job->workflow->pipeline->owner;
    auto_free char *text = NULL;
    char code[32];

    if (reply == NULL || reply->header.kind != TN_MSG_REFUSED || !still_leased(task, reply->header.attempt))
        return;
    tn_sched_wake(sched);
    text = refusal_text(reply, code, sizeof(code));
    tn_warn("task %llu: the executor refuses the lease (%s): %s", (unsigned long long)task->id, code, text);
    /* What is wrong with the job itself is wrong again at the next attempt. */
    if (strcmp(code, "invalid") == 0 || strcmp(code, "not_found") == 0)
        tn_sched_task_set(sched, task, TN_TASK_INFRASTRUCTURE_FAILURE, text);
    else
        tn_sched_task_lost(sched, task, text);
}

static void send_lease(struct tn_sched *sched, struct tn_task *task)
{
    struct tn_held_request request = {.kind = TN_MSG_LEASE,
                                      .destination = task->executor,
                                      .task = task->id,
                                      .attempt = task->attempt,
                                      .still = still_leased,
                                      .cb = on_leased,
                                      .arg = task};

    request.body = tn_task_lease(task, sched->installation, sched->key, tn_place_clip(&sched->capacity, share_of(task)));
    if (strlen(request.body) > tn_msg_info(TN_MSG_LEASE)->max_body) {
        auto_free char *text = tn_fs_path("the job with its environment takes %zu bytes, at most %u are allowed",
                                          strlen(request.body), (unsigned)tn_msg_info(TN_MSG_LEASE)->max_body);

        free(request.body);
        tn_sched_task_set(sched, task, TN_TASK_INFRASTRUCTURE_FAILURE, text);
        return;
    }
    tn_outbox_request(&sched->outbox, &request);
}

static void lease(struct tn_sched *sched, struct tn_task *task, const struct tn_executor *executor)
{
    char alone[160];

    if (tn_place_fit(&sched->capacity, share_of(task)) == TN_FIT_ALONE)
        tn_place_reason(&sched->capacity, share_of(task), alone, sizeof(alone));
    else
        alone[0] = '\0';
    task->executor = executor->address;
    task->not_before = 0;
    tn_dispatch_hold(sched, task);
    tn_sched_task_set(sched, task, TN_TASK_LEASED, alone[0] != '\0' ? alone : NULL);
    send_lease(sched, task);
}

/* The first task of the first workflow in turn: leased, set aside or ended. False: it waits for capacity, and so does
 * everything behind it: what is small must not overtake what is large for ever. */
static bool dispatch_one(struct tn_sched *sched, struct tn_workflow *workflow)
{
    struct tn_task *task = TAILQ_FIRST(&workflow->ready);
    const struct tn_executor *executor = NULL;
    char why[TN_DISPATCH_WHY];
    enum choice choice = choose(sched, task->job->kind, &executor, why, sizeof(why));

    if (choice == CHOICE_NONE && !task->job->workflow->pipeline->wait) {
        end_without_executor(sched, task, why);
        return true;
    }
    if (choice != CHOICE_FOUND) {
        park(sched, task);
        tell(sched, task);
        return true;
    }
    if (held(sched) || tn_place_fit(&sched->capacity, share_of(task)) == TN_FIT_LATER)
        return false;
    lease(sched, task, executor);
    if (workflow->has_turn) {
        lose_turn(sched, workflow);
        take_turn(sched, workflow);
    }
    return true;
}

void tn_dispatch(struct tn_sched *sched)
{
    struct tn_workflow *workflow;

    while ((workflow = TAILQ_FIRST(&sched->turns)) != NULL)
        if (!dispatch_one(sched, workflow)) {
            tell_heads(sched);
            return;
        }
}

/* ---- what executors do ---- */

static void unpark_all(struct tn_sched *sched)
{
    struct tn_task_list parked = TAILQ_HEAD_INITIALIZER(parked);
    struct tn_task *task;

    TAILQ_CONCAT(&parked, &sched->parked, queue);
    while ((task = TAILQ_FIRST(&parked)) != NULL) {
        TAILQ_REMOVE(&parked, task, queue);
        task->place = TN_PLACE_NONE;
        tn_dispatch_enqueue(sched, task);
    }
}

static void lose_leases(struct tn_sched *sched, const struct tn_executor *executor, const char *reason)
{
    struct tn_task *task = TAILQ_FIRST(&sched->leased);

    while (task != NULL) {
        struct tn_task *next = TAILQ_NEXT(task, queue);

        if (task->executor == executor->address)
            tn_sched_task_lost(sched, task, reason);
        task = next;
    }
}

void tn_dispatch_executor_changed(struct tn_sched *sched, struct tn_executor *executor)
{
    if (executor->life == TN_PEER_FAILED) {
        auto_free char *reason = tn_fs_path("%s was given up: %s", executor->name,
                                            executor->reason != NULL ? executor->reason : "it failed");

        lose_leases(sched, executor, reason);
    }
    unpark_all(sched);
}

static void on_cancel_answered(void *arg, const struct tn_msg *reply)
{
    struct tn_task *task = arg;
    struct tn_sched *sched = task->job->workflow->pipeline->owner;
    auto_free char *text = NULL;
    char code[32];

    if (reply == NULL || reply->header.kind != TN_MSG_REFUSED || !still_leased(task, reply->header.attempt))
        return;
    tn_sched_wake(sched);
    text = refusal_text(reply, code, sizeof(code));
    if (strcmp(code, "not_found") == 0 || strcmp(code, "fenced") == 0)
        tn_sched_task_set(sched, task, TN_TASK_CANCELED, "canceled");
    else
        tn_warn("task %llu: the executor refuses to cancel it (%s): %s", (unsigned long long)task->id, code, text);
}

void tn_dispatch_send_cancel(struct tn_sched *sched, struct tn_task *task)
{
    auto_json cJSON *body = cJSON_CreateObject();
    struct tn_held_request request = {.kind = TN_MSG_TASK_CANCEL,
                                      .destination = task->executor,
                                      .task = task->id,
                                      .attempt = task->attempt,
                                      .still = still_leased,
                                      .cb = on_cancel_answered,
                                      .arg = task};

    if (sched->executors[TN_ADDRESS_INDEX(task->executor)].life == TN_PEER_FAILED) {
        tn_sched_task_set(sched, task, TN_TASK_CANCELED, "canceled");
        return;
    }
    cJSON_AddBoolToObject(body, "force", task->job->workflow->pipeline->force);
    cJSON_AddStringToObject(body, "reason", "canceled");
    request.body = tn_json_print(body);
    tn_outbox_request(&sched->outbox, &request);
    task->cancel_sent = true;
}

void tn_dispatch_leases_again(struct tn_sched *sched, const struct tn_executor *executor)
{
    struct tn_task *task = TAILQ_FIRST(&sched->leased);

    while (task != NULL) {
        struct tn_task *next = TAILQ_NEXT(task, queue);

        if (task->executor == executor->address) {
            if (sched->bus != NULL)
                tn_peer_forget(sched->bus, task);
            send_lease(sched, task);
            if (task->place == TN_PLACE_LEASED && task->job->workflow->pipeline->cancel)
                tn_dispatch_send_cancel(sched, task);
        }
        task = next;
    }
}

/* ---- time ---- */

int64_t tn_dispatch_due(struct tn_sched *sched)
{
    int64_t now = sched->now();
    int64_t due = -1;
    const struct tn_task *task;

    if (sched->heard != 0 && since_heard(sched) < TN_SCHED_SETTLE_MS)
        due = TN_SCHED_SETTLE_MS - since_heard(sched);
    TAILQ_FOREACH (task, &sched->delayed, queue) {
        int64_t left = task->not_before > now ? task->not_before - now : 0;

        due = due < 0 || left < due ? left : due;
    }
    return due;
}

/* Leases of an executor that nobody named since the start: it is not part of this installation any more. */
static void lose_strangers(struct tn_sched *sched)
{
    for (unsigned i = 0; i < TN_SCHED_EXECUTORS; i++)
        if (sched->executors[i].life == TN_PEER_UNKNOWN)
            lose_leases(sched, &sched->executors[i], "its executor is not there any more");
}

void tn_dispatch_tick(struct tn_sched *sched)
{
    struct tn_task *task = TAILQ_FIRST(&sched->delayed);

    while (task != NULL) {
        struct tn_task *next = TAILQ_NEXT(task, queue);

        if (task->not_before <= sched->now())
            tn_dispatch_enqueue(sched, task);
        task = next;
    }
    if (since_heard(sched) >= TN_SCHED_SETTLE_MS && !TAILQ_EMPTY(&sched->leased))
        lose_strangers(sched);
    unpark_all(sched);
}
