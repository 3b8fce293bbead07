/* The containers of an attempt that run: each is waited for, and what its end means is said. */
#include "executors/docker/environment.h"

#include "core/lib/log.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum {
    ASK_MS = 30000,
    EVENTS_MS = 5000,
    EVENTS_S = 2, /* within which the engine has noted a container's end */
    AGAIN_S = 2,  /* the engine went away: ask again */

    STATUS_KILLED = 137,
    STATUS_TERMINATED = 143,
};

void tn_docker__describe_end(const struct tn_docker_env *env, const struct tn_container_state *state, char *text,
                             size_t size)
{
    int mib = env->resource_class.memory_mib;

    if (state->oom_killed && mib % 1024 == 0)
        snprintf(text, size, "killed: out of memory (limit %d GB, resource class %s)", mib / 1024, env->class_name);
    else if (state->oom_killed)
        snprintf(text, size, "killed: out of memory (limit %d MB, resource class %s)", mib, env->class_name);
    else if (state->error[0] != '\0')
        snprintf(text, size, "it could not start: %s", state->error);
    else if (state->exit_code == STATUS_KILLED)
        snprintf(text, size, "it was killed (exit status 137) by somebody on its host");
    else if (env->told_to_end || state->exit_code == STATUS_TERMINATED)
        snprintf(text, size, "it was told to end (SIGTERM) by somebody on its host, such as docker stop");
    else
        snprintf(text, size, "its program ended with exit status %d", state->exit_code);
}

static void primary_ended(struct tn_docker_env *env, const char *why)
{
    struct tn_task *task = tn_executor_task(env->docker->executor, env->task, env->attempt);

    if (env->phase == TN_DOCKER_ACQUIRING) {
        tn_docker__fail(env, true, "the primary container ended: %s", why);
    } else if (env->phase == TN_DOCKER_READY && task != NULL) {
        env->phase = TN_DOCKER_FAILED;
        tn_task_environment_lost(task, "the primary container ended: %s", why);
    }
}

void tn_docker__container_ended(struct tn_docker_env *env, size_t index, const struct tn_container_state *state,
                                const char *why)
{
    char image[TN_IMAGE_REF_TEXT_MAX + 1];

    if (index == 0) {
        primary_ended(env, why);
        return;
    }
    tn_docker__image_name(env, index, image, sizeof(image));
    tn_docker__service_ended(env, index, state, why);
    tn_info("task %s.%u: service container %zu (%s) ended: %s", env->task_text, env->attempt, index + 1, image, why);
}

static void watch_wait(struct tn_docker_watch *watch);
static void watch_inspect(struct tn_docker_watch *watch);

static void on_watch_again(evutil_socket_t fd, short what, void *arg)
{
    watch_inspect(arg);
}

/* The engine may be restarted while its containers go on. */
static void watch_later(struct tn_docker_watch *watch)
{
    struct timeval later = {AGAIN_S, 0};

    if (watch->again == NULL)
        watch->again = evtimer_new(tn_executor_service(watch->env->docker->executor)->base, on_watch_again, watch);
    if (watch->again == NULL)
        tn_fatal(3, "out of memory: a timer");
    evtimer_add(watch->again, &later);
}

/* It was the engine: without live-restore one that is stopped ends its containers, and one that was killed ends them
 * when it starts again. */
static void ended_with_engine(struct tn_docker_watch *watch)
{
    struct tn_docker_env *env = watch->env;
    char why[sizeof(watch->why)];

    snprintf(
        why, sizeof(why),
        "the Docker Engine at %.200s was stopped or restarted and took it along; with \"live-restore\": true in the "
        "engine's daemon.json containers outlive that",
        tn_engine_address(env->docker->engine));
    tn_docker__container_ended(env, watch->index, NULL, why);
}

/* No answer, or one that was cut off: an engine sends the head of some answers long before the rest. */
static bool engine_went(int status, const struct tn_err *err)
{
    return err != NULL && status < 300;
}

static void on_events(int status, const cJSON *json, const struct tn_err *err, void *arg)
{
    struct tn_docker_watch *watch = arg;

    watch->call = NULL;
    if (!engine_went(status, err) && (json != NULL || err != NULL)) {
        tn_docker__container_ended(watch->env, watch->index, &watch->state, watch->why);
        return;
    }
    if (err != NULL && status == 0)
        tn_docker_engine_gone(watch->env->docker, err->text);
    ended_with_engine(watch);
}

static void ask_events(struct tn_docker_watch *watch)
{
    char name[TN_CONTAINER_NAME_MAX + 1];
    int64_t finished = watch->state.finished != 0 ? watch->state.finished : (int64_t)time(NULL);

    tn_docker__container_name(watch->env, watch->index, name, sizeof(name));
    watch->call = tn_engine_events_of(watch->env->docker->engine, name, finished + EVENTS_S,
                                      TN_ENGINE_THEN(EVENTS_MS, on_events, watch));
}

/* An engine that shuts down takes no new connections before it ends its containers, and one that was started since
 * knows of no event of this one. */
static void explain_end(struct tn_docker_watch *watch)
{
    const struct tn_container_state *state = &watch->state;
    bool signaled = state->exit_code == STATUS_KILLED || state->exit_code == STATUS_TERMINATED;

    tn_docker__describe_end(watch->env, state, watch->why, sizeof(watch->why));
    if (state->oom_killed || state->error[0] != '\0' || !signaled)
        tn_docker__container_ended(watch->env, watch->index, state, watch->why);
    else if (watch->broken)
        ended_with_engine(watch);
    else
        ask_events(watch);
}

/* The connection is gone, and so is the container as far as we know; with no answer at all, so is the engine. */
static void watch_broken(struct tn_docker_watch *watch, int status, const struct tn_err *err)
{
    if (status == 0)
        tn_docker_engine_gone(watch->env->docker, err->text);
    watch->broken = true;
    if (watch->ended || (watch->index == 0 && watch->env->told_to_end))
        ended_with_engine(watch);
    else
        watch_later(watch);
}

static void on_watch_inspected(int status, const cJSON *json, const struct tn_err *err, void *arg)
{
    struct tn_docker_watch *watch = arg;
    struct tn_err wrong = TN_ERR_INIT;

    watch->call = NULL;
    if (err != NULL && err->code == TN_ERR_NOT_FOUND) {
        tn_docker__container_ended(watch->env, watch->index, NULL, "somebody else removed it");
    } else if (engine_went(status, err)) {
        watch_broken(watch, status, err);
    } else if (err != NULL || tn_container_state_parse(json, &watch->state, &wrong) != 0) {
        watch_later(watch);
    } else if (watch->state.running) {
        watch_wait(watch);
    } else {
        explain_end(watch);
    }
}

static void watch_inspect(struct tn_docker_watch *watch)
{
    char name[TN_CONTAINER_NAME_MAX + 1];

    tn_docker__container_name(watch->env, watch->index, name, sizeof(name));
    watch->call =
        tn_engine_inspect(watch->env->docker->engine, name, TN_ENGINE_THEN(ASK_MS, on_watch_inspected, watch));
}

static void on_watch_ended(int status, const cJSON *json, const struct tn_err *err, void *arg)
{
    struct tn_docker_watch *watch = arg;

    watch->call = NULL;
    watch->ended = err == NULL;
    if (engine_went(status, err))
        watch_broken(watch, status, err);
    else if (err != NULL && err->code != TN_ERR_NOT_FOUND)
        watch_later(watch);
    else
        watch_inspect(watch);
}

static void watch_wait(struct tn_docker_watch *watch)
{
    char name[TN_CONTAINER_NAME_MAX + 1];

    tn_docker__container_name(watch->env, watch->index, name, sizeof(name));
    watch->call = tn_engine_wait(watch->env->docker->engine, name, TN_ENGINE_THEN(0, on_watch_ended, watch));
}

void tn_docker_told_to_end(struct tn_executor *executor, struct tn_task *task)
{
    struct tn_docker *docker = tn_executor_self(executor);
    struct tn_docker_env *env = tn_docker_env_find(docker, tn_task_id(task), tn_task_attempt(task));

    if (env == NULL || env->phase != TN_DOCKER_READY) {
        tn_task_environment_lost(task, "it was told to end (SIGTERM) while the job ran in it");
        return;
    }
    /* Its container ends within seconds, and the watch says why. If the engine is gone already, nobody else will. */
    env->told_to_end = true;
    if (env->watches[0].broken)
        ended_with_engine(&env->watches[0]);
}

void tn_docker__watch(struct tn_docker_env *env, size_t index)
{
    struct tn_docker_watch *watch = &env->watches[index];

    watch->env = env;
    watch->index = index;
    watch_wait(watch);
}

void tn_docker__watch_end(struct tn_docker_watch *watch)
{
    if (watch->call != NULL)
        tn_engine_cancel(watch->call);
    if (watch->again != NULL)
        event_free(watch->again);
    watch->call = NULL;
    watch->again = NULL;
}
