/* Confinement that a process puts on itself: no_new_privs, limits, Landlock for its files, a seccomp allowlist for its
 * calls. What may be done says its role's profile (core/lib/profile.h) beside its program; where, the caller.
 *
 * Order in a main(): read the configuration, tn_confine_files(), open the sockets (the first nanomsg socket starts a
 * thread, and Landlock binds only the calling thread and those it starts later), tn_confine_syscalls() (which covers
 * all threads), announce ready with the text, dispatch:
 *
 *     const struct tn_confine confine = {.profile = &tn_profile_scheduler, .roots = {
 *         [TN_PROFILE_STATE] = service->state_dir, [TN_PROFILE_STORE] = service->store_dir}};
 *
 * What cannot be applied (an old kernel, a container that forbids it) is no reason to stop here: both functions append
 * to `text` what holds and what does not, for READY and `tenon status`, and the caller goes on. */
#ifndef TN_CONFINE_H
#define TN_CONFINE_H

#include "core/lib/err.h"
#include "core/lib/profile.h"

enum { TN_CONFINE_TEXT = 512 }; /* bytes that suffice for both functions' text */

struct tn_confine_path {
    const char *path; /* file or folder; with all below it. One that does not exist is skipped */
    bool write;       /* also create, change and remove */
};

/* All pointers are borrowed. */
struct tn_confine {
    const struct tn_profile *profile;
    const char *roots[TN_PROFILE_ROOTS]; /* of the profile's places; NULL or "": those are skipped */
    /* What settings name, beside the profile's places. */
    const struct tn_confine_path *paths; /* may be NULL */
    size_t path_count;
    /* Ends with 0; may be NULL: TCP ports that may be connected to by a role of TN_PROFILE_CONNECT. Nothing can be
     * listened on. Before Landlock 4 every port can be connected to. */
    const uint16_t *ports;
};

/* no_new_privs, limits and Landlock, for the calling thread and those that it starts. Appends to `text` (a string
 * already; `size` bytes in all). 0 if all of it holds, else -1 and why. */
int tn_confine_files(const struct tn_confine *confine, char *text, size_t size, struct tn_err *err);
/* The seccomp filter, for all threads: base, groups and calls are allowed, dangerous calls end the process, any other
 * gets ENOSYS. Appends to `text`. 0 if it holds, else -1 and why. */
int tn_confine_syscalls(const struct tn_confine *confine, char *text, size_t size, struct tn_err *err);
/* Writes that same filter to a descriptor as the kernel takes it (struct sock_filter), for tests/confine. */
int tn_confine_write_filter(const struct tn_confine *confine, int fd, struct tn_err *err) TN_MUST_CHECK;

#endif
