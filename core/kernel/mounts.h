/* Mounts that a job left in its folder. */
#ifndef TN_KERNEL_MOUNTS_H
#define TN_KERNEL_MOUNTS_H

/* Unmounts what is mounted at or below `folder`, the last one first. What we may not unmount is told in the log. */
void tn_mounts_remove_below(const char *folder);

#endif
