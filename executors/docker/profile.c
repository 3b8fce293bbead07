#include "executors/docker/profile.h"

#include <sys/resource.h>

/* Modules of the name service switch other than files and dns, which are part of glibc, cannot be loaded: nothing may
 * be mapped as code once the filter holds. */
static const struct tn_profile_use groups[] = {
    {TN_PROFILE_FILES, "folders of the containers, what is known of images"},
    {TN_PROFILE_THREADS, "libcurl looks names up in one"},
    {TN_PROFILE_RECONNECT, "a bus that was started anew, the engine, the agents"},
    {TN_PROFILE_CONNECT, "an engine elsewhere, registries that hand out passwords"},
    {0},
};

static const struct tn_profile_call calls[] = {
    {"getegid", "the group that a file may be given to, for messages"},
    {"readlink", "which folder is in the way to the engine's socket"},
    {"readlinkat", "the same, where there is no readlink"},
    {NULL},
};

static const struct tn_profile_place places[] = {
    {"jobs", TN_PROFILE_RUN, true, "a folder with the agent's socket for each container"},
    {"images", TN_PROFILE_STORE, true, "when images were pulled and used"},
    {NULL},
};

static const struct tn_profile_named named[] = {
    {"the engine's socket", "the containers; Landlock does not govern connecting to a path"},
    {"docker.registries: password files", "read again for each pull, so that they can be changed"},
    {"/etc/passwd, /etc/group", "names for whom a file or socket is closed"},
    {"/etc/ssl/certs/ca-certificates.crt", "the certificates of registries"},
    {"/etc/resolv.conf, hosts, nsswitch.conf, host.conf, gai.conf", "looking up names"},
    {NULL},
};

static const struct tn_profile_limit limits[] = {
    {"NOFILE", RLIMIT_NOFILE, 8192, "several connections to the engine and the agent for each job"},
    {NULL},
};

const struct tn_profile tn_profile_docker = {
    .role = "docker",
    .summary = "runs jobs in containers of a Docker Engine",
    .groups = groups,
    .calls = calls,
    .places = places,
    .named = named,
    .network = "engines that are reached by TCP; tokens of ECR",
    .limits = limits,
};
