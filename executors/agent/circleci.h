/* The command that jobs call: `circleci env subst`, `tests glob`, `tests split`, `step halt`. */
#ifndef TN_AGENT_CIRCLECI_H
#define TN_AGENT_CIRCLECI_H

/* argv[0] is the name. Exit status: 0, 1 if it failed, 2 if the command line is wrong. */
int tn_circleci_main(int argc, char **argv);

#endif
