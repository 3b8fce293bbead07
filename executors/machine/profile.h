/* What tenon-executor-machine may do: core/lib/profile.h. */
#ifndef TN_EXECUTORS_MACHINE_PROFILE_H
#define TN_EXECUTORS_MACHINE_PROFILE_H

#include "core/lib/profile.h"

extern const struct tn_profile tn_profile_machine;

#endif
