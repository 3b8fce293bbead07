/* What one compile knows: the config's definitions, its options and what it has used up. */
#ifndef TN_COMPILER_CONTEXT_H
#define TN_COMPILER_CONTEXT_H

#include "core/compiler/compiler.h"
#include "core/compiler/diag.h"
#include "core/compiler/source.h"
#include "core/compiler/suggest.h"
#include "core/compiler/yaml_tree.h"

enum scalar_type { SCALAR_NULL, SCALAR_BOOL, SCALAR_INT, SCALAR_FLOAT, SCALAR_STRING };

/* A value as it is used at one place: aliases followed, expressions filled in.
 *
 * VIEW_UNKNOWN stands for what cannot be known (a parameter of a definition that nobody uses) or was already reported;
 * every check accepts it silently, so that one fault does not cause others. */
enum view_kind { VIEW_NONE, VIEW_UNKNOWN, VIEW_SCALAR, VIEW_SEQ, VIEW_MAP };

struct view {
    enum view_kind kind;
    const struct node *node;   /* what was written: never an alias */
    const struct node *at;     /* the place of use if that is another one (an alias, an expression), else NULL */
    const struct node *given;  /* the argument that an expression in it stands for, or NULL */
    const struct scope *scope; /* where its expressions are looked up */
    /* For VIEW_SCALAR: after substitution. */
    const char *text;
    size_t len;
    enum scalar_type type;
};

enum param_type {
    PARAM_STRING,
    PARAM_BOOLEAN,
    PARAM_INTEGER,
    PARAM_ENUM,
    PARAM_EXECUTOR,
    PARAM_STEPS,
    PARAM_ENV_VAR_NAME,
    PARAM_UNKNOWN, /* its declaration is wrong and was reported */
};

struct param {
    const char *name;
    const struct node *node; /* the name in the declaration */
    enum param_type type;
    struct view fallback; /* the default; VIEW_NONE without one */
    const char **values;  /* of an enum */
    size_t value_count;
};

struct params {
    struct param *list;
    size_t count;
    struct table index;
    const char **names;
};

/* A command, an executor or a job as it is defined. */
struct definition {
    const char *what; /* "command", "executor", "job" */
    const char *name;
    struct view key;
    struct view body;
    struct params params;
    bool used;
};

struct arg {
    bool unknown;
    const struct node *given;
    enum scalar_type type;
    const char *text; /* for all but the two kinds below */
    size_t len;
    struct view view; /* executor, steps: VIEW_NONE for the others */
};

/* What names mean inside one definition's body as it is used once. */
struct scope {
    const struct definition *definition; /* NULL outside definitions */
    const struct scope *parent;          /* the scope that the use is written in */
    bool unknown;                        /* checked without a use: parameters have no values */
    struct table args;                   /* name to struct arg */
    struct table matrix;                 /* name to struct arg */
    bool has_matrix;
};

struct definitions {
    struct table index;
    struct definition **list;
    const char **names;
    size_t count;
};

/* A workflow that does not run. */
struct skip {
    struct view workflow;
    const char *why;
    struct skip *next;
};

struct compiler {
    const struct tn_compile_options *options;
    struct arena *arena;
    struct diags *diags;
    bool v21; /* version 2.1: expressions, commands, executors, parameters */
    bool has_orbs;
    size_t faults; /* reports so far, those that were already said included */
    size_t steps;
    size_t bytes;
    size_t job_count;
    unsigned depth;
    unsigned unreached; /* within what does not run: values of expressions count as unknown */
    bool stop;          /* a limit was reached and reported: unwind */
    struct view root;
    struct skip *skipped;
    struct params pipeline_params;
    struct table pipeline_args;
    struct definitions commands;
    struct definitions executors;
    struct definitions jobs;
    struct scope top; /* outside all definitions */
};

/* Reports `report->code` at the view's place of use, with a note for its definition. Silent for VIEW_UNKNOWN. */
void compiler__report(struct compiler *c, const struct view *view, const struct report *report, const char *fmt, ...)
    TN_PRINTF(4, 5);

/* Counts one step of expansion. Returns false once the limit is reached (and reported). */
bool compiler__step(struct compiler *c, const struct view *view);
/* Counts one job of the plan. */
bool compiler__job(struct compiler *c, const struct view *view);
/* Counts bytes of text that are made. */
bool compiler__bytes(struct compiler *c, const struct view *view, size_t len);
/* One level deeper, bounded; pair with compiler__leave() if it returned true. */
bool compiler__enter(struct compiler *c, const struct view *view);
void compiler__leave(struct compiler *c);

/* "`a`, `b`, `c`" in the arena. */
const char *compiler__list(struct compiler *c, const char *const *names, size_t count);

#endif
