/* tenond at work: its processes under supervision, the bus's messages for it, the programs of executors, an orderly
 * stop.
 *
 * What is pure lies elsewhere (supervise.h); here events of the loop become events of the table, and its actions calls.
 */
#ifndef TN_KERNEL_KERNEL_H
#define TN_KERNEL_KERNEL_H

#include "core/lib/err.h"

#include <stdbool.h>

struct tn_kernel_config {
    const char *state_dir; /* all borrowed; the folders exist */
    const char *store_dir;
    const char *run_dir;
    const char *root; /* of the programs: ROOT/core/…, ROOT/executors/… */
    const char *installation;
    const char *settings_dir; /* "" without one */
    const char *log_path;     /* "" when logs go to standard error */
    bool is_private;          /* ends with its caller; removes its run folder; ends when a core process has failed */
    int log_fd;
    int ready_fd; /* gets one JSON line; -1: none */
    int life_fd;  /* its end of file is an orderly stop; -1: none */
};

/* Runs until it is told to stop. 0, or 3 if a core process failed for good (private) or nothing could be started. */
int tn_kernel_run(const struct tn_kernel_config *config, struct tn_err *err) TN_MUST_CHECK;

#endif
