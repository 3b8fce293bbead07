#include "core/kernel/namespace.h"
#include "core/kernel/operator.h"
#include "core/kernel/procs.h"
#include "core/kernel/programs_internal.h"
#include "core/kernel/spawn.h"
#include "core/kernel/strings.h"
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/json.h"
#include "core/lib/log.h"

#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    PROGRAMS_MAX = 4096,
    GRACE_MAX_MS = 600000,
};

static const char *const enclosure_names[] = {
    [TN_ENCLOSURE_CGROUP] = "cgroup", [TN_ENCLOSURE_NAMESPACE] = "namespace", [TN_ENCLOSURE_GROUP] = "group"};
/* By the bits of TN_LIMIT_… */
static const char *const limit_names[] = {"cpu", "memory", "pids"};

void tn_program__free(struct tn_program *program)
{
    tn_program__forget(program);
    LIST_REMOVE(program, next);
    program->programs->count--;
    if (program->gone != NULL)
        event_free(program->gone);
    if (program->pid_fd >= 0)
        close(program->pid_fd);
    event_free(program->timer);
    tn_cgroup_remove(&program->cgroup);
    free(program->executor);
    free(program->folder);
    free(program);
}

static struct tn_program *find(struct tn_programs *programs, const char *executor, uint64_t task, uint32_t attempt)
{
    struct tn_program *program;

    LIST_FOREACH (program, &programs->list, next)
        if (program->task == task && program->attempt == attempt && strcmp(program->executor, executor) == 0)
            return program;
    return NULL;
}

/* ---- requests ---- */

static void refuse(struct tn_programs *programs, const struct tn_header *request, const char *code, const char *text)
{
    auto_json cJSON *body = cJSON_CreateObject();

    cJSON_AddStringToObject(body, "code", code);
    cJSON_AddStringToObject(body, "text", text);
    programs->config.reply(programs->config.arg, request, TN_MSG_REFUSED, body);
}

struct tn_program *tn_program__new(struct tn_programs *programs, const char *executor, uint64_t task, uint32_t attempt)
{
    struct tn_program *program = calloc(1, sizeof(*program));

    if (program == NULL || (program->timer = evtimer_new(programs->config.base, tn_program__on_timer, program)) == NULL)
        tn_fatal(3, "out of memory for a program");
    program->programs = programs;
    program->executor = tn_fs_path("%s", executor);
    program->folder = tn_fs_path("%s", "");
    program->task = task;
    program->attempt = attempt;
    program->pid_fd = -1;
    LIST_INSERT_HEAD(&programs->list, program, next);
    programs->count++;
    return program;
}

static struct tn_cgroup_limits take_limits(const cJSON *body)
{
    const cJSON *limits = tn_json_get(body, "limits");

    return (struct tn_cgroup_limits){.cpu_milli = (unsigned)tn_json_u64(limits, "cpu_milli", 0),
                                     .memory_mb = (unsigned)tn_json_u64(limits, "memory_mb", 0),
                                     .pids = (unsigned)tn_json_u64(limits, "pids", 0)};
}

/* In its group, before anything is in it. */
static void deny_metadata(struct tn_program *program)
{
    struct tn_programs *programs = program->programs;
    struct tn_err err = TN_ERR_INIT;

    if (programs->metadata_why[0] == '\0' &&
        tn_metadata_deny(&programs->metadata, program->cgroup.folders[0], &err) != 0) {
        tn_warn("%s", err.text);
        snprintf(program->metadata_why, sizeof(program->metadata_why), "%s", err.text);
    }
}

/* The group, the namespace or neither; what holds of the limits. */
static void enclose(struct tn_program *program, const struct tn_cgroup_limits *limits, struct tn_spawn *spawn,
                    struct tn_namespace *space, int fds[TN_CGROUP_TREES + 1])
{
    struct tn_programs *programs = program->programs;
    struct tn_err err = TN_ERR_INIT;
    char name[32];

    program->enclosure = programs->enclosure;
    snprintf(program->metadata_why, sizeof(program->metadata_why), "%s", programs->metadata_why);
    tn_program__name(program->task, program->attempt, name);
    if (program->enclosure == TN_ENCLOSURE_CGROUP) {
        if (tn_cgroup_make(&programs->groups, name, limits, &program->cgroup, &err) == 0) {
            spawn->cgroup_count = tn_cgroup_enter_fds(&program->cgroup, fds);
            program->limited = program->cgroup.limited;
            deny_metadata(program);
        } else {
            tn_warn("%s", err.text);
            program->enclosure = TN_ENCLOSURE_GROUP;
        }
    }
    program->apart = programs->apart && program->enclosure != TN_ENCLOSURE_GROUP;
    if (!program->apart)
        return;
    /* In a control group, too: jobs of one user could else trace each other and read each other's environment. */
    tn_namespace_init(space, program->enclosure == TN_ENCLOSURE_NAMESPACE ? limits->pids : 0);
    spawn->space = space;
    if (program->enclosure == TN_ENCLOSURE_NAMESPACE)
        program->limited = space->processes > 0 ? TN_LIMIT_PIDS : 0;
    if (spawn->death_signal != 0) /* the first process of a namespace may not listen to others yet */
        spawn->death_signal = SIGKILL;
}

static int program_spawn(struct tn_program *program, char *const *command, char *const *environment, const cJSON *body,
                         struct tn_err *err)
{
    struct tn_programs *programs = program->programs;
    struct tn_cgroup_limits limits = take_limits(body);
    struct tn_namespace space;
    int fds[TN_CGROUP_TREES + 1];
    struct tn_spawn spawn = {.path = command[0],
                             .arguments = command,
                             .environment = environment,
                             .folder = tn_json_string(body, "folder", NULL),
                             .log_fd = programs->config.log_fd,
                             .pass_fd = -1,
                             .cgroup_fds = fds,
                             .death_signal = programs->config.is_private ? SIGTERM : 0};

    enclose(program, &limits, &spawn, &space, fds);
    program->pid = tn_spawn(&spawn, err);
    for (size_t i = 0; i < spawn.cgroup_count; i++)
        close(fds[i]);
    if (program->pid < 0)
        return -1;
    program->is_child = true;
    program->alive = true;
    program->start_time = tn_procs_start_time(program->pid);
    free(program->folder);
    program->folder = tn_fs_path("%s", spawn.folder != NULL ? spawn.folder : "");
    return 0;
}

static void add_limits(cJSON *body, unsigned limits)
{
    cJSON *list = cJSON_AddArrayToObject(body, "limits");

    for (size_t i = 0; i < sizeof(limit_names) / sizeof(limit_names[0]); i++)
        if ((limits & 1u << i) != 0)
            cJSON_AddItemToArray(list, cJSON_CreateString(limit_names[i]));
}

static void reply_started(struct tn_programs *programs, const struct tn_program *program,
                          const struct tn_header *request, bool already)
{
    auto_json cJSON *body = cJSON_CreateObject();

    cJSON_AddNumberToObject(body, "pid", program->pid);
    cJSON_AddStringToObject(body, "enclosure", enclosure_names[program->enclosure]);
    add_limits(body, program->limited);
    cJSON_AddBoolToObject(body, "apart", program->apart);
    cJSON_AddStringToObject(body, "metadata", program->metadata_why);
    cJSON_AddStringToObject(body, "why", programs->why);
    cJSON_AddBoolToObject(body, "already", already);
    programs->config.reply(programs->config.arg, request, TN_MSG_PROGRAM_STARTED, body);
}

/* What the executor asked for, and the mark. */
static char **make_environment(const struct tn_program *program, const cJSON *asked)
{
    auto_json cJSON *pairs = cJSON_IsArray(asked) ? cJSON_Duplicate(asked, true) : cJSON_CreateArray();
    auto_free char *mark = tn_program__mark(program);
    const char *const words[] = {TN_PROGRAM_MARK, mark};

    cJSON_AddItemToArray(pairs, cJSON_CreateStringArray(words, 2));
    return tn_strings_environment(pairs);
}

static void start(struct tn_programs *programs, const struct tn_manifest *executor, const struct tn_header *request,
                  const cJSON *body, char *const *command)
{
    struct tn_program *program = tn_program__new(programs, executor->name, request->task, request->attempt);
    char **environment = make_environment(program, tn_json_get(body, "environment"));
    struct tn_err err = TN_ERR_INIT;

    if (environment == NULL)
        refuse(programs, request, "invalid", "expected environment: [[name, value], …]");
    else if (program_spawn(program, command, environment, body, &err) != 0)
        refuse(programs, request, "failed", err.text);
    if (environment != NULL && program->pid > 0) {
        tn_program__record(program);
        reply_started(programs, program, request, false);
    } else {
        tn_program__free(program);
    }
    tn_strings_free(environment);
}

/* What the executor asked for, its user, and the folders of the installation, of which its job is to see nothing. The
 * private installations of one user lie beside each other in a folder `runs`. */
static cJSON *all_arguments(const struct tn_programs *programs, const struct tn_manifest_program *wanted, uid_t user,
                            const cJSON *asked)
{
    const struct tn_programs_config *config = &programs->config;
    auto_free char *state = tn_fs_path("%s", config->state_dir);
    const char *const hidden[] = {config->run_dir, state, config->store_dir};
    char *slash = strrchr(state, '/');
    cJSON *words = cJSON_IsArray(asked) ? cJSON_Duplicate(asked, true) : cJSON_CreateArray();
    char peer[16];

    if (wanted->peer_option != NULL) {
        snprintf(peer, sizeof(peer), "%u", (unsigned)user);
        cJSON_AddItemToArray(words, cJSON_CreateString(wanted->peer_option));
        cJSON_AddItemToArray(words, cJSON_CreateString(peer));
    }
    if (config->is_private && slash - state >= 5 && strncmp(slash - 5, "/runs", 5) == 0)
        *slash = '\0';
    for (size_t i = 0; wanted->hide_option != NULL && i < sizeof(hidden) / sizeof(hidden[0]); i++) {
        cJSON_AddItemToArray(words, cJSON_CreateString(wanted->hide_option));
        cJSON_AddItemToArray(words, cJSON_CreateString(hidden[i]));
    }
    return words;
}

void tn_programs_start(struct tn_programs *programs, const struct tn_manifest *executor,
                       const struct tn_header *request, const cJSON *body)
{
    const struct tn_manifest_program *wanted = tn_manifest_program(executor, tn_json_string(body, "program", ""));
    struct tn_program *program = find(programs, executor->name, request->task, request->attempt);
    auto_json cJSON *arguments = NULL;
    char **command = NULL;
    uid_t user;
    struct tn_err err = TN_ERR_INIT;

    if (program != NULL && program->state == TN_PROGRAM_RUNNING) {
        reply_started(programs, program, request, true);
        return;
    }
    if (program != NULL || programs->stopping || programs->count >= PROGRAMS_MAX) {
        refuse(programs, request, program != NULL ? "conflict" : "unavailable",
               program != NULL ? "the program of this attempt has ended or is being stopped: stop it to forget it"
                               : "tenond is stopping, or runs too many programs");
        return;
    }
    if (wanted == NULL) {
        refuse(programs, request, "not_found", "this executor's manifest names no such program");
        return;
    }
    if (programs->refused) {
        refuse(programs, request, "invalid", programs->why);
        return;
    }
    if (!programs->config.user_of(programs->config.arg, executor->name, &user)) {
        refuse(programs, request, "unavailable", "the executor that asked runs no more");
        return;
    }
    arguments = all_arguments(programs, wanted, user, tn_json_get(body, "arguments"));
    if (tn_operator_check(programs->config.settings, wanted, geteuid(), &err) == 0)
        command = tn_operator_command(programs->config.settings, wanted, arguments, &err);
    if (command == NULL)
        refuse(programs, request, "invalid", err.text);
    else
        start(programs, executor, request, body, command);
    tn_strings_free(command);
}

void tn_programs_stop(struct tn_programs *programs, const struct tn_manifest *executor, const struct tn_header *request,
                      const cJSON *body)
{
    struct tn_program *program = find(programs, executor->name, request->task, request->attempt);
    uint64_t grace_ms = tn_json_u64(body, "grace_ms", 0);

    if (program == NULL || program->state == TN_PROGRAM_ENDED) {
        if (program != NULL)
            tn_program__free(program);
        programs->config.reply(programs->config.arg, request, TN_MSG_ACK, NULL);
        return;
    }
    program->stop_wanted =
        true; /* an earlier request that is asked again by a new life of the executor: the last one */
    program->stop = *request;
    tn_program__terminate(program, grace_ms < GRACE_MAX_MS ? (unsigned)grace_ms : GRACE_MAX_MS);
}

/* What would be refused anyway is told before anybody waits for it. */
static void add_refused(const struct tn_programs *programs, const struct tn_manifest *executor, cJSON *body)
{
    cJSON *refused = cJSON_AddObjectToObject(body, "refused");

    for (size_t i = 0; i < executor->program_count; i++) {
        struct tn_err err = TN_ERR_INIT;

        if (tn_operator_check(programs->config.settings, &executor->programs[i], geteuid(), &err) != 0)
            cJSON_AddStringToObject(refused, executor->programs[i].name, err.text);
    }
}

void tn_programs_list(struct tn_programs *programs, const struct tn_manifest *executor, const struct tn_header *request)
{
    auto_json cJSON *body = cJSON_CreateObject();
    cJSON *list = cJSON_AddArrayToObject(body, "programs");
    struct tn_program *program;

    LIST_FOREACH (program, &programs->list, next) {
        cJSON *item;

        if (program->state == TN_PROGRAM_ENDED || strcmp(program->executor, executor->name) != 0)
            continue;
        item = cJSON_CreateObject();
        tn_json_add_u64(item, "task", program->task);
        cJSON_AddNumberToObject(item, "attempt", program->attempt);
        cJSON_AddNumberToObject(item, "pid", program->pid);
        cJSON_AddItemToArray(list, item);
    }
    add_refused(programs, executor, body);
    programs->config.reply(programs->config.arg, request, TN_MSG_PROGRAM_LISTED, body);
}

void tn_programs_stop_all(struct tn_programs *programs, unsigned grace_ms)
{
    struct tn_program *program = LIST_FIRST(&programs->list);

    programs->stopping = true;
    while (program != NULL) {
        struct tn_program *next = LIST_NEXT(program, next);

        tn_program__terminate(program, grace_ms);
        program = next;
    }
    tn_programs__set_timer(programs->sweep, 0);
}

/* ---- what there is ---- */

static void say_why(struct tn_programs *programs, const char *text)
{
    size_t used = strlen(programs->why);

    snprintf(programs->why + used, sizeof(programs->why) - used, "%s%s", used > 0 ? "; " : "", text);
}

/* The best that can be had, or that one which the operator asked for. */
static void choose_enclosure(struct tn_programs *programs, const char *name)
{
    const char *asked = programs->config.enclosure;
    bool any = strcmp(asked, "auto") == 0;
    struct tn_err err = TN_ERR_INIT;

    programs->apart = strcmp(asked, "group") != 0 && tn_namespace_probe(&err) == 0;
    if (any || strcmp(asked, "cgroup") == 0) {
        tn_cgroups_open(&programs->groups, name, programs->config.store_dir);
        programs->limits = tn_cgroups_limits(&programs->groups);
        if (programs->groups.track != NULL)
            return;
        say_why(programs, programs->groups.why);
    }
    if (any || strcmp(asked, "namespace") == 0) {
        programs->enclosure = TN_ENCLOSURE_NAMESPACE;
        programs->limits = tn_namespace_counts() ? TN_LIMIT_PIDS : 0;
        if (programs->apart)
            return;
        say_why(programs, err.text);
    }
    programs->enclosure = TN_ENCLOSURE_GROUP;
    programs->limits = 0;
    programs->refused = !any && strcmp(asked, "group") != 0;
    if (programs->refused) {
        auto_free char *why = tn_fs_path("%s", programs->why);

        snprintf(programs->why, sizeof(programs->why), "machine.enclosure: %s cannot be had: %s: choose auto", asked,
                 why);
    }
}

/* Programs are kept from the host's metadata addresses, unless the operator allows them. */
static void open_metadata(struct tn_programs *programs)
{
    const cJSON *network = tn_json_get(programs->config.settings, "network");
    struct tn_err err = TN_ERR_INIT;
    const char *why = NULL;

    if (strcmp(tn_json_string(network, "metadata", "deny"), "allow") == 0)
        why = "network.metadata allows it";
    else if (programs->enclosure != TN_ENCLOSURE_CGROUP || !programs->groups.track_v2)
        why = "that needs a control group of version 2 for the job";
    else if (tn_metadata_open(&programs->metadata, &err) != 0)
        why = err.text;
    if (why != NULL)
        snprintf(programs->metadata_why, sizeof(programs->metadata_why), "%s", why);
}

const char *tn_programs_text(const struct tn_programs *programs, char *out, size_t size)
{
    size_t used;

    snprintf(out, size, "%s", programs->refused ? "none" : enclosure_names[programs->enclosure]);
    if (programs->enclosure == TN_ENCLOSURE_CGROUP)
        snprintf(out + strlen(out), size - strlen(out), " (version %d)%s", programs->groups.track_v2 ? 2 : 1,
                 programs->apart ? ", each in a process id namespace" : "");
    used = strlen(out);
    for (size_t i = 0; i < sizeof(limit_names) / sizeof(limit_names[0]); i++, used = strlen(out))
        if ((programs->limits & 1u << i) != 0)
            snprintf(out + used, size - used, "%s%s", strchr(out, ':') == NULL ? ", limits: " : " ", limit_names[i]);
    if (programs->limits == 0)
        snprintf(out + used, size - used, ", no limits");
    used = strlen(out);
    if (programs->why[0] != '\0')
        snprintf(out + used, size - used, " (%s)", programs->why);
    used = strlen(out);
    snprintf(out + used, size - used, ", metadata addresses %s%s%s",
             programs->metadata_why[0] == '\0' ? "denied" : "within reach (", programs->metadata_why,
             programs->metadata_why[0] == '\0' ? "" : ")");
    return out;
}

/* ---- life ---- */

struct tn_programs *tn_programs_open(const struct tn_programs_config *config, struct tn_err *err)
{
    struct tn_programs *programs = calloc(1, sizeof(*programs));
    /* Several private runs of one user must not meet in one control group. */
    auto_free char *group = config->is_private ? tn_fs_path("run-%s-%d", config->installation, (int)getpid())
                                               : tn_fs_path("%s", config->installation);

    if (programs == NULL || (programs->sweep = evtimer_new(config->base, tn_programs__on_sweep, programs)) == NULL) {
        free(programs);
        tn_err_set(err, TN_ERR_SYSTEM, "out of memory for programs");
        return NULL;
    }
    programs->config = *config;
    LIST_INIT(&programs->list);
    choose_enclosure(programs, group);
    open_metadata(programs);
    if (!config->is_private && tn_programs__adopt_all(programs, err) != 0) {
        tn_programs_close(programs);
        return NULL;
    }
    if (programs->enclosure == TN_ENCLOSURE_GROUP)
        tn_programs__kill_abandoned(programs);
    return programs;
}

void tn_programs_close(struct tn_programs *programs)
{
    if (programs == NULL)
        return;
    while (!LIST_EMPTY(&programs->list))
        tn_program__free(LIST_FIRST(&programs->list));
    event_free(programs->sweep);
    if (programs->metadata_why[0] == '\0')
        tn_metadata_close(&programs->metadata);
    tn_cgroups_close(&programs->groups);
    free(programs);
}
