#include "core/kernel/worker.h"
#include "core/kernel/confine_worker.h"
#include "core/kernel/host.h"
#include "core/kernel/mechanisms.h"
#include "core/kernel/places.h"
#include "core/kernel/spawn.h"
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/json.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

/* Of our own environment, what every process gets. None of it is secret. */
static const char *const passed[] = {
    "PATH",          "HOME",          "USER",           "LANG",           "LC_ALL",          "TZ",
    "TMPDIR",        "TENON_LOG",     "XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
#ifdef TN_SANITIZED
    "ASAN_OPTIONS",  "UBSAN_OPTIONS", "LSAN_OPTIONS",
#endif
};

enum { OWN_VARIABLES = 16, PASSED = sizeof(passed) / sizeof(passed[0]) };

struct variables {
    char *list[OWN_VARIABLES + PASSED + TN_MANIFEST_ITEMS_MAX + 1]; /* owned; ends with NULL */
    size_t count;
};

static void add(struct variables *to, const char *name, const char *value)
{
    if (value != NULL)
        to->list[to->count++] = tn_fs_path("%s=%s", name, value);
}

static void add_number(struct variables *to, const char *name, unsigned value)
{
    to->list[to->count++] = tn_fs_path("%s=%u", name, value);
}

#ifdef TN_SANITIZED
/* A confined process could not make the file that the sanitizers' reports are to go to: they go to the log. */
static void report_to_log(char *variable)
{
    char *option = strstr(variable, "log_path=");
    size_t length = option != NULL ? strcspn(option, ":") : 0;

    if (option != NULL)
        memmove(option, option + length, strlen(option + length) + 1);
}
#endif

static void make_environment(const struct tn_worker *worker, const struct tn_kernel_config *config,
                             const struct tn_places *places, struct variables *out)
{
    const char *run = config->run_dir;
    auto_free char *owner = worker->manifest != NULL ? tn_host_owner(run) : NULL;

    for (size_t i = 0; i < PASSED; i++)
        add(out, passed[i], getenv(passed[i]));
#ifdef TN_SANITIZED
    for (size_t i = 0; i < out->count; i++)
        report_to_log(out->list[i]);
#endif
    for (size_t i = 0; worker->manifest != NULL && i < worker->manifest->environment_count; i++)
        add(out, worker->manifest->environment[i], getenv(worker->manifest->environment[i]));
    add_number(out, "TENON_ADDRESS", worker->address);
    add_number(out, "TENON_LIFE", worker->life);
    out->list[out->count++] =
        tn_fs_path("TENON_BUS=ipc://%s/bus/%04x.%08x/s", run, (unsigned)worker->address, (unsigned)worker->life);
    out->list[out->count++] = tn_fs_path("TENON_EVENTS=ipc://%s/bus/events", run);
    out->list[out->count++] = tn_fs_path("TENON_DATA=%s/data", run);
    add(out, "TENON_RUN", places->run);
    add(out, "TENON_STATE", places->state);
    add(out, "TENON_STORE", places->store);
    add(out, "TENON_INSTALLATION", config->installation);
    add(out, "TENON_OWNER", owner);
    add(out, "TENON_PRIVATE", config->is_private ? "1" : "0");
    add(out, "TENON_SETTINGS", config->settings_dir);
}

/* What is known before it runs: it does not even begin if that is too little. */
static int check_demands(struct tn_worker *worker, struct tn_err *err)
{
    const cJSON *required = tn_json_get(tn_json_get(worker->kernel->settings, "security"), "require");
    char text[256];

    cJSON_Delete(worker->mechanisms);
    worker->mechanisms = tn_mechanisms_of(worker, false);
    return tn_mechanisms_lack(worker->mechanisms, required, text, sizeof(text))
               ? tn_err_set(err, TN_ERR_CONFIG, "%s", text)
               : 0;
}

/* Where the process's own folders are, and everything else that it is shut in. */
static pid_t spawn_confined(struct tn_worker *worker, const struct tn_kernel_config *config,
                            const struct tn_places *places, struct tn_spawn *spawn, struct tn_err *err)
{
    struct tn_confinement confinement;
    pid_t pid = -1;

    if (tn_worker_confine(worker, config, places, &confinement, err) != 0)
        return -1;
    memcpy(worker->groups, confinement.groups, sizeof(worker->groups));
    worker->group_count = confinement.group_count;
    /* cppcheck-suppress autoVariables ; read by tn_spawn() below, never after */
    spawn->confinement = &confinement;
    if (check_demands(worker, err) == 0)
        pid = tn_spawn(spawn, err);
    tn_confinement_free(&confinement);
    spawn->confinement = NULL;
    return pid;
}

pid_t tn_worker_spawn(struct tn_worker *worker, const struct tn_kernel_config *config, int pass_fd, struct tn_err *err)
{
    struct variables variables = {.count = 0};
    char kernel_option[] = "--kernel-fd";
    char kernel_number[] = "3";
    char *arguments[] = {worker->program, pass_fd >= 0 ? kernel_option : NULL, kernel_number, NULL};
    struct tn_spawn spawn = {.path = worker->program,
                             .arguments = arguments,
                             .environment = variables.list,
                             .log_fd = config->log_fd,
                             .pass_fd = pass_fd,
                             .death_signal = SIGTERM,
                             .no_new_privs = true};
    struct tn_places places;
    pid_t pid = -1;

    tn_places_of(worker, config, &places);
    make_environment(worker, config, &places, &variables);
    if (tn_places_make(&places, worker, err) == 0)
        pid = spawn_confined(worker, config, &places, &spawn, err);
    tn_places_free(&places);
    for (size_t i = 0; i < variables.count; i++)
        free(variables.list[i]);
    return pid;
}
