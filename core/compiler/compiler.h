/* The compiler: a config's text in, a plan or diagnostics out. Pure: no files, no network, no clock, no global state.
 *
 * Reads the CircleCI configuration language, version 2.1 and the plain parts of 2.0. What of the language is not there
 * yet is refused by name with its place. PLAN.md documents the plan. */
#ifndef TN_COMPILER_COMPILER_H
#define TN_COMPILER_COMPILER_H

#include "core/lib/buf.h"

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>

/* Everything is borrowed for the call and may be NULL. */
struct tn_compile_options {
    const char *file_name;        /* for messages; "config.yml" if NULL */
    const char *workflow;         /* the only workflow to plan; NULL: all */
    const char *job;              /* the only job to plan, without what it requires; NULL: all */
    const cJSON *parameters;      /* pipeline parameters: an object, name to text, boolean or number */
    const cJSON *pipeline_values; /* an object, e.g. {"git.branch": "main", "number": 3} */
    const cJSON *executor_map;    /* not used here: plans name the kinds that the config asks for */
};

/* Compiles `len` bytes of `text`, whatever they are. Returns, never NULL, an object that the caller deletes:
 * {"plan": {...} or null if there is an error,
 *  "diagnostics": [{"severity": "error" or "warning", "code": "T2005", "file", "line", "column", "end_column"?,
 *                   "message", "expected"?, "hint"?, "source_line",
 *                   "note"?: {"line", "column", "end_column"?, "message", "source_line"}}]}
 * Lines and columns count from 1, columns in characters. */
cJSON *tn_compile(const char *text, size_t len, const struct tn_compile_options *options);

/* Appends the diagnostics for people: "file:line:column: error T2005: message", the line, a caret, the hint, the note.
 * Terminal control sequences in the config's own text are never passed on. `colour`: with ANSI colours. */
void tn_diagnostics_render(const cJSON *diagnostics, struct tn_buf *out, bool colour);

/* The processed config, everything expanded, as YAML text that this compiler accepts again. The caller frees it.
 * NULL only if `plan` is not a plan. */
char *tn_plan_to_yaml(const cJSON *plan);

#endif
