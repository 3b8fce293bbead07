/* What tenon-bus may do: core/lib/profile.h. */
#ifndef TN_KERNEL_PROFILE_H
#define TN_KERNEL_PROFILE_H

#include "core/lib/profile.h"

extern const struct tn_profile tn_profile_bus;

#endif
