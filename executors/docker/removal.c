/* Release: everything of one attempt goes away, found by its labels, whatever state it is in. */
#include "executors/docker/environment.h"

#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/log.h"
#include "executors/docker/folders.h"
#include "executors/sdk/clearing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    ASK_MS = 10000,
    REMOVE_MS = 20000,
    AGAIN_S = 1,
    LATER_S = 5,
    GONE_MS = 4000,     /* nobody answers at the engine's address */
    GIVE_UP_MS = 12000, /* less than the SDK gives an executor that stops */
};

static void list_containers(struct tn_docker_env *env);

static void over(struct tn_docker_env *env)
{
    struct tn_task *task = tn_executor_task(env->docker->executor, env->task, env->attempt);

    tn_docker_env_free(env);
    if (task != NULL)
        tn_task_released(task);
}

static void on_cleared(void *arg, const char *why)
{
    struct tn_docker_env *env = arg;

    if (why != NULL)
        tn_warn("task %s.%u: %s (tried again at the next start)", env->task_text, env->attempt, why);
    over(env);
}

/* The containers are gone. What their root left in the folder of the socket is not ours to remove. */
static void done(struct tn_docker_env *env)
{
    struct tn_docker *docker = env->docker;
    auto_free char *folder = tn_docker_attempt_folder(docker->sockets, env->task, env->attempt);
    struct tn_err err = TN_ERR_INIT;

    if (env->abandoned)
        tn_info("task %s.%u: what was left of it is removed", env->task_text, env->attempt);
    if (tn_fs_remove_tree(folder, &err) == 0) {
        over(env);
        return;
    }
    tn_debug("task %s.%u: %s", env->task_text, env->attempt, err.text);
    tn_clearing_ask(docker->executor, folder, on_cleared, env);
}

static void on_again(evutil_socket_t fd, short what, void *arg)
{
    list_containers(arg);
}

/* The job's result does not wait any longer for an engine that may be gone for good. */
static void abandon(struct tn_docker_env *env)
{
    struct tn_task *task = tn_executor_task(env->docker->executor, env->task, env->attempt);

    env->abandoned = true;
    if (task != NULL)
        tn_task_released(task);
}

static void try_again(struct tn_docker_env *env)
{
    struct timeval later = {env->abandoned ? LATER_S : AGAIN_S, 0};

    uint64_t tried_ms = tn_docker_now_ms() - env->removal_began_ms;

    if (!env->abandoned && tried_ms >= (env->docker->usable ? GIVE_UP_MS : GONE_MS)) {
        tn_warn(
            "task %s.%u: its containers could not be removed yet: %s; they are removed when the engine answers, or at "
            "the next start of this executor",
            env->task_text, env->attempt, env->removal_error);
        abandon(env);
        later.tv_sec = LATER_S;
    }
    if (env->timer == NULL)
        env->timer = evtimer_new(tn_executor_service(env->docker->executor)->base, on_again, env);
    if (env->timer == NULL)
        tn_fatal(3, "out of memory: a timer");
    evtimer_add(env->timer, &later);
}

static void note_error(struct tn_docker_env *env, const struct tn_err *err)
{
    env->removal_failed = true;
    snprintf(env->removal_error, sizeof(env->removal_error), "%.500s", err->text);
}

static void on_removed(int status, const cJSON *json, const struct tn_err *err, void *arg)
{
    struct tn_docker_env *env = arg;

    if (err != NULL)
        note_error(env, err);
    if (--env->removals > 0)
        return;
    if (env->removal_failed)
        try_again(env);
    else
        done(env);
}

static void on_listed(int status, const cJSON *json, const struct tn_err *err, void *arg)
{
    struct tn_docker_env *env = arg;
    const cJSON *item;

    env->call = NULL;
    if (err != NULL) {
        note_error(env, err);
        try_again(env);
        return;
    }
    cJSON_ArrayForEach (item, json) {
        const char *id = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(item, "Id"));

        if (id == NULL)
            continue;
        env->removals++;
        (void)tn_engine_remove(env->docker->engine, id, TN_ENGINE_THEN(REMOVE_MS, on_removed, env));
    }
    if (env->removals == 0)
        done(env);
}

static void list_containers(struct tn_docker_env *env)
{
    char installation[300];
    char task[60];
    char attempt[60];
    const char *const labels[] = {installation, task, attempt};

    env->removal_failed = false;
    if (env->docker->engine == NULL) {
        done(env);
        return;
    }
    snprintf(installation, sizeof(installation), "%s=%s", TN_LABEL_INSTALLATION,
             tn_executor_service(env->docker->executor)->installation);
    snprintf(task, sizeof(task), "%s=%s", TN_LABEL_TASK, env->task_text);
    snprintf(attempt, sizeof(attempt), "%s=%u", TN_LABEL_ATTEMPT, env->attempt);
    env->call = tn_engine_list(env->docker->engine, labels, 3, TN_ENGINE_THEN(ASK_MS, on_listed, env));
}

void tn_docker_removal_go(struct tn_docker_env *env)
{
    env->phase = TN_DOCKER_REMOVING;
    if (env->removal_began_ms == 0)
        env->removal_began_ms = tn_docker_now_ms();
    if (tn_docker_env_halt(env))
        list_containers(env);
}

void tn_docker_remove(struct tn_executor *executor, uint64_t task, uint32_t attempt)
{
    struct tn_docker *docker = tn_executor_self(executor);
    struct tn_docker_env *env = tn_docker_env_find(docker, task, attempt);

    if (env != NULL && env->phase == TN_DOCKER_REMOVING)
        return; /* its end is on its way */
    if (env == NULL)
        env = tn_docker_env_new(docker, task, attempt);
    tn_docker_removal_go(env);
}

void tn_docker_release(struct tn_executor *executor, struct tn_task *task)
{
    tn_docker_remove(executor, tn_task_id(task), tn_task_attempt(task));
}
