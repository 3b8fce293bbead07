/* tenon.yaml for the command: found, checked, and handed to the services. */
#ifndef TN_TOOLS_SETTINGS_H
#define TN_TOOLS_SETTINGS_H

#include "core/lib/err.h"

#include <cjson/cJSON.h>
#include <stdbool.h>

/* Reads `given`, else $XDG_CONFIG_HOME/tenon/tenon.yaml (~/.config), else /etc/tenon/tenon.yaml. `*out` is what it
 * says, which the caller deletes, or NULL without a file; `*file`, if asked for, its path, which the caller frees. What
 * is wrong in it is reported on standard error (`json`: as JSON lines on standard output) and TN_ERR_USAGE. */
int settings_load(const char *given, bool json, cJSON **out, char **file, struct tn_err *err) TN_MUST_CHECK;
/* Writes what each service gets into a fresh folder below `run`, whose path is `*folder` (the caller frees it). */
int settings_hand_over(const cJSON *settings, const char *run, char **folder, struct tn_err *err) TN_MUST_CHECK;

#endif
