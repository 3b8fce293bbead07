/* What cgroup.c and cgroup_stale.c share. */
#ifndef TN_KERNEL_CGROUP_INTERNAL_H
#define TN_KERNEL_CGROUP_INTERNAL_H

#include "core/kernel/cgroup.h"

/* Writes a value into a group's file; errno says why not. */
int tn_cgroup__write(const char *folder, const char *file, const char *value, struct tn_err *err);
/* The group with those below it: each process gets SIGKILL; the folders go, as far as they are empty. */
void tn_cgroup__kill_tree(const char *folder);
void tn_cgroup__remove_tree(const char *folder);

/* Kills and removes the groups of private runs whose tenond is gone, as noted below `store_dir`. */
void tn_cgroup__remove_noted(const char *store_dir);
/* Notes where ours are, for when we are killed: the file's path, to be removed at the end, or NULL. The caller frees
 * it. */
char *tn_cgroup__note(const struct tn_cgroups *groups, const char *store_dir);

#endif
