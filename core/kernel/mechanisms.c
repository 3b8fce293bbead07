#include "core/kernel/mechanisms.h"
#include "core/kernel/confine_worker.h"
#include "core/lib/buf.h"
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/json.h"

#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

enum { STATUS_BYTES = 65536, DETAIL_BYTES = 320 };

/* What one looks at. */
struct look {
    const struct tn_worker *worker;
    struct tn_confinement confinement; /* as it would be made now; without a tree */
    bool seen;
    struct tn_buf status; /* /proc/PID/status; empty if it cannot be read */
    struct tn_buf limits; /* /proc/PID/limits */
    cJSON *list;          /* borrowed */
};

static cJSON *add(cJSON *list, const char *mechanism, bool applied, const char *fmt, ...) TN_PRINTF(4, 5);

static cJSON *add(cJSON *list, const char *mechanism, bool applied, const char *fmt, ...)
{
    cJSON *item = cJSON_CreateObject();
    char detail[DETAIL_BYTES];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(detail, sizeof(detail), fmt, ap);
    va_end(ap);
    cJSON_AddStringToObject(item, "mechanism", mechanism);
    cJSON_AddBoolToObject(item, "applied", applied);
    cJSON_AddStringToObject(item, "detail", detail);
    cJSON_AddItemToArray(list, item);
    return item;
}

/* ---- /proc/PID/status ---- */

/* The rest of the line that begins with `name`, up to `size`; false if there is none. */
static bool line_of(const struct look *look, const char *name, char *out, size_t size)
{
    auto_free char *begin = tn_fs_path("\n%s:", name);
    const char *line = look->status.len > 0 ? strstr(look->status.data, begin) : NULL;

    if (line == NULL)
        return false;
    line += strlen(begin);
    line += strspn(line, " \t");
    snprintf(out, size, "%.*s", (int)strcspn(line, "\n"), line);
    return true;
}

static bool number_is(const struct look *look, const char *name, uint64_t wanted, int base)
{
    char text[64];
    char *end;

    if (!line_of(look, name, text, sizeof(text)) || text[0] == '\0')
        return false;
    errno = 0;
    return strtoull(text, &end, base) == wanted && *end == '\0' && errno == 0;
}

/* All four of "real effective saved file system". */
static bool ids_are(const struct look *look, const char *name, unsigned wanted)
{
    char text[96];
    unsigned id[4];

    return line_of(look, name, text, sizeof(text)) &&
           sscanf(text, "%u %u %u %u", &id[0], &id[1], &id[2], &id[3]) == 4 && id[0] == wanted && id[1] == wanted &&
           id[2] == wanted && id[3] == wanted;
}

/* No supplementary group but those that it was given. */
static bool groups_are(const struct look *look)
{
    const struct tn_confinement *confinement = &look->confinement;
    char text[1024];
    char *rest = NULL;

    if (!line_of(look, "Groups", text, sizeof(text)))
        return false;
    for (const char *word = strtok_r(text, " \t", &rest); word != NULL; word = strtok_r(NULL, " \t", &rest)) {
        bool known = false;

        for (size_t i = 0; i < confinement->group_count; i++)
            known = known || strtoul(word, NULL, 10) == confinement->groups[i];
        if (!known)
            return false;
    }
    return true;
}

/* ---- one by one ---- */

static void look_at_user(const struct look *look)
{
    const struct tn_own_user *user = &look->worker->user;
    char ids[96] = "nobody knows";
    char groups[64] = "";

    if (!user->is_own) {
        add(look->list, "user", false, "%s", user->why);
        return;
    }
    (void)line_of(look, "Uid", ids, sizeof(ids));
    if (look->seen && (!ids_are(look, "Uid", user->uid) || !ids_are(look, "Gid", user->gid) || !groups_are(look))) {
        add(look->list, "user", false, "it runs as %s, expected %s (%u) in its own group alone", ids, user->name,
            (unsigned)user->uid);
        return;
    }
    for (size_t i = 0; i < look->confinement.group_count; i++)
        snprintf(groups + strlen(groups), sizeof(groups) - strlen(groups), "%s%u", i == 0 ? ", and group " : " ",
                 (unsigned)look->confinement.groups[i]);
    add(look->list, "user", true, "%s (%u)%s", user->name, (unsigned)user->uid, groups);
}

static void look_at_capabilities(const struct look *look)
{
    static const char *const sets[] = {"CapInh", "CapPrm", "CapEff", "CapAmb", "CapBnd"};
    /* Only who has capabilities can take them out of the bounding set, and no_new_privs makes that one useless. */
    size_t count = geteuid() == 0 || look->confinement.flags != 0 ? 5 : 4;

    for (size_t i = 0; look->seen && i < count; i++) {
        char text[32] = "unknown";

        (void)line_of(look, sets[i], text, sizeof(text));
        if (!number_is(look, sets[i], 0, 16)) {
            add(look->list, "capabilities", false, "%s is %s, expected none", sets[i], text);
            return;
        }
    }
    add(look->list, "capabilities", true, "none");
}

static void look_at_new_privileges(const struct look *look)
{
    bool applied = !look->seen || number_is(look, "NoNewPrivs", 1, 10);

    add(look->list, "no_new_privs", applied, "%s", applied ? "" : "it is not set");
}

/* The hard limit as /proc/PID/limits has it, which prlimit() would tell only root with CAP_SYS_RESOURCE. */
static bool limit_of(const struct look *look, int resource, uint64_t *value)
{
    static const char *const names[RLIM_NLIMITS] = {
        [RLIMIT_AS] = "Max address space",
        [RLIMIT_CORE] = "Max core file size",
        [RLIMIT_CPU] = "Max cpu time",
        [RLIMIT_DATA] = "Max data size",
        [RLIMIT_FSIZE] = "Max file size",
        [RLIMIT_LOCKS] = "Max file locks",
        [RLIMIT_MEMLOCK] = "Max locked memory",
        [RLIMIT_MSGQUEUE] = "Max msgqueue size",
        [RLIMIT_NICE] = "Max nice priority",
        [RLIMIT_NOFILE] = "Max open files",
        [RLIMIT_NPROC] = "Max processes",
        [RLIMIT_RTPRIO] = "Max realtime priority",
        [RLIMIT_RTTIME] = "Max realtime timeout",
        [RLIMIT_SIGPENDING] = "Max pending signals",
        [RLIMIT_STACK] = "Max stack size",
    };
    auto_free char *begin = tn_fs_path(
        "\n%s ", resource >= 0 && resource < RLIM_NLIMITS && names[resource] != NULL ? names[resource] : "?");
    const char *line = look->limits.len > 0 ? strstr(look->limits.data, begin) : NULL;
    char soft[32];
    char hard[32];

    if (line == NULL || sscanf(line + strlen(begin), "%31s %31s", soft, hard) != 2)
        return false;
    *value = strcmp(hard, "unlimited") == 0 ? UINT64_MAX : strtoull(hard, NULL, 10);
    return true;
}

/* Appends "NAME VALUE"; false if a limit is higher. */
static bool limits_hold(const struct look *look, const struct tn_profile_limit *list, char *text, size_t size)
{
    for (; list != NULL && list->name != NULL; list++) {
        uint64_t is = list->value;

#ifdef TN_SANITIZED
        if (list->resource == RLIMIT_AS)
            continue;
#endif
        if (look->seen && !limit_of(look, list->resource, &is)) {
            snprintf(text, size, "%s cannot be looked at", list->name);
            return false;
        }
        if (is > list->value) {
            snprintf(text, size, "%s is %" PRIu64 ", expected at most %" PRIu64, list->name, is, list->value);
            return false;
        }
        snprintf(text + strlen(text), size - strlen(text), "%s%s %" PRIu64, text[0] != '\0' ? ", " : "", list->name,
                 is);
    }
    return true;
}

static void look_at_limits(const struct look *look)
{
    const struct tn_profile_limit processes[] = {
        {"NPROC", RLIMIT_NPROC, tn_confinement_processes(&look->confinement), "threads and processes of its user"},
        {NULL},
    };
    char text[DETAIL_BYTES] = "";
    bool hold = limits_hold(look, tn_profile_base_limits(), text, sizeof(text)) &&
                limits_hold(look, tn_confinement_limits(), text, sizeof(text)) &&
                limits_hold(look, look->confinement.limits, text, sizeof(text)) &&
                (processes[0].value == 0 || limits_hold(look, processes, text, sizeof(text)));

    add(look->list, "limits", hold, "%s", text);
}

/* Is its namespace of that kind another than ours? -1: it cannot be seen. */
static int is_apart(pid_t pid, const char *kind)
{
    auto_free char *path = tn_fs_path("/proc/%d/ns/%s", (int)pid, kind);
    auto_free char *own = tn_fs_path("/proc/self/ns/%s", kind);
    char its[64];
    char ours[64];
    ssize_t length = readlink(path, its, sizeof(its) - 1);
    ssize_t own_length = readlink(own, ours, sizeof(ours) - 1);

    if (length <= 0 || own_length <= 0)
        return -1;
    return length != own_length || memcmp(its, ours, (size_t)length) != 0;
}

/* `flags`: of the namespaces that make up the mechanism; `kinds` NULL-terminated. */
static cJSON *look_at_namespaces(const struct look *look, const char *mechanism, unsigned long flags,
                                 const char *const kinds[], const char *why_not, const char *how)
{
    if ((look->confinement.flags & flags) != flags)
        return add(look->list, mechanism, false, "%s", why_not);
    for (size_t i = 0; look->seen && kinds[i] != NULL; i++) {
        int apart = is_apart(look->worker->pid, kinds[i]);

        if (apart != 1)
            return add(look->list, mechanism, false, "its %s namespace %s", kinds[i],
                       apart == 0 ? "is tenond's" : "cannot be looked at");
    }
    return add(look->list, mechanism, true, "%s", how);
}

static void look_at_all_namespaces(const struct look *look)
{
    static const char *const mounts[] = {"mnt", NULL};
    static const char *const network[] = {"net", NULL};
    static const char *const ipc[] = {"ipc", "uts", NULL};
    const struct tn_means *means = &look->worker->kernel->means;
    const char *wanted = tn_worker_network(look->worker);
    auto_free char *shared = wanted != NULL ? tn_fs_path("the host's, for %s", wanted) : NULL;
    cJSON *item;

    look_at_namespaces(look, "mounts", CLONE_NEWNS, mounts, means->mounts, "a root with what it needs alone");
    item = look_at_namespaces(look, "network", CLONE_NEWNET, network, shared != NULL ? shared : means->network,
                              "one of its own, without a way out");
    if (shared != NULL)
        cJSON_AddTrueToObject(item, "exempt");
    look_at_namespaces(look, "ipc", CLONE_NEWIPC | CLONE_NEWUTS, ipc, means->ipc, "of its own, as is the host's name");
}

/* What the process does itself, after its start. */
static void look_at_own_doing(const struct look *look)
{
    const char *says = look->worker->confinement != NULL ? look->worker->confinement : "";
    const char *landlock = strstr(says, "Landlock ");
    bool has_landlock = landlock != NULL && strstr(says, "no Landlock") == NULL;
    bool filtered = number_is(look, "Seccomp", 2, 10);

    if (!look->seen) {
        add(look->list, "landlock", true, "once it has begun");
        add(look->list, "seccomp", true, "once it has begun");
        return;
    }
    if (has_landlock)
        add(look->list, "landlock", true, "version %d, as it says itself", atoi(landlock + strlen("Landlock ")));
    else
        add(look->list, "landlock", false, "it says: %s", says[0] != '\0' ? says : "nothing");
    add(look->list, "seccomp", filtered, "%s", filtered ? "" : "no filter is loaded");
}

/* What cannot be read is empty, and nothing is seen to hold then. */
static void read_file(pid_t pid, const char *name, struct tn_buf *out)
{
    auto_free char *path = tn_fs_path("/proc/%d/%s", (int)pid, name);

    if (tn_fs_read(path, STATUS_BYTES, out, NULL) != 0)
        tn_buf_reset(out);
}

cJSON *tn_mechanisms_of(const struct tn_worker *worker, bool seen)
{
    struct look look = {
        .worker = worker, .seen = seen, .status = TN_BUF_INIT, .limits = TN_BUF_INIT, .list = cJSON_CreateArray()};

    tn_confinement_init(&look.confinement, &worker->kernel->means, &worker->user, tn_worker_network(worker) != NULL);
    look.confinement.limits = worker->row->profile != NULL ? worker->row->profile->limits : NULL;
    memcpy(look.confinement.groups, worker->groups, sizeof(look.confinement.groups));
    look.confinement.group_count = worker->group_count;
    if (seen) {
        read_file(worker->pid, "status", &look.status);
        read_file(worker->pid, "limits", &look.limits);
    }
    look_at_user(&look);
    look_at_capabilities(&look);
    look_at_new_privileges(&look);
    look_at_limits(&look);
    look_at_all_namespaces(&look);
    look_at_own_doing(&look);
    tn_buf_free(&look.status);
    tn_buf_free(&look.limits);
    return look.list;
}

cJSON *tn_mechanisms_own(void)
{
    static const char not_here[] = "it gives the other processes theirs";
    cJSON *list = cJSON_CreateArray();

    if (geteuid() == 0) {
        add(list, "user", false, "root: it gives processes their users, jobs theirs, and ends them all");
        add(list, "capabilities", false, "all that it was started with: jobs on this host begin with them");
    } else {
        add(list, "user", false, "user %u, who started it", (unsigned)geteuid());
        add(list, "capabilities", true, "none but what it was started with");
    }
    add(list, "no_new_privs", false, "jobs on this host may use sudo");
    add(list, "limits", false, "jobs on this host would inherit them");
    add(list, "mounts", false, "%s", not_here);
    add(list, "network", false, "%s; it opens no socket itself", not_here);
    add(list, "ipc", false, "%s", not_here);
    add(list, "landlock", false, "jobs on this host would inherit it");
    add(list, "seccomp", false, "jobs on this host would inherit it");
    return list;
}

/* ---- demands ---- */

static bool is_required(const cJSON *required, const char *mechanism)
{
    const cJSON *name;

    cJSON_ArrayForEach (name, required)
        if (cJSON_IsString(name) &&
            (strcmp(name->valuestring, mechanism) == 0 || strcmp(name->valuestring, "all") == 0))
            return true;
    return false;
}

bool tn_mechanisms_lack(const cJSON *mechanisms, const cJSON *required, char *text, size_t size)
{
    const cJSON *item;

    cJSON_ArrayForEach (item, mechanisms) {
        const char *mechanism = tn_json_string(item, "mechanism", "");

        if (tn_json_bool(item, "applied", false) || tn_json_bool(item, "exempt", false) ||
            !is_required(required, mechanism))
            continue;
        snprintf(text, size, "confinement is too weak: %s (%.150s) is required by security.require", mechanism,
                 tn_json_string(item, "detail", ""));
        return true;
    }
    return false;
}

void tn_mechanisms_text(const cJSON *mechanisms, char *text, size_t size)
{
    const cJSON *item;
    size_t used;

    text[0] = '\0';
    for (int applied = 1; applied >= 0; applied--) {
        bool first = true;

        cJSON_ArrayForEach (item, mechanisms) {
            if (tn_json_bool(item, "applied", false) != (applied == 1))
                continue;
            used = strlen(text);
            snprintf(text + used, size - used, "%s%s",
                     !first    ? ", "
                     : applied ? ""
                               : "; not applied: ",
                     tn_json_string(item, "mechanism", ""));
            used = strlen(text);
            if (!applied)
                snprintf(text + used, size - used, " (%s)", tn_json_string(item, "detail", ""));
            first = false;
        }
    }
}
