/* How many processes of the agent's control group the kernel's OOM killer has ended. A step that ends while the number
 * grows was, most likely, killed for memory; its exit status alone (137, or whatever its shell makes of it) does not
 * say so. And how often the group's limit of processes refused a fork, which programs report as "Resource temporarily
 * unavailable".
 *
 * Source: Documentation/admin-guide/cgroup-v2.rst (memory.events, pids.events), cgroup-v1/memory.rst
 * (memory.oom_control), cgroup-v1/pids.rst. */
#ifndef TN_AGENT_OOM_H
#define TN_AGENT_OOM_H

/* Looks where the counters are: once, before any of the others. Where the kernel shows none (no memory controller,
 * no /sys/fs/cgroup), the count stays 0. */
void tn_oom_find(void);

/* Kills so far. Reads one small file. */
unsigned long tn_oom_count(void);
/* Forks refused so far, and the limit; 0 where there is none. Each reads one small file. */
unsigned long tn_refused_forks(void);
unsigned long tn_process_limit(void);

#endif
