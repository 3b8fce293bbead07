/* What is mounted: what a job left in its folder, and where a path lies. */
#ifndef TN_KERNEL_MOUNTS_H
#define TN_KERNEL_MOUNTS_H

/* Unmounts what is mounted at or below `folder`, the last one first. What we may not unmount is told in the log. */
void tn_mounts_remove_below(const char *folder);

/* The mount point at or above `path` (absolute, as it is written: no link is followed), if it and all above it are of
 * this host's own disks and memory, so that nobody can make us wait on the way; else NULL. The caller frees it. */
char *tn_mounts_local(const char *path);

#endif
