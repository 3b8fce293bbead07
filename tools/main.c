/* tenon: finds the subcommand and hands over. */
#include "core/lib/log.h"
#include "core/lib/secret.h"
#include "tools/commands.h"

#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const struct command {
    const char *name;
    int (*main)(int argc, char **argv);
    const char *help;
} commands[] = {
    {"run", command_run, "run the project's workflows on this host"},
    {"config", command_config, "validate a config, or print it with everything expanded"},
    {"settings", command_settings, "check this host's settings, and print them"},
    {"status", command_status, "the processes that run here, and what confines each"},
    {"store", command_store, "what is kept on this host: how much, whether it is whole, what may go"},
};

enum { COMMANDS = sizeof(commands) / sizeof(commands[0]) };

static void print_help(FILE *out)
{
    fputs("Usage: tenon COMMAND [OPTION]...\n\nRuns CircleCI configs on your own hardware.\n\n", out);
    for (size_t i = 0; i < COMMANDS; i++)
        fprintf(out, "  %-8s %s\n", commands[i].name, commands[i].help);
    fputs("\n`tenon COMMAND --help` tells more of one. `tenon --version` prints the version.\n", out);
}

static size_t common(const char *a, const char *b)
{
    size_t length = 0;

    while (a[length] != '\0' && (a[length] | 0x20) == b[length])
        length++;
    return length;
}

/* Of so few names the first letters tell which was meant. */
static int unknown_command(const char *word)
{
    const char *meant = NULL;

    for (size_t i = 0; i < COMMANDS; i++)
        if (common(word, commands[i].name) > (meant != NULL ? common(word, meant) : 0))
            meant = commands[i].name;
    fprintf(stderr, "tenon: there is no command \"%s\"", word);
    if (meant != NULL)
        fprintf(stderr, "; did you mean `%s`?", meant);
    fputs("\nTry `tenon --help`.\n", stderr);
    return EXIT_USAGE;
}

/* A standard stream that the caller closed would else be the number of the next socket. Opened the wrong way round, so
 * that using it is still an error. */
static void hold_standard_streams(void)
{
    for (int fd = 0; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0)
            /* cppcheck-suppress leakReturnValNotUsed ; it takes the number that is free */
            open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
}

/* What was asked for is only there once it is written. A reader who left wanted no more. */
static int flushed(int code)
{
    if ((fflush(stdout) == 0 && !ferror(stdout)) || errno == EPIPE)
        return code;
    fprintf(stderr, "tenon: cannot write to standard output: %s\n", strerror(errno));
    return code == EXIT_SUCCEEDED ? EXIT_INSTALLATION : code;
}

static int dispatch(int argc, char **argv)
{
    const char *word = argc > 1 ? argv[1] : NULL;

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

int main(int argc, char **argv)
{
    hold_standard_streams();
    setlocale(LC_CTYPE, "");
    tn_log_open("tenon");
    tn_secret_guard(); /* contexts and variables go through here */
    signal(SIGPIPE, SIG_IGN);
    return flushed(dispatch(argc, argv));
}
