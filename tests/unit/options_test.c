/* The command lines of `tenon run` and `tenon config`: every option, and what is wrong in the user's words. */
#include "core/lib/fs.h"
#include "tests/unit/check.h"
#include "tools/options.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { WORDS = 16 };

static int take(struct options *options, bool run, const char *const *words, struct tn_err *err)
{
    static char *argv[WORDS + 1];
    int argc = 0;

    while (argc < WORDS && words[argc] != NULL) {
        argv[argc] = (char *)words[argc];
        argc++;
    }
    argv[argc] = NULL;
    return run ? options_run(options, argc, argv, err) : options_config(options, argc, argv, err);
}

#define WORDS_OF(...) ((const char *const[]){__VA_ARGS__, NULL})

static void check_wrong(bool run, const char *const *words, const char *expected)
{
    struct options options;
    struct tn_err err = TN_ERR_INIT;

    CHECK(take(&options, run, words, &err) != 0);
    CHECK_INT(err.code, TN_ERR_USAGE);
    CHECK_STR(err.text, expected);
    options_free(&options);
}

static void test_run(const char *file)
{
    char context[64];
    struct options options;
    struct tn_err err = TN_ERR_INIT;
    const cJSON *values;

    snprintf(context, sizeof(context), "org=%s", file);
    CHECK(take(&options, true,
               WORDS_OF("run", "-C", "folder", "--config=x.yml", "--workflow", "w", "--job", "j", "-p", "a=1=2", "-e",
                        "N=", "--executor", "machine=docker", "--context", context),
               &err) == 0);
    CHECK_STR(err.text, "");
    CHECK_STR(options.folder, "folder");
    CHECK_STR(options.config, "x.yml");
    CHECK_STR(options.workflow, "w");
    CHECK_STR(options.job, "j");
    CHECK(options.parameters.count == 1 && options.environment.count == 1 && options.executors.count == 1);
    CHECK_STR(options.parameters.items[0].name, "a");
    CHECK_STR(options.parameters.items[0].value, "1=2");
    CHECK_STR(options.environment.items[0].value, "");
    CHECK_STR(options.executors.items[0].name, "machine");
    values = cJSON_GetObjectItemCaseSensitive(options.contexts, "org");
    CHECK_STR(cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(values, "TOKEN")), "t");
    CHECK(!options.json && !options.help);
    options_free(&options);

    CHECK(take(&options, true, WORDS_OF("run", "--json", "--env-file", file), &err) == 0);
    CHECK(options.json && options.contexts == NULL && options.config == NULL);
    CHECK_STR(options.environment.items[0].name, "TOKEN");
    options_free(&options);
    CHECK(take(&options, true, WORDS_OF("run", "-h", "whatever"), &err) == 0);
    CHECK(options.help);
    options_free(&options);
    CHECK(take(&options, true, WORDS_OF("run"), &err) == 0); /* one after another: nothing of the last is left */
    CHECK(!options.help && !options.json);
    options_free(&options);
}

static void test_run_wrong(void)
{
    check_wrong(true, WORDS_OF("run", "-x"), "-x is no option of `tenon run`");
    check_wrong(true, WORDS_OF("run", "--odd"), "--odd is no option of `tenon run`, or takes no value");
    check_wrong(true, WORDS_OF("run", "--json=yes"), "--json=yes is no option of `tenon run`, or takes no value");
    check_wrong(true, WORDS_OF("run", "-p"), "-p: its value is missing");
    check_wrong(true, WORDS_OF("run", "--job"), "--job: its value is missing");
    check_wrong(true, WORDS_OF("run", "-p", "=1"), "--param =1: expected NAME=VALUE");
    check_wrong(true, WORDS_OF("run", "-p", "a"), "--param a: expected NAME=VALUE");
    check_wrong(true, WORDS_OF("run", "build"),
                "`tenon run` takes no argument such as \"build\" (--workflow and --job choose)");
    check_wrong(true, WORDS_OF("run", "--executor", "docker"),
                "--executor docker: expected KIND=KIND, for example docker=machine");
    check_wrong(true, WORDS_OF("run", "--executor", "docker=vm"),
                "--executor docker=vm: the kinds of executors are \"docker\" and \"machine\"");
}

/* A value may be a secret: no error quotes it. */
static void test_secrets(void)
{
    static const char *const wrong[][2] = {{"-e", "1N=hunter22"}, {"-e", "=hunter22"}, {"--context", "=hunter22"}};

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct options options;
        struct tn_err err = TN_ERR_INIT;

        CHECK(take(&options, true, WORDS_OF("run", wrong[i][0], wrong[i][1]), &err) != 0);
        CHECK_INT(err.code, TN_ERR_USAGE);
        CHECK(i == 2 || strstr(err.text, "hunter22") == NULL); /* a context's value names a file */
        options_free(&options);
    }
}

static void test_config(void)
{
    struct options options;
    struct tn_err err = TN_ERR_INIT;

    CHECK(take(&options, false, WORDS_OF("process", "a.yml", "-p", "x=y", "--json"), &err) == 0);
    CHECK_STR(options.config, "a.yml");
    CHECK(options.json && options.parameters.count == 1);
    options_free(&options);
    CHECK(take(&options, false, WORDS_OF("validate"), &err) == 0);
    CHECK(options.config == NULL);
    options_free(&options);
    check_wrong(false, WORDS_OF("validate", "a", "b"), "`tenon config validate` takes one FILE; \"b\" is too much");
    check_wrong(false, WORDS_OF("process", "-e", "A=b"), "-e is no option of `tenon config process`");
}

/* ---- what to check out ---- */

static void test_repository(void)
{
    struct options options;
    struct tn_err err = TN_ERR_INIT;

    CHECK(take(&options, true,
               WORDS_OF("run", "--repository", "ssh://git@h:22/o/r", "--branch", "a/b", "--revision",
                        "ABCDEF0123456789abcdef0123456789abcdef01"),
               &err) == 0);
    CHECK_STR(options.repository, "ssh://git@h:22/o/r");
    CHECK_STR(options.branch, "a/b");
    CHECK_STR(options.revision, "abcdef0123456789abcdef0123456789abcdef01");
    options_free(&options);
    CHECK(take(&options, true, WORDS_OF("run", "--repository", "git@h:r", "--pull-request", "7/merge"), &err) == 0);
    CHECK_STR(options.pull_request, "7/merge");
    options_free(&options);

    check_wrong(true, WORDS_OF("run", "--branch", "b"),
                "--branch: without --repository jobs get the working tree as it is");
    check_wrong(true, WORDS_OF("run", "--revision", "abcdef0123456789abcdef0123456789abcdef01"),
                "--revision: without --repository jobs get the working tree as it is");
    check_wrong(true, WORDS_OF("run", "--repository", "git@h:r", "--branch", "b", "--tag", "t"),
                "--branch, --tag and --pull-request: only one of them");
    check_wrong(true, WORDS_OF("run", "--repository", "https://u:secret@h/r"),
                "--repository: leave the password out of the address, where everybody can see it; put it into a file "
                "that `checkout.tokens` of tenon.yaml names");
    check_wrong(true, WORDS_OF("run", "--repository", "/a/folder"),
                "--repository: /a/folder is not the address of a repository: expected https://HOST/PATH, "
                "http://HOST/PATH, ssh://[USER@]HOST[:PORT]/PATH, git://HOST/PATH or USER@HOST:PATH");
    check_wrong(true, WORDS_OF("run", "--repository", "git@h:r", "--revision", "abc"),
                "--revision abc: expected the 40 digits of a commit");
    check_wrong(true, WORDS_OF("run", "--repository", "git@h:r", "--pull-request", "x"),
                "--pull-request x: expected a number, or NUMBER/merge");
    check_wrong(true, WORDS_OF("run", "--repository", "git@h:r", "--pull-request", "7/x"),
                "--pull-request 7/x: expected a number, or NUMBER/merge");
    for (const char *name = "-x\0a..b\0a b\0a~1\0/a\0@{x\0a:b\0"; *name != '\0'; name += strlen(name) + 1) {
        char expected[80];

        snprintf(expected, sizeof(expected), "--branch %s: git allows no such name", name);
        if (name[0] == '@') {
            snprintf(expected, sizeof(expected), "--tag %s: git allows no such name", name);
            check_wrong(true, WORDS_OF("run", "--repository", "git@h:r", "--tag", name), expected);
        } else {
            char option[80];

            snprintf(option, sizeof(option), "--branch=%s", name);
            check_wrong(true, WORDS_OF("run", "--repository", "git@h:r", option), expected);
        }
    }
}

int main(void)
{
    char file[] = "/tmp/tenon-options-test.XXXXXX";
    int fd = mkstemp(file);

    CHECK(fd >= 0 && write(fd, "TOKEN=t\n", 8) == 8);
    test_run(file);
    test_run_wrong();
    test_secrets();
    test_config();
    close(fd);
    unlink(file);
    test_repository();
    return tn_check_result();
}
