/* The command line of `tenon run` and `tenon config`. */
#ifndef TN_TOOLS_OPTIONS_H
#define TN_TOOLS_OPTIONS_H

#include "core/lib/err.h"
#include "tools/envfile.h"

#include <cjson/cJSON.h>
#include <stdbool.h>

/* Text is borrowed from the command line. All zero is a command line without options. */
struct options {
    const char *folder; /* -C; NULL: the current one */
    const char *config; /* -c, or the operand of `config`; NULL: looked for */
    const char *workflow;
    const char *job;
    const char *repository; /* its address; NULL: the working tree */
    const char *branch, *tag, *pull_request;
    char revision_text[65]; /* of --revision, in small letters */
    const char *revision;   /* that text, or NULL */
    const char *settings;   /* tenon.yaml; NULL: looked for */
    struct pairs parameters;
    struct pairs environment;
    struct pairs executors; /* kind → kind */
    cJSON *contexts;        /* owned: {name: {NAME: VALUE}}, or NULL */
    bool json;
    bool help;
};

/* `argv[0]` is the subcommand. What is wrong is TN_ERR_USAGE. Reads the files that --env-file and --context name. */
int options_run(struct options *options, int argc, char **argv, struct tn_err *err) TN_MUST_CHECK;
/* For `tenon config validate|process`; `argv[0]` is that word. */
int options_config(struct options *options, int argc, char **argv, struct tn_err *err) TN_MUST_CHECK;
void options_free(struct options *options);

#endif
