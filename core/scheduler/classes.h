/* Resource classes: what a name stands for. The table is CircleCI's own list; pure. */
#ifndef TN_SCHEDULER_CLASSES_H
#define TN_SCHEDULER_CLASSES_H

#include "core/lib/err.h"

struct tn_class {
    const char *kind; /* executor kind of the config: docker, machine, arm, windows, macos */
    const char *name; /* as the config writes it */
    unsigned cpu_milli;
    unsigned memory_mb;
};

/* The class of that name for a job of that kind. NULL or "" is the kind's default (medium). `namespace/name` is a
 * self-hosted runner's class and counts as the machine's medium. An unknown name: NULL, TN_ERR_CONFIG with the list of
 * known ones. The result is static. */
const struct tn_class *tn_class_find(const char *kind, const char *name, struct tn_err *err) TN_MUST_CHECK;

#endif
