/* What an intruder would say on the bus, and to the scheduler and tenon-output. Here nothing ends with an errno:
 * test.py reads what the router logged and what was answered. */
#ifndef TN_TESTS_BUS_ATTEMPTS_H
#define TN_TESTS_BUS_ATTEMPTS_H

#include "core/peer/service.h"

typedef void bus_say(void *arg, const char *attempt, const char *ending);

/* Opens the sockets (before the filter). `say` gets each ending. */
void bus_attempts_open(struct tn_service *service, bus_say *say, void *arg);
/* Says READY until tenond answers; both texts are borrowed for good. The attempts begin with tenond's answer. An
 * executor registers first, as its own kind, and answers leases. */
void bus_attempts_begin(const char *confinement, const char *role);

#endif
