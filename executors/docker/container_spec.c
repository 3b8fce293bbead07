#include "executors/docker/container_spec.h"

#include "core/lib/buf.h"
#include "executors/docker/stream.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static bool is_true(const cJSON *object, const char *key)
{
    return cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(object, key));
}

static const char *text_of(const cJSON *object, const char *key)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, key));

    return text != NULL ? text : "";
}

static bool has_option(const cJSON *options, const char *name)
{
    const cJSON *item;

    cJSON_ArrayForEach (item, options)
        if (cJSON_IsString(item) && strcmp(item->valuestring, name) == 0)
            return true;
    return false;
}

int tn_container_host_parse(const cJSON *info, const cJSON *networks, struct tn_container_host *host,
                            struct tn_err *err)
{
    const cJSON *cpus = cJSON_GetObjectItemCaseSensitive(info, "NCPU");
    const cJSON *options = cJSON_GetObjectItemCaseSensitive(info, "SecurityOptions");
    const cJSON *network;

    memset(host, 0, sizeof(*host));
    if (strcmp(text_of(info, "OSType"), "linux") != 0)
        return tn_err_set(err, TN_ERR_UNAVAILABLE,
                          "the Docker Engine runs containers of \"%.40s\"; expected \"linux\": point DOCKER_HOST to a "
                          "Linux engine",
                          text_of(info, "OSType"));
    host->cpus = cJSON_IsNumber(cpus) && cpus->valuedouble >= 1 && cpus->valuedouble < 65536 ? cpus->valueint : 1;
    host->cpu_limit = is_true(info, "CpuCfsQuota") && is_true(info, "CpuCfsPeriod");
    host->memory_limit = is_true(info, "MemoryLimit");
    host->swap_limit = is_true(info, "SwapLimit");
    host->pids_limit = is_true(info, "PidsLimit");
    host->own_network = is_true(info, "Rootless");
    host->remapped = host->own_network || has_option(options, "name=rootless") || has_option(options, "name=userns");
    /* Docker says it as uname does, Podman as Go does. */
    snprintf(host->arch, sizeof(host->arch), "%s", text_of(info, "Architecture"));
    if (strcmp(host->arch, "amd64") == 0 || strcmp(host->arch, "arm64") == 0)
        snprintf(host->arch, sizeof(host->arch), "%s", host->arch[1] == 'm' ? "x86_64" : "aarch64");
    snprintf(host->kernel, sizeof(host->kernel), "%s", text_of(info, "KernelVersion"));
    cJSON_ArrayForEach (network, networks)
        if (strcmp(text_of(network, "Name"), "bridge") == 0)
            host->bridge = true;
    return 0;
}

/* What the engine allows in a container's name: letters, digits, "_", "." and "-"; anything else becomes "-". */
static void add_plain(struct tn_buf *name, const char *text)
{
    size_t left = 80;

    for (; *text != '\0' && left > 0; text++, left--) {
        bool plain = (*text >= 'a' && *text <= 'z') || (*text >= 'A' && *text <= 'Z') ||
                     (*text >= '0' && *text <= '9') || strchr("_.-", *text) != NULL;

        tn_buf_add(name, plain ? text : "-", 1);
    }
}

void tn_container_name(const struct tn_container_task *task, size_t index, char *name, size_t size)
{
    auto_buf struct tn_buf text = TN_BUF_INIT;

    tn_buf_adds(&text, "tenon-");
    add_plain(&text, task->installation);
    tn_buf_adds(&text, "-");
    add_plain(&text, task->task);
    tn_buf_addf(&text, "-%u-%zu", task->attempt, index);
    snprintf(name, size, "%s", text.data);
}

static void add_program(cJSON *labels, const cJSON *program)
{
    char *text = cJSON_PrintUnformatted(program);

    if (text != NULL)
        cJSON_AddStringToObject(labels, TN_LABEL_PROGRAM, text);
    cJSON_free(text);
}

/* What every container has in common; returns the body's HostConfig, which belongs to it. */
static cJSON *add_common(cJSON *body, const struct tn_container_task *task, const struct tn_container_image *image,
                         const char *role)
{
    const struct tn_container_class *class = task->resource_class;
    const struct tn_container_host *host = task->host;
    char ref[TN_IMAGE_REF_TEXT_MAX + 1];
    char attempt[16];
    cJSON *labels;
    cJSON *config;

    tn_image_ref_format(&image->ref, ref, sizeof(ref));
    snprintf(attempt, sizeof(attempt), "%u", task->attempt);
    cJSON_AddStringToObject(body, "Image", ref);
    if (image->user != NULL)
        cJSON_AddStringToObject(body, "User", image->user);
    if (image->environment != NULL)
        cJSON_AddItemToObject(body, "Env", cJSON_Duplicate(image->environment, true));
    labels = cJSON_AddObjectToObject(body, "Labels");
    cJSON_AddStringToObject(labels, TN_LABEL_INSTALLATION, task->installation);
    if (task->owner != NULL)
        cJSON_AddStringToObject(labels, TN_LABEL_OWNER, task->owner);
    cJSON_AddStringToObject(labels, TN_LABEL_TASK, task->task);
    cJSON_AddStringToObject(labels, TN_LABEL_ATTEMPT, attempt);
    cJSON_AddStringToObject(labels, TN_LABEL_ROLE, role);
    if (task->program != NULL && strcmp(role, TN_ROLE_PRIMARY) == 0)
        add_program(labels, task->program);

    config = cJSON_AddObjectToObject(body, "HostConfig");
    cJSON_AddBoolToObject(config, "Init", false);
    cJSON_AddBoolToObject(config, "AutoRemove", false);
    if (host->cpu_limit)
        cJSON_AddNumberToObject(config, "NanoCpus", 1e9 * (class->cpus < host->cpus ? class->cpus : host->cpus));
    if (host->memory_limit)
        cJSON_AddNumberToObject(config, "Memory", (double)class->memory_mib * 1048576);
    /* The same number for memory and swap together: no swap. */
    if (host->memory_limit && host->swap_limit)
        cJSON_AddNumberToObject(config, "MemorySwap", (double)class->memory_mib * 1048576);
    if (host->pids_limit)
        cJSON_AddNumberToObject(config, "PidsLimit", class->pids);
    return config;
}

static void add_mount(cJSON *mounts, const char *source, const char *target, bool read_only)
{
    cJSON *mount = cJSON_CreateObject();

    cJSON_AddStringToObject(mount, "Type", "bind");
    cJSON_AddStringToObject(mount, "Source", source);
    cJSON_AddStringToObject(mount, "Target", target);
    cJSON_AddBoolToObject(mount, "ReadOnly", read_only);
    cJSON_AddItemToArray(mounts, mount);
}

static void add_text(cJSON *array, const char *text)
{
    cJSON_AddItemToArray(array, cJSON_CreateString(text));
}

static void add_agent(cJSON *body, const struct tn_container_task *task)
{
    cJSON *argv = cJSON_AddArrayToObject(body, "Entrypoint");
    cJSON *healthcheck;

    add_text(argv, TN_CONTAINER_AGENT);
    add_text(argv, "serve");
    add_text(argv, task->agent_folder != NULL ? "--listen" : "--stdio");
    add_text(argv, task->agent_folder != NULL ? TN_CONTAINER_SOCKET : "--dir");
    if (task->agent_folder == NULL) {
        add_text(argv, TN_CONTAINER_RUN);
        cJSON_AddBoolToObject(body, "OpenStdin", true);
        cJSON_AddBoolToObject(body, "StdinOnce", false);
        cJSON_AddBoolToObject(body, "Tty", false);
    }
    for (size_t i = 0; task->agent_args != NULL && task->agent_args[i] != NULL; i++)
        add_text(argv, task->agent_args[i]);
    /* Empty, or the image's own command would become arguments of the agent. */
    cJSON_AddArrayToObject(body, "Cmd");
    /* The image's health check asks for a program that is not started here. */
    healthcheck = cJSON_AddObjectToObject(body, "Healthcheck");
    add_text(cJSON_AddArrayToObject(healthcheck, "Test"), "NONE");
}

/* The engine mounts a tmpfs with noexec unless it is told otherwise. What lies there counts as the container's memory.
 */
static void add_memory_folders(cJSON *config, const struct tn_container_task *task)
{
    cJSON *folders = cJSON_AddObjectToObject(config, "Tmpfs");
    double size = task->ramdisk > 0 ? task->ramdisk : (double)task->resource_class->memory_mib * 1048576 / 4;
    char options[80];

    snprintf(options, sizeof(options), "rw,exec,nosuid,nodev,mode=1777,size=%.0f", size);
    cJSON_AddStringToObject(folders, TN_CONTAINER_RAMDISK, options);
    if (!task->read_only)
        return;
    cJSON_AddBoolToObject(config, "ReadonlyRootfs", true);
    cJSON_AddStringToObject(folders, "/tmp", "rw,exec,nosuid,nodev,mode=1777");
}

/* Each `name` once; services see them too, for they share the primary's /etc/hosts. */
static void add_hosts(cJSON *config, const struct tn_container_image *images, size_t n_images)
{
    cJSON *hosts = NULL;

    for (size_t i = 0; i < n_images; i++) {
        char line[TN_CONTAINER_HOST_NAME_MAX + sizeof(":127.0.0.1")];
        bool seen = images[i].name == NULL;

        for (size_t j = 0; j < i && !seen; j++)
            seen = images[j].name != NULL && strcmp(images[j].name, images[i].name) == 0;
        if (seen)
            continue;
        if (hosts == NULL)
            hosts = cJSON_AddArrayToObject(config, "ExtraHosts");
        snprintf(line, sizeof(line), "%s:127.0.0.1", images[i].name);
        add_text(hosts, line);
    }
}

cJSON *tn_container_primary_new(const struct tn_container_task *task, const struct tn_container_image *images,
                                size_t n_images)
{
    cJSON *body = cJSON_CreateObject();
    cJSON *config = add_common(body, task, &images[0], TN_ROLE_PRIMARY);
    cJSON *mounts;

    add_agent(body, task);
    if (task->agent_folder != NULL) {
        mounts = cJSON_AddArrayToObject(config, "Mounts");
        add_mount(mounts, task->agent_folder, TN_CONTAINER_BIN, true);
        add_mount(mounts, task->socket_folder, TN_CONTAINER_RUN, false);
    }
    add_memory_folders(config, task);
    cJSON_AddStringToObject(config, "NetworkMode",
                            !task->host->bridge       ? "none"
                            : task->host->own_network ? "private"
                                                      : "bridge");
    add_hosts(config, images, n_images);
    /* The steps' output goes through the agent's socket; a log of the engine's would only double it on disk. */
    cJSON_AddStringToObject(cJSON_AddObjectToObject(config, "LogConfig"), "Type", "none");
    return body;
}

cJSON *tn_container_service_new(const struct tn_container_task *task, const struct tn_container_image *image,
                                const char *primary_id)
{
    cJSON *body = cJSON_CreateObject();
    cJSON *config = add_common(body, task, image, TN_ROLE_SERVICE);
    cJSON *log = cJSON_AddObjectToObject(config, "LogConfig");
    cJSON *options;
    char network[TN_CONTAINER_NAME_MAX + sizeof("container:")];

    snprintf(network, sizeof(network), "container:%s", primary_id);
    cJSON_AddStringToObject(config, "NetworkMode", network);
    /* Readable by the logs request, and bounded: a service may talk for hours. */
    cJSON_AddStringToObject(log, "Type", "json-file");
    options = cJSON_AddObjectToObject(log, "Config");
    cJSON_AddStringToObject(options, "max-size", "64m");
    cJSON_AddStringToObject(options, "max-file", "2");
    if (image->entrypoint != NULL)
        cJSON_AddItemToObject(body, "Entrypoint", cJSON_Duplicate(image->entrypoint, true));
    if (image->command != NULL)
        cJSON_AddItemToObject(body, "Cmd", cJSON_Duplicate(image->command, true));
    return body;
}

cJSON *tn_container_metadata_new(const struct tn_container_task *task, const struct tn_container_image *image,
                                 const char *primary_id)
{
    const struct tn_container_image bare = {.ref = image->ref};
    cJSON *body = cJSON_CreateObject();
    cJSON *config = add_common(body, task, &bare, TN_ROLE_METADATA);
    cJSON *argv = cJSON_AddArrayToObject(body, "Entrypoint");
    char network[TN_CONTAINER_NAME_MAX + sizeof("container:")];

    snprintf(network, sizeof(network), "container:%s", primary_id);
    cJSON_AddStringToObject(config, "NetworkMode", network);
    add_text(argv, TN_CONTAINER_AGENT);
    add_text(argv, "deny-metadata");
    cJSON_AddArrayToObject(body, "Cmd");
    cJSON_AddStringToObject(body, "User", "0:0");
    add_text(cJSON_AddArrayToObject(config, "CapDrop"), "ALL");
    add_text(cJSON_AddArrayToObject(config, "CapAdd"), "NET_ADMIN");
    if (task->agent_folder != NULL)
        add_mount(cJSON_AddArrayToObject(config, "Mounts"), task->agent_folder, TN_CONTAINER_BIN, true);
    cJSON_AddStringToObject(cJSON_AddObjectToObject(config, "LogConfig"), "Type", "none");
    return body;
}

static void append(cJSON *to, const cJSON *array)
{
    const cJSON *item;

    cJSON_ArrayForEach (item, array)
        if (cJSON_IsString(item))
            add_text(to, item->valuestring);
}

cJSON *tn_container_kept_argv(const struct tn_container_image *image, const cJSON *inspected)
{
    const cJSON *config = cJSON_GetObjectItemCaseSensitive(inspected, "Config");
    const cJSON *labels = cJSON_GetObjectItemCaseSensitive(config, "Labels");
    cJSON *argv;

    if (image->entrypoint == NULL && image->command == NULL &&
        strcmp(text_of(labels, "com.circleci.preserve-entrypoint"), "true") != 0)
        return NULL;
    argv = cJSON_CreateArray();
    append(argv,
           image->entrypoint != NULL ? image->entrypoint : cJSON_GetObjectItemCaseSensitive(config, "Entrypoint"));
    /* As the engine does: an entrypoint of one's own drops the image's command. */
    if (image->command != NULL)
        append(argv, image->command);
    else if (image->entrypoint == NULL)
        append(argv, cJSON_GetObjectItemCaseSensitive(config, "Cmd"));
    if (cJSON_GetArraySize(argv) > 0)
        return argv;
    cJSON_Delete(argv);
    return NULL;
}

cJSON *tn_container_kept_parse(const cJSON *inspected)
{
    const cJSON *config = cJSON_GetObjectItemCaseSensitive(inspected, "Config");
    const char *text = text_of(cJSON_GetObjectItemCaseSensitive(config, "Labels"), TN_LABEL_PROGRAM);
    cJSON *argv = cJSON_Parse(text);

    if (cJSON_IsArray(argv))
        return argv;
    cJSON_Delete(argv);
    return NULL;
}

/* "2026-01-02T03:04:05.678901234Z" or with "+01:00": RFC 3339. 0 for anything else. */
static int64_t seconds_of(const char *text)
{
    struct tm when = {0};
    const char *rest = text != NULL ? strptime(text, "%Y-%m-%dT%H:%M:%S", &when) : NULL;
    int hours = 0;
    int minutes = 0;
    char sign = '+';

    if (rest == NULL || when.tm_year < 70)
        return 0;
    if (*rest == '.')
        rest += 1 + strspn(rest + 1, "0123456789");
    if (strcmp(rest, "Z") != 0 && sscanf(rest, "%c%2d:%2d", &sign, &hours, &minutes) != 3)
        return 0;
    return (int64_t)timegm(&when) - (sign == '-' ? -1 : 1) * (hours * 3600 + minutes * 60);
}

int tn_container_state_parse(const cJSON *inspected, struct tn_container_state *state, struct tn_err *err)
{
    const cJSON *object = cJSON_GetObjectItemCaseSensitive(inspected, "State");
    const cJSON *code = cJSON_GetObjectItemCaseSensitive(object, "ExitCode");

    memset(state, 0, sizeof(*state));
    if (!cJSON_IsObject(object) || !cJSON_IsNumber(code))
        return tn_err_set(err, TN_ERR_PROTOCOL,
                          "the engine describes a container without \"State\" and its \"ExitCode\"; is it a Docker "
                          "Engine?");
    tn_docker_text_copy(state->status, sizeof(state->status), text_of(object, "Status"));
    tn_docker_text_copy(state->error, sizeof(state->error), text_of(object, "Error"));
    state->running = is_true(object, "Running");
    state->attached = is_true(cJSON_GetObjectItemCaseSensitive(inspected, "Config"), "OpenStdin");
    state->oom_killed = is_true(object, "OOMKilled");
    state->exit_code = code->valueint;
    state->finished = seconds_of(text_of(object, "FinishedAt"));
    return 0;
}
