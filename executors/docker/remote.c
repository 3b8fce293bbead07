/* Environments of an engine that does not see this host's folders: the agent is unpacked into the primary container
 * before it is started, and its stream goes over attach. */
#include "executors/docker/environment.h"

#include "core/lib/log.h"
#include "executors/docker/agent_tar.h"

#include <errno.h>
#include <stdio.h>

enum { UPLOAD_MS = 120000 };

/* Before each start, also of a container that an earlier life made: unpacking twice gives the same. */
void tn_docker__upload(struct tn_docker_env *env, const char *container, tn_engine_done *done)
{
    struct tn_docker *docker = env->docker;
    struct tn_err err = TN_ERR_INIT;
    const struct tn_buf *agent = tn_docker_reach_agent(&docker->reach, docker->host.arch, &err);
    auto_buf struct tn_buf tar = TN_BUF_INIT;

    if (agent == NULL) {
        tn_docker__fail(env, true, "%s", err.text);
        return;
    }
    tn_agent_tar(&tar, agent->data, agent->len);
    env->call = tn_engine_put_archive(docker->engine, container, tar.data, tar.len, TN_ENGINE_THEN(UPLOAD_MS, done, env));
}

static void on_attach_ended(const char *reason, void *arg)
{
    struct tn_docker_env *env = arg;

    env->attach = NULL;
    tn_debug("task %s.%u: detached%s%s", env->task_text, env->attempt, reason != NULL ? ": " : "",
             reason != NULL ? reason : "");
}

int tn_docker_connect(struct tn_executor *executor, struct tn_task *task)
{
    struct tn_docker *docker = tn_executor_self(executor);
    struct tn_docker_env *env = tn_docker_env_find(docker, tn_task_id(task), tn_task_attempt(task));
    char name[TN_CONTAINER_NAME_MAX + 1];
    int fd = -1;

    if (env == NULL || env->phase != TN_DOCKER_READY) {
        errno = ENOTCONN;
        return -1;
    }
    tn_attach_free(env->attach);
    tn_docker__container_name(env, 0, name, sizeof(name));
    env->attach = tn_attach_new(docker->engine, tn_executor_service(executor)->base, name, on_attach_ended, env, &fd);
    return env->attach != NULL ? fd : -1;
}
