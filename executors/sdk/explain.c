/* Why a command ended, where its status alone does not say. Pure. */
#include "core/lib/json.h"
#include "executors/sdk/internal.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

/* What a shell makes of a child that SIGKILL ended: 128 + 9. */
enum { STATUS_KILLED = 137 };

bool tn_runner_out_of_memory(const struct tn_task *task, const struct tn_agent_exit *end, char *out, size_t size)
{
    unsigned mib = (unsigned)tn_json_u64(tn_json_get(task->lease, "limits"), "memory_mb", 0);
    const char *class = tn_json_string(task->definition, "resource_class", "default");
    bool itself = end->kind == TN_AGENT_SIGNALED ? end->code == SIGKILL : end->code == STATUS_KILLED;
    char limit[32];

    out[0] = '\0';
    if ((end->flags & TN_AGENT_OOM) == 0 || end->kind == TN_AGENT_NO_SPAWN)
        return false;
    snprintf(limit, sizeof(limit), mib % 1024 == 0 ? "%u GB" : "%u MB", mib % 1024 == 0 ? mib / 1024 : mib);
    if (itself)
        snprintf(out, size, "killed: out of memory (limit %s, resource class %.60s)", limit, class);
    else if (end->kind == TN_AGENT_SIGNALED)
        snprintf(out, size,
                 "Killed by signal %u (%s); the kernel had killed a process of the job: out of memory (limit %s, "
                 "resource class %.60s)",
                 end->code, strsignal((int)end->code), limit, class);
    else
        snprintf(out, size,
                 "Exited with code exit status %u; the kernel had killed a process of the job: out of memory (limit "
                 "%s, resource class %.60s)",
                 end->code, limit, class);
    return true;
}

bool tn_runner_lacks_shell(const struct tn_task *task)
{
    const cJSON *step = tn_runner_step(task, task->progress.step);
    char bash[8];
    char sh[8];

    return tn_json_string(step, "shell", tn_json_string(task->definition, "shell", NULL)) == NULL &&
           tn_runner_fact(task, "shell_bash", bash, sizeof(bash))[0] == '\0' &&
           tn_runner_fact(task, "shell_sh", sh, sizeof(sh))[0] == '\0';
}
