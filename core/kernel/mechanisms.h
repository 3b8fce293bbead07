/* What confines a process, mechanism by mechanism: expected before it starts, seen in /proc once it says READY. What
 * cannot be seen from outside (Landlock) is taken from what it says itself. */
#ifndef TN_KERNEL_MECHANISMS_H
#define TN_KERNEL_MECHANISMS_H

#include "core/kernel/worker.h"

/* A fresh list [{mechanism, applied, detail, exempt?}] in the order of tn_mechanism_names. `detail`: how, or why not.
 * `exempt`: it is not wanted for this process, and no demand counts. With `seen` it is looked at, else what would be.
 */
cJSON *tn_mechanisms_of(const struct tn_worker *worker, bool seen);
/* The same for tenond itself. */
cJSON *tn_mechanisms_own(void);
/* Is one of the mechanisms `required` (names, or "all") not applied? Says which and why. */
bool tn_mechanisms_lack(const cJSON *mechanisms, const cJSON *required, char *text, size_t size);
/* In one line, for the log. */
void tn_mechanisms_text(const cJSON *mechanisms, char *text, size_t size);

#endif
