#include "core/lib/confine.h"
#include "core/lib/landlock.h"

#include <errno.h>
#include <seccomp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

/* ---- text ---- */

static void say(char *text, size_t size, const char *fmt, ...) TN_PRINTF(3, 4);

static void say(char *text, size_t size, const char *fmt, ...)
{
    size_t used = strlen(text);
    va_list ap;

    if (used > 0 && used + 2 < size) {
        memcpy(text + used, ", ", 3);
        used += 2;
    }
    va_start(ap, fmt);
    vsnprintf(text + used, size - used, fmt, ap);
    va_end(ap);
}

/* ---- files ---- */

/* Lowers only, so that what tenond has set already stays. */
static int limit(const struct tn_profile_limit *limits, struct tn_err *err)
{
    for (; limits != NULL && limits->name != NULL; limits++) {
        struct rlimit value;

#ifdef TN_SANITIZED
        if (limits->resource == RLIMIT_AS) /* shadow memory is larger than any sensible limit */
            continue;
#endif
        if (getrlimit((__rlimit_resource_t)limits->resource, &value) != 0)
            return tn_err_sys(err, errno, "the limit %s", limits->name);
        if (value.rlim_max > limits->value)
            value.rlim_max = limits->value;
        value.rlim_cur = value.rlim_max;
        if (setrlimit((__rlimit_resource_t)limits->resource, &value) != 0)
            return tn_err_sys(err, errno, "the limit %s", limits->name);
    }
    return 0;
}

int tn_confine_files(const struct tn_confine *confine, char *text, size_t size, struct tn_err *err)
{
    int version = tn_landlock_version();
    int result = 0;

    if (limit(tn_profile_base_limits(), err) != 0 || limit(confine->profile->limits, err) != 0)
        result = -1;
    say(text, size, result == 0 ? "limits" : "no limits");
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
        say(text, size, "no no_new_privs (%s)", strerror(errno));
        return tn_err_sys(err, errno, "no_new_privs");
    }
    say(text, size, "no_new_privs");
    if (version < 1) {
        say(text, size, "no Landlock");
        return tn_err_set(err, TN_ERR_UNAVAILABLE, "this kernel offers no Landlock");
    }
    if (tn_landlock_apply(confine, version, err) != 0) {
        say(text, size, "no Landlock");
        return -1;
    }
    say(text, size, "Landlock %d", version);
    return result;
}

/* ---- seccomp ---- */

#ifdef TN_SANITIZED
/* LeakSanitizer stops the world with clone and ptrace; the rest is for its reports. */
static const struct tn_profile_call sanitizer_calls[] = {
    {"clone", "LeakSanitizer"},
    {"ptrace", "LeakSanitizer"},
    {"wait4", "LeakSanitizer"},
    {"prctl", "LeakSanitizer"},
    {"process_vm_readv", "reports"},
    {"openat", "reports"},
    {"open", "reports"},
    {"fstat", "reports"},
    {"newfstatat", "reports"},
    {"stat", "reports"},
    {"lseek", "reports"},
    {"readlink", "reports"},
    {"readlinkat", "reports"},
    {"getdents64", "threads' list"},
    {"getdents", "threads' list"},
    {"getppid", "LeakSanitizer"},
    {"sched_getaffinity", "start"},
    {"sched_yield", "locks"},
    {"sigaltstack", "threads"},
    {"getrlimit", "stack size"},
    {"prlimit64", "stack size"},
    {"ioctl", "reports: is it a terminal?"},
    {"pipe2", "reports"},
    {"pipe", "reports"},
    {"dup2", "reports"},
    {"getuid", "reports"},
    {"geteuid", "reports"},
    {"uname", "reports"},
    {"mincore", "reports"},
    {"access", "reports"},
    {"getcwd", "reports"},
    {"kill", "LeakSanitizer"},
    {"arch_prctl", "threads"},
    {NULL},
};
#endif

/* Whoever of the sanitizer build may use it cannot be ended for it. */
static bool sanitizer_uses(const char *name)
{
#ifdef TN_SANITIZED
    for (const struct tn_profile_call *call = sanitizer_calls; call->name != NULL; call++)
        if (strcmp(call->name, name) == 0)
            return true;
#endif
    return false;
}

static unsigned conditions(const struct tn_profile_call *call, struct scmp_arg_cmp *out)
{
    unsigned count = 0;

    for (size_t i = 0; i < TN_PROFILE_CONDITIONS && call->when[i].argument != 0; i++) {
        const struct tn_profile_condition *when = &call->when[i];

        if (when->argument == TN_PROFILE_OWN_PROCESS)
            out[count++] = SCMP_A0_64(SCMP_CMP_EQ, (scmp_datum_t)getpid());
        else
            out[count++] = SCMP_CMP64(when->argument - 1, SCMP_CMP_MASKED_EQ, when->mask, when->value);
    }
    return count;
}

static int add_rules(scmp_filter_ctx filter, uint32_t action, const struct tn_profile_call *calls, struct tn_err *err)
{
    for (; calls != NULL && calls->name != NULL; calls++) {
        struct scmp_arg_cmp when[TN_PROFILE_CONDITIONS];
        unsigned count = conditions(calls, when);
        int number = seccomp_syscall_resolve_name(calls->name);
        int failed = 0;

        if (number < 0 || (action != SCMP_ACT_ALLOW && sanitizer_uses(calls->name)))
            continue;
        failed = seccomp_rule_add_array(filter, action, number, count, when);
        if (failed != 0 && failed != -EEXIST) /* groups may share a line */
            return tn_err_sys(err, -failed, "seccomp: no rule for %s", calls->name);
    }
    return 0;
}

static int build_filter(scmp_filter_ctx filter, const struct tn_profile *profile, struct tn_err *err)
{
    const struct tn_profile_use *use = profile->groups;

    if (add_rules(filter, SCMP_ACT_ALLOW, tn_profile_group_calls(0), err) != 0 ||
        add_rules(filter, SCMP_ACT_ALLOW, profile->calls, err) != 0 ||
        add_rules(filter, SCMP_ACT_KILL_PROCESS, tn_profile_deadly_calls(), err) != 0)
        return -1;
    for (; use != NULL && use->group != 0; use++)
        if (add_rules(filter, SCMP_ACT_ALLOW, tn_profile_group_calls(use->group), err) != 0)
            return -1;
#ifdef TN_SANITIZED
    return add_rules(filter, SCMP_ACT_ALLOW, sanitizer_calls, err);
#else
    return 0;
#endif
}

static scmp_filter_ctx new_filter(const struct tn_confine *confine, struct tn_err *err)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));

    if (filter == NULL) {
        tn_err_set(err, TN_ERR_SYSTEM, "seccomp: out of memory for the filter");
        return NULL;
    }
    if (build_filter(filter, confine->profile, err) != 0) {
        seccomp_release(filter);
        return NULL;
    }
    (void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a tree where the library can: only faster */
    return filter;
}

int tn_confine_syscalls(const struct tn_confine *confine, char *text, size_t size, struct tn_err *err)
{
    struct tn_err why = TN_ERR_INIT;
    scmp_filter_ctx filter = new_filter(confine, &why);
    int failed;

    if (filter != NULL) {
        failed = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
        if (failed == 0)
            failed = seccomp_load(filter);
        seccomp_release(filter);
        if (failed != 0)
            tn_err_sys(&why, -failed, "seccomp: cannot load the filter");
    }
    say(text, size, why.code == TN_OK ? "seccomp" : "no seccomp (%s)", why.text);
    if (err != NULL)
        *err = why;
    return why.code == TN_OK ? 0 : -1;
}

int tn_confine_write_filter(const struct tn_confine *confine, int fd, struct tn_err *err)
{
    scmp_filter_ctx filter = new_filter(confine, err);
    int failed;

    if (filter == NULL)
        return -1;
    failed = seccomp_export_bpf(filter, fd);
    seccomp_release(filter);
    return failed == 0 ? 0 : tn_err_sys(err, -failed, "seccomp: cannot write the filter");
}
