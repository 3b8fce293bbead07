/* What executors may ask tenond of the host, since they do not see it themselves: which other runs are over (their
 * containers are nobody's), and how much room a file system has (an engine's data). */
#ifndef TN_KERNEL_HOST_H
#define TN_KERNEL_HOST_H

#include "core/lib/err.h"

#include <cjson/cJSON.h>

enum { TN_HOST_RUNS_MAX = 64 };

/* Who we are, for labels: "UID BOOT DEVICE:INODE RUN": the user, the kernel's boot id, the folder that holds the run
 * folders of this user, the run folder. Device and inode tell apart equal paths in two mount namespaces. The caller
 * frees it; NULL if the host does not tell, or the path has blanks. */
char *tn_host_owner(const char *run_dir);

/* The answer (HOST_IS) to HOST_ASK: `runs` are names of folders beside `run_dir`; those that are gone, or whose tenond
 * holds its lock no more, are named. `disk` is a path that no symbolic link need be followed for. Never waits for a
 * file system: what lies on a network's or on a program's (FUSE) has no size. NULL: the request is wrong. The caller
 * deletes it. */
cJSON *tn_host_answer(const char *run_dir, const cJSON *request, struct tn_err *err) TN_MUST_CHECK;

#endif
