/* What an executor wants to know about the environment, as "key=value" lines. */
#ifndef TN_AGENT_FACTS_H
#define TN_AGENT_FACTS_H

#include "core/lib/buf.h"

/* arch, cpu (family and model of an x86 one, "25_1"), os, pid1, uid, gid, user, home, hostname, path, cwd, shell_bash, shell_sh, exe, dir, bin. Values hold no
 * newline. `dir` and `bin` are the agent's folder and the folder with its names `circleci` and `circleci-agent` ("" if
 * it could not be made). */
void tn_facts_collect(struct tn_buf *facts, const char *dir, const char *bin);

#endif
