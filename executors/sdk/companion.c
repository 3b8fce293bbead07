#include "executors/sdk/companion.h"
#include "core/lib/fs.h"
#include "core/lib/json.h"
#include "core/lib/log.h"
#include "executors/sdk/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COMPANIONS_MAX = 64, PROGRAM = 0, PROGRAM_CHANNEL = 1 };

struct companion {
    struct tn_companion is; /* first: what others may see */
    struct tn_task *task;   /* borrowed */
    bool known;             /* tenon-output has answered for its log */
    const char *end_state;  /* it has ended, and waits for that answer; else NULL */
    struct tn_companion_end end;
    char end_reason[512];
};

struct tn_companions {
    struct companion *list[COMPANIONS_MAX]; /* owned; NULL where there is none */
    char **program;                         /* owned; or NULL */
};

static unsigned step_of(const struct tn_task *task, unsigned index)
{
    return (unsigned)cJSON_GetArraySize(task->steps) + 1 + index;
}

static struct companion *find(const struct tn_task *task, unsigned index)
{
    return task->companions != NULL && index < COMPANIONS_MAX ? task->companions->list[index] : NULL;
}

static struct companion *make(struct tn_task *task, unsigned index, const char *name)
{
    struct companion *companion = calloc(1, sizeof(*companion));

    if (task->companions == NULL)
        task->companions = calloc(1, sizeof(*task->companions));
    if (companion == NULL || task->companions == NULL)
        tn_fatal(3, "out of memory: a log beside the steps");
    companion->is.index = index;
    companion->is.name = tn_fs_path("%s", name);
    companion->task = task;
    task->companions->list[index] = companion;
    return companion;
}

static void free_words(char **words)
{
    for (size_t i = 0; words != NULL && words[i] != NULL; i++)
        free(words[i]);
    free(words);
}

void tn_companions_free(struct tn_task *task)
{
    for (size_t i = 0; task->companions != NULL && i < COMPANIONS_MAX; i++) {
        struct companion *companion = task->companions->list[i];

        if (companion == NULL)
            continue;
        free(companion->is.name);
        free(companion->is.log);
        free(companion);
    }
    if (task->companions != NULL)
        free_words(task->companions->program);
    free(task->companions);
    task->companions = NULL;
}

const struct tn_companion *tn_companion_of_step(const struct tn_task *task, unsigned step)
{
    unsigned first = step_of(task, 0);
    const struct companion *companion = step >= first ? find(task, step - first) : NULL;

    return companion != NULL ? &companion->is : NULL;
}

bool tn_companions_open(const struct tn_task *task)
{
    for (unsigned i = 0; task->companions != NULL && i < COMPANIONS_MAX; i++)
        if (find(task, i) != NULL && !find(task, i)->is.over)
            return true;
    return false;
}

/* ---- over a crash ---- */

void tn_companions_save(const struct tn_task *task, cJSON *json)
{
    cJSON *list = task->companions != NULL ? cJSON_AddArrayToObject(json, "companions") : NULL;

    for (unsigned i = 0; list != NULL && i < COMPANIONS_MAX; i++) {
        const struct companion *companion = find(task, i);
        cJSON *entry;

        if (companion == NULL)
            continue;
        entry = cJSON_CreateObject();
        cJSON_AddNumberToObject(entry, "index", i);
        cJSON_AddStringToObject(entry, "name", companion->is.name);
        cJSON_AddStringToObject(entry, "cursor", companion->is.cursor);
        cJSON_AddNumberToObject(entry, "started", (double)companion->is.started_ms);
        cJSON_AddBoolToObject(entry, "over", companion->is.over);
        cJSON_AddItemToArray(list, entry);
    }
}

void tn_companions_load(struct tn_task *task, const cJSON *json)
{
    const cJSON *entry;

    cJSON_ArrayForEach (entry, tn_json_get(json, "companions")) {
        double index = tn_json_number(entry, "index", -1);
        struct companion *companion;

        if (index < 0 || index >= COMPANIONS_MAX || find(task, (unsigned)index) != NULL)
            continue;
        companion = make(task, (unsigned)index, tn_json_string(entry, "name", "container"));
        snprintf(companion->is.cursor, sizeof(companion->is.cursor), "%s", tn_json_string(entry, "cursor", ""));
        companion->is.started_ms = tn_json_u64(entry, "started", 0);
        companion->is.over = tn_json_bool(entry, "over", false);
    }
}

/* ---- its log ---- */

static void report(struct companion *companion, const char *state, const struct tn_companion_end *end)
{
    auto_json cJSON *result = cJSON_CreateObject();

    cJSON_AddNumberToObject(result, "started", (double)companion->is.started_ms);
    if (companion->is.log != NULL)
        cJSON_AddStringToObject(result, "log", companion->is.log);
    if (end != NULL) {
        cJSON_AddNumberToObject(result, "ended", (double)tn_now_ms());
        if (end->exit >= 0)
            cJSON_AddNumberToObject(result, "exit", end->exit);
        if (end->signal > 0)
            cJSON_AddNumberToObject(result, "signal", end->signal);
        if (end->reason != NULL)
            cJSON_AddStringToObject(result, "reason", end->reason);
    }
    tn_task_report_step(companion->task, step_of(companion->task, companion->is.index), state, result);
}

static void finish(struct companion *companion)
{
    struct tn_task *task = companion->task;
    uint32_t stream = tn_runner_stream(step_of(task, companion->is.index));

    companion->is.open = false;
    companion->is.over = true;
    if (companion->end.reason != NULL) {
        tn_outlet_write(task->outlet, stream, "\n", 1);
        tn_outlet_write(task->outlet, stream, companion->end.reason, strlen(companion->end.reason));
        tn_outlet_write(task->outlet, stream, "\n", 1);
    }
    report(companion, companion->end_state, &companion->end);
    tn_outlet_close_stream(task->outlet, stream, false, NULL, NULL);
    if (task->phase < TN_PHASE_SEALING)
        tn_task_touch(task);
}

static void on_log_open(void *arg, const cJSON *answer, const struct tn_err *err)
{
    struct companion *companion = arg;
    struct tn_task *task = companion->task;

    companion->known = true;
    if (err != NULL) {
        companion->is.open = false;
        companion->is.over = true;
        tn_task_finish(task, TN_TASK_INFRASTRUCTURE_FAILURE, "the log of %s cannot be kept: %s", companion->is.name,
                       err->text);
    } else {
        companion->is.log = tn_fs_path("%s", tn_json_string(answer, "path", ""));
        report(companion, "running", NULL);
        if (companion->end_state != NULL)
            finish(companion);
    }
    if (task->phase == TN_PHASE_DRAINING && task->drained)
        tn_task_drained(task);
}

static struct companion *begin(struct tn_task *task, unsigned index, const char *name)
{
    struct companion *companion = find(task, index);
    auto_json cJSON *body = NULL;

    if (index >= COMPANIONS_MAX || task->outlet == NULL || task->phase >= TN_PHASE_RELEASING)
        return NULL;
    if (companion == NULL)
        companion = make(task, index, name);
    if (companion->is.over)
        return NULL;
    if (companion->is.open)
        return companion;
    companion->is.open = true;
    if (companion->is.started_ms == 0)
        companion->is.started_ms = tn_now_ms();
    body = cJSON_CreateObject();
    cJSON_AddStringToObject(body, "type", "log");
    cJSON_AddNumberToObject(body, "step", step_of(task, index));
    cJSON_AddStringToObject(body, "name", companion->is.name);
    tn_outlet_open_stream(task->outlet, tn_runner_stream(step_of(task, index)), body, on_log_open, companion);
    if (task->phase < TN_PHASE_SEALING)
        tn_task_touch(task);
    return companion;
}

bool tn_task_companion_begin(struct tn_task *task, unsigned index, const char *name, char cursor[TN_COMPANION_CURSOR])
{
    const struct companion *companion = begin(task, index, name);

    if (companion != NULL)
        memcpy(cursor, companion->is.cursor, TN_COMPANION_CURSOR);
    return companion != NULL;
}

void tn_task_companion_write(struct tn_task *task, unsigned index, const void *bytes, size_t length, const char *cursor)
{
    struct companion *companion = find(task, index);

    if (companion == NULL || !companion->is.open || companion->end_state != NULL || task->outlet == NULL)
        return;
    snprintf(companion->is.cursor, sizeof(companion->is.cursor), "%s", cursor);
    tn_outlet_write(task->outlet, tn_runner_stream(step_of(task, index)), bytes, length);
    /* Later no more: what seals the result need not wait for a service that never stops to talk. */
    if (task->phase < TN_PHASE_SEALING)
        tn_task_touch(task);
}

bool tn_task_companion_over(const struct tn_task *task, unsigned index)
{
    const struct companion *companion = find(task, index);

    return companion == NULL || companion->is.over;
}

bool tn_task_companion_full(const struct tn_task *task)
{
    return task->outlet != NULL && tn_outlet_full(task->outlet);
}

static void end(struct companion *companion, const char *state, const struct tn_companion_end *why)
{
    if (!companion->is.open || companion->end_state != NULL || companion->task->outlet == NULL)
        return;
    companion->end_state = state;
    companion->end = *why;
    if (why->reason != NULL) {
        snprintf(companion->end_reason, sizeof(companion->end_reason), "%s", why->reason);
        companion->end.reason = companion->end_reason;
    }
    if (companion->known)
        finish(companion);
}

void tn_task_companion_end(struct tn_task *task, unsigned index, const struct tn_companion_end *why)
{
    struct companion *companion = find(task, index);

    if (companion != NULL)
        end(companion, why->failed ? "failed" : "succeeded", why);
}

void tn_companions_end(struct tn_task *task)
{
    static const struct tn_companion_end with_the_job = {.exit = -1};

    for (unsigned i = 0; task->companions != NULL && i < COMPANIONS_MAX; i++) {
        struct companion *companion = find(task, i);

        if (companion != NULL && !companion->is.open) /* known only from a checkpoint */
            companion = begin(task, i, "");
        if (companion != NULL)
            end(companion, "succeeded", &with_the_job);
    }
}

/* ---- the program that the environment keeps ---- */

void tn_companion_keep_program(struct tn_task *task, const struct tn_environment *environment)
{
    size_t count = 0;

    if (environment->program == NULL || begin(task, PROGRAM, environment->program_name) == NULL)
        return;
    while (environment->program[count] != NULL)
        count++;
    free_words(task->companions->program);
    task->companions->program = calloc(count + 1, sizeof(char *));
    for (size_t i = 0; i < count && task->companions->program != NULL; i++)
        if ((task->companions->program[i] = strdup(environment->program[i])) == NULL)
            tn_fatal(3, "out of memory: a word of an entrypoint");
    if (task->companions->program == NULL)
        tn_fatal(3, "out of memory: the words of an entrypoint");
}

static uint32_t program_channel(const struct tn_task *task)
{
    return (uint32_t)step_of(task, PROGRAM) << 16 | PROGRAM_CHANNEL;
}

/* Its stdin stays open and empty: an entrypoint that ends in a shell waits there, as long as the job runs. */
void tn_companion_start_program(struct tn_task *task)
{
    static const char *const none[] = {NULL};
    struct tn_agent_spawn spawn = {
        .flags = TN_AGENT_ENV_ADD | TN_AGENT_STDIN_OPEN, .cwd = "", .user = "", .envp = (const char **)none};
    struct tn_err err = TN_ERR_INIT;

    if (task->companions == NULL || task->companions->program == NULL || find(task, PROGRAM)->is.over)
        return;
    spawn.argv = (const char **)task->companions->program;
    while (spawn.argv[spawn.argc] != NULL)
        spawn.argc++;
    tn_runner_sent(task, tn_agent_link_spawn(task->link, program_channel(task), &spawn, &err), &err);
}

bool tn_companion_on_out(struct tn_task *task, uint32_t channel, const void *bytes, size_t length)
{
    if (find(task, PROGRAM) == NULL || channel != program_channel(task))
        return false;
    tn_task_companion_write(task, PROGRAM, bytes, length, "");
    return true;
}

bool tn_companion_on_exit(struct tn_task *task, uint32_t channel, const struct tn_agent_exit *exited)
{
    struct companion *companion = find(task, PROGRAM);
    char what[400];
    char oom[200];

    if (companion == NULL || channel != program_channel(task))
        return false;
    if (exited->kind == TN_AGENT_NO_SPAWN)
        snprintf(what, sizeof(what), "could not be started: %.*s", (int)exited->text_len, exited->text);
    else if (exited->kind == TN_AGENT_SIGNALED)
        snprintf(what, sizeof(what), "%s",
                 tn_runner_out_of_memory(task, exited, oom, sizeof(oom)) ? oom : "was killed by a signal");
    else
        snprintf(what, sizeof(what), "ended with exit status %u", exited->code);
    {
        const struct tn_companion_end why = {.failed = exited->kind != TN_AGENT_EXITED || exited->code != 0,
                                             .exit = exited->kind == TN_AGENT_EXITED ? (int)exited->code : -1,
                                             .signal = exited->kind == TN_AGENT_SIGNALED ? (int)exited->code : 0,
                                             .reason = what};

        end(companion, why.failed ? "failed" : "succeeded", &why);
    }
    tn_task_finish(task, TN_TASK_FAILED, "the entrypoint of the primary container %s; %s", what,
                   exited->kind == TN_AGENT_NO_SPAWN
                       ? "correct `entrypoint` and `command` of the first docker entry"
                       : "it is kept (by the config, or by the image's label com.circleci.preserve-entrypoint), and so "
                         "must run until the job ends");
    return true;
}
