/* tenon-agent: one program, two characters. As `tenon-agent serve` it is the first program of an environment; under
 * the names `circleci` and `circleci-agent` (or `tenon-agent circleci …`) it is the command that jobs call. */
#include "executors/agent/circleci.h"
#include "executors/agent/deny.h"
#include "executors/agent/serve.h"

#include <stdio.h>
#include <string.h>

#ifndef TN_VERSION
#define TN_VERSION "unknown"
#endif

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash != NULL ? slash + 1 : path;
}

static int is_circleci(const char *name)
{
    return strcmp(name, "circleci") == 0 || strcmp(name, "circleci-agent") == 0;
}

int main(int argc, char **argv)
{
    if (argc >= 1 && is_circleci(base_name(argv[0])))
        return tn_circleci_main(argc, argv);
    if (argc >= 2 && is_circleci(argv[1]))
        return tn_circleci_main(argc - 1, argv + 1);
    if (argc >= 2 && strcmp(argv[1], "serve") == 0)
        return tn_serve_main(argc - 1, argv + 1);
    if (argc == 2 && strcmp(argv[1], "deny-metadata") == 0)
        return tn_deny_main();
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        printf("tenon-agent %s\n", TN_VERSION);
        return 0;
    }
    fprintf(stderr, "usage: tenon-agent serve OPTIONS | circleci COMMAND | deny-metadata | --version\n");
    return 2;
}
