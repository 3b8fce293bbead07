#include "core/kernel/roles.h"
#include "core/compiler/profile.h"
#include "core/kernel/profile.h"
#include "core/output/profile.h"
#include "core/scheduler/profile.h"

/* Sanitizers make a process several times slower, and its machine busier. */
#ifdef TN_SANITIZED
enum { SLOWER = 4 };
#else
enum { SLOWER = 1 };
#endif

enum { READY_MS = 10000 * SLOWER, HEARTBEAT_MS = 15000 * SLOWER };

static const struct tn_role_row rows[] = {
    {TN_ROLE_BUS, "bus", "core/kernel/tenon-bus", true, READY_MS, HEARTBEAT_MS, 2000 * SLOWER, "bus", 2, "bus",
     &tn_profile_bus, NULL},
    {TN_ROLE_SCHEDULER, "scheduler", "core/scheduler/tenon-scheduler", true, READY_MS, HEARTBEAT_MS, 5000 * SLOWER,
     "scheduler", 1, "scheduler", &tn_profile_scheduler, NULL},
    {TN_ROLE_COMPILER, "compiler", "core/compiler/tenon-compiler", true, READY_MS, HEARTBEAT_MS, 5000 * SLOWER, NULL, 1,
     "compiler", &tn_profile_compiler, NULL},
    {TN_ROLE_OUTPUT, "output", "core/output/tenon-output", true, READY_MS, HEARTBEAT_MS, 5000 * SLOWER, "output", 1,
     "output", &tn_profile_output, "removes folders that archives closed to their owner, by their descriptor"},
    /* Executors release what they hold (in a private run) while the others still answer. */
    {TN_ROLE_EXECUTOR, "executor", NULL, false, READY_MS, HEARTBEAT_MS, 20000 * SLOWER, NULL, 0, NULL, NULL,
     "finds the agent beside its own program; removes closed folders"},
};

const struct tn_role_row *tn_roles(size_t *count)
{
    *count = sizeof(rows) / sizeof(rows[0]);
    return rows;
}

const struct tn_role_row *tn_role_row(enum tn_role role)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (rows[i].role == role)
            return &rows[i];
    return NULL;
}
