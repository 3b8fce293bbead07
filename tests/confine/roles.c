/* How each role's main() confines itself, for the prober. */
#include "tests/confine/roles.h"
#include "core/compiler/profile.h"
#include "core/kernel/profile.h"
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/log.h"
#include "core/output/profile.h"
#include "core/scheduler/profile.h"
#include "executors/docker/profile.h"
#include "executors/machine/profile.h"

#include <string.h>

static const struct {
    const char *program;
    const char *name; /* of the settings */
    const struct tn_profile *profile;
} roles[] = {
    {"tenon-bus", "bus", &tn_profile_bus},
    {"tenon-scheduler", "scheduler", &tn_profile_scheduler},
    {"tenon-compiler", "compiler", &tn_profile_compiler},
    {"tenon-output", "output", &tn_profile_output},
    {"tenon-executor-docker", "executor-docker", &tn_profile_docker},
    {"tenon-executor-machine", "executor-machine", &tn_profile_machine},
};

/* Those of registries and name servers: what the Docker executor has without settings. */
static const uint16_t ports[] = {443, 53, 0};

static void make_folders(const struct tn_confine *confine)
{
    const struct tn_profile_place *place = confine->profile->places;
    struct tn_err err = TN_ERR_INIT;

    for (; place != NULL && place->below != NULL; place++) {
        auto_free char *path = tn_fs_path("%s/%s", confine->roots[place->root], place->below);

        if (place->below[0] != '\0' && tn_fs_make_dirs(path, 0700, &err) != 0)
            tn_fatal(3, "%s", err.text);
    }
}

const char *role_begin(const char *program, struct tn_service *service, struct tn_confine *confine)
{
    const char *slash = strrchr(program, '/');
    struct tn_err err = TN_ERR_INIT;
    size_t i = 0;

    while (i < sizeof(roles) / sizeof(roles[0]) && strcmp(roles[i].program, slash != NULL ? slash + 1 : program) != 0)
        i++;
    if (i == sizeof(roles) / sizeof(roles[0]))
        tn_fatal(2, "%s is none of our programs: tests/confine/test.py starts this one in their places", program);
    memset(service, 0, sizeof(*service));
    memset(confine, 0, sizeof(*confine));
    confine->profile = roles[i].profile;
    if (confine->profile == &tn_profile_bus) {
        tn_log_open("bus");
        confine->roots[TN_PROFILE_RUN] = getenv("TENON_RUN");
        return roles[i].profile->role;
    }
    if (tn_service_init(service, roles[i].name, &err) != 0)
        tn_fatal(3, "%s", err.text);
    confine->roots[TN_PROFILE_RUN] = service->run_dir;
    confine->roots[TN_PROFILE_STATE] = service->state_dir;
    confine->roots[TN_PROFILE_STORE] = service->store_dir;
    confine->roots[TN_PROFILE_DATA] = service->data_dir;
    if (confine->profile == &tn_profile_docker)
        confine->ports = ports;
    make_folders(confine);
    return roles[i].profile->role;
}
