/* `tenon-agent serve`: the first program of an environment. See README.md. */
#ifndef TN_AGENT_SERVE_H
#define TN_AGENT_SERVE_H

/* argv[0] is "serve". Returns the exit status: 0 after a SHUTDOWN, 143 after SIGTERM, 2 for a wrong command line, 3 if
 * the environment does not let it start. */
int tn_serve_main(int argc, char **argv);

#endif
