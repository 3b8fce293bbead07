/* The config's top level: version, keys, and the definitions of commands, executors and jobs. */
#ifndef TN_COMPILER_DEFINITIONS_H
#define TN_COMPILER_DEFINITIONS_H

#include "core/compiler/context.h"

/* Checks the version and the top level's keys. Returns false if there is nothing more to look at. */
bool definitions__check_top(struct compiler *c, const struct yaml_tree *tree);

/* Reports the keys that stand twice in one map. */
void definitions__report_duplicates(struct compiler *c, const struct yaml_tree *tree);

/* Reads the definitions and their parameters. */
void definitions__load(struct compiler *c);

/* Checks the definitions that nothing used. */
void definitions__check_unused(struct compiler *c);

#endif
