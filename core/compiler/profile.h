/* What tenon-compiler may do: core/lib/profile.h. */
#ifndef TN_COMPILER_PROFILE_H
#define TN_COMPILER_PROFILE_H

#include "core/lib/profile.h"

extern const struct tn_profile tn_profile_compiler;

#endif
