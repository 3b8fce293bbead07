/* The containers of an attempt that run: each is waited for, and what its end means is said. */
#include "executors/docker/environment.h"

#include "core/lib/log.h"

#include <stdio.h>
#include <string.h>

enum {
    ASK_MS = 30000,
    AGAIN_S = 2, /* the engine went away: ask again */
};

void tn_docker__describe_end(const struct tn_docker_env *env, const struct tn_container_state *state, char *text,
                             size_t size)
{
    if (state->oom_killed)
        snprintf(text, size, "the kernel killed it: out of memory (limit %d MiB, resource class %s)",
                 env->resource_class.memory_mib, env->class_name);
    else if (state->error[0] != '\0')
        snprintf(text, size, "it could not start: %s", state->error);
    else if (state->exit_code == 137)
        snprintf(text, size, "it was killed (exit status 137) by somebody on its host");
    else
        snprintf(text, size, "its program ended with status %d", state->exit_code);
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

void tn_docker__container_ended(struct tn_docker_env *env, size_t index, const char *why)
{
    char image[TN_IMAGE_REF_TEXT_MAX + 1];

    if (index == 0) {
        primary_ended(env, why);
        return;
    }
    tn_docker__image_name(env, index, image, sizeof(image));
    tn_docker__say(env, "Service container %zu (%s) ended: %s", index + 1, image, why);
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

static void on_watch_inspected(int status, const cJSON *json, const struct tn_err *err, void *arg)
{
    struct tn_docker_watch *watch = arg;
    struct tn_container_state state;
    struct tn_err wrong = TN_ERR_INIT;
    char why[500];

    watch->call = NULL;
    if (err != NULL && err->code == TN_ERR_NOT_FOUND) {
        tn_docker__container_ended(watch->env, watch->index, "somebody else removed it");
    } else if (err != NULL || tn_container_state_parse(json, &state, &wrong) != 0) {
        watch_later(watch);
    } else if (state.running) {
        watch_wait(watch);
    } else {
        tn_docker__describe_end(watch->env, &state, why, sizeof(why));
        tn_docker__container_ended(watch->env, watch->index, why);
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
    if (err != NULL && err->code != TN_ERR_NOT_FOUND)
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
