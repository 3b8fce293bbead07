/* Workflows: jobs with their names, what they wait for, and whether they run. */
#ifndef TN_COMPILER_WORKFLOWS_H
#define TN_COMPILER_WORKFLOWS_H

#include "core/compiler/context.h"

enum status_bit {
    STATUS_SUCCESS = 1,
    STATUS_FAILED = 2,
    STATUS_CANCELED = 4,
    STATUS_UNAUTHORIZED = 8,
    STATUS_NOT_RUN = 16,
    STATUS_TERMINAL = 31,
};

struct requirement {
    struct wf_job *job;
    unsigned statuses;
    const struct node *node; /* the place in `requires` */
};

/* One job of a workflow, after matrix expansion. */
struct wf_job {
    const char *name; /* unique in the workflow */
    const char *definition;
    const char *group;    /* the name that stands for all of a matrix or of unnamed repeats, or NULL */
    bool named;           /* by `name` */
    bool name_unknown;    /* cannot be told; see compiler.unreached */
    struct view place;    /* its name in the workflow's list */
    struct view requires; /* in the scope of its matrix values */
    struct view filters;
    struct requirement *requirements;
    size_t requirement_count;
    int colour;   /* of the search for circles */
    bool removed; /* by filters, or because all that it requires is */
    cJSON *json;  /* owned until it is in the plan */
};

struct workflow {
    const char *name;
    struct wf_job **jobs;
    size_t count;
    size_t size;
};

/* Compiles the workflows of the config, or the job `build` without any, into {"version", "workflows"}. The caller
 * deletes it. The plan is whole only if no error was reported. */
cJSON *workflows__compile(struct compiler *c);

/* A plan of the one job `name`, with its parameters' defaults, in a workflow of its name; NULL if it is not defined. */
cJSON *workflows__compile_alone(struct compiler *c, const char *name);

#endif
