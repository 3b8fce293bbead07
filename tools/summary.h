/* What is said at the end of a run. */
#ifndef TN_TOOLS_SUMMARY_H
#define TN_TOOLS_SUMMARY_H

#include "tools/model.h"

#include <stdio.h>

struct summary {
    const struct model *model; /* borrowed, as is all */
    const char *folder;        /* the run's state */
    int exit_code;
    uint64_t ms; /* the whole run */
};

/* The object of the last line of `--json`; the caller deletes it. Pure. */
cJSON *summary_json(const struct summary *summary);
/* A table of the jobs, failed steps with their last lines, and where things lie. Reads the failed steps' logs. */
void summary_print(const struct summary *summary, FILE *out);

#endif
