/* A control group for each program that tenond starts on request: finds and ends all of it, and limits it.
 *
 * Version 2 tracks and kills (cgroup.kill) where it is mounted, version 1 otherwise; limits go to whichever version has
 * the controller. In version 2 ours lie below the group that tenond is in, or below the first above it that passes the
 * controllers on and lets us in: so a delegated subtree serves without root. Where no group can be made or entered (no
 * root, no delegation) there is none, `why` says so, and the caller does without. */
#ifndef TN_KERNEL_CGROUP_H
#define TN_KERNEL_CGROUP_H

#include "core/lib/err.h"

#include <stdbool.h>
#include <stddef.h>

enum { TN_CGROUP_TREES = 4 };

/* Set of limits. */
enum { TN_LIMIT_CPU = 1, TN_LIMIT_MEMORY = 2, TN_LIMIT_PIDS = 4 };

struct tn_cgroup_limits {
    unsigned cpu_milli; /* thousandths of a CPU; 0: none, as for all here */
    unsigned memory_mb; /* MiB */
    unsigned pids;
};

/* The folders under which ours are made, in each hierarchy that we can write to. */
struct tn_cgroups {
    char *track; /* owned; NULL: none */
    bool track_v2;
    char *limits[TN_CGROUP_TREES]; /* owned; version 1, by controller; NULL: none */
    char *name;                    /* owned; "tenon-INSTALLATION" */
    char *note;                    /* owned; file that says where ours are, or NULL */
    char why[256];                 /* there is none; "" while there is */
};

struct tn_cgroup {
    char *folders[TN_CGROUP_TREES + 1]; /* owned; the first one tracks */
    size_t count;
    unsigned limited; /* which of the limits that were asked for hold: TN_LIMIT_… */
};

/* Finds what there is; never fails. Kills what a private run whose tenond is gone left in groups, and removes them;
 * STORE_DIR/control-groups says where they were. */
void tn_cgroups_open(struct tn_cgroups *groups, const char *installation, const char *store_dir);
/* Which limits can be set: TN_LIMIT_… */
unsigned tn_cgroups_limits(const struct tn_cgroups *groups);
/* Removes our folder in each hierarchy, if nothing is left in it. */
void tn_cgroups_close(struct tn_cgroups *groups);

/* Makes a group. -1 where there can be none. */
int tn_cgroup_make(const struct tn_cgroups *groups, const char *name, const struct tn_cgroup_limits *limits,
                   struct tn_cgroup *group, struct tn_err *err) TN_MUST_CHECK;
/* The group of that name made by an earlier tenond, or none (`count` 0). */
void tn_cgroup_adopt(const struct tn_cgroups *groups, const char *name, struct tn_cgroup *group);
/* Opens the files through which a process enters; returns their number. The caller closes them. */
size_t tn_cgroup_enter_fds(const struct tn_cgroup *group, int fds[TN_CGROUP_TREES + 1]);
/* SIGKILL to everything in it. */
void tn_cgroup_kill(const struct tn_cgroup *group);
bool tn_cgroup_empty(const struct tn_cgroup *group);
/* Removes and forgets it. */
void tn_cgroup_remove(struct tn_cgroup *group);
/* Part of a line of /proc/PID/cgroup of all that is in it; "" when there is no group. Borrowed. */
const char *tn_cgroup_path_part(const struct tn_cgroup *group);

#endif
