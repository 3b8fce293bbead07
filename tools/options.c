#include "tools/options.h"

#include "core/lib/buf.h"
#include "core/lib/fs.h"
#include "core/lib/remote.h"

#include <ctype.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    ENV_FILE_BYTES = 1024 * 1024,
    OPTION_WORKFLOW = 256,
    OPTION_JOB,
    OPTION_ENV_FILE,
    OPTION_CONTEXT,
    OPTION_EXECUTOR,
    OPTION_JSON,
    OPTION_SETTINGS,
    OPTION_REPOSITORY,
    OPTION_BRANCH,
    OPTION_TAG,
    OPTION_REVISION,
    OPTION_PULL_REQUEST,
};

/* Splits "NAME=VALUE" where the name is any text but empty. */
static int split(struct pairs *pairs, const char *option, const char *text, const char *expected, struct tn_err *err)
{
    const char *equals = strchr(text, '=');

    if (equals == NULL || equals == text)
        return tn_err_set(err, TN_ERR_USAGE, "%s %s: expected %s", option, text, expected);
    pairs_add(pairs, text, (size_t)(equals - text), equals + 1);
    return 0;
}

static int read_env_file(struct pairs *pairs, const char *option, const char *path, struct tn_err *err)
{
    struct tn_buf text = TN_BUF_INIT;
    int rc = tn_fs_read(path, ENV_FILE_BYTES, &text, err);

    if (rc != 0 && err != NULL) {
        tn_err_wrap(err, "%s", option);
        err->code = TN_ERR_USAGE;
    } else {
        rc = env_file(pairs, path, text.data != NULL ? text.data : "", text.len, err);
    }
    tn_buf_free(&text);
    return rc;
}

static int take_context(struct options *options, const char *text, struct tn_err *err)
{
    const char *equals = strchr(text, '=');
    struct pairs pairs = {NULL, 0};
    char *name;
    int rc;

    if (equals == NULL || equals == text || equals[1] == '\0')
        return tn_err_set(err, TN_ERR_USAGE, "--context %s: expected NAME=FILE", text);
    name = tn_fs_path("%.*s", (int)(equals - text), text);
    rc = read_env_file(&pairs, "--context", equals + 1, err);
    if (rc == 0) {
        if (options->contexts == NULL)
            options->contexts = cJSON_CreateObject();
        cJSON_DeleteItemFromObjectCaseSensitive(options->contexts, name);
        cJSON_AddItemToObject(options->contexts, name, pairs_json(&pairs));
    }
    free(name);
    pairs_free(&pairs);
    return rc;
}

static int take_executor(struct options *options, const char *text, struct tn_err *err)
{
    if (split(&options->executors, "--executor", text, "KIND=KIND, for example docker=machine", err) != 0)
        return -1;
    if (strcmp(text, "docker=machine") != 0 && strcmp(text, "machine=docker") != 0 &&
        strcmp(text, "docker=docker") != 0 && strcmp(text, "machine=machine") != 0)
        return tn_err_set(err, TN_ERR_USAGE, "--executor %s: the kinds of executors are \"docker\" and \"machine\"",
                          text);
    return 0;
}

/* ---- what to check out ---- */

static int take_repository(struct options *options, const char *url, struct tn_err *err)
{
    struct tn_remote remote;

    if (tn_remote_parse(url, &remote, err) != 0)
        return tn_err_wrap(err, "--repository");
    if (remote.has_password)
        return tn_err_set(
            err, TN_ERR_USAGE,
            "--repository: leave the password out of the address, where everybody can see it; put it into "
            "a file that `checkout.tokens` of tenon.yaml names");
    options->repository = url;
    return 0;
}

/* What git allows as the name of a branch or a tag (git-check-ref-format(1)), roughly: git itself has the last word. */
static int take_ref(const char **place, const char *option, const char *name, struct tn_err *err)
{
    bool good = name[0] != '\0' && name[0] != '-' && name[0] != '/' && name[0] != '.' && strstr(name, "..") == NULL &&
                strstr(name, "@{") == NULL && strstr(name, "//") == NULL && strlen(name) < 250;

    for (const char *c = name; *c != '\0'; c++)
        good = good && (unsigned char)*c > ' ' && *c != 0x7f && strchr("~^:?*[\\", *c) == NULL;
    if (!good)
        return tn_err_set(err, TN_ERR_USAGE, "%s %s: git allows no such name", option, name);
    *place = name;
    return 0;
}

static int take_revision(struct options *options, const char *text, struct tn_err *err)
{
    size_t length = strlen(text);

    if ((length != 40 && length != 64) || strspn(text, "0123456789abcdefABCDEF") != length)
        return tn_err_set(err, TN_ERR_USAGE, "--revision %s: expected the 40 digits of a commit", text);
    for (size_t i = 0; i <= length; i++)
        options->revision_text[i] = (char)tolower((unsigned char)text[i]);
    options->revision = options->revision_text;
    return 0;
}

static int take_pull_request(struct options *options, const char *text, struct tn_err *err)
{
    size_t digits = strspn(text, "0123456789");

    if (digits == 0 || digits > 9 ||
        (text[digits] != '\0' && strcmp(text + digits, "/head") != 0 && strcmp(text + digits, "/merge") != 0))
        return tn_err_set(err, TN_ERR_USAGE, "--pull-request %s: expected a number, or NUMBER/merge", text);
    options->pull_request = text;
    return 0;
}

static int check_repository(const struct options *options, struct tn_err *err)
{
    const char *alone = options->branch != NULL         ? "--branch"
                        : options->tag != NULL          ? "--tag"
                        : options->revision != NULL     ? "--revision"
                        : options->pull_request != NULL ? "--pull-request"
                                                        : NULL;

    if (options->repository == NULL && alone != NULL)
        return tn_err_set(err, TN_ERR_USAGE, "%s: without --repository jobs get the working tree as it is", alone);
    if ((options->branch != NULL) + (options->tag != NULL) + (options->pull_request != NULL) > 1)
        return tn_err_set(err, TN_ERR_USAGE, "--branch, --tag and --pull-request: only one of them");
    return 0;
}

static int wrong_option(int option, char **argv, const char *command, struct tn_err *err)
{
    if (option == ':')
        return tn_err_set(err, TN_ERR_USAGE, "%s: its value is missing", argv[optind - 1]);
    if (optopt > 0 && optopt < 256 && strncmp(argv[optind - 1], "--", 2) != 0)
        return tn_err_set(err, TN_ERR_USAGE, "-%c is no option of `tenon %s`", optopt, command);
    return tn_err_set(err, TN_ERR_USAGE, "%s is no option of `tenon %s`, or takes no value", argv[optind - 1], command);
}

static int take(struct options *options, int option, char **argv, const char *command, struct tn_err *err)
{
    switch (option) {
    case 'c':
        options->config = optarg;
        return 0;
    case 'C':
        options->folder = optarg;
        return 0;
    case 'p':
        return split(&options->parameters, "--param", optarg, "NAME=VALUE", err);
    case 'e':
        return env_assignment(&options->environment, "--env", optarg, err);
    case 'h':
        options->help = true;
        return 0;
    case OPTION_WORKFLOW:
        options->workflow = optarg;
        return 0;
    case OPTION_JOB:
        options->job = optarg;
        return 0;
    case OPTION_ENV_FILE:
        return read_env_file(&options->environment, "--env-file", optarg, err);
    case OPTION_CONTEXT:
        return take_context(options, optarg, err);
    case OPTION_EXECUTOR:
        return take_executor(options, optarg, err);
    case OPTION_SETTINGS:
        options->settings = optarg;
        return 0;
    case OPTION_JSON:
        options->json = true;
        return 0;
    case OPTION_REPOSITORY:
        return take_repository(options, optarg, err);
    case OPTION_BRANCH:
        return take_ref(&options->branch, "--branch", optarg, err);
    case OPTION_TAG:
        return take_ref(&options->tag, "--tag", optarg, err);
    case OPTION_REVISION:
        return take_revision(options, optarg, err);
    case OPTION_PULL_REQUEST:
        return take_pull_request(options, optarg, err);
    default:
        return wrong_option(option, argv, command, err);
    }
}

static int parse(struct options *options, int argc, char **argv, const char *letters, const struct option *names,
                 const char *command, struct tn_err *err)
{
    int option;

    memset(options, 0, sizeof(*options));
    optind = 0; /* forgets the last command line, also whether it took operands in between */
    opterr = 0;
    while ((option = getopt_long(argc, argv, letters, names, NULL)) != -1)
        if (take(options, option, argv, command, err) != 0)
            return -1;
    return 0;
}

int options_run(struct options *options, int argc, char **argv, struct tn_err *err)
{
    static const struct option names[] = {{"config", required_argument, NULL, 'c'},
                                          {"workflow", required_argument, NULL, OPTION_WORKFLOW},
                                          {"job", required_argument, NULL, OPTION_JOB},
                                          {"param", required_argument, NULL, 'p'},
                                          {"env", required_argument, NULL, 'e'},
                                          {"env-file", required_argument, NULL, OPTION_ENV_FILE},
                                          {"context", required_argument, NULL, OPTION_CONTEXT},
                                          {"executor", required_argument, NULL, OPTION_EXECUTOR},
                                          {"settings", required_argument, NULL, OPTION_SETTINGS},
                                          {"repository", required_argument, NULL, OPTION_REPOSITORY},
                                          {"branch", required_argument, NULL, OPTION_BRANCH},
                                          {"tag", required_argument, NULL, OPTION_TAG},
                                          {"revision", required_argument, NULL, OPTION_REVISION},
                                          {"pull-request", required_argument, NULL, OPTION_PULL_REQUEST},
                                          {"json", no_argument, NULL, OPTION_JSON},
                                          {"directory", required_argument, NULL, 'C'},
                                          {"help", no_argument, NULL, 'h'},
                                          {NULL, 0, NULL, 0}};

    if (parse(options, argc, argv, "+:c:C:p:e:h", names, "run", err) != 0)
        return -1;
    if (optind < argc && !options->help)
        return tn_err_set(err, TN_ERR_USAGE,
                          "`tenon run` takes no argument such as \"%s\" (--workflow and --job choose)", argv[optind]);
    return options->help ? 0 : check_repository(options, err);
}

int options_config(struct options *options, int argc, char **argv, struct tn_err *err)
{
    static const struct option names[] = {{"param", required_argument, NULL, 'p'},
                                          {"json", no_argument, NULL, OPTION_JSON},
                                          {"workflow", required_argument, NULL, OPTION_WORKFLOW},
                                          {"job", required_argument, NULL, OPTION_JOB},
                                          {"directory", required_argument, NULL, 'C'},
                                          {"help", no_argument, NULL, 'h'},
                                          {NULL, 0, NULL, 0}};
    char command[32];

    snprintf(command, sizeof(command), "config %.16s", argv[0]);
    if (parse(options, argc, argv, ":C:p:h", names, command, err) != 0)
        return -1;
    if (optind < argc)
        options->config = argv[optind++];
    if (optind < argc && !options->help)
        return tn_err_set(err, TN_ERR_USAGE, "`tenon %s` takes one FILE; \"%s\" is too much", command, argv[optind]);
    return 0;
}

void options_free(struct options *options)
{
    pairs_free(&options->parameters);
    pairs_free(&options->environment);
    pairs_free(&options->executors);
    cJSON_Delete(options->contexts);
    memset(options, 0, sizeof(*options));
}
