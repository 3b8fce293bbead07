/* What tenon-executor-docker may do: core/lib/profile.h. */
#ifndef TN_EXECUTORS_DOCKER_PROFILE_H
#define TN_EXECUTORS_DOCKER_PROFILE_H

#include "core/lib/profile.h"

extern const struct tn_profile tn_profile_docker;

#endif
