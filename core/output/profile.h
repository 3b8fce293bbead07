/* What tenon-output may do: core/lib/profile.h. */
#ifndef TN_OUTPUT_PROFILE_H
#define TN_OUTPUT_PROFILE_H

#include "core/lib/profile.h"

extern const struct tn_profile tn_profile_output;

#endif
