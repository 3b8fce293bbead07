#include "executors/docker/metadata.h"

#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/json.h"
#include "executors/docker/folders.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { ASK_MS = 30000, NAME_SIZE = TN_CONTAINER_NAME_MAX + 10 };

static bool is_denied(const struct tn_docker *docker)
{
    const cJSON *network = tn_json_get(tn_executor_service(docker->executor)->settings, "network");

    return docker->host.bridge && strcmp(tn_json_string(network, "metadata", "deny"), "allow") != 0;
}

/* Beside the folder that is mounted, where no container sees it. */
static char *note_path(const struct tn_docker_env *env)
{
    return tn_fs_path("%s/../deny-metadata", env->socket_folder);
}

static const char *helper_name(const struct tn_docker_env *env, char name[NAME_SIZE])
{
    char primary[TN_CONTAINER_NAME_MAX + 1];

    tn_docker__container_name(env, 0, primary, sizeof(primary));
    snprintf(name, NAME_SIZE, "%s-metadata", primary);
    return name;
}

int tn_docker_metadata_note(struct tn_docker_env *env, struct tn_err *err)
{
    auto_free char *path = note_path(env);
    auto_fd int fd = -1;

    if (!is_denied(env->docker))
        return 0;
    if (tn_docker_sockets_make(env->docker->sockets, env->task, env->attempt, err) != 0)
        return -1;
    fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    return fd >= 0 ? 0 : tn_err_sys(err, errno, "cannot make %s", path);
}

/* From here on, whatever came of it, commands of the job may run. */
static void finish(struct tn_docker_env *env, const char *why)
{
    auto_free char *path = note_path(env);
    void (*then)(struct tn_docker_env * env) = env->metadata_then;

    if (unlink(path) != 0 && errno != ENOENT) {
        tn_docker__fail(env, true, "cannot remove %s: %s", path, strerror(errno));
        return;
    }
    if (why != NULL)
        tn_docker__say(
            env, "The metadata addresses of the engine's host (169.254.169.254 and the like) are within reach: %s",
            why);
    then(env);
}

static void on_ended(int status, const cJSON *json, const struct tn_err *err, void *arg)
{
    struct tn_docker_env *env = tn_docker__answered(arg);
    int code = (int)tn_json_number(json, "StatusCode", -1);
    char why[100];

    if (env == NULL)
        return;
    snprintf(why, sizeof(why), "no rules can be set in the container's network (status %d)", code);
    finish(env, err != NULL ? err->text : code != 0 ? why : NULL);
}

static void on_started(int status, const cJSON *json, const struct tn_err *err, void *arg)
{
    struct tn_docker_env *env = tn_docker__answered(arg);
    char name[NAME_SIZE];

    if (env == NULL)
        return;
    if (err != NULL)
        finish(env, err->text);
    else
        env->call = tn_engine_wait(env->docker->engine, helper_name(env, name), TN_ENGINE_THEN(ASK_MS, on_ended, env));
}

static void start(struct tn_docker_env *env)
{
    char name[NAME_SIZE];

    env->call_kept = true;
    env->call = tn_engine_start(env->docker->engine, helper_name(env, name), TN_ENGINE_THEN(ASK_MS, on_started, env));
}

static void on_uploaded(int status, const cJSON *json, const struct tn_err *err, void *arg)
{
    struct tn_docker_env *env = tn_docker__answered(arg);

    if (env == NULL)
        return;
    if (err != NULL)
        finish(env, err->text);
    else
        start(env);
}

static void on_created(int status, const cJSON *json, const struct tn_err *err, void *arg)
{
    struct tn_docker_env *env = tn_docker__answered(arg);
    char name[NAME_SIZE];

    if (env == NULL)
        return;
    if (err != NULL && err->code != TN_ERR_CONFLICT) /* else an earlier life made it */
        finish(env, err->text);
    else if (env->remote)
        tn_docker__upload(env, helper_name(env, name), on_uploaded);
    else
        start(env);
}

void tn_docker_metadata_deny(struct tn_docker_env *env, void (*then)(struct tn_docker_env *env))
{
    const struct tn_docker *docker = env->docker;
    auto_free char *path = note_path(env);
    auto_json cJSON *body = NULL;
    char owner[TN_OWNER_TEXT_MAX];
    char primary[TN_CONTAINER_NAME_MAX + 1];
    char name[NAME_SIZE];
    const struct tn_container_task task = tn_docker__container_task(env, owner);

    if (access(path, F_OK) != 0) {
        then(env);
        return;
    }
    env->metadata_then = then;
    tn_docker__container_name(env, 0, primary, sizeof(primary));
    body = tn_container_metadata_new(&task, &env->images[0], primary);
    env->call_kept = true;
    env->call = tn_engine_create(docker->engine, helper_name(env, name), body, TN_ENGINE_THEN(ASK_MS, on_created, env));
}
