/* The key that grants in leases are signed with (core/lib/grant.h): STATE/lease.key, made at the first start. */
#ifndef TN_SCHEDULER_LEASE_KEY_H
#define TN_SCHEDULER_LEASE_KEY_H

#include "core/scheduler/sched.h"

/* Reads or makes it. A file that holds no key is an error: with another key the tasks that run now could not go on. */
int tn_lease_key_load(const char *state_dir, uint8_t key[TN_GRANT_KEY], struct tn_err *err) TN_MUST_CHECK;
/* tenon-output is up in this life: it is told the key, once for each life. */
void tn_lease_key_tell(struct tn_sched *sched, uint32_t life);
/* What the task's attempt is entitled to, signed. The caller frees it. */
char *tn_lease_key_grant(const uint8_t key[TN_GRANT_KEY], struct tn_task *task, const cJSON *upstream);

#endif
