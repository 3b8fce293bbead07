/* What tenon-scheduler may do: core/lib/profile.h. */
#ifndef TN_SCHEDULER_PROFILE_H
#define TN_SCHEDULER_PROFILE_H

#include "core/lib/profile.h"

extern const struct tn_profile tn_profile_scheduler;

#endif
