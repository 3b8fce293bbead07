#include "core/scheduler/profile.h"

#include <sys/resource.h>

static const struct tn_profile_use groups[] = {
    {TN_PROFILE_FILES, "the ledger"},
    {TN_PROFILE_RECONNECT, "a bus that was started anew"},
    {0},
};

static const struct tn_profile_call calls[] = {
    {"getcwd", "SQLite: absolute paths"},
    {"readlink", "SQLite: is the ledger a link?"},
    {"readlinkat", "the same on arm64"},
    {"fchown", "SQLite as root: its journal belongs to the ledger's owner"},
    {NULL},
};

static const struct tn_profile_place places[] = {
    {"", TN_PROFILE_STATE, true, "the ledger"},
    {"", TN_PROFILE_STORE, true, "counters of the projects"},
    {NULL},
};

static const struct tn_profile_limit limits[] = {
    {"NOFILE", RLIMIT_NOFILE, 256, "the ledger, the counters, one socket"},
    {NULL},
};

const struct tn_profile tn_profile_scheduler = {
    .role = "scheduler",
    .summary = "the queue and its ledger: which task runs where, and how it ended",
    .groups = groups,
    .calls = calls,
    .places = places,
    .limits = limits,
};
