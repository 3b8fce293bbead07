#include "executors/machine/profile.h"

#include <sys/resource.h>

static const struct tn_profile_use groups[] = {
    {TN_PROFILE_FILES, "the folders of jobs"},
    {TN_PROFILE_RECONNECT, "a bus that was started anew, the agents"},
    {0},
};

static const struct tn_profile_call calls[] = {
    {"symlink", "the names that a job calls the agent by"},
    {"symlinkat", "the same on arm64"},
    {NULL},
};

static const struct tn_profile_place places[] = {
    {"jobs", TN_PROFILE_STATE, true, "a folder for each job"},
    {"agents", TN_PROFILE_RUN, true, "the sockets of the agents"},
    {NULL},
};

static const struct tn_profile_named named[] = {
    {"the agent's program", "is it there? tenond starts it"},
    {NULL},
};

static const struct tn_profile_limit limits[] = {
    {"NOFILE", RLIMIT_NOFILE, 8192, "a connection to the agent and files for each job"},
    {NULL},
};

const struct tn_profile tn_profile_machine = {
    .role = "machine",
    .summary = "runs jobs on this host; tenond starts their agents",
    .groups = groups,
    .calls = calls,
    .places = places,
    .named = named,
    .limits = limits,
};
