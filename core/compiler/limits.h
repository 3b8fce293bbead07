/* The bounds of one compile. The largest real configs seen hold 22 KB, 1,300 nodes, depth 12 and need 1,400 steps. */
#ifndef TN_COMPILER_LIMITS_H
#define TN_COMPILER_LIMITS_H

#define LIMIT_BYTES (4u * 1024 * 1024)           /* of the config's text */
#define LIMIT_DEPTH 64                           /* of nested lists and maps */
#define LIMIT_NODES 200000                       /* of the YAML tree */
#define LIMIT_ANCHORS 10000                      /* of the YAML text */
#define LIMIT_STEPS 1000000                      /* of expansion: values looked at, merge pairs counted */
#define LIMIT_EXPANDED_BYTES (64u * 1024 * 1024) /* of text after expansion */
#define LIMIT_EXPANSION_DEPTH 100                /* of nested commands, conditions and steps parameters */
#define LIMIT_DIAGNOSTICS 100                    /* reported; then one line says that there are more */
#define LIMIT_MATRIX 1000                        /* jobs of one matrix */
#define LIMIT_JOBS 20000                         /* of all workflows, after matrices */
#define LIMIT_PARALLELISM 1000                   /* tasks of one job */
#define LIMIT_REGEX_BYTES 4096                   /* of one pattern */

#endif
