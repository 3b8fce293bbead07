/* What the operator's settings say of the programs that executors ask for. Pure, but for looking a program up.
 *
 * A manifest names the section of the settings that holds for a program. Of that section two keys count here:
 * `command_prefix` is put before the program, and `run_as` is told to it by the option that the manifest names. So
 * neither an executor nor a job chooses the user. */
#ifndef TN_KERNEL_OPERATOR_H
#define TN_KERNEL_OPERATOR_H

#include "core/kernel/manifest.h"
#include "core/lib/err.h"

#include <cjson/cJSON.h>

#include <sys/types.h>

/* SETTINGS_DIR/tenond.json; all as by default if `folder` is "". NULL with `err`. */
cJSON *tn_operator_settings(const char *folder, struct tn_err *err) TN_MUST_CHECK;
/* Can it be started under these settings by user `self`, who tenond is? */
int tn_operator_check(const cJSON *settings, const struct tn_manifest_program *program, uid_t self,
                      struct tn_err *err) TN_MUST_CHECK;
/* The words to run: prefix, program, `arguments` (a list of texts), user. Ends with NULL; freed by tn_strings_free().
 * NULL with an error that names the setting. */
char **tn_operator_command(const cJSON *settings, const struct tn_manifest_program *program, const cJSON *arguments,
                           struct tn_err *err) TN_MUST_CHECK;

#endif
