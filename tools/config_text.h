/* The config that a command works on: which file, its text, and what is said about it. */
#ifndef TN_TOOLS_CONFIG_TEXT_H
#define TN_TOOLS_CONFIG_TEXT_H

#include "core/lib/buf.h"
#include "core/lib/err.h"
#include "tools/options.h"
#include "tools/project.h"

enum { CONFIG_BYTES_MAX = 4 * 1024 * 1024 };

struct config_text {
    char *file; /* owned: the path as it is shown to people */
    struct tn_buf text;
};

/* Reads the file that the options name, else the project's. Everything that is wrong is TN_ERR_USAGE. */
int config_read(struct config_text *config, const struct options *options, const struct project *project,
                const char *folder, struct tn_err *err) TN_MUST_CHECK;
void config_free(struct config_text *config);
/* The members that COMPILE and PIPELINE_CREATE share: {config, file, workflow?, job?, parameters, pipeline_values}. The
 * caller deletes it. */
cJSON *config_request(const struct config_text *config, const struct options *options, const struct project *project,
                      const char *pipeline);
/* Prints diagnostics for people on standard error, or with `json` one object a line on standard output. */
void config_report(const cJSON *diagnostics, bool json);
/* Is one of them an error? */
bool config_has_errors(const cJSON *diagnostics);

#endif
