/* What an executor sees of the host because the operator's settings, its manifest or a variable that it asks for name
 * it: an engine's socket, keys, certificates, programs.
 *
 * The folder of a socket is shown, not the socket alone, so that one that is bound anew is there at once; a file that
 * only root may read is copied for the process's user. */
#ifndef TN_KERNEL_NAMED_H
#define TN_KERNEL_NAMED_H

#include "core/kernel/confinement.h"
#include "core/kernel/manifest.h"

#include <cjson/cJSON.h>

enum { TN_NAMED_HIDDEN_MAX = 3 };

struct tn_named {
    const cJSON *settings;                   /* borrowed; what the executor gets of them, or NULL */
    const struct tn_manifest *manifest;      /* borrowed */
    const char *hidden[TN_NAMED_HIDDEN_MAX]; /* borrowed; folders of Tenon's that are not shown with others */
};

/* Adds it to the tree, if there is one, and the groups that sockets are open to. */
void tn_named_add(const struct tn_named *named, struct tn_confinement *confinement);

#endif
