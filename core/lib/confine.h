/* Confinement that a process puts on itself: no_new_privs, Landlock for its files, a seccomp allowlist for its calls.
 *
 * Order in a main(): read the configuration, tn_confine_files(), open the sockets (the first nanomsg socket starts a
 * thread, and Landlock binds only the calling thread and those it starts later), tn_confine_syscalls() (which covers
 * all threads), announce ready with the text, dispatch. A profile is static data beside the program, one reason a line:
 *
 *     static const struct tn_confine_call calls[] = {{"mkdir", "a folder for each socket"}, {NULL, NULL}};
 *     const struct tn_confine_path paths[] = {{service.state_dir, true}};
 *     const struct tn_confine_profile profile = {.paths = paths, .path_count = 1, .groups = TN_CONFINE_FILES,
 *                                                .calls = calls};
 *
 * What cannot be applied (an old kernel, a container that forbids it) is no reason to stop: both functions append to
 * `text` what holds and what does not, for READY and `tenon status`, and the caller goes on. */
#ifndef TN_CONFINE_H
#define TN_CONFINE_H

#include "core/lib/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TN_CONFINE_TEXT = 512 }; /* bytes that suffice for both functions' text */

struct tn_confine_path {
    const char *path; /* file or folder; with all below it. One that does not exist is skipped */
    bool write;       /* also create, change and remove */
};

struct tn_confine_call {
    const char *name; /* of a system call; one unknown on this architecture is skipped */
    const char *why;
};

/* Calls that go together, besides the base: what a process with libevent and nanomsg needs once its sockets are open.
 */
enum tn_confine_group {
    TN_CONFINE_FILES = 1,   /* open, read, write, name, remove and sync files (Landlock says which) */
    TN_CONFINE_NETWORK = 2, /* sockets of every family; without it only Unix sockets, and Landlock forbids TCP */
    TN_CONFINE_THREADS = 4, /* start threads (never processes) */
};

struct tn_confine_profile {
    const struct tn_confine_path *paths; /* borrowed; may be NULL: no file at all */
    size_t path_count;
    unsigned groups;                     /* set of enum tn_confine_group */
    const struct tn_confine_call *calls; /* borrowed; further calls, ends with {NULL, NULL}; may be NULL */
    /* Borrowed, ends with 0; may be NULL: TCP ports that may be connected to though TN_CONFINE_NETWORK is not set. With
     * them come the calls, threads and files that looking up a name needs. Nothing can be listened on. Before Landlock 4
     * every port can be connected to. */
    const uint16_t *connect_ports;
};

/* no_new_privs and Landlock, for the calling thread and those that it starts. Appends to `text` (a string already;
 * `size` bytes in all). 0 if all of it holds, else -1 and why. */
int tn_confine_files(const struct tn_confine_profile *profile, char *text, size_t size, struct tn_err *err);
/* The seccomp filter, for all threads: base, groups and calls are allowed, dangerous calls end the process, any other
 * gets ENOSYS. Appends to `text`. 0 if it holds, else -1 and why. */
int tn_confine_syscalls(const struct tn_confine_profile *profile, char *text, size_t size, struct tn_err *err);

#endif
