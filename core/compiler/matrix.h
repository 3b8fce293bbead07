/* A job's `matrix` in a workflow: the scopes of its combinations. */
#ifndef TN_COMPILER_MATRIX_H
#define TN_COMPILER_MATRIX_H

#include "core/compiler/context.h"

struct combination {
    struct scope *scope;
    const char *suffix; /* "-value-value", the values in the order of their parameters' names; "" without a matrix */
};

struct matrix {
    struct combination *list;
    size_t count;
    const char *alias; /* or NULL */
    bool given;        /* there is a matrix */
};

/* Expands `matrix` (VIEW_NONE: one combination, without values). `job` is the job's definition or NULL. */
void matrix__expand(struct compiler *c, const struct view *matrix, const struct definition *job, struct matrix *out);

#endif
