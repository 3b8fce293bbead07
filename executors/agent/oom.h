/* How many processes of the agent's control group the kernel's OOM killer has ended. A step that ends while the number
 * grows was, most likely, killed for memory; its exit status alone (137, or whatever its shell makes of it) does not
 * say so.
 *
 * Source: Documentation/admin-guide/cgroup-v2.rst (memory.events), cgroup-v1/memory.rst (memory.oom_control). */
#ifndef TN_AGENT_OOM_H
#define TN_AGENT_OOM_H

/* Looks where the counter is: once, before the first tn_oom_count(). Where the kernel shows none (no memory controller,
 * no /sys/fs/cgroup), the count stays 0. */
void tn_oom_find(void);

/* Kills so far. Reads one small file. */
unsigned long tn_oom_count(void);

#endif
