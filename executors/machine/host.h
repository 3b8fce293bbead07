/* The `host` driver: jobs run on this host, each with an agent and a folder of its own.
 *
 *   STATE/jobs/<task>.<attempt>/home     HOME of the job; ~/project lies in it
 *                               bin      the agent under its in-job names
 *                               tmp      /tmp of the job, where the kernel lets the agent mount it; TMPDIR in any case
 *                               scratch  BASH_ENV, the mark of `step halt`
 *                               root     absolute working directories of configs: `/a/b` is root/a/b
 *   RUN/agents/<task>.<attempt>          socket of the agent
 *
 * tenond starts the agent (the executor itself may start nothing), encloses it and ends all that came from it. */
#ifndef TN_MACHINE_HOST_H
#define TN_MACHINE_HOST_H

#include "executors/sdk/executor.h"

extern const struct tn_executor_ops tn_host_ops;

#endif
