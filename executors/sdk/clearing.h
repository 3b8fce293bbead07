/* Removing a folder of the executor's own in which others have written: its job's user, a container's root. The
 * executor has no right to that; tenond has it done (PROGRAM_CLEAR). */
#ifndef TN_SDK_CLEARING_H
#define TN_SDK_CLEARING_H

#include "executors/sdk/executor.h"

/* `folder`: below TENON_STATE, TENON_STORE or TENON_RUN, absolute, without "." and "..". Later, in any case, `done`
 * with NULL, or why something of it is still there (borrowed). */
void tn_clearing_ask(struct tn_executor *executor, const char *folder, void (*done)(void *arg, const char *why),
                     void *arg);

#endif
