#include "core/scheduler/handlers.h"
#include "core/lib/cleanup.h"
#include "core/lib/log.h"
#include "core/scheduler/lease_key.h"
#include "core/scheduler/plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CLIENT_ID_MAX = 100 };

static void compile(struct tn_sched *sched, struct tn_pipeline *pipeline);

/* ---- PIPELINE_CREATE ---- */

static void answer_created(struct tn_sched *sched, const struct tn_msg_ref *ref, const struct tn_pipeline *pipeline)
{
    auto_json cJSON *body = cJSON_CreateObject();
    cJSON *diagnostics = pipeline->diagnostics != NULL ? cJSON_Parse(pipeline->diagnostics) : NULL;

    cJSON_AddStringToObject(body, "id", pipeline->id);
    cJSON_AddNumberToObject(body, "number", (double)pipeline->number);
    cJSON_AddStringToObject(body, "state", strcmp(pipeline->state, "error") == 0 ? "error" : "running");
    cJSON_AddItemToObject(body, "diagnostics", diagnostics != NULL ? diagnostics : cJSON_CreateArray());
    tn_outbox_reply(&sched->outbox, ref, TN_MSG_PIPELINE_CREATED, tn_json_print(body));
}

static void wait_for_compiler(struct tn_sched *sched, const struct tn_msg_ref *ref, const struct tn_pipeline *pipeline)
{
    struct tn_waiter *waiter = tn_model_alloc(1, sizeof(*waiter));

    waiter->pipeline = pipeline;
    waiter->ref = *ref;
    LIST_INSERT_HEAD(&sched->waiters, waiter, next);
}

static void answer_waiters(struct tn_sched *sched, const struct tn_pipeline *pipeline)
{
    struct tn_waiter *waiter = LIST_FIRST(&sched->waiters);

    while (waiter != NULL) {
        struct tn_waiter *next = LIST_NEXT(waiter, next);

        if (waiter->pipeline == pipeline) {
            answer_created(sched, &waiter->ref, pipeline);
            LIST_REMOVE(waiter, next);
            free(waiter);
        }
        waiter = next;
    }
}

/* Environment and contexts leave the request: they are kept apart and deleted with the pipeline's end. */
static void take_secrets(struct tn_pipeline *pipeline)
{
    pipeline->environment = cJSON_DetachItemFromObjectCaseSensitive(pipeline->request, "environment");
    pipeline->contexts = cJSON_DetachItemFromObjectCaseSensitive(pipeline->request, "contexts");
}

static void put_pipeline(struct tn_sched *sched, const struct tn_pipeline *pipeline)
{
    auto_json cJSON *secret = NULL;
    auto_free char *request = tn_json_print(pipeline->request);
    auto_free char *text = NULL;

    tn_ledger_put(sched->ledger, TN_LEDGER_PIPELINE_ADD, "issis", (int64_t)pipeline->number, pipeline->id,
                  pipeline->state, pipeline->created, request);
    if (pipeline->environment == NULL && pipeline->contexts == NULL)
        return;
    secret = cJSON_CreateObject();
    cJSON_AddItemToObject(secret, "environment", cJSON_Duplicate(pipeline->environment, true));
    cJSON_AddItemToObject(secret, "contexts", cJSON_Duplicate(pipeline->contexts, true));
    text = tn_json_print(secret);
    tn_ledger_put(sched->ledger, TN_LEDGER_SECRET_ADD, "is", (int64_t)pipeline->number, text);
}

/* The values that only the scheduler knows, unless the client insists on its own. */
static void add_values(struct tn_pipeline *pipeline)
{
    cJSON *values = cJSON_GetObjectItemCaseSensitive(pipeline->request, "pipeline_values");

    if (!cJSON_IsObject(values)) {
        cJSON_DeleteItemFromObjectCaseSensitive(pipeline->request, "pipeline_values");
        values = cJSON_AddObjectToObject(pipeline->request, "pipeline_values");
    }
    if (!cJSON_HasObjectItem(values, "id"))
        cJSON_AddStringToObject(values, "id", pipeline->id);
    if (!cJSON_HasObjectItem(values, "number"))
        cJSON_AddNumberToObject(values, "number", (double)pipeline->number);
}

static void create(struct tn_sched *sched, const struct tn_msg_ref *ref, const char *id, cJSON *request)
{
    struct tn_pipeline *pipeline;
    struct tn_err err = TN_ERR_INIT;
    uint64_t number;

    if (tn_ledger_take_numbers(sched->ledger, "pipeline", 1, &number, &err) != 0) {
        tn_error("%s", err.text);
        tn_outbox_refuse(&sched->outbox, ref, "unavailable", "%s", err.text);
        cJSON_Delete(request);
        return;
    }
    pipeline = tn_pipeline_new(id);
    pipeline->number = number;
    pipeline->created = sched->now();
    pipeline->request = request;
    pipeline->wait = tn_json_bool(request, "wait", false);
    take_secrets(pipeline);
    add_values(pipeline);
    put_pipeline(sched, pipeline);
    tn_sched_add(sched, pipeline);
    wait_for_compiler(sched, ref, pipeline);
    compile(sched, pipeline);
    tn_info("pipeline %llu is recorded", (unsigned long long)number);
}

static void on_create(struct tn_sched *sched, const struct tn_msg_ref *ref, cJSON *body)
{
    const char *id = tn_json_string(body, "id", "");
    struct tn_pipeline *pipeline = tn_sched_pipeline(sched, id);
    struct tn_err err = TN_ERR_INIT;

    if (id[0] == '\0' || strlen(id) > CLIENT_ID_MAX || tn_json_string(body, "config", NULL) == NULL) {
        tn_outbox_refuse(&sched->outbox, ref, "invalid",
                         "PIPELINE_CREATE needs an id of 1 to %d characters and the config's text", CLIENT_ID_MAX);
    } else if (pipeline != NULL && strcmp(pipeline->state, "compiling") == 0) {
        wait_for_compiler(sched, ref, pipeline);
    } else if (pipeline != NULL) {
        answer_created(sched, ref, pipeline);
    } else if ((pipeline = tn_ledger_load(sched->ledger, id, &err)) != NULL) {
        answer_created(sched, ref, pipeline);
        tn_pipeline_free(pipeline);
    } else if (err.code == TN_ERR_NOT_FOUND) {
        create(sched, ref, id, body);
        return; /* `body` is the pipeline's now */
    } else {
        tn_outbox_refuse(&sched->outbox, ref, "failed", "%s", err.text);
    }
    cJSON_Delete(body);
}

/* ---- COMPILE ---- */

static char *one_diagnostic(const char *message)
{
    auto_json cJSON *list = cJSON_CreateArray();
    cJSON *item = cJSON_CreateObject();

    cJSON_AddStringToObject(item, "severity", "error");
    cJSON_AddStringToObject(item, "message", message);
    cJSON_AddItemToArray(list, item);
    return tn_json_print(list);
}

static void end_with_error(struct tn_sched *sched, struct tn_pipeline *pipeline, const char *message)
{
    if (message != NULL) {
        free(pipeline->diagnostics);
        pipeline->diagnostics = one_diagnostic(message);
    }
    tn_pipeline_drop_workflows(pipeline);
    tn_sched_end_pipeline(sched, pipeline, "error");
}

static void start(struct tn_sched *sched, struct tn_pipeline *pipeline, const cJSON *plan)
{
    struct tn_err err = TN_ERR_INIT;
    uint64_t jobs;
    uint64_t tasks;
    uint64_t first_job = 0;
    uint64_t first_task = 0;

    if (tn_plan_read(pipeline, plan, &err) != 0) {
        end_with_error(sched, pipeline, err.text);
        return;
    }
    tn_plan_count(pipeline, &jobs, &tasks);
    if (jobs > 0 && (tn_ledger_take_numbers(sched->ledger, "job", jobs, &first_job, &err) != 0 ||
                     tn_ledger_take_numbers(sched->ledger, "task", tasks, &first_task, &err) != 0)) {
        end_with_error(sched, pipeline, err.text);
        return;
    }
    tn_plan_number(pipeline, first_job, first_task);
    for (size_t w = 0; w < pipeline->workflow_count; w++)
        pipeline->workflows[w].created = sched->now();
    tn_plan_put_rows(pipeline, sched->ledger);
    pipeline->state = tn_state_text("running");
    tn_ledger_put(sched->ledger, TN_LEDGER_PIPELINE_STATE, "isis", (int64_t)pipeline->number, pipeline->state,
                  (int64_t)0, pipeline->diagnostics);
    tn_sched_emit(sched, tn_event_pipeline(pipeline));
    tn_sched_begin(sched, pipeline);
    if (pipeline->cancel && pipeline->ended == 0)
        tn_sched_cancel(sched, pipeline, pipeline->force);
}

static void on_compiled(void *arg, const struct tn_msg *reply)
{
    struct tn_pipeline *pipeline = arg;
    struct tn_sched *sched = pipeline->owner;
    struct tn_err err = TN_ERR_INIT;
    auto_json cJSON *body = tn_json_parse(reply->body, reply->header.length, "COMPILED", &err);
    const cJSON *plan = tn_json_get(body, "plan");
    const cJSON *diagnostics = tn_json_get(body, "diagnostics");

    tn_sched_wake(sched);
    if (diagnostics != NULL)
        pipeline->diagnostics = tn_json_print(diagnostics);
    if (reply->header.kind == TN_MSG_REFUSED)
        end_with_error(sched, pipeline, tn_json_string(body, "text", "the compiler refuses the config"));
    else if (body == NULL)
        end_with_error(sched, pipeline, err.text);
    else if (plan == NULL)
        end_with_error(sched, pipeline, diagnostics != NULL ? NULL : "the compiler gave neither a plan nor a reason");
    else
        start(sched, pipeline, plan);
    answer_waiters(sched, pipeline);
}

static void compile(struct tn_sched *sched, struct tn_pipeline *pipeline)
{
    static const char *const members[] = {"config", "file", "workflow", "job", "parameters", "pipeline_values"};
    auto_json cJSON *body = cJSON_CreateObject();
    struct tn_held_request request = {
        .kind = TN_MSG_COMPILE, .destination = TN_ADDRESS(TN_ROLE_COMPILER, 0), .cb = on_compiled, .arg = pipeline};

    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
        cJSON *item = cJSON_GetObjectItemCaseSensitive(pipeline->request, members[i]);

        if (item != NULL)
            cJSON_AddItemReferenceToObject(body, members[i], item);
    }
    request.body = tn_json_print(body);
    if (strlen(request.body) > tn_msg_info(TN_MSG_COMPILE)->max_body) {
        free(request.body);
        end_with_error(sched, pipeline, "the config with its parameters is larger than 6 MiB");
        answer_waiters(sched, pipeline);
        return;
    }
    tn_outbox_request(&sched->outbox, &request);
}

/* ---- PIPELINE_GET, PIPELINE_CANCEL ---- */

static void on_get(struct tn_sched *sched, const struct tn_msg_ref *ref, const cJSON *body)
{
    const char *id = tn_json_string(body, "id", "");
    struct tn_view view = tn_sched_view(sched);
    struct tn_pipeline *pipeline = tn_sched_pipeline(sched, id);
    struct tn_pipeline *loaded = NULL;
    struct tn_err err = TN_ERR_INIT;
    auto_json cJSON *snapshot = NULL;

    if (pipeline == NULL)
        pipeline = loaded = tn_ledger_load(sched->ledger, id, &err);
    if (pipeline == NULL) {
        tn_outbox_refuse(&sched->outbox, ref, err.code == TN_ERR_NOT_FOUND ? "not_found" : "failed", "%s", err.text);
        return;
    }
    snapshot = tn_event_snapshot(&view, pipeline);
    tn_outbox_reply(&sched->outbox, ref, TN_MSG_PIPELINE_IS, tn_json_print(snapshot));
    tn_pipeline_free(loaded);
}

static void on_cancel(struct tn_sched *sched, const struct tn_msg_ref *ref, const cJSON *body)
{
    const char *id = tn_json_string(body, "id", "");
    struct tn_pipeline *pipeline = tn_sched_pipeline(sched, id);
    struct tn_err err = TN_ERR_INIT;

    if (pipeline != NULL && pipeline->ended == 0) {
        tn_sched_cancel(sched, pipeline, tn_json_bool(body, "force", false));
    } else if (pipeline == NULL) {
        pipeline = tn_ledger_load(sched->ledger, id, &err);
        if (pipeline == NULL) {
            tn_outbox_refuse(&sched->outbox, ref, err.code == TN_ERR_NOT_FOUND ? "not_found" : "failed", "%s",
                             err.text);
            return;
        }
        tn_pipeline_free(pipeline); /* it has ended: nothing is left to cancel */
    }
    tn_outbox_reply(&sched->outbox, ref, TN_MSG_ACK, NULL);
}

/* ---- executors ---- */

/* Which of the environments found are still leased to it. */
static void answer_registered(struct tn_sched *sched, const struct tn_msg_ref *ref, const cJSON *found)
{
    auto_json cJSON *body = cJSON_CreateObject();
    cJSON *leased = cJSON_AddArrayToObject(body, "leased");
    const cJSON *item;

    cJSON_ArrayForEach (item, found) {
        const struct tn_task *task = tn_sched_task(sched, tn_json_u64(item, "task", 0));
        cJSON *row;

        if (task == NULL || task->place != TN_PLACE_LEASED || task->executor != ref->source ||
            task->attempt != (unsigned)tn_json_u64(item, "attempt", 0))
            continue;
        row = cJSON_CreateObject();
        tn_json_add_u64(row, "task", task->id);
        cJSON_AddNumberToObject(row, "attempt", task->attempt);
        cJSON_AddItemToArray(leased, row);
    }
    tn_outbox_reply(&sched->outbox, ref, TN_MSG_EXECUTOR_REGISTERED, tn_json_print(body));
}

/* What tenond read in its manifest. */
static bool may_be(const struct tn_executor *executor, const char *kind)
{
    const cJSON *item;

    cJSON_ArrayForEach (item, executor->kinds)
        if (cJSON_IsString(item) && strcmp(item->valuestring, kind) == 0)
            return true;
    return false;
}

static void on_register(struct tn_sched *sched, const struct tn_msg_ref *ref, const cJSON *body)
{
    struct tn_executor *executor = &sched->executors[TN_ADDRESS_INDEX(ref->source)];
    const char *kind = tn_json_string(body, "kind", "");
    const char *state = tn_json_string(body, "state", "");
    bool again;

    if (kind[0] == '\0' || strlen(kind) >= sizeof(executor->kind) ||
        (strcmp(state, "ready") != 0 && strcmp(state, "unavailable") != 0)) {
        tn_outbox_refuse(&sched->outbox, ref, "invalid",
                         "EXECUTOR_REGISTER needs a kind of 1 to %zu characters and a state, ready or unavailable",
                         sizeof(executor->kind) - 1);
        return;
    }
    if (executor->kinds == NULL)
        return; /* tenond's word on it is on its way: it asks again */
    if (!may_be(executor, kind)) {
        tn_warn("executor 0x%04x (%s) says that it is of the kind %s, which its manifest does not name", ref->source,
                executor->name, kind);
        tn_outbox_refuse(&sched->outbox, ref, "invalid", "the manifest of this executor does not name the kind %s",
                         kind);
        return;
    }
    again = executor->registered && executor->registered_life == TN_SEQUENCE_LIFE(ref->sequence);
    snprintf(executor->kind, sizeof(executor->kind), "%s", kind);
    executor->life = TN_PEER_UP;
    executor->registered_life = TN_SEQUENCE_LIFE(ref->sequence);
    executor->registered = true;
    executor->ready = strcmp(state, "ready") == 0;
    executor->passes = tn_json_bool(body, "passes", false);
    tn_text_set(&executor->reason, tn_json_string(body, "reason", NULL));
    tn_info("executor %s (0x%04x) is %s%s%s", kind, ref->source, state, executor->reason != NULL ? ": " : "",
            executor->reason != NULL ? executor->reason : "");
    answer_registered(sched, ref, tn_json_get(body, "found"));
    /* A change of state alone needs no lease again: they are on their way or answered. */
    if (!again)
        tn_dispatch_leases_again(sched, executor);
    tn_dispatch_executor_changed(sched, executor);
}

static void on_peer_state(struct tn_sched *sched, const cJSON *body)
{
    static const char *const names[] = {
        [TN_PEER_ADDED] = "added", [TN_PEER_UP] = "up", [TN_PEER_DOWN] = "down", [TN_PEER_FAILED] = "failed"};
    unsigned address = (unsigned)tn_json_u64(body, "address", 0);
    uint32_t life = (uint32_t)tn_json_u64(body, "life", 0);
    const char *state = tn_json_string(body, "state", "");
    struct tn_executor *executor = &sched->executors[TN_ADDRESS_INDEX(address)];

    if (sched->heard == 0)
        sched->heard = sched->now();
    if (TN_ADDRESS_ROLE(address) == TN_ROLE_OUTPUT && strcmp(state, "added") == 0)
        sched->disk.expected = true;
    if (TN_ADDRESS_ROLE(address) == TN_ROLE_OUTPUT && strcmp(state, "up") == 0)
        tn_lease_key_tell(sched, life);
    if (TN_ADDRESS_ROLE(address) != TN_ROLE_EXECUTOR)
        return;
    /* A word about a life that is over: this executor registered in a later one. */
    if (executor->registered && life != 0 && life < executor->registered_life)
        return;
    for (int i = TN_PEER_ADDED; i <= TN_PEER_FAILED; i++)
        if (strcmp(names[i], state) == 0)
            executor->life = (enum tn_peer_life)i;
    snprintf(executor->name, sizeof(executor->name), "%s", tn_json_string(body, "name", "executor"));
    if (tn_json_get(body, "kinds") != NULL) {
        cJSON_Delete(executor->kinds);
        executor->kinds = cJSON_Duplicate(tn_json_get(body, "kinds"), true);
    }
    if (executor->life == TN_PEER_DOWN || executor->life == TN_PEER_FAILED || life != executor->registered_life)
        executor->registered = executor->ready = false;
    else if (executor->registered)
        executor->life = TN_PEER_UP;
    if (!executor->registered)
        tn_text_set(&executor->reason, tn_json_string(body, "reason", NULL));
    tn_dispatch_executor_changed(sched, executor);
}

/* ---- all messages ---- */

void tn_handle_message(struct tn_sched *sched, const struct tn_msg *msg)
{
    struct tn_msg_ref ref = tn_msg_ref(msg);
    struct tn_err err = TN_ERR_INIT;
    cJSON *body = tn_json_parse(msg->body, msg->header.length, tn_msg_name(msg->header.kind), &err);

    tn_sched_wake(sched);
    if (body == NULL) {
        tn_warn("%s", err.text);
        if (tn_msg_info(msg->header.kind)->reply != TN_MSG_NONE)
            tn_outbox_refuse(&sched->outbox, &ref, "invalid", "%s", err.text);
        return;
    }
    if (msg->header.kind == TN_MSG_PIPELINE_CREATE) {
        on_create(sched, &ref, body); /* takes the body */
        return;
    }
    if (msg->header.kind == TN_MSG_PIPELINE_CANCEL)
        on_cancel(sched, &ref, body);
    else if (msg->header.kind == TN_MSG_PIPELINE_GET)
        on_get(sched, &ref, body);
    else if (msg->header.kind == TN_MSG_EXECUTOR_REGISTER)
        on_register(sched, &ref, body);
    else if (msg->header.kind == TN_MSG_TASK_STATE)
        tn_handle_task_state(sched, &ref, body);
    else if (msg->header.kind == TN_MSG_STEP_STATE)
        tn_handle_step_state(sched, &ref, body);
    else if (msg->header.kind == TN_MSG_PEER_STATE)
        on_peer_state(sched, body);
    else if (msg->header.kind == TN_MSG_DISK_STATE)
        tn_dispatch_disk_state(sched, body);
    cJSON_Delete(body);
}

/* ---- start and commit ---- */

static void resume_one(void *arg, const char *id)
{
    struct tn_sched *sched = arg;
    struct tn_err err = TN_ERR_INIT;
    struct tn_pipeline *pipeline = tn_ledger_load(sched->ledger, id, &err);

    if (pipeline == NULL) {
        tn_error("%s; it is left alone", err.text);
        return;
    }
    tn_sched_add(sched, pipeline);
    if (strcmp(pipeline->state, "compiling") == 0)
        compile(sched, pipeline);
    else
        tn_sched_resume(sched, pipeline);
    tn_info("goes on with pipeline %llu (%s)", (unsigned long long)pipeline->number, pipeline->state);
}

int tn_handle_restart(struct tn_sched *sched, struct tn_err *err)
{
    return tn_ledger_each_open(sched->ledger, resume_one, sched, err);
}

void tn_handle_committed(struct tn_sched *sched)
{
    struct tn_pipeline *pipeline;

    while ((pipeline = STAILQ_FIRST(&sched->over)) != NULL) {
        STAILQ_REMOVE_HEAD(&sched->over, ended_next);
        for (size_t w = 0; w < pipeline->workflow_count; w++)
            for (size_t j = 0; j < pipeline->workflows[w].job_count; j++)
                for (size_t t = 0; t < pipeline->workflows[w].jobs[j].task_count; t++)
                    LIST_REMOVE(&pipeline->workflows[w].jobs[j].tasks[t], by_id);
        LIST_REMOVE(pipeline, by_id);
        tn_pipeline_free(pipeline);
    }
    if (sched->wipe)
        tn_ledger_checkpoint(sched->ledger);
    sched->wipe = false;
}
