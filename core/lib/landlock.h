/* Landlock (Documentation/userspace-api/landlock.rst) with raw calls: Debian 12's glibc has no wrappers, and its header
 * knows only the first versions. For core/lib/confine.c. */
#ifndef TN_LANDLOCK_H
#define TN_LANDLOCK_H

#include "core/lib/confine.h"

/* The version that this kernel offers, from 1 on; -1: none, and errno. */
int tn_landlock_version(void);
/* Restricts the calling thread, and those that it starts, to what `confine` names, with all that `version` knows.
 * no_new_privs must hold. */
int tn_landlock_apply(const struct tn_confine *confine, int version, struct tn_err *err) TN_MUST_CHECK;

#endif
