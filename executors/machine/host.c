#include "executors/machine/host.h"
#include "core/lib/buf.h"
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/json.h"
#include "core/lib/log.h"
#include "executors/agent/users.h"
#include "executors/machine/profile.h"
#include "executors/sdk/agent_files.h"
#include "executors/sdk/clearing.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* The steps are over or canceled with a grace of their own: what is left is killed at once. */
enum { STOP_GRACE_MS = 0, PIDS_MAX = 8192 /* as in a container */ };

struct host {
    char *jobs;          /* STATE/jobs */
    char *agents;        /* RUN/agents */
    char *agent;         /* the agent's program */
    const char *run_as;  /* borrowed of the settings; "": whoever we are */
    struct tn_user user; /* of run_as */
    struct tn_err fault; /* what is wrong with the settings */
    bool limits;
    char name[HOST_NAME_MAX + 1];
    struct tn_confine_path paths[1];
};

/* A request to tenond about one environment; knows its task by name because the task may be gone when the answer comes.
 */
struct order {
    struct tn_executor *executor;
    uint64_t task;
    uint32_t attempt;
};

static const uint16_t kernel = TN_ADDRESS(TN_ROLE_KERNEL, 0);

static char *job_folder(const struct host *host, uint64_t task, uint32_t attempt)
{
    return tn_fs_path("%s/%" PRIu64 ".%" PRIu32, host->jobs, task, attempt);
}

static char *socket_path(const struct host *host, uint64_t task, uint32_t attempt)
{
    return tn_fs_path("%s/%" PRIu64 ".%" PRIu32, host->agents, task, attempt);
}

static struct order *new_order(struct tn_executor *executor, uint64_t task, uint32_t attempt)
{
    struct order *order = malloc(sizeof(*order));

    if (order == NULL)
        tn_fatal(3, "out of memory: an order");
    *order = (struct order){executor, task, attempt};
    return order;
}

/* ---- the process ---- */

/* What the operator wants of every job. What is wrong with it makes this executor unavailable, and says so. */
static void read_settings(struct host *host, const cJSON *settings)
{
    const cJSON *machine = tn_json_get(settings, "machine");

    host->limits = strcmp(tn_json_string(machine, "limits", "auto"), "off") != 0;
    host->run_as = tn_json_string(machine, "run_as", "");
    if (host->run_as[0] != '\0' && tn_user_find(host->run_as, &host->user, &host->fault) != 0)
        tn_err_wrap(&host->fault, "machine.run_as");
}

static void host_confine(struct tn_executor *executor, struct tn_confine *confine)
{
    struct tn_service *service = tn_executor_service(executor);
    struct host *host = calloc(1, sizeof(*host));
    struct tn_err err = TN_ERR_INIT;

    if (host == NULL)
        tn_fatal(3, "out of memory: the host driver");
    tn_executor_set_self(executor, host);
    read_settings(host, service->settings);
    host->jobs = tn_fs_path("%s/jobs", service->state_dir);
    host->agents = tn_fs_path("%s/agents", service->run_dir);
    host->agent = tn_agent_files_find();
    if (tn_fs_make_dirs(host->jobs, 0700, &err) != 0 || tn_fs_make_dirs(host->agents, 0700, &err) != 0)
        tn_fatal(3, "%s", err.text);
    if (host->agent != NULL)
        host->paths[confine->path_count++] = (struct tn_confine_path){host->agent, false};
    confine->paths = host->paths;
}

/* Would tenond start the agent under these settings? It alone sees the host's programs, and knows who it is. */
static void on_listed(void *arg, const struct tn_msg *reply)
{
    struct tn_executor *executor = arg;
    struct tn_err err = TN_ERR_INIT;
    auto_json cJSON *body = tn_json_parse(reply->body, reply->header.length, "PROGRAM_LISTED", &err);
    const char *refused = tn_json_string(tn_json_get(body, "refused"), "agent", NULL);

    if (body == NULL)
        refused = err.text;
    else if (reply->header.kind == TN_MSG_REFUSED)
        refused = tn_json_string(body, "text", "tenond says nothing of the agent");
    tn_executor_available(executor, refused);
}

static int host_open(struct tn_executor *executor, struct tn_err *err)
{
    struct host *host = tn_executor_self(executor);
    char reason[PATH_MAX + 100];

    if (gethostname(host->name, sizeof(host->name)) != 0)
        snprintf(host->name, sizeof(host->name), "host");
    if (host->fault.code != TN_OK) {
        tn_executor_available(executor, host->fault.text);
    } else if (host->agent == NULL || access(host->agent, R_OK) != 0) {
        snprintf(reason, sizeof(reason), "the agent %s cannot be read: %s",
                 host->agent != NULL ? host->agent : "beside this program", strerror(errno));
        tn_executor_available(executor, reason);
    } else {
        tn_peer_request(tn_executor_service(executor)->bus, TN_MSG_PROGRAM_LIST, kernel, 0, 0, "{}", 2, 0, on_listed,
                        executor);
    }
    return 0;
}

static void host_close(struct tn_executor *executor)
{
    struct host *host = tn_executor_self(executor);

    free(host->jobs);
    free(host->agents);
    free(host->agent);
    free(host);
}

/* ---- what is there ---- */

/* Folders tell of every environment: a program never runs without its folder. */
static void host_list(struct tn_executor *executor)
{
    struct host *host = tn_executor_self(executor);
    auto_dir DIR *dir = opendir(host->jobs);
    struct dirent *entry;

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        uint64_t task;
        uint32_t attempt;
        int end = 0;

        if (sscanf(entry->d_name, "%" SCNu64 ".%" SCNu32 "%n", &task, &attempt, &end) == 2 &&
            entry->d_name[end] == '\0')
            tn_executor_found(executor, task, attempt);
    }
    tn_executor_listed(executor);
}

/* ---- acquire ---- */

/* Those that the job writes in: the agent gives them to its user. */
static const char *const given[] = {"home", "tmp", "scratch", "root"};
enum { GIVEN = sizeof(given) / sizeof(given[0]) };

static int make_folders(const struct host *host, const char *folder, struct tn_err *err)
{
    auto_free char *bin = tn_fs_path("%s/bin", folder);

    for (size_t i = 0; i < GIVEN; i++) {
        auto_free char *path = tn_fs_path("%s/%s", folder, given[i]);

        if (tn_fs_make_dirs(path, 0755, err) != 0)
            return -1;
        /* EPERM: an earlier life opened it, and it has been given away since. */
        if (strcmp(given[i], "tmp") == 0 && chmod(path, 01777) != 0 && errno != EPERM)
            return tn_err_sys(err, errno, "cannot open %s to everybody", path);
    }
    if (host->run_as[0] != '\0' && chmod(folder, 0755) != 0)
        return tn_err_sys(err, errno, "cannot open %s to user \"%s\"", folder, host->run_as);
    return tn_agent_files_install(host->agent, bin, err);
}

static void add_pair(cJSON *pairs, const char *name, const char *value)
{
    cJSON *pair;

    if (value == NULL)
        return;
    pair = cJSON_CreateArray();
    cJSON_AddItemToArray(pair, cJSON_CreateString(name));
    cJSON_AddItemToArray(pair, cJSON_CreateString(value));
    cJSON_AddItemToArray(pairs, pair);
}

/* What a job on this host inherits: where programs are and who the user is, never our own TENON_ variables. */
static cJSON *agent_environment(const struct host *host, const char *folder)
{
    static const char *const passed[] = {"PATH", "LANG", "TERM", "USER", "LOGNAME", "SHELL"};
    size_t count = sizeof(passed) / sizeof(passed[0]) - (host->run_as[0] != '\0' ? 3 : 0);
    auto_free char *home = tn_fs_path("%s/home", folder);
    auto_free char *tmp = tn_fs_path("%s/tmp", folder);
    cJSON *pairs = cJSON_CreateArray();

    for (size_t i = 0; i < count; i++)
        add_pair(pairs, passed[i], getenv(passed[i]));
    if (host->user.name[0] != '\0') {
        add_pair(pairs, "USER", host->user.name);
        add_pair(pairs, "LOGNAME", host->user.name);
    }
    add_pair(pairs, "HOME", home);
    add_pair(pairs, "TMPDIR", tmp);
    return pairs;
}

static cJSON *make_limits(const struct tn_task *task)
{
    const cJSON *lease = tn_json_get(tn_task_lease(task), "limits");
    cJSON *limits = lease != NULL ? cJSON_Duplicate(lease, true) : cJSON_CreateObject();

    if (!cJSON_HasObjectItem(limits, "pids"))
        cJSON_AddNumberToObject(limits, "pids", PIDS_MAX);
    return limits;
}

/* What tenond adds: who may connect to the agent, what it hides, its user. */
static cJSON *agent_arguments(const struct host *host, const struct tn_task *task, const char *folder)
{
    auto_free char *listen = socket_path(host, tn_task_id(task), tn_task_attempt(task));
    auto_free char *scratch = tn_fs_path("%s/scratch", folder);
    auto_free char *tmp = tn_fs_path("%s/tmp", folder);
    const char *const words[] = {"serve", "--listen", listen, "--dir", scratch, "--private-tmp", tmp, "--keep", folder};
    cJSON *list = cJSON_CreateStringArray(words, (int)(sizeof(words) / sizeof(words[0])));

    for (size_t i = 0; i < GIVEN; i++) {
        auto_free char *path = tn_fs_path("%s/%s", folder, given[i]);

        cJSON_AddItemToArray(list, cJSON_CreateString("--own"));
        cJSON_AddItemToArray(list, cJSON_CreateString(path));
    }
    return list;
}

static char *start_body(const struct host *host, const struct tn_task *task, const char *folder)
{
    auto_json cJSON *body = cJSON_CreateObject();

    cJSON_AddStringToObject(body, "program", "agent");
    cJSON_AddItemToObject(body, "arguments", agent_arguments(host, task, folder));
    cJSON_AddItemToObject(body, "environment", agent_environment(host, folder));
    cJSON_AddStringToObject(body, "folder", folder);
    if (host->limits)
        cJSON_AddItemToObject(body, "limits", make_limits(task));
    return tn_json_print(body);
}

/* A job that was written for something else says what it does not get here. */
static void say_differences(struct tn_task *task)
{
    const cJSON *definition = tn_json_get(tn_task_lease(task), "definition");
    const cJSON *machine = tn_json_get(definition, "machine");
    const char *image = tn_json_string(machine, "image", NULL);
    int number = 0;
    const cJSON *container;

    cJSON_ArrayForEach (container, tn_json_get(definition, "docker")) {
        const char *name = tn_json_string(container, "image", "?");
        const char *user = tn_json_string(container, "user", NULL);

        if (number++ > 0)
            tn_task_say(task, "The service %s is not started: this host has no containers", name);
        else
            tn_task_say(task, "Instead of in a container of %s%s%s the steps run right here", name,
                        user != NULL ? " as " : "", user != NULL ? user : "");
    }
    if (image != NULL)
        tn_task_say(task, "Instead of on the machine image %s the steps run right here", image);
    if (tn_json_bool(machine, "docker_layer_caching", false))
        tn_task_say(task, "docker_layer_caching has no effect on this host");
}

static bool has_limit(const cJSON *list, const char *name)
{
    const cJSON *item;

    cJSON_ArrayForEach (item, list)
        if (cJSON_IsString(item) && strcmp(item->valuestring, name) == 0)
            return true;
    return false;
}

/* What holds the job's processes together, and which limits hold. */
static void say_enclosure(const struct host *host, struct tn_task *task, const cJSON *answer)
{
    const char *enclosure = tn_json_string(answer, "enclosure", "group");
    const char *why = tn_json_string(answer, "why", "");
    const char *metadata = tn_json_string(answer, "metadata", "");
    const cJSON *hold = tn_json_get(answer, "limits");
    auto_json cJSON *limits = make_limits(task);
    const struct {
        const char *name;
        double value;
        const char *unit;
        const char *word;
    } rows[] = {{"cpu", tn_json_number(limits, "cpu_milli", 0) / 1000, "vCPU", "CPU"},
                {"memory", tn_json_number(limits, "memory_mb", 0) / 1024, "GB of memory", "memory"},
                {"pids", tn_json_number(limits, "pids", 0), "processes", "processes"}};
    auto_buf struct tn_buf held = TN_BUF_INIT;
    auto_buf struct tn_buf missing = TN_BUF_INIT;

    tn_task_say(task, "Kept together by %s%s%s%s",
                strcmp(enclosure, "cgroup") == 0      ? "a control group"
                : strcmp(enclosure, "namespace") == 0 ? "a process id namespace"
                                                      : "its process group and descent alone",
                why[0] != '\0' ? " (" : "", why, why[0] != '\0' ? ")" : "");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (has_limit(hold, rows[i].name))
            tn_buf_addf(&held, "%s%.4g %s", held.len > 0 ? ", " : "", rows[i].value, rows[i].unit);
        else
            tn_buf_addf(&missing, "%s%s", missing.len > 0 ? ", " : "", rows[i].word);
    }
    if (!host->limits)
        tn_task_say(task, "No limits: machine.limits is off");
    else if (held.len > 0)
        tn_task_say(task, "Limits: %s", held.data);
    if (host->limits && missing.len > 0)
        tn_task_say(task, "Not limited here: %s", missing.data);
    if (host->run_as[0] != '\0')
        tn_task_say(task, "The steps run as user %s", host->run_as);
    if (metadata[0] != '\0')
        tn_task_say(task, "The metadata addresses of this host (169.254.169.254 and the like) are within reach: %s",
                    metadata);
    if (!tn_json_bool(answer, "apart", false))
        tn_task_say(task, "Not apart from other jobs of this user: no process id namespace can be had, so they see and "
                          "may end each other's processes, and read what these know");
}

static void started(const struct host *host, struct tn_task *task, const cJSON *answer)
{
    auto_free char *folder = job_folder(host, tn_task_id(task), tn_task_attempt(task));
    auto_free char *listen = socket_path(host, tn_task_id(task), tn_task_attempt(task));
    auto_free char *bin = tn_fs_path("%s/bin", folder);
    auto_free char *scratch = tn_fs_path("%s/scratch", folder);
    auto_free char *home = tn_fs_path("%s/home", folder);
    auto_free char *root = tn_fs_path("%s/root", folder);
    struct tn_environment environment = {
        .agent_socket = listen, .bin = bin, .scratch = scratch, .home = home, .root = root, .node = host->name};

    tn_task_say(task, "This host (%s), folder %s", host->name, folder);
    say_enclosure(host, task, answer);
    say_differences(task);
    tn_task_acquired(task, &environment);
}

static void on_started(void *arg, const struct tn_msg *reply)
{
    struct order order = *(struct order *)arg;
    struct tn_task *task = tn_executor_task(order.executor, order.task, order.attempt);
    struct tn_err err = TN_ERR_INIT;
    auto_json cJSON *body = tn_json_parse(reply->body, reply->header.length, "PROGRAM_STARTED", &err);

    free(arg);
    if (task == NULL)
        return;
    if (reply->header.kind == TN_MSG_REFUSED || body == NULL)
        /* What is invalid are the operator's settings: another attempt would meet the same. */
        tn_task_not_acquired(task, strcmp(tn_json_string(body, "code", ""), "invalid") != 0,
                             "the agent does not run on this host: %s", tn_json_string(body, "text", err.text));
    else
        started(tn_executor_self(order.executor), task, body);
}

static void host_acquire(struct tn_executor *executor, struct tn_task *task)
{
    struct host *host = tn_executor_self(executor);
    auto_free char *folder = job_folder(host, tn_task_id(task), tn_task_attempt(task));
    auto_free char *body = NULL;
    struct tn_err err = TN_ERR_INIT;

    if (make_folders(host, folder, &err) != 0) {
        tn_task_not_acquired(task, true, "the job's folder: %s", err.text);
        return;
    }
    body = start_body(host, task, folder);
    tn_peer_request(tn_executor_service(executor)->bus, TN_MSG_PROGRAM_START, kernel, tn_task_id(task),
                    tn_task_attempt(task), body, strlen(body), 0, on_started,
                    new_order(executor, tn_task_id(task), tn_task_attempt(task)));
}

/* ---- release ---- */

static void on_cleared(void *arg, const char *why)
{
    struct order order = *(struct order *)arg;
    struct tn_task *task = tn_executor_task(order.executor, order.task, order.attempt);

    free(arg);
    if (why != NULL)
        tn_warn("task %" PRIu64 ".%" PRIu32 ": %s (tried again at the next start)", order.task, order.attempt, why);
    if (task != NULL)
        tn_task_released(task);
}

static void remove_folder(const struct order *order)
{
    const struct host *host = tn_executor_self(order->executor);
    auto_free char *folder = job_folder(host, order->task, order->attempt);
    auto_free char *listen = socket_path(host, order->task, order->attempt);

    unlink(listen);
    tn_clearing_ask(order->executor, folder, on_cleared, new_order(order->executor, order->task, order->attempt));
}

static void on_stopped(void *arg, const struct tn_msg *reply)
{
    struct order order = *(struct order *)arg;

    free(arg);
    if (reply->header.kind == TN_MSG_REFUSED)
        tn_warn("task %" PRIu64 ".%" PRIu32 ": tenond could not end its programs: %.*s", order.task, order.attempt,
                (int)reply->header.length, (const char *)reply->body);
    remove_folder(&order);
}

static void host_remove(struct tn_executor *executor, uint64_t task, uint32_t attempt)
{
    char body[64];

    snprintf(body, sizeof(body), "{\"grace_ms\":%d}", STOP_GRACE_MS);
    tn_peer_request(tn_executor_service(executor)->bus, TN_MSG_PROGRAM_STOP, kernel, task, attempt, body, strlen(body),
                    0, on_stopped, new_order(executor, task, attempt));
}

static void host_release(struct tn_executor *executor, struct tn_task *task)
{
    host_remove(executor, tn_task_id(task), tn_task_attempt(task));
}

/* ---- what tenond tells ---- */

static void host_on_message(struct tn_executor *executor, const struct tn_msg *msg)
{
    struct tn_task *task = tn_executor_task(executor, msg->header.task, msg->header.attempt);
    auto_json cJSON *body = cJSON_ParseWithLength((const char *)msg->body, msg->header.length);

    if (msg->header.kind != TN_MSG_PROGRAM_EXITED || task == NULL)
        return;
    if (cJSON_HasObjectItem(body, "signal"))
        tn_task_environment_lost(task, "the agent was killed by signal %.0f", tn_json_number(body, "signal", 0));
    else
        tn_task_environment_lost(task, "the agent ended with status %.0f: tenon.log says why",
                                 tn_json_number(body, "status", 0));
}

const struct tn_executor_ops tn_host_ops = {
    .kind = "machine",
    .role = "executor-machine",
    .profile = &tn_profile_machine,
    .confine = host_confine,
    .open = host_open,
    .list = host_list,
    .acquire = host_acquire,
    .release = host_release,
    .remove = host_remove,
    .on_message = host_on_message,
    .close = host_close,
};
