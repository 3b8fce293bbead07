/* The agent's program on this host, and the folder in which a job finds it under its in-job names. */
#ifndef TN_SDK_AGENT_FILES_H
#define TN_SDK_AGENT_FILES_H

#include "core/lib/err.h"

/* Path of the agent, which lies beside the executors' folders in the build tree and when installed; NULL if the path of
 * this program is not known. The caller frees it. */
char *tn_agent_files_find(void);
/* Makes the folder `bin` with tenon-agent, circleci and circleci-agent, which everybody may run whatever our umask is.
 * The program is replaced as a whole: what runs already keeps the file that it has. */
int tn_agent_files_install(const char *agent, const char *bin, struct tn_err *err) TN_MUST_CHECK;

#endif
