/* The text of `tenon run --help`. */
#ifndef TN_TOOLS_RUN_HELP_H
#define TN_TOOLS_RUN_HELP_H

static const char run_help[] =
    "Usage: tenon run [OPTION]...\n"
    "\n"
    "Runs the workflows of the project's .circleci/config.yml on this host. The config is looked for from the current\n"
    "folder upwards to the root of the git checkout. Jobs get the working tree as it is: uncommitted changes "
    "included,\n"
    "ignored files not.\n"
    "\n"
    "What to run:\n"
    "  -c, --config FILE         this config instead\n"
    "      --workflow NAME       only this workflow\n"
    "      --job NAME            only this job, without what it requires\n"
    "  -p, --param NAME=VALUE    value of a pipeline parameter\n"
    "  -C, --directory DIR       as if called in DIR\n"
    "\n"
    "What jobs get (values are masked in their output):\n"
    "  -e, --env NAME=VALUE      variable of the project\n"
    "      --env-file FILE       variables of the project, NAME=VALUE lines; # begins a comment, values may be quoted\n"
    "      --context NAME=FILE   a context, with variables from such a file\n"
    "\n"
    "Where:\n"
    "      --executor docker=machine   runs Docker jobs as machine jobs: on this host, without a container\n"
    "      --settings FILE             settings of this host instead of ~/.config/tenon/tenon.yaml or\n"
    "                              /etc/tenon/tenon.yaml; tenon.yaml(5) tells what they are\n"
    "\n"
    "Output:\n"
    "      --json                one JSON object a line; the last is the summary\n"
    "  -h, --help                this text\n"
    "\n"
    "On a terminal a live tree is shown, elsewhere plain lines. NO_COLOR turns colours off.\n"
    "Ctrl-C cancels: what runs is ended in order; a second Ctrl-C ends it at once.\n"
    "Logs, artifacts and test results lie in $XDG_STATE_HOME/tenon/runs (~/.local/state/tenon/runs); the last 50 runs "
    "are\n"
    "kept. Programs of the services are looked for beside this one, or where TENON_LIBEXEC says.\n"
    "\n"
    "Exit status: 0 all succeeded, 1 a job failed, 2 the config or the command line is wrong, 3 the installation or "
    "an\n"
    "environment failed, 130 interrupted.\n";

#endif
