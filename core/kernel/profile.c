#include "core/kernel/profile.h"

#include <sys/resource.h>

static const struct tn_profile_use groups[] = {
    {TN_PROFILE_SERVE, "a socket for each new life of a peer"},
    {0},
};

static const struct tn_profile_call calls[] = {
    {"unlink", "the socket of a life that is over"},
    {"unlinkat", "the same on arm64"},
    {NULL},
};

static const struct tn_profile_place places[] = {
    {"", TN_PROFILE_RUN, true, "the sockets of the peers, each in a folder that tenond made"},
    {NULL},
};

static const struct tn_profile_limit limits[] = {
    {"NOFILE", RLIMIT_NOFILE, 8192, "about six descriptors for each peer"},
    {NULL},
};

const struct tn_profile tn_profile_bus = {
    .role = "bus",
    .summary = "owns every socket of the bus and routes by header; reads no body but tenond's",
    .groups = groups,
    .calls = calls,
    .places = places,
    .limits = limits,
};
