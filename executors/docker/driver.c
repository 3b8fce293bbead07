#include "executors/docker/driver.h"

#include "core/lib/fs.h"
#include "core/lib/json.h"
#include "core/lib/log.h"
#include "executors/docker/environment.h"
#include "executors/docker/folders.h"
#include "executors/docker/profile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    PROBE_MS = 10000,
    DNS_PORT = 53,
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
void tn_docker_announce(struct tn_docker *docker)
{
    struct tn_err agent = TN_ERR_INIT;
    const char *const reasons[] = {docker->remote ? agent.text : docker->bin_error, docker->images.error};
    const char *reason = NULL;

    if (!docker->usable)
        return; /* and the reason was told */
    if (docker->remote && tn_docker_reach_agent(&docker->reach, docker->host.arch, &agent) == NULL)
        tn_debug("%s", agent.text);
    else if (docker->remote && tn_docker_read_only(docker))
        tn_err_set(&agent, TN_ERR_USAGE,
                   "docker.read_only needs an engine that shares this host's folders, and the one at %s does not: the "
                   "agent must be unpacked into the container; leave it out for that engine",
                   tn_engine_address(docker->engine));
    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]) && reason == NULL; i++)
        if (reasons[i][0] != '\0')
            reason = reasons[i];
    if (reason == NULL && docker->cleanup.full[0] != '\0')
        tn_executor_busy(docker->executor, docker->cleanup.full);
    else
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

/* All is known that must be before jobs come. */
static void ready(struct tn_docker *docker)
{
    docker->usable = true;
    tn_docker_announce(docker);
    answer_list(docker);
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
    tn_docker_cleanup_engine(&docker->cleanup, ready);
}

static void list_ours(struct tn_docker *docker)
{
    char installation[300];
    const char *const labels[] = {installation};

    snprintf(installation, sizeof(installation), "%s=%s", TN_LABEL_INSTALLATION,
             tn_executor_service(docker->executor)->installation);
    (void)tn_engine_list(docker->engine, labels, 1, TN_ENGINE_THEN(PROBE_MS, on_containers, docker));
}

static void take_sharing(struct tn_docker *docker, bool shared, const char *how)
{
    docker->remote = !shared;
    tn_info("the Docker Engine at %s %s this host's folders (%s): agents are reached by %s",
            tn_engine_address(docker->engine), shared ? "shares" : "does not share", how,
            shared ? "sockets in mounted folders" : "attaching to their containers");
    list_ours(docker);
}

static void on_folder(int status, const cJSON *json, const struct tn_err *err, void *arg)
{
    struct tn_docker *docker = arg;
    int seen = tn_engine_folder_seen(status, err);

    if (status == 0 && err != NULL)
        unusable(docker, err->text);
    else if (seen >= 0)
        take_sharing(docker, seen == 1, "it was asked");
    else
        take_sharing(docker, false, "its answer tells nothing: docker.shared_folders can");
}

static void find_out_folders(struct tn_docker *docker)
{
    int guess = tn_docker_reach_guess(&docker->reach, &docker->host);

    if (guess >= 0)
        take_sharing(docker, guess == 1,
                     docker->reach.sharing == TN_DOCKER_SHARED_AUTO ? "another kernel" : "docker.shared_folders");
    else
        (void)tn_engine_ask_folder(docker->engine, docker->reach.probe, TN_ENGINE_THEN(PROBE_MS, on_folder, docker));
}

static void on_networks(int status, const cJSON *json, const struct tn_err *err, void *arg)
{
    struct tn_docker *docker = arg;
    struct tn_err wrong = TN_ERR_INIT;

    if (err == NULL && tn_container_host_parse(docker->info, json, &docker->host, &wrong) == 0)
        find_out_folders(docker);
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
    /* Podman makes up a new id for each answer. */
    tn_docker_images_engine(&docker->images,
                            tn_json_string(json, tn_engine_is_podman(docker->engine) ? "DockerRootDir" : "ID", ""));
    tn_docker_cleanup_info(&docker->cleanup, json);
    (void)tn_engine_networks(docker->engine, TN_ENGINE_THEN(PROBE_MS, on_networks, docker));
}

/* Also while tasks are here: they find out by themselves, but new ones wait for the word. */
static void probe(struct tn_docker *docker)
{
    (void)tn_engine_info(docker->engine, TN_ENGINE_THEN(PROBE_MS, on_info, docker));
}

double tn_docker_ramdisk(const struct tn_docker *docker)
{
    const cJSON *settings = tn_json_get(tn_executor_service(docker->executor)->settings, "docker");

    return tn_json_number(settings, "ramdisk", 0);
}

bool tn_docker_read_only(const struct tn_docker *docker)
{
    const cJSON *settings = tn_json_get(tn_executor_service(docker->executor)->settings, "docker");

    return strcmp(tn_json_string(settings, "read_only", "no"), "yes") == 0;
}

/* ---- the process ---- */

static void collect_ports(struct tn_docker *docker)
{
    size_t count = 0;

    for (size_t i = 0; docker->images.ports[i] != 0; i++)
        docker->ports[count++] = docker->images.ports[i];
    if (tn_docker_reach_port(&docker->reach) != 0) {
        docker->ports[count++] = tn_docker_reach_port(&docker->reach);
        docker->ports[count++] = DNS_PORT;
    }
    docker->ports[count] = 0;
}

/* Before Landlock: whatever lies outside our own folders is read here. */
static void docker_confine(struct tn_executor *executor, struct tn_confine *confine)
{
    struct tn_docker *docker = calloc(1, sizeof(*docker));
    const char *run = tn_executor_service(executor)->run_dir;
    struct tn_err err = TN_ERR_INIT;

    if (docker == NULL)
        tn_fatal(3, "out of memory: the Docker driver");
    tn_executor_set_self(executor, docker);
    docker->executor = executor;
    TAILQ_INIT(&docker->envs);
    docker->sockets = tn_fs_path("%s/jobs", run);
    docker->bin = tn_fs_path("%s/bin", run);
    if (gethostname(docker->node, sizeof(docker->node) - 1) != 0)
        snprintf(docker->node, sizeof(docker->node), "host");
    if (tn_fs_make_dirs(docker->sockets, 0700, &err) != 0)
        tn_fatal(3, "%s", err.text);
    if (tn_docker_bin_make(docker->bin, &err) != 0)
        snprintf(docker->bin_error, sizeof(docker->bin_error), "%.500s", err.text);
    tn_docker_reach_open(&docker->reach, tn_json_get(tn_executor_service(executor)->settings, "docker"),
                         docker->sockets);
    tn_docker_images_open(&docker->images, tn_json_get(tn_executor_service(executor)->settings, "docker"),
                          tn_executor_service(executor)->store_dir);
    tn_docker_cleanup_open(&docker->cleanup, docker, tn_executor_service(executor)->settings);
    confine->paths = docker->paths;
    docker->paths[0] = (struct tn_confine_path){"/etc/passwd", false};
    docker->paths[1] = (struct tn_confine_path){"/etc/group", false};
    confine->path_count = 2 + tn_docker_images_paths(&docker->images, docker->paths + 2, TN_DOCKER_PATHS_MAX - 2);
    collect_ports(docker);
    confine->ports = docker->ports;
}

static int docker_open(struct tn_executor *executor, struct tn_err *err)
{
    struct tn_docker *docker = tn_executor_self(executor);
    struct tn_err wrong = TN_ERR_INIT;

    docker->retry = evtimer_new(tn_executor_service(executor)->base, on_retry, docker);
    if (docker->retry == NULL)
        return tn_err_set(err, TN_ERR_SYSTEM, "out of memory: a timer");
    if (docker->reach.error[0] == '\0')
        docker->engine =
            tn_engine_open(tn_executor_service(executor)->base, &docker->reach.address, &docker->reach.tls, &wrong);
    if (docker->engine == NULL)
        unusable(docker, docker->reach.error[0] != '\0' ? docker->reach.error : wrong.text);
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
        if (env->phase == TN_DOCKER_REMOVING && (!env->abandoned || docker->usable))
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
    tn_docker_cleanup_close(&docker->cleanup);
    tn_engine_free(docker->engine);
    event_free(docker->retry);
    cJSON_Delete(docker->info);
    tn_docker_images_close(&docker->images);
    tn_docker_reach_close(&docker->reach);
    free(docker->sockets);
    free(docker->bin);
    free(docker);
}

const struct tn_executor_ops tn_docker_ops = {
    .kind = "docker",
    .role = "executor-docker",
    .profile = &tn_profile_docker,
    .confine = docker_confine,
    .open = docker_open,
    .list = docker_list,
    .acquire = tn_docker_acquire,
    .connect = tn_docker_connect,
    .told_to_end = tn_docker_told_to_end,
    .release = tn_docker_release,
    .remove = tn_docker_remove,
    .drain = tn_docker_drain,
    .room = tn_docker_room,
    .on_message = NULL,
    .close = docker_close,
};
