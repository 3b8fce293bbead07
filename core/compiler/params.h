/* Parameters: declarations, and the arguments that a use binds to them. */
#ifndef TN_COMPILER_PARAMS_H
#define TN_COMPILER_PARAMS_H

#include "core/compiler/context.h"

enum params_owner { PARAMS_PIPELINE, PARAMS_JOB, PARAMS_OTHER };

/* Reads a `parameters` map; `list` may be VIEW_NONE. Reports what is wrong; a parameter whose declaration is wrong
 * still counts as declared. */
void params__declare(struct compiler *c, const struct view *list, enum params_owner owner, struct params *out);

/* Makes `value` an argument of the parameter's type. After a report (`what` names the thing, e.g. "argument") the
 * argument is unknown. */
void params__convert(struct compiler *c, const struct param *param, const struct view *value, struct arg *arg,
                     const char *what);

/* Keys beside the arguments in one map, e.g. `requires` of a job in a workflow; and arguments from a matrix. */
struct bind_extra {
    const char *const *other_keys;
    size_t other_count;
    const struct table *matrix; /* or NULL */
};

/* The scope of a definition's body for one use: `args` is a map of arguments or VIEW_NONE, `use` the place of use. */
struct scope *params__bind(struct compiler *c, const struct definition *definition, const struct view *use,
                           const struct view *args, const struct scope *parent, const struct bind_extra *extra);

/* The scope of a definition that nobody uses: every parameter's value is unknown. */
struct scope *params__bind_unknown(struct compiler *c, const struct definition *definition);

#endif
