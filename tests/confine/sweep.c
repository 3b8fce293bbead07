#include "tests/confine/sweep.h"

#include <errno.h>
#include <seccomp.h>
#include <stdbool.h>
#include <unistd.h>

static void mark(enum sweep_kind kinds[SWEEP_CALLS], const struct tn_profile_call *call, enum sweep_kind kind)
{
    for (; call != NULL && call->name != NULL; call++) {
        int number = seccomp_syscall_resolve_name(call->name);

        if (number >= 0 && number < SWEEP_CALLS && kinds[number] == SWEEP_REFUSED)
            kinds[number] = kind;
    }
}

void sweep_learn(const struct tn_profile *profile, enum sweep_kind kinds[SWEEP_CALLS])
{
    const struct tn_profile_use *use = profile->groups;

    for (size_t i = 0; i < SWEEP_CALLS; i++)
        kinds[i] = SWEEP_REFUSED;
    mark(kinds, tn_profile_deadly_calls(), SWEEP_DEADLY);
    mark(kinds, tn_profile_group_calls(0), SWEEP_ALLOWED);
    mark(kinds, profile->calls, SWEEP_ALLOWED);
    for (; use != NULL && use->group != 0; use++)
        mark(kinds, tn_profile_group_calls(use->group), SWEEP_ALLOWED);
}

/* The kernel's own trampolines on x86-64 (uretprobe, uprobe): no filter sees them, and who calls them himself gets
 * SIGILL. */
static bool is_trap(long number)
{
#ifdef __x86_64__
    return number == 335 || number == 336;
#else
    return false;
#endif
}

long sweep_refused(const enum sweep_kind kinds[SWEEP_CALLS])
{
    for (long number = 0; number < SWEEP_CALLS; number++)
        if (kinds[number] == SWEEP_REFUSED && !is_trap(number) &&
            (syscall(number, 1, 1, 1, 1, 1, 1) != -1 || errno != ENOSYS))
            return number + 1;
    return 0;
}
