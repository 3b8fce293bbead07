/* Old runs of this user: what is past its time goes, and what killed runs left. A run that lasts is never touched: its
 * folders are locked. */
#ifndef TN_TOOLS_PRUNE_H
#define TN_TOOLS_PRUNE_H

#include "core/output/retention.h"

/* Calls `each` for every run below HOME/runs, the oldest first. `lock` is held meanwhile, -1: the run lasts. */
typedef void prune_run_cb(void *arg, const char *state, uint64_t began, int lock);
void prune_each_run(const char *home, prune_run_cb *each, void *arg);
/* Removes what is past its time of each run that is over. */
void prune_runs(const char *home, const struct tn_retention *retention);
/* Removes the run folders of killed runs, where sockets lie. */
void prune_run_folders(const struct tn_retention *retention);

#endif
