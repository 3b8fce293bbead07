/* Prints docs/confinement.md: what each role may do, from the same tables that confine it.
 *
 *     build/tools/tenon-profiles > docs/confinement.md */
#include "core/compiler/profile.h"
#include "core/kernel/profile.h"
#include "core/output/profile.h"
#include "core/scheduler/profile.h"
#include "executors/docker/profile.h"
#include "executors/machine/profile.h"

#include <inttypes.h>
#include <stdio.h>

static const struct tn_profile *const profiles[] = {&tn_profile_bus,    &tn_profile_scheduler, &tn_profile_compiler,
                                                    &tn_profile_output, &tn_profile_docker,    &tn_profile_machine};

enum { PROFILES = sizeof(profiles) / sizeof(profiles[0]) };

static const struct {
    unsigned group;
    const char *name;
    const char *what;
} groups[] = {
#define TN_PROFILE_ROW(NAME, bit, text, what) {TN_PROFILE_##NAME, text, what},
    TN_PROFILE_GROUPS(TN_PROFILE_ROW)
#undef TN_PROFILE_ROW
};

static const char *const roots[] = {
#define TN_PROFILE_ROW(NAME, text) text,
    TN_PROFILE_PLACES(TN_PROFILE_ROW)
#undef TN_PROFILE_ROW
};

enum { GROUPS = sizeof(groups) / sizeof(groups[0]) };

static const char *group_name(unsigned group)
{
    for (size_t i = 0; i < GROUPS; i++)
        if (groups[i].group == group)
            return groups[i].name;
    return "?";
}

static void print_calls(const struct tn_profile_call *call)
{
    printf("| call | only | why |\n| --- | --- | --- |\n");
    for (; call != NULL && call->name != NULL; call++)
        printf("| `%s` | %s | %s |\n", call->name, call->only != NULL ? call->only : "", call->why);
    printf("\n");
}

static void print_limits(const struct tn_profile_limit *limit)
{
    printf("| limit | at most | why |\n| --- | --- | --- |\n");
    for (; limit != NULL && limit->name != NULL; limit++)
        printf("| `%s` | %" PRIu64 " | %s |\n", limit->name, limit->value, limit->why);
    printf("\n");
}

static void print_overview(void)
{
    printf("| role |");
    for (size_t i = 0; i < GROUPS; i++)
        printf(" %s |", groups[i].name);
    printf(" host's network |\n| --- |");
    for (size_t i = 0; i <= GROUPS; i++)
        printf(" --- |");
    printf("\n");
    for (size_t i = 0; i < PROFILES; i++) {
        printf("| [%s](#%s) |", profiles[i]->role, profiles[i]->role);
        for (size_t j = 0; j < GROUPS; j++)
            printf(" %s |", (tn_profile_groups(profiles[i]) & groups[j].group) != 0 ? "yes" : "");
        printf(" %s |\n", profiles[i]->network != NULL ? "yes" : "");
    }
    printf("\n");
}

static void print_places(const struct tn_profile *profile)
{
    const struct tn_profile_place *place = profile->places;
    const struct tn_profile_named *named = profile->named;

    if (place == NULL && named == NULL) {
        printf("Files: none.\n\n");
        return;
    }
    printf("| file or folder | may | why |\n| --- | --- | --- |\n");
    for (; place != NULL && place->below != NULL; place++)
        printf("| `%s%s%s` | %s | %s |\n", roots[place->root], place->below[0] != '\0' ? "/" : "", place->below,
               place->write ? "read, write" : "read", place->why);
    for (; named != NULL && named->what != NULL; named++)
        printf("| %s | as named | %s |\n", named->what, named->why);
    printf("\n");
}

static void print_role(const struct tn_profile *profile)
{
    const struct tn_profile_use *use = profile->groups;

    printf("## %s\n\n%s.\n\n", profile->role, profile->summary);
    if (use == NULL) {
        printf("Calls: the base only.\n\n");
    } else {
        printf("| group of calls | why |\n| --- | --- |\n");
        for (; use->group != 0; use++)
            printf("| [%s](#group-%s) | %s |\n", group_name(use->group), group_name(use->group), use->why);
        printf("\n");
    }
    if (profile->calls != NULL)
        print_calls(profile->calls);
    print_places(profile);
    printf("Network: %s.\n\n", profile->network != NULL ? profile->network : "none, not even the host's loopback");
    if (profile->limits != NULL)
        print_limits(profile->limits);
}

static void print_shared(void)
{
    printf("## Calls of every role\n\n");
    print_calls(tn_profile_group_calls(0));
    for (size_t i = 0; i < GROUPS; i++) {
        printf("## Group %s\n\nTo %s.\n\n", groups[i].name, groups[i].what);
        print_calls(tn_profile_group_calls(groups[i].group));
    }
    printf("## Calls that end the process\n\nWhat is neither allowed above nor listed here gets `ENOSYS`.\n\n");
    print_calls(tn_profile_deadly_calls());
    printf("## Limits of every role\n\n");
    print_limits(tn_profile_base_limits());
}

int main(void)
{
    printf(
        "# What each process may do\n\n"
        "Printed by `tools/profiles.c` from the `profile.c` beside each program and from `core/lib/profile.c`, the\n"
        "tables that confine the processes; a test compares. `RUN`, `STATE` and `STORE` are the role's own folders,\n"
        "`DATA` the folder of the data sockets. `tests/confine` tries what is not here from the inside.\n\n");
    print_overview();
    for (size_t i = 0; i < PROFILES; i++)
        print_role(profiles[i]);
    print_shared();
    return ferror(stdout) || fflush(stdout) != 0;
}
