/* The folders of one run: its state, the store that a user's runs share, and the run folder with the sockets. */
#ifndef TN_TOOLS_FOLDERS_H
#define TN_TOOLS_FOLDERS_H

#include "core/lib/err.h"

#include <stdbool.h>

/* Strings are owned. */
struct folders {
    char *store;
    char *state; /* of this run */
    char *run;
    char *settings; /* folder of the services' settings; NULL: all as by default */
    char *name;     /* "20260102T030405Z-1a2b": the state folder's last part, and the installation's id */
    bool keep_state;
    int state_lock; /* held as long as the run lasts */
    int run_lock;
};

/* Makes them. `keep_state` false: the state lies in the run folder and goes with it. */
int folders_make(struct folders *folders, bool keep_state, struct tn_err *err) TN_MUST_CHECK;
/* Removes the job folders that killed runs left in their state. After tenond is ready, which ends what still runs
 * there. */
void folders_clear_killed(const struct folders *folders);
/* Removes the run folder; the state stays unless it is not to be kept. */
void folders_close(struct folders *folders);

/* $XDG_STATE_HOME/tenon, in which the runs and their store lie; the caller frees it. */
char *folders_home(void);
/* A lock on a state or run folder that nobody uses: neither a client nor a tenond that outlived it. -1 otherwise. */
int folders_lock(const char *folder);

/* The folder that the services' programs lie in (core/kernel/tenond is below it); the caller frees it. */
char *folders_programs(struct tn_err *err);

#endif
