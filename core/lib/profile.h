/* A profile: what one role may do, as static data with a reason on each line. It lies beside the role's program
 * (`profile.c` there) and is read by four: tenond (limits, network), the program itself (core/lib/confine.h), the
 * generator of docs/confinement.md, and the prober (tests/confine). Only data: links nothing.
 *
 * Beside what a profile names, every role has the base calls, and for each of its groups that group's calls (below). */
#ifndef TN_PROFILE_H
#define TN_PROFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TN_PROFILE_CONDITIONS = 3 };

/* In place of an argument's place: the first argument is the process's own id. */
enum { TN_PROFILE_OWN_PROCESS = 100 };

/* What an argument of a call must be: (argument & mask) == value. */
struct tn_profile_condition {
    unsigned argument; /* its place, counted from 1; 0: no condition */
    uint64_t mask;
    uint64_t value;
};

#define TN_PROFILE_IS(argument, value)                                                                                 \
    {                                                                                                                  \
        argument, ~(uint64_t)0, value                                                                                  \
    }
#define TN_PROFILE_BITS(argument, mask, value)                                                                         \
    {                                                                                                                  \
        argument, mask, value                                                                                          \
    }

/* Lists end with a row whose name is NULL. */
struct tn_profile_call {
    const char *name; /* of a system call; one unknown on this architecture is skipped */
    const char *why;
    const char *only;                                        /* the conditions in words, or NULL */
    struct tn_profile_condition when[TN_PROFILE_CONDITIONS]; /* all of them */
};

/* X(NAME, bit, name, what it is): calls that go together. */
#define TN_PROFILE_GROUPS(X)                                                                                           \
    X(FILES, 1, "files", "open, read, write, name, remove and sync files; Landlock says which")                        \
    X(TREES, 2, "trees", "modes, owners, times and links of whole trees; asks who it is")                              \
    X(THREADS, 4, "threads", "start threads, never processes")                                                         \
    X(RECONNECT, 8, "reconnect", "open Unix sockets again: to a bus that was started anew, to the agents of jobs")     \
    X(SERVE, 16, "serve", "listen on Unix sockets")                                                                    \
    X(CONNECT, 32, "connect", "TCP to ports that are named, and looking up names; Landlock says which ports")

enum tn_profile_group {
#define TN_PROFILE_ENUM(name, bit, text, what) TN_PROFILE_##name = bit,
    TN_PROFILE_GROUPS(TN_PROFILE_ENUM)
#undef TN_PROFILE_ENUM
};

struct tn_profile_use {
    unsigned group; /* an enum tn_profile_group; 0 ends a list */
    const char *why;
};

/* X(NAME, text): folders whose paths are known only at run time. Each role has its own of these; the data sockets
 * are in a folder of the installation. */
#define TN_PROFILE_PLACES(X) X(RUN, "RUN") X(STATE, "STATE") X(STORE, "STORE") X(DATA, "DATA")

enum tn_profile_root {
#define TN_PROFILE_ENUM(name, text) TN_PROFILE_##name,
    TN_PROFILE_PLACES(TN_PROFILE_ENUM)
#undef TN_PROFILE_ENUM
        TN_PROFILE_ROOTS
};

struct tn_profile_place {
    const char *below; /* path below the root, "" the root itself; NULL ends a list */
    enum tn_profile_root root;
    bool write; /* also create, change and remove */
    const char *why;
};

/* What settings or variables name, and only the running program knows: for people. */
struct tn_profile_named {
    const char *what; /* NULL ends a list */
    const char *why;
};

struct tn_profile_limit {
    const char *name; /* as setrlimit(2) spells it, without RLIMIT_; NULL ends a list */
    int resource;
    uint64_t value; /* soft and hard; never raised above what is inherited */
    const char *why;
};

/* Every pointer but the first two may be NULL: nothing of that. */
struct tn_profile {
    const char *role;    /* "scheduler"; of executors their kind */
    const char *summary; /* what the process does, one line */
    const struct tn_profile_use *groups;
    const struct tn_profile_call *calls;
    const struct tn_profile_place *places;
    const struct tn_profile_named *named;
    const char *network; /* why it needs the host's network; NULL: it has one of its own, without any way out */
    const struct tn_profile_limit *limits;
};

/* The set of a profile's groups. */
unsigned tn_profile_groups(const struct tn_profile *profile);
/* The calls of one group; of 0 the base, which every role has. */
const struct tn_profile_call *tn_profile_group_calls(unsigned group);
/* Nobody of ours has an honest use for these: the filter ends the process. What is neither here nor allowed gets
 * ENOSYS. A process of the sanitizer build may use some of them. */
const struct tn_profile_call *tn_profile_deadly_calls(void);
/* Limits that every role has, beside its own. */
const struct tn_profile_limit *tn_profile_base_limits(void);

#endif
