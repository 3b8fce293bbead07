#include "executors/docker/environment.h"

#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/json.h"
#include "core/lib/log.h"
#include "executors/docker/folders.h"
#include "executors/docker/metadata.h"
#include "executors/docker/start_error.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
    ASK_MS = 30000,
    CREATE_MS = 120000,
    START_MS = 120000,
    IMAGES_MAX = 64,
    REMOTE_PATIENCE_MS = 5 * 60 * 1000, /* a network may be away for a while, and its jobs go on */
};

uint64_t tn_docker_now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u;
}

/* ---- memory ---- */

struct tn_docker_env *tn_docker_env_find(struct tn_docker *docker, uint64_t task, uint32_t attempt)
{
    struct tn_docker_env *env;

    TAILQ_FOREACH (env, &docker->envs, next)
        if (env->task == task && env->attempt == attempt)
            return env;
    return NULL;
}

struct tn_docker_env *tn_docker_env_new(struct tn_docker *docker, uint64_t task, uint32_t attempt)
{
    struct tn_docker_env *env = calloc(1, sizeof(*env));

    if (env == NULL)
        tn_fatal(3, "out of memory: an environment");
    env->docker = docker;
    env->task = task;
    env->attempt = attempt;
    snprintf(env->task_text, sizeof(env->task_text), "%" PRIu64, task);
    env->socket_folder = tn_docker_socket_folder(docker->sockets, task, attempt);
    TAILQ_INSERT_TAIL(&docker->envs, env, next);
    return env;
}

bool tn_docker_env_halt(struct tn_docker_env *env)
{
    for (size_t i = 0; env->watches != NULL && i < env->n_images; i++)
        tn_docker__watch_end(&env->watches[i]);
    tn_docker__services_halt(env);
    if (env->pull != NULL)
        tn_docker_pull_cancel(env->pull);
    env->pull = NULL;
    if (env->call != NULL && env->call_kept)
        return false;
    if (env->call != NULL)
        tn_engine_cancel(env->call);
    env->call = NULL;
    return true;
}

void tn_docker_env_free(struct tn_docker_env *env)
{
    TAILQ_REMOVE(&env->docker->envs, env, next);
    env->call_kept = false;
    (void)tn_docker_env_halt(env);
    if (env->timer != NULL)
        event_free(env->timer);
    if (env->drain_timer != NULL)
        event_free(env->drain_timer);
    tn_docker__services_free(env);
    for (size_t i = 0; i < env->n_images; i++)
        tn_container_image_free(&env->images[i]);
    tn_attach_free(env->attach);
    cJSON_Delete(env->program);
    free(env->images);
    free(env->watches);
    free(env->socket_folder);
    free(env);
}

/* ---- words ---- */

static struct tn_task *task_of(const struct tn_docker_env *env)
{
    return tn_executor_task(env->docker->executor, env->task, env->attempt);
}

void tn_docker__say(struct tn_docker_env *env, const char *fmt, ...)
{
    struct tn_task *task = task_of(env);
    char text[1024];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    if (task != NULL)
        tn_task_say(task, "%s", text);
}

void tn_docker__fail(struct tn_docker_env *env, bool retry, const char *fmt, ...)
{
    struct tn_task *task = task_of(env);
    char text[1200];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    (void)tn_docker_env_halt(env);
    env->phase = TN_DOCKER_FAILED;
    if (task != NULL)
        tn_task_not_acquired(task, retry, "%s", text);
}

void tn_docker__image_name(const struct tn_docker_env *env, size_t index, char *text, size_t size)
{
    tn_image_ref_format(&env->images[index].ref, text, size);
}

void tn_docker__container_name(const struct tn_docker_env *env, size_t index, char *name, size_t size)
{
    const struct tn_container_task names = {.installation = tn_executor_service(env->docker->executor)->installation,
                                            .task = env->task_text,
                                            .attempt = env->attempt};

    tn_container_name(&names, index, name, size);
}

/* Words of the engine or of runc that say that the config is at fault, with a status that does not. */
static bool is_the_jobs_fault(const struct tn_err *err)
{
    static const char *const fragments[] = {"exec format error", "unable to find user", "executable file not found",
                                            "no matching entries in passwd file"};

    for (size_t i = 0; i < sizeof(fragments) / sizeof(fragments[0]); i++)
        if (strstr(err->text, fragments[i]) != NULL)
            return true;
    return err->code == TN_ERR_CONFIG || err->code == TN_ERR_NOT_FOUND;
}

static void fail_request(struct tn_docker_env *env, int status, const struct tn_err *err)
{
    struct tn_docker *docker = env->docker;
    bool gone = status == 0 && err->code == TN_ERR_UNAVAILABLE;
    char image[TN_IMAGE_REF_TEXT_MAX + 1];
    char reason[sizeof(err->text)];
    char words[600];

    snprintf(reason, sizeof(reason), "%s", err->text);
    tn_docker__image_name(env, env->index, image, sizeof(image));
    if (tn_start_error_text(err->text, image, words, sizeof(words)))
        tn_docker__fail(env, false, "docker entry %zu: %s", env->index + 1, words);
    else
        tn_docker__fail(env, !is_the_jobs_fault(err), "docker entry %zu: %s", env->index + 1, reason);
    if (gone)
        tn_docker_engine_gone(docker, reason);
}

/* ---- acquire: container after container ---- */

static void begin_container(struct tn_docker_env *env);
static void start_container(struct tn_docker_env *env);

struct tn_docker_env *tn_docker__answered(void *arg)
{
    struct tn_docker_env *env = arg;

    env->call = NULL;
    env->call_kept = false;
    if (env->phase == TN_DOCKER_REMOVING)
        tn_docker_removal_go(env);
    return env->phase == TN_DOCKER_ACQUIRING ? env : NULL;
}

/* The words of the program that the primary keeps, NULL at the end; NULL if it keeps none. The words are borrowed. */
static const char **program_words(const struct tn_docker_env *env)
{
    const char **words =
        env->program != NULL ? calloc((size_t)cJSON_GetArraySize(env->program) + 1, sizeof(*words)) : NULL;
    const cJSON *word;
    size_t count = 0;

    cJSON_ArrayForEach (word, env->program)
        if (words != NULL && cJSON_IsString(word))
            words[count++] = word->valuestring;
    return words;
}

static void ready(struct tn_docker_env *env)
{
    auto_free char *socket = tn_fs_path("%s/agent.sock", env->socket_folder);
    auto_free const char **program = program_words(env);
    char name[512];
    struct tn_environment environment = {.agent_socket = env->remote ? NULL : socket,
                                         .patience_ms = env->remote ? REMOTE_PATIENCE_MS : 0,
                                         .bin = TN_CONTAINER_BIN,
                                         .scratch = TN_CONTAINER_RUN,
                                         .home = NULL,
                                         .root = "",
                                         .node = env->docker->node};
    struct tn_task *task = task_of(env);

    tn_docker__log_name(env, 0, name, sizeof(name));
    environment.program = program;
    environment.program_name = name;
    env->phase = TN_DOCKER_READY;
    if (task != NULL)
        tn_task_acquired(task, &environment);
}

static void container_done(struct tn_docker_env *env)
{
    env->index++;
    if (env->index < env->n_images)
        begin_container(env);
    else
        ready(env);
}

static void container_runs(struct tn_docker_env *env)
{
    tn_docker__watch(env, env->index);
    if (env->index > 0) {
        tn_docker__service_begin(env, env->index);
        container_done(env);
    } else {
        tn_docker_metadata_deny(env, container_done);
    }
}

static void on_started(int status, const cJSON *json, const struct tn_err *err, void *arg)
{
    struct tn_docker_env *env = tn_docker__answered(arg);

    if (env == NULL)
        return;
    if (err != NULL) {
        fail_request(env, status, err);
        return;
    }
    container_runs(env);
}

static void start_container(struct tn_docker_env *env)
{
    char name[TN_CONTAINER_NAME_MAX + 1];

    tn_docker__container_name(env, env->index, name, sizeof(name));
    env->call_kept = true;
    env->call = tn_engine_start(env->docker->engine, name, TN_ENGINE_THEN(START_MS, on_started, env));
}

static void on_uploaded(int status, const cJSON *json, const struct tn_err *err, void *arg)
{
    struct tn_docker_env *env = tn_docker__answered(arg);

    if (env == NULL)
        return;
    if (err != NULL)
        fail_request(env, status, err);
    else
        start_container(env);
}

/* What was created becomes complete, and runs. */
static void finish_container(struct tn_docker_env *env)
{
    char name[TN_CONTAINER_NAME_MAX + 1];

    tn_docker__container_name(env, env->index, name, sizeof(name));
    if (env->index == 0 && env->remote)
        tn_docker__upload(env, name, on_uploaded);
    else
        start_container(env);
}

static void on_created(int status, const cJSON *json, const struct tn_err *err, void *arg)
{
    struct tn_docker_env *env = tn_docker__answered(arg);
    const cJSON *warning;

    if (env == NULL)
        return;
    if (err != NULL && err->code == TN_ERR_CONFLICT) {
        begin_container(env); /* made by an earlier life just before it ended */
        return;
    }
    if (err != NULL) {
        fail_request(env, status, err);
        return;
    }
    cJSON_ArrayForEach (warning, cJSON_GetObjectItemCaseSensitive(json, "Warnings"))
        if (cJSON_IsString(warning))
            tn_debug("task %s.%u: the engine warns: %s", env->task_text, env->attempt, warning->valuestring);
    finish_container(env);
}

struct tn_container_task tn_docker__container_task(const struct tn_docker_env *env, char owner[TN_OWNER_TEXT_MAX])
{
    const struct tn_docker *docker = env->docker;

    return (struct tn_container_task){.installation = tn_executor_service(docker->executor)->installation,
                                      .owner = tn_docker_cleanup_owner(&docker->cleanup, owner),
                                      .task = env->task_text,
                                      .attempt = env->attempt,
                                      .resource_class = &env->resource_class,
                                      .host = &docker->host,
                                      .agent_folder = env->remote ? NULL : docker->bin};
}

static void create_container(struct tn_docker_env *env)
{
    const struct tn_docker *docker = env->docker;
    /* The agent runs as the image's user, we as another; the folder around it keeps everybody else out, and the agent
     * whoever is not of our user, where our number is the same in the container. Podman does not say whether it is. */
    bool same_users = !env->remote && !docker->host.remapped && !tn_engine_is_podman(docker->engine);
    char peer[16];
    const char *const agent_args[] = {"--mode", "0777", same_users ? "--peer" : NULL, peer, NULL};
    char owner[TN_OWNER_TEXT_MAX];
    struct tn_container_task task = tn_docker__container_task(env, owner);
    char name[TN_CONTAINER_NAME_MAX + 1];
    char primary[TN_CONTAINER_NAME_MAX + 1];
    char image[TN_IMAGE_REF_TEXT_MAX + 1];
    auto_json cJSON *body = NULL;
    struct tn_err err = TN_ERR_INIT;

    snprintf(peer, sizeof(peer), "%u", (unsigned)geteuid());
    task.socket_folder = env->remote ? NULL : env->socket_folder;
    task.program = env->program;
    task.ramdisk = tn_docker_ramdisk(docker);
    task.read_only = tn_docker_read_only(docker);
    task.agent_args = agent_args;
    tn_docker__container_name(env, env->index, name, sizeof(name));
    tn_docker__container_name(env, 0, primary, sizeof(primary));
    tn_docker__image_name(env, env->index, image, sizeof(image));
    body = env->index == 0 ? tn_container_primary_new(&task, env->images, env->n_images)
                           : tn_container_service_new(&task, &env->images[env->index], primary);
    if (env->index == 0 && tn_docker_metadata_note(env, &err) != 0) {
        tn_docker__fail(env, true, "%s", err.text);
        return;
    }
    tn_docker__say(env, "Starting %s container: image %s", env->index == 0 ? "primary" : "service", image);
    env->call_kept = true;
    env->call = tn_engine_create(docker->engine, name, body, TN_ENGINE_THEN(CREATE_MS, on_created, env));
}

/* ---- images ---- */

static void say_pull(const char *text, void *arg)
{
    tn_docker__say(arg, "%s", text);
}

static void on_pulled(const struct tn_docker_pulled *pulled, void *arg)
{
    struct tn_docker_env *env = arg;
    char reason[1200];

    env->pull = NULL;
    if (pulled->error != NULL) {
        snprintf(reason, sizeof(reason), "%s", pulled->error);
        tn_docker__fail(env, pulled->retry, "docker entry %zu: %s", env->index + 1, reason);
        if (pulled->engine_gone)
            tn_docker_engine_gone(env->docker, reason);
        return;
    }
    env->images[env->index].ref = *pulled->ref; /* what the engine knows it by */
    if (env->index == 0) {
        cJSON_Delete(env->program);
        env->program = tn_container_kept_argv(&env->images[0], pulled->image);
    }
    create_container(env);
}

static void make_image_present(struct tn_docker_env *env)
{
    struct tn_task *task = task_of(env);

    if (task == NULL) /* it ends; release follows */
        return;
    env->pull = tn_docker_pull_start(env->docker, &env->images[env->index], tn_task_lease(task),
                                     (struct tn_docker_pull_then){say_pull, on_pulled, env});
}

/* ---- what is there already ---- */

static void take_existing(struct tn_docker_env *env, const struct tn_container_state *state, const cJSON *inspected)
{
    char why[500];

    if (env->index == 0) {
        cJSON_Delete(env->program);
        env->program = tn_container_kept_parse(inspected);
        env->remote = state->attached; /* as it was made, whatever would be done today */
    }
    if (state->running) {
        container_runs(env);
    } else if (strcmp(state->status, "created") == 0) {
        finish_container(env);
    } else if (env->index == 0) {
        tn_docker__describe_end(env, state, why, sizeof(why));
        tn_docker__fail(env, true, "the primary container ended while no executor watched it: %s", why);
    } else {
        tn_docker__describe_end(env, state, why, sizeof(why));
        tn_docker__service_begin(env, env->index);
        tn_docker__container_ended(env, env->index, state, why);
        container_done(env);
    }
}

static void on_inspected(int status, const cJSON *json, const struct tn_err *err, void *arg)
{
    struct tn_docker_env *env = tn_docker__answered(arg);
    struct tn_container_state state;
    struct tn_err wrong = TN_ERR_INIT;

    if (env == NULL)
        return;
    if (err != NULL && err->code == TN_ERR_NOT_FOUND)
        make_image_present(env);
    else if (err != NULL)
        fail_request(env, status, err);
    else if (tn_container_state_parse(json, &state, &wrong) != 0)
        fail_request(env, status, &wrong);
    else
        take_existing(env, &state, json);
}

static void begin_container(struct tn_docker_env *env)
{
    char name[TN_CONTAINER_NAME_MAX + 1];

    tn_docker__container_name(env, env->index, name, sizeof(name));
    env->call = tn_engine_inspect(env->docker->engine, name, TN_ENGINE_THEN(ASK_MS, on_inspected, env));
}

/* ---- the lease ---- */

static int read_images(struct tn_docker_env *env, const cJSON *list, struct tn_err *err)
{
    int count = cJSON_GetArraySize(list);
    const cJSON *entry;

    if (count < 1 || count > IMAGES_MAX)
        return tn_err_set(err, TN_ERR_CONFIG, "\"docker\" lists %d images; expected 1 to %d", count, IMAGES_MAX);
    env->images = calloc((size_t)count, sizeof(*env->images));
    env->watches = calloc((size_t)count, sizeof(*env->watches));
    if (env->images == NULL || env->watches == NULL)
        tn_fatal(3, "out of memory: a job's images");
    cJSON_ArrayForEach (entry, list) {
        env->n_images++;
        if (tn_container_image_parse(entry, &env->images[env->n_images - 1], err) != 0)
            return tn_err_wrap(err, "docker entry %zu", env->n_images);
    }
    return 0;
}

static int bounded(double value)
{
    return value >= 1 && value <= 1e9 ? (int)value : 1;
}

/* The scheduler decides what a class is on this host; the engine is asked for exactly that. */
static void read_limits(struct tn_docker_env *env, const cJSON *lease)
{
    const cJSON *limits = tn_json_get(lease, "limits");
    const char *name = tn_json_string(tn_json_get(lease, "definition"), "resource_class", "default");
    int milli = bounded(tn_json_number(limits, "cpu_milli", 2000));

    snprintf(env->class_name, sizeof(env->class_name), "%s", name);
    env->resource_class = (struct tn_container_class){.name = env->class_name,
                                                      .cpus = milli > 1000 ? (milli + 999) / 1000 : 1,
                                                      .memory_mib = bounded(tn_json_number(limits, "memory_mb", 4096)),
                                                      .pids = bounded(tn_json_number(limits, "pids", 8192))};
}

static int prepare(struct tn_docker_env *env, const cJSON *lease, struct tn_err *err)
{
    size_t room = sizeof(((struct sockaddr_un *)0)->sun_path) - sizeof("/agent.sock");

    read_limits(env, lease);
    if (read_images(env, tn_json_get(tn_json_get(lease, "definition"), "docker"), err) != 0)
        return -1;
    env->remote = env->docker->remote;
    if (env->remote)
        return 0;
    if (strlen(env->socket_folder) > room)
        return tn_err_set(
            err, TN_ERR_CONFIG,
            "the folder of the agent's socket, %s, is longer than the %zu bytes that a unix socket allows; "
            "use a shorter run folder (XDG_RUNTIME_DIR, TMPDIR)",
            env->socket_folder, room);
    return tn_docker_sockets_make(env->docker->sockets, env->task, env->attempt, err);
}

struct tn_docker_env *tn_docker_env_of_lease(struct tn_docker *docker, struct tn_task *task)
{
    struct tn_docker_env *env = tn_docker_env_new(docker, tn_task_id(task), tn_task_attempt(task));
    const cJSON *lease = tn_task_lease(task);
    struct tn_err err = TN_ERR_INIT;

    read_limits(env, lease);
    if (read_images(env, tn_json_get(tn_json_get(lease, "definition"), "docker"), &err) == 0)
        return env;
    tn_docker_env_free(env);
    return NULL;
}

void tn_docker_acquire(struct tn_executor *executor, struct tn_task *task)
{
    struct tn_docker *docker = tn_executor_self(executor);
    struct tn_docker_env *env = tn_docker_env_find(docker, tn_task_id(task), tn_task_attempt(task));
    struct tn_err err = TN_ERR_INIT;

    if (env != NULL && env->phase == TN_DOCKER_REMOVING) {
        tn_task_not_acquired(task, true, "its containers are being removed");
        return;
    }
    if (env != NULL && env->phase == TN_DOCKER_ACQUIRING)
        return;      /* the answer is on its way */
    if (env != NULL) /* the SDK begins anew: look what there is */
        tn_docker_env_free(env);
    if (!docker->usable) {
        tn_task_not_acquired(task, true, "no Docker Engine answers at %s",
                             docker->engine != NULL ? tn_engine_address(docker->engine) : "DOCKER_HOST");
        return;
    }
    env = tn_docker_env_new(docker, tn_task_id(task), tn_task_attempt(task));
    if (prepare(env, tn_task_lease(task), &err) != 0)
        tn_docker__fail(env, err.code != TN_ERR_CONFIG, "%s", err.text);
    else
        begin_container(env);
}
