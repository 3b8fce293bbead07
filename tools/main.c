/* tenon: finds the subcommand and hands over. */
#include "core/lib/log.h"
#include "tools/commands.h"

#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

static const struct command {
    const char *name;
    int (*main)(int argc, char **argv);
    const char *help;
} commands[] = {
    {"run", command_run, "run the project's workflows on this host"},
    {"config", command_config, "validate a config, or print it with everything expanded"},
};

enum { COMMANDS = sizeof(commands) / sizeof(commands[0]) };

static void print_help(FILE *out)
{
    fputs("Usage: tenon COMMAND [OPTION]...\n\nRuns CircleCI configs on your own hardware.\n\n", out);
    for (size_t i = 0; i < COMMANDS; i++)
        fprintf(out, "  %-8s %s\n", commands[i].name, commands[i].help);
    fputs("\n`tenon COMMAND --help` tells more of one. `tenon --version` prints the version.\n", out);
}

/* Of so few names the first letter tells which was meant. */
static int unknown_command(const char *word)
{
    const char *meant = NULL;

    for (size_t i = 0; i < COMMANDS && meant == NULL; i++)
        if ((word[0] | 0x20) == commands[i].name[0])
            meant = commands[i].name;
    fprintf(stderr, "tenon: there is no command \"%s\"", word);
    if (meant != NULL)
        fprintf(stderr, "; did you mean `%s`?", meant);
    fputs("\nTry `tenon --help`.\n", stderr);
    return EXIT_USAGE;
}

int main(int argc, char **argv)
{
    const char *word = argc > 1 ? argv[1] : NULL;

    setlocale(LC_CTYPE, "");
    tn_log_open("tenon");
    signal(SIGPIPE, SIG_IGN);
    if (word == NULL) {
        print_help(stderr);
        return EXIT_USAGE;
    }
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0) {
        print_help(stdout);
        return EXIT_SUCCEEDED;
    }
    if (strcmp(word, "--version") == 0) {
        puts("tenon " TENON_VERSION);
        return EXIT_SUCCEEDED;
    }
    for (size_t i = 0; i < COMMANDS; i++)
        if (strcmp(word, commands[i].name) == 0)
            return commands[i].main(argc - 1, argv + 1);
    return unknown_command(word);
}
