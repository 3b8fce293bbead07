#include "core/compiler/profile.h"

#include <sys/resource.h>

static const struct tn_profile_limit limits[] = {
    {"AS", RLIMIT_AS, (uint64_t)1 << 30, "a config that asks for more ends this process, not the host"},
    {"NOFILE", RLIMIT_NOFILE, 64, "one socket; no file"},
    {"FSIZE", RLIMIT_FSIZE, (uint64_t)16 << 20, "it writes to the log only"},
    {NULL},
};

/* It reads what strangers wrote: nothing but the base. Its one socket is open before the filter is; when the bus dies,
 * tenond starts it anew. */
const struct tn_profile tn_profile_compiler = {
    .role = "compiler",
    .summary = "config text in, plan out; reads what strangers wrote, so it opens no file and no socket",
    .limits = limits,
};
