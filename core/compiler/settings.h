/* tenon.yaml in, settings or diagnostics out: the operator's file, checked as a config is. Pure. */
#ifndef TN_COMPILER_SETTINGS_H
#define TN_COMPILER_SETTINGS_H

#include <cjson/cJSON.h>

#include <stddef.h>

/* Checks `len` bytes of `text` by the table of core/lib/settings.h. `file` names it in messages; `home` is what "~/" at
 * a path's begin stands for, or NULL. Returns, never NULL, an object that the caller deletes:
 * {"settings": {…what the file says…} or null if there is an error, "diagnostics": […as tn_compile()'s…]} */
cJSON *tn_settings_compile(const char *text, size_t len, const char *file, const char *home);

#endif
