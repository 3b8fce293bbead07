#include "executors/agent/circleci.h"
#include "core/lib/cleanup.h"
#include "executors/agent/glob.h"
#include "executors/agent/split.h"
#include "executors/agent/subst.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static int fail(const struct tn_err *err)
{
    fprintf(stderr, "Error: %s\n", err->text);
    return err->code == TN_ERR_USAGE ? 2 : 1;
}

static int env_subst(int argc, char **argv)
{
    auto_buf struct tn_buf in = TN_BUF_INIT;
    auto_buf struct tn_buf out = TN_BUF_INIT;
    struct tn_err err = TN_ERR_INIT;

    for (int i = 0; i < argc; i++)
        tn_buf_addf(&in, "%s%s", i > 0 ? " " : "", argv[i]);
    if (argc > 0)
        tn_buf_adds(&in, "\n");
    else if (tn_read_all(STDIN_FILENO, "standard input", &in, &err) != 0)
        return fail(&err);
    if (tn_subst(in.data, in.len, &out, &err) != 0) {
        fprintf(stderr, "Error: %s\n", err.text);
        return 1;
    }
    return out.len == 0 || fwrite(out.data, 1, out.len, stdout) == out.len ? 0 : 1;
}

static int tests_glob(int argc, char **argv)
{
    struct tn_words found = {NULL, 0, 0};
    struct tn_err err = TN_ERR_INIT;
    int result = 0;

    bool asks = argc > 0 && (strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "-h") == 0);

    if (argc > 0 && strcmp(argv[0], "--") == 0) {
        argc--;
        argv++;
    } else if (argc > 0 && strncmp(argv[0], "--", 2) == 0 && !asks) {
        fprintf(stderr, "Error: unknown option %s\n", argv[0]);
        argc = 0;
    }
    if (argc == 0 || asks) {
        fprintf(asks ? stdout : stderr,
                "usage: circleci tests glob PATTERN...   (quote the patterns: * ** ? [abc] {a,b})\n");
        return asks ? 0 : 2;
    }
    for (int i = 0; i < argc && result == 0; i++)
        result = tn_glob_find(argv[i], true, &found, &err);
    if (result != 0) {
        tn_words_free(&found);
        return fail(&err);
    }
    tn_words_sort(&found);
    tn_words_unique(&found);
    for (size_t i = 0; i < found.count; i++)
        puts(found.all[i]);
    tn_words_free(&found);
    return 0;
}

/* The agent sees the file when the step ends, and ends the job as a success. */
static int step_halt(int argc, char **argv)
{
    const char *path = getenv("TENON_HALT_FILE");
    auto_fd int fd = -1;

    if (path == NULL || path[0] == '\0') {
        fprintf(stderr, "Error: nothing to halt: TENON_HALT_FILE is not set, so this is not a step of a job\n");
        return 1;
    }
    fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
        fprintf(stderr, "Error: cannot halt: %s: %s\n", path, strerror(errno));
        return 1;
    }
    return 0;
}

struct command {
    const char *group;
    const char *verb;
    int (*run)(int argc, char **argv);
    const char *help;
};

static const struct command commands[] = {
    {"env", "subst", env_subst, "env subst [TEXT]               replace $VAR and ${VAR:-default} in TEXT or stdin"},
    {"tests", "glob", tests_glob, "tests glob PATTERN...          list the files that match"},
    {"tests", "split", tn_split_command, "tests split [OPTIONS] [FILE]   choose this task's share of a list of tests"},
    {"tests", "run", tn_run_command, "tests run --command=COMMAND    give this task's share to a command"},
    {"step", "halt", step_halt, "step halt                      end the job as a success after this step"},
    {"task", "halt", step_halt, "task halt                      the same"},
};

static int help(FILE *to)
{
    fprintf(to, "Inside a job of Tenon, circleci knows these commands:\n");
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
        fprintf(to, "  circleci %s\n", commands[i].help);
    return to == stdout ? 0 : 2;
}

int tn_circleci_main(int argc, char **argv)
{
    if (argc >= 2 && (strcmp(argv[1], "help") == 0 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0))
        return help(stdout);
    if (argc >= 2 && strcmp(argv[1], "tests") == 0 && (argc == 2 || strcmp(argv[2], "help") == 0 || argv[2][0] == '-'))
        return help(stdout);
    for (size_t i = 0; argc >= 3 && i < sizeof(commands) / sizeof(commands[0]); i++)
        if (strcmp(commands[i].group, argv[1]) == 0 && strcmp(commands[i].verb, argv[2]) == 0)
            return commands[i].run(argc - 3, argv + 3);
    fprintf(stderr, "Error: unknown command \"circleci%s%s%s%s\"\n", argc >= 2 ? " " : "", argc >= 2 ? argv[1] : "",
            argc >= 3 ? " " : "", argc >= 3 ? argv[2] : "");
    return help(stderr);
}
