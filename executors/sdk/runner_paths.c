/* What a step is called, where its paths lead and which environment it gets. Pure: nothing here is sent or changed,
 * but that a channel's number is used up. */
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/json.h"
#include "executors/sdk/internal.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

enum { OTHER_CHANNELS = 128 }; /* that one try of a step may use */

const cJSON *tn_runner_step(const struct tn_task *task, unsigned step)
{
    return step == 0 ? NULL : cJSON_GetArrayItem(task->steps, (int)step - 1);
}

const char *tn_runner_step_name(const struct tn_task *task, unsigned step)
{
    const cJSON *definition = tn_runner_step(task, step);

    if (step == 0)
        return "Spin up environment";
    return tn_json_string(definition, "name", tn_json_string(definition, "type", "step"));
}

uint32_t tn_runner_stream(unsigned step)
{
    return (uint32_t)step << 16;
}

uint32_t tn_runner_channel(struct tn_task *task)
{
    return (uint32_t)task->progress.step << 16 |
           (task->progress.tries * OTHER_CHANNELS + ++task->channels + TN_COMMAND_CHANNELS);
}

const char *tn_runner_fact(const struct tn_task *task, const char *name, char *out, size_t size)
{
    size_t length = strlen(name);
    const char *line = task->facts != NULL ? task->facts : "";

    out[0] = '\0';
    while (*line != '\0') {
        const char *end = strchrnul(line, '\n');

        if (strncmp(line, name, length) == 0 && line[length] == '=') {
            snprintf(out, size, "%.*s", (int)(end - line - (ptrdiff_t)length - 1), line + length + 1);
            break;
        }
        line = *end != '\0' ? end + 1 : end;
    }
    return out;
}

static const char *home_of(const struct tn_task *task, char *out, size_t size)
{
    if (task->home != NULL)
        snprintf(out, size, "%s", task->home);
    else
        tn_runner_fact(task, "home", out, size);
    for (size_t length = strlen(out); length > 1 && out[length - 1] == '/'; length--)
        out[length - 1] = '\0';
    return out[0] != '\0' ? out : "/";
}

/* A user without a home lives in "/". */
static char *below_home(const struct tn_task *task, const char *path)
{
    char home[1024];

    home_of(task, home, sizeof(home));
    return path[0] == '\0' ? tn_fs_path("%s", home) : tn_fs_path("%s/%s", strcmp(home, "/") == 0 ? "" : home, path);
}

char *tn_runner_path(const struct tn_task *task, const char *path)
{
    const char *declared = tn_json_string(task->definition, "working_directory", "~/project");
    size_t length = strlen(declared);

    if (path[0] == '~' && (path[1] == '/' || path[1] == '\0'))
        return below_home(task, path[1] == '/' ? path + 2 : "");
    /* An environment without a root of its own (this host) keeps an absolute working directory in the job's folder. */
    if (path[0] == '/' && declared[0] == '/' && strncmp(path, declared, length) == 0 &&
        (path[length] == '\0' || path[length] == '/'))
        return tn_fs_path("%s%s", task->root, path);
    if (path[0] == '/')
        return tn_fs_path("%s", path);
    if (strcmp(path, ".") == 0)
        return tn_fs_path("%s", task->cwd);
    return tn_fs_path("%s/%s", task->cwd, strncmp(path, "./", 2) == 0 ? path + 2 : path);
}

/* Weakest first: project, contexts, built-in, job, step (COMPATIBILITY: Environment). */
void tn_runner_environ(const struct tn_task *task, const cJSON *step, struct tn_environ *env)
{
    char text[4096];
    auto_free char *path = NULL;

    /* The first image's own variables: an environment that is no container does not have them. */
    tn_environ_set_members(env,
                           tn_json_get(cJSON_GetArrayItem(tn_json_get(task->definition, "docker"), 0), "environment"));
    tn_environ_set_pairs(env, tn_json_get(task->lease, "project_environment"));
    tn_environ_set_pairs(env, tn_json_get(task->lease, "context_environment"));
    tn_environ_set_pairs(env, tn_json_get(task->lease, "environment"));
    tn_environ_set(env, "CIRCLE_WORKING_DIRECTORY", tn_json_string(task->definition, "working_directory", "~/project"));
    snprintf(text, sizeof(text), "%s/bash_env", task->scratch);
    tn_environ_set(env, "BASH_ENV", text);
    tn_environ_set(env, "CIRCLE_SHELL_ENV", text);
    tn_environ_set(env, "CIRCLE_INTERNAL_TASK_DATA", task->scratch);
    tn_environ_set(env, "HOME", home_of(task, text, sizeof(text)));
    tn_environ_set_pairs(env, tn_json_get(task->definition, "environment"));
    tn_environ_set_pairs(env, tn_json_get(step, "environment"));
    if (tn_environ_get(env, "PATH") == NULL)
        tn_environ_set(env, "PATH", tn_runner_fact(task, "path", text, sizeof(text)));
    path = tn_fs_path("%s:%s", tn_environ_get(env, "PATH"), task->bin);
    tn_environ_set(env, "PATH", path);
}

char *tn_runner_working_directory(const struct tn_task *task)
{
    const char *declared = tn_json_string(task->definition, "working_directory", "~/project");

    if (declared[0] == '~' || declared[0] == '/')
        return tn_runner_path(task, declared);
    return below_home(task, declared);
}
