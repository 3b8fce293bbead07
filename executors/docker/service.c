/* Service containers while they run: their output goes into a log of their own, their end is said, and when the job is
 * over they are ended and the rest of their output is read. */
#include "executors/docker/environment.h"

#include "core/lib/json.h"
#include "core/lib/log.h"
#include "executors/docker/service_log.h"
#include "executors/docker/start_error.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    ASK_MS = 10000,
    AGAIN_MS = 1000, /* the engine broke off, or the end of the container is not known yet */
    DRAIN_MS = 10000,
    TAIL_BYTES = 4096, /* of its last output, to be said when it ends early */
    TAIL_LINES = 10,
    SAY_BYTES = 900,
    BATCH_BYTES = 64 * 1024, /* of entries that are handed on together, */
    BATCH_MS = 5,            /* or those of so long */
    STATUS_KILLED = 137,     /* 128 + SIGKILL, as the engine says it */
};

struct tn_docker_service {
    struct tn_docker_env *env; /* borrowed; NULL: it was not begun */
    size_t index;
    struct tn_engine_call *logs;
    struct tn_engine_call *ask;       /* kill, or the inspection after it */
    struct event *again;              /* owned */
    struct event *hand_on;            /* owned */
    struct tn_buf batch;              /* owned; entries that are not handed on yet */
    char handed[TN_COMPANION_CURSOR]; /* cursor of those that are */
    struct tn_service_log log;
    struct tn_buf tail; /* owned */
    bool broken;        /* of its output: what came is none */
    bool paused;
    bool read;         /* its output, to the end */
    bool ended;        /* the container; `end` says how */
    bool with_the_job; /* nothing but the job's end ended it */
    struct tn_companion_end end;
    char why[500];
};

static struct tn_task *task_of(const struct tn_docker_env *env)
{
    return tn_executor_task(env->docker->executor, env->task, env->attempt);
}

static struct tn_docker_service *get(struct tn_docker_env *env, size_t index)
{
    if (env->services == NULL)
        env->services = calloc(env->n_images, sizeof(*env->services));
    if (env->services == NULL)
        tn_fatal(3, "out of memory: a job's services");
    return &env->services[index];
}

static void check_drained(struct tn_docker_env *env);
static void arm_deadline(struct tn_docker_env *env);
static void read_output(struct tn_docker_service *service);

/* ---- the end ---- */

/* The last lines, for a log that is not its own. */
static void say_tail(struct tn_docker_service *service)
{
    const char *text = service->tail.data;
    size_t length = service->tail.len;
    size_t lines = 0;

    while (length > 0 && text[length - 1] == '\n')
        length--;
    if (length > SAY_BYTES) {
        text += length - SAY_BYTES;
        length = SAY_BYTES;
    }
    for (const char *at = text + length; at > text && lines < TAIL_LINES; at--)
        if (at[-1] == '\n' && ++lines == TAIL_LINES) {
            length -= (size_t)(at - text);
            text = at;
            break;
        }
    if (length > 0)
        tn_docker__say(service->env, "Its last output:\n%.*s", (int)length, text);
}

/* One message for many short lines. The cursor of the last of them stands for all. */
static void hand_on(struct tn_docker_service *service)
{
    struct tn_task *task = task_of(service->env);
    char cursor[TN_COMPANION_CURSOR];

    if (service->hand_on != NULL)
        evtimer_del(service->hand_on);
    if (service->batch.len == 0)
        return;
    if (service->env->phase == TN_DOCKER_DRAINING)
        arm_deadline(service->env);
    tn_service_log_cursor(&service->log, cursor, sizeof(cursor));
    if (task != NULL)
        tn_task_companion_write(task, (unsigned)service->index, service->batch.data, service->batch.len, cursor);
    memcpy(service->handed, cursor, sizeof(cursor));
    tn_buf_reset(&service->batch);
    if (task != NULL && tn_task_companion_full(task) && !service->paused && service->logs != NULL) {
        service->paused = true;
        tn_engine_pause(service->logs, true);
    }
}

/* Both are known: how it ended, and the whole of its output. */
static void finish(struct tn_docker_service *service)
{
    struct tn_docker_env *env = service->env;
    struct tn_task *task = task_of(env);
    char image[TN_IMAGE_REF_TEXT_MAX + 1];

    if (!service->ended || !service->read || service->env == NULL)
        return;
    if (!service->with_the_job && task != NULL) {
        char words[500];

        if (service->end.exit > 0 && service->tail.data != NULL &&
            tn_start_error_of_output(service->tail.data, service->tail.len, words, sizeof(words))) {
            memcpy(service->why, words, sizeof(service->why));
            service->end.exit = -1; /* of what runc put in its place */
        }
        tn_docker__image_name(env, service->index, image, sizeof(image));
        tn_docker__say(env, "Service container %zu (%s) ended: %s", service->index + 1, image, service->why);
        say_tail(service);
        tn_task_companion_end(task, (unsigned)service->index, &service->end);
    }
    check_drained(env);
}

void tn_docker__service_ended(struct tn_docker_env *env, size_t index, const struct tn_container_state *state,
                              const char *why)
{
    struct tn_docker_service *service = get(env, index);

    if (service->env == NULL || service->ended)
        return;
    snprintf(service->why, sizeof(service->why), "%s", why);
    service->ended = true;
    service->end = (struct tn_companion_end){.failed = true, .exit = -1, .reason = service->why};
    if (state != NULL && state->error[0] == '\0') {
        service->end.failed = state->exit_code != 0 || state->oom_killed;
        service->end.signal = state->exit_code == STATUS_KILLED ? SIGKILL : 0;
        service->end.exit = state->exit_code == STATUS_KILLED ? -1 : state->exit_code;
    }
    if (service->logs == NULL && !service->read)
        read_output(service);
    else
        finish(service);
}

/* ---- its output ---- */

static void on_again(evutil_socket_t fd, short what, void *arg)
{
    read_output(arg);
}

static void read_later(struct tn_docker_service *service)
{
    struct timeval later = {AGAIN_MS / 1000, 0};

    if (service->again == NULL)
        service->again = evtimer_new(tn_executor_service(service->env->docker->executor)->base, on_again, service);
    if (service->again == NULL)
        tn_fatal(3, "out of memory: a timer");
    evtimer_add(service->again, &later);
}

static void on_output_over(int status, const cJSON *json, const struct tn_err *err, void *arg)
{
    struct tn_docker_service *service = arg;

    service->logs = NULL;
    service->paused = false;
    hand_on(service);
    if (err != NULL && err->code != TN_ERR_NOT_FOUND && !service->broken) {
        read_later(service); /* the engine went away; it goes on behind the last entry */
        return;
    }
    if (err == NULL && !service->ended && !service->broken) {
        read_later(service); /* its end is about to be known, and there may be more before it */
        return;
    }
    service->read = true;
    finish(service);
}

static void on_entry(const char *text, size_t length, bool lost, void *arg)
{
    struct tn_docker_service *service = arg;
    static const char mark[] =
        "\n[... output is missing here: the engine keeps only the last 64 to 128 MB of it ...]\n";

    if (lost)
        tn_buf_add(&service->batch, mark, sizeof(mark) - 1);
    tn_buf_add(&service->batch, text, length);
    tn_buf_add(&service->tail, text, length);
    if (service->tail.len > 2 * TAIL_BYTES)
        tn_buf_consume(&service->tail, service->tail.len - TAIL_BYTES);
}

static void on_hand_on(evutil_socket_t fd, short what, void *arg)
{
    hand_on(arg);
}

static void on_next_entry(enum tn_docker_stream stream, uint32_t length, void *arg)
{
    struct tn_docker_service *service = arg;

    tn_service_log_next(&service->log, length);
}

static int on_output(enum tn_docker_stream stream, const char *bytes, size_t length, void *arg)
{
    struct tn_docker_service *service = arg;
    struct timeval soon = {0, BATCH_MS * 1000};
    struct tn_err err = TN_ERR_INIT;

    if (tn_service_log_feed(&service->log, bytes, length, on_entry, service, &err) != 0) {
        tn_warn("task %s.%u: output of service container %zu: %s", service->env->task_text, service->env->attempt,
                service->index + 1, err.text);
        service->broken = true;
        return -1;
    }
    if (service->batch.len >= BATCH_BYTES)
        hand_on(service);
    else if (service->batch.len > 0 && !evtimer_pending(service->hand_on, NULL))
        evtimer_add(service->hand_on, &soon);
    return 0;
}

static void read_output(struct tn_docker_service *service)
{
    struct tn_docker_env *env = service->env;
    struct tn_engine_logs logs = {.follow = true, .times = true, .on_bytes = on_output, .on_entry = on_next_entry};
    char cursor[TN_COMPANION_CURSOR];
    char since[64];
    char name[TN_CONTAINER_NAME_MAX + 1];
    struct tn_err err = TN_ERR_INIT;

    if (service->logs != NULL || service->read)
        return;
    if (service->hand_on == NULL)
        service->hand_on = evtimer_new(tn_executor_service(env->docker->executor)->base, on_hand_on, service);
    if (service->hand_on == NULL)
        tn_fatal(3, "out of memory: a timer");
    tn_service_log_cursor(&service->log, cursor, sizeof(cursor));
    if (tn_service_log_begin(&service->log, cursor, &err) != 0)
        tn_warn("task %s.%u: %s", env->task_text, env->attempt, err.text);
    tn_service_log_since(&service->log, since, sizeof(since));
    logs.since = since[0] != '\0' ? since : NULL;
    tn_docker__container_name(env, service->index, name, sizeof(name));
    service->logs = tn_engine_logs(env->docker->engine, name, &logs, TN_ENGINE_THEN(0, on_output_over, service));
}

static void stop_reading(struct tn_docker_service *service)
{
    if (service->logs != NULL)
        tn_engine_cancel(service->logs);
    if (service->again != NULL)
        event_free(service->again);
    if (service->hand_on != NULL)
        event_free(service->hand_on);
    service->logs = NULL;
    service->again = service->hand_on = NULL;
    service->paused = false;
    tn_buf_reset(&service->batch);
}

/* What the config calls it: "Container cimg/redis:7.0", and its host name where it has one. */
static void log_name(const struct tn_docker_env *env, struct tn_task *task, size_t index, char *out, size_t size)
{
    const cJSON *entry =
        cJSON_GetArrayItem(tn_json_get(tn_json_get(tn_task_lease(task), "definition"), "docker"), (int)index);
    const char *host = env->images[index].name;

    snprintf(out, size, "Container %.200s%s%s%s", tn_json_string(entry, "image", "?"), host != NULL ? " (" : "",
             host != NULL ? host : "", host != NULL ? ")" : "");
}

void tn_docker__log_name(const struct tn_docker_env *env, size_t index, char *out, size_t size)
{
    struct tn_task *task = task_of(env);

    out[0] = '\0';
    if (task != NULL)
        log_name(env, task, index, out, size);
}

void tn_docker__service_begin(struct tn_docker_env *env, size_t index)
{
    struct tn_docker_service *service = get(env, index);
    struct tn_task *task = task_of(env);
    struct tn_err err = TN_ERR_INIT;
    char cursor[TN_COMPANION_CURSOR];
    char name[512];

    if (task == NULL)
        return;
    log_name(env, task, index, name, sizeof(name));
    if (!tn_task_companion_begin(task, (unsigned)index, name, cursor))
        return;
    if ((service->logs != NULL || service->read) && strcmp(cursor, service->handed) == 0)
        return; /* it goes on; else what was handed on is forgotten, and comes again */
    stop_reading(service);
    service->env = env;
    service->index = index;
    service->read = false;
    memcpy(service->handed, cursor, sizeof(cursor));
    if (tn_service_log_begin(&service->log, cursor, &err) != 0)
        tn_warn("task %s.%u: %s", env->task_text, env->attempt, err.text);
    read_output(service);
}

void tn_docker_room(struct tn_executor *executor, struct tn_task *task)
{
    struct tn_docker *docker = tn_executor_self(executor);
    struct tn_docker_env *env = tn_docker_env_find(docker, tn_task_id(task), tn_task_attempt(task));

    for (size_t i = 1; env != NULL && env->services != NULL && i < env->n_images; i++) {
        struct tn_docker_service *service = &env->services[i];

        if (service->logs == NULL || !service->paused)
            continue;
        service->paused = false;
        tn_engine_pause(service->logs, false);
    }
}

/* ---- when the job is over ---- */

static void on_drain_deadline(evutil_socket_t fd, short what, void *arg)
{
    struct tn_docker_env *env = arg;
    struct tn_task *task = task_of(env);

    static const char mark[] = "\n[... the rest of the output is missing: the engine did not hand it over ...]\n";

    tn_warn("task %s.%u: the output of its services could not be read to the end: nothing came for %d s",
            env->task_text, env->attempt, DRAIN_MS / 1000);
    for (size_t i = 1; task != NULL && i < env->n_images; i++)
        if (env->services != NULL && env->services[i].env != NULL && !env->services[i].read)
            tn_task_companion_write(task, (unsigned)i, mark, sizeof(mark) - 1, "");
    tn_docker__services_halt(env);
    if (task != NULL)
        tn_task_drained(task);
}

static void arm_deadline(struct tn_docker_env *env)
{
    struct timeval deadline = {DRAIN_MS / 1000, 0};

    if (env->drain_timer == NULL)
        env->drain_timer = evtimer_new(tn_executor_service(env->docker->executor)->base, on_drain_deadline, env);
    if (env->drain_timer == NULL)
        tn_fatal(3, "out of memory: a timer");
    evtimer_add(env->drain_timer, &deadline);
}

static void check_drained(struct tn_docker_env *env)
{
    struct tn_task *task = task_of(env);

    if (env->phase != TN_DOCKER_DRAINING)
        return;
    for (size_t i = 1; env->services != NULL && i < env->n_images; i++)
        if (env->services[i].env != NULL && (!env->services[i].ended || !env->services[i].read))
            return;
    if (env->drain_timer != NULL)
        evtimer_del(env->drain_timer);
    if (task != NULL)
        tn_task_drained(task);
}

static void on_asked(int status, const cJSON *json, const struct tn_err *err, void *arg)
{
    struct tn_docker_service *service = arg;
    struct tn_container_state state;
    struct tn_err wrong = TN_ERR_INIT;
    char why[500];

    service->ask = NULL;
    if (err != NULL || tn_container_state_parse(json, &state, &wrong) != 0) {
        tn_docker__service_ended(service->env, service->index, NULL,
                                 err != NULL && err->code == TN_ERR_NOT_FOUND ? "somebody else removed it"
                                                                              : "the engine does not say how");
        return;
    }
    /* Killed by us, perhaps in an earlier life of this process. */
    if (!state.oom_killed && (state.running || state.exit_code == STATUS_KILLED)) {
        service->with_the_job = service->ended = true;
        finish(service);
        return;
    }
    tn_docker__describe_end(service->env, &state, why, sizeof(why));
    tn_docker__service_ended(service->env, service->index, &state, why);
}

static void on_killed(int status, const cJSON *json, const struct tn_err *err, void *arg)
{
    struct tn_docker_service *service = arg;
    char name[TN_CONTAINER_NAME_MAX + 1];

    service->ask = NULL;
    /* It may have ended just before, which nobody has heard of yet. */
    tn_docker__container_name(service->env, service->index, name, sizeof(name));
    service->ask = tn_engine_inspect(service->env->docker->engine, name, TN_ENGINE_THEN(ASK_MS, on_asked, service));
}

static void end_service(struct tn_docker_env *env, size_t index)
{
    struct tn_docker_service *service;
    char name[TN_CONTAINER_NAME_MAX + 1];

    tn_docker__service_begin(env, index);
    service = get(env, index);
    if (service->env == NULL || service->ended || service->ask != NULL)
        return;
    tn_docker__container_name(env, index, name, sizeof(name));
    service->ask = tn_engine_kill(env->docker->engine, name, "SIGKILL", TN_ENGINE_THEN(ASK_MS, on_killed, service));
}

void tn_docker_drain(struct tn_executor *executor, struct tn_task *task)
{
    struct tn_docker *docker = tn_executor_self(executor);
    struct tn_docker_env *env = tn_docker_env_find(docker, tn_task_id(task), tn_task_attempt(task));

    if (env == NULL)
        env = tn_docker_env_of_lease(docker, task);
    if (env == NULL || env->phase == TN_DOCKER_REMOVING || docker->engine == NULL) {
        tn_task_drained(task);
        return;
    }
    env->phase = TN_DOCKER_DRAINING;
    arm_deadline(env);
    for (size_t i = 1; i < env->n_images; i++) {
        if (env->watches != NULL)
            tn_docker__watch_end(&env->watches[i]); /* what it would say of its end is our doing */
        if (tn_task_companion_over(task, (unsigned)i))
            get(env, i)->env = NULL;
        else
            end_service(env, i);
    }
    check_drained(env);
}

/* ---- memory ---- */

void tn_docker__services_halt(struct tn_docker_env *env)
{
    for (size_t i = 0; env->services != NULL && i < env->n_images; i++) {
        struct tn_docker_service *service = &env->services[i];

        stop_reading(service);
        if (service->ask != NULL)
            tn_engine_cancel(service->ask);
        service->ask = NULL;
    }
}

void tn_docker__services_free(struct tn_docker_env *env)
{
    tn_docker__services_halt(env);
    for (size_t i = 0; env->services != NULL && i < env->n_images; i++) {
        tn_service_log_free(&env->services[i].log);
        tn_buf_free(&env->services[i].tail);
        tn_buf_free(&env->services[i].batch);
    }
    free(env->services);
    env->services = NULL;
}
