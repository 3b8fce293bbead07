/* The subcommands of `tenon`. Each gets its words (`argv[0]` is its own name) and returns the exit code. */
#ifndef TN_TOOLS_COMMANDS_H
#define TN_TOOLS_COMMANDS_H

/* Exit codes: DESIGN.md, "The command". */
enum { EXIT_SUCCEEDED = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_INSTALLATION = 3, EXIT_INTERRUPTED = 130 };

/* Each subcommand's main: `argv[0]` is its name; returns the exit status. */
int command_run(int argc, char **argv);
int command_config(int argc, char **argv);
int command_settings(int argc, char **argv);
int command_store(int argc, char **argv);
int command_status(int argc, char **argv);

#endif
