#include "executors/docker/driver.h"

#include "core/lib/fs.h"
#include "core/lib/json.h"
#include "core/lib/log.h"
#include "executors/docker/environment.h"
#include "executors/docker/folders.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    PROBE_MS = 10000,
    PROBE_AGAIN_S = 5,
    CLOSE_MS = 5000, /* for leftovers that are being removed when the process ends */
};

/* ---- is the engine there? ---- */

static void probe(struct tn_docker *docker);

static void on_retry(evutil_socket_t fd, short what, void *arg)
{
    probe(arg);
}

static void probe_later(struct tn_docker *docker)
{
    struct timeval later = {PROBE_AGAIN_S, 0};

    evtimer_add(docker->retry, &later);
}

static void answer_list(struct tn_docker *docker)
{
    docker->listed = docker->listed || docker->list_wanted;
    if (docker->list_wanted)
        tn_executor_listed(docker->executor);
    docker->list_wanted = false;
}

/* The engine answers; is there anything else in the way of jobs? */
static void announce(struct tn_docker *docker)
{
    const char *const reasons[] = {docker->bin_error, docker->images.error};
    const char *reason = NULL;

    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]) && reason == NULL; i++)
        if (reasons[i][0] != '\0')
            reason = reasons[i];
    tn_executor_available(docker->executor, reason);
}

static void unusable(struct tn_docker *docker, const char *reason)
{
    docker->usable = false;
    tn_executor_available(docker->executor, reason);
    answer_list(docker);
    if (docker->engine != NULL)
        probe_later(docker);
}

void tn_docker_engine_gone(struct tn_docker *docker, const char *reason)
{
    if (docker->usable)
        unusable(docker, reason);
}

static void found_folder(uint64_t task, uint32_t attempt, void *arg)
{
    struct tn_docker *docker = arg;

    tn_executor_found(docker->executor, task, attempt);
}

/* Containers of every role, and folders: whatever a crash left of an attempt is enough to find it. One that is named
 * twice is removed once. */
static void on_containers(int status, const cJSON *json, const struct tn_err *err, void *arg)
{
    struct tn_docker *docker = arg;
    const cJSON *item;

    if (err != NULL) {
        unusable(docker, err->text);
        return;
    }
    cJSON_ArrayForEach (item, json) {
        const cJSON *labels = tn_json_get(item, "Labels");
        uint64_t task = tn_json_u64(labels, TN_LABEL_TASK, 0);
        uint64_t attempt = tn_json_u64(labels, TN_LABEL_ATTEMPT, 0);

        if (task != 0 && attempt <= UINT32_MAX)
            tn_executor_found(docker->executor, task, (uint32_t)attempt);
    }
    tn_docker_sockets_each(docker->sockets, found_folder, docker);
    docker->usable = true;
    announce(docker);
    answer_list(docker);
}

static void list_ours(struct tn_docker *docker)
{
    char installation[300];
    const char *const labels[] = {installation};

    snprintf(installation, sizeof(installation), "%s=%s", TN_LABEL_INSTALLATION,
             tn_executor_service(docker->executor)->installation);
    (void)tn_engine_list(docker->engine, labels, 1, TN_ENGINE_THEN(PROBE_MS, on_containers, docker));
}

static void on_networks(int status, const cJSON *json, const struct tn_err *err, void *arg)
{
    struct tn_docker *docker = arg;
    struct tn_err wrong = TN_ERR_INIT;

    if (err == NULL && tn_container_host_parse(docker->info, json, &docker->host, &wrong) == 0)
        list_ours(docker);
    else
        unusable(docker, err != NULL ? err->text : wrong.text);
    cJSON_Delete(docker->info);
    docker->info = NULL;
}

static void on_info(int status, const cJSON *json, const struct tn_err *err, void *arg)
{
    struct tn_docker *docker = arg;

    if (err != NULL) {
        unusable(docker, err->text);
        return;
    }
    docker->info = cJSON_Duplicate(json, true);
    tn_docker_images_engine(&docker->images, tn_json_string(json, "ID", ""));
    (void)tn_engine_networks(docker->engine, TN_ENGINE_THEN(PROBE_MS, on_networks, docker));
}

static void probe(struct tn_docker *docker)
{
    if (docker->listed && !TAILQ_EMPTY(&docker->envs))
        probe_later(docker); /* tasks that are here find out by themselves */
    else
        (void)tn_engine_info(docker->engine, TN_ENGINE_THEN(PROBE_MS, on_info, docker));
}

/* ---- the process ---- */

/* Before Landlock: whatever lies outside our own folders is read here. */
static void docker_confine(struct tn_executor *executor, struct tn_confine_profile *profile)
{
    struct tn_docker *docker = calloc(1, sizeof(*docker));
    const char *run = tn_executor_service(executor)->run_dir;
    struct tn_err err = TN_ERR_INIT;

    if (docker == NULL)
        tn_fatal(3, "out of memory: the Docker driver");
    tn_executor_set_self(executor, docker);
    docker->executor = executor;
    TAILQ_INIT(&docker->envs);
    docker->sockets = tn_fs_path("%s/docker", run);
    docker->bin = tn_fs_path("%s/docker-bin", run);
    if (gethostname(docker->node, sizeof(docker->node) - 1) != 0)
        snprintf(docker->node, sizeof(docker->node), "host");
    if (tn_fs_make_dirs(docker->sockets, 0700, &err) != 0)
        tn_fatal(3, "%s", err.text);
    if (tn_docker_bin_make(docker->bin, &err) != 0)
        snprintf(docker->bin_error, sizeof(docker->bin_error), "%.500s", err.text);
    tn_docker_images_open(&docker->images, tn_json_get(tn_executor_service(executor)->settings, "docker"),
                          tn_executor_service(executor)->store_dir);
    docker->paths[0] = (struct tn_confine_path){docker->sockets, true};
    profile->paths = docker->paths;
    profile->path_count =
        1 + tn_docker_images_paths(&docker->images, docker->paths + 1, TN_DOCKER_PATHS_MAX - 1);
    profile->connect_ports = docker->images.ports;
    profile->groups = TN_CONFINE_FILES;
}

static int docker_open(struct tn_executor *executor, struct tn_err *err)
{
    struct tn_docker *docker = tn_executor_self(executor);
    struct tn_err wrong = TN_ERR_INIT;

    docker->retry = evtimer_new(tn_executor_service(executor)->base, on_retry, docker);
    if (docker->retry == NULL)
        return tn_err_set(err, TN_ERR_SYSTEM, "out of memory: a timer");
    docker->engine = tn_engine_new(tn_executor_service(executor)->base, getenv("DOCKER_HOST"), &wrong);
    if (docker->engine == NULL)
        unusable(docker, wrong.text);
    else
        probe(docker);
    return 0;
}

static void docker_list(struct tn_executor *executor)
{
    struct tn_docker *docker = tn_executor_self(executor);

    docker->list_wanted = true;
    if (docker->engine == NULL)
        answer_list(docker);
}

static void on_close_over(evutil_socket_t fd, short what, void *arg)
{
    *(bool *)arg = true;
}

static bool removes(const struct tn_docker *docker)
{
    const struct tn_docker_env *env;

    TAILQ_FOREACH (env, &docker->envs, next)
        if (env->phase == TN_DOCKER_REMOVING)
            return true;
    return false;
}

/* Leftovers have no task for which the SDK would wait. */
static void finish_removals(struct tn_docker *docker)
{
    struct event_base *base = tn_executor_service(docker->executor)->base;
    struct timeval deadline = {CLOSE_MS / 1000, 0};
    bool over = false;
    struct event *timer;

    if (!removes(docker) || (timer = evtimer_new(base, on_close_over, &over)) == NULL)
        return;
    evtimer_add(timer, &deadline);
    while (!over && removes(docker) && event_base_loop(base, EVLOOP_ONCE) == 0)
        continue;
    event_free(timer);
}

static void docker_close(struct tn_executor *executor)
{
    struct tn_docker *docker = tn_executor_self(executor);
    struct tn_docker_env *env;

    if (docker->engine != NULL)
        finish_removals(docker);
    while ((env = TAILQ_FIRST(&docker->envs)) != NULL)
        tn_docker_env_free(env);
    tn_engine_free(docker->engine);
    event_free(docker->retry);
    cJSON_Delete(docker->info);
    tn_docker_images_close(&docker->images);
    free(docker->sockets);
    free(docker->bin);
    free(docker);
}

const struct tn_executor_ops tn_docker_ops = {
    .kind = "docker",
    .role = "executor-docker",
    .confine = docker_confine,
    .open = docker_open,
    .list = docker_list,
    .acquire = tn_docker_acquire,
    .release = tn_docker_release,
    .remove = tn_docker_remove,
    .on_message = NULL,
    .close = docker_close,
};
