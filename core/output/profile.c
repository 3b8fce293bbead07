#include "core/output/profile.h"

#include <fcntl.h>
#include <sys/resource.h>

static const struct tn_profile_use groups[] = {
    {TN_PROFILE_FILES, "logs, artifacts, caches, workspaces, test results"},
    {TN_PROFILE_TREES, "archives that are unpacked keep their links and times"},
    {TN_PROFILE_RECONNECT, "a bus that was started anew"},
    {TN_PROFILE_SERVE, "a data socket for each executor and client that comes"},
    {0},
};

static const struct tn_profile_call calls[] = {
    {"fcntl", "times of tests: other runs of the user write them, too", "F_OFD_SETLK", {TN_PROFILE_IS(2, F_OFD_SETLK)}},
    {NULL},
};

static const struct tn_profile_place places[] = {
    {"", TN_PROFILE_STATE, true, "logs, artifacts and results of this installation"},
    {"", TN_PROFILE_STORE, true, "caches and blobs, shared by the runs of a user"},
    {"", TN_PROFILE_DATA, true, "the data sockets"},
    {NULL},
};

static const struct tn_profile_limit limits[] = {
    {"NOFILE", RLIMIT_NOFILE, 8192, "a file for each open log and transfer, a socket for each peer"},
    {NULL},
};

const struct tn_profile tn_profile_output = {
    .role = "output",
    .summary = "keeps logs, artifacts, caches, workspaces and test results; masks secrets; serves readers",
    .groups = groups,
    .calls = calls,
    .places = places,
    .limits = limits,
};
