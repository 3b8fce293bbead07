/* The folders of an installation, and which process they belong to.
 *
 *     RUN/bus/<address>.<life>/s    a peer's socket on the bus
 *     RUN/data/<address>.<life>/s   the socket between tenon-output and an executor or client
 *     RUN/NAME  STATE/NAME  STORE/NAME   own folders of the process NAME: "scheduler", "output", an executor's name
 *
 * A process is told its own folders and no other's. tenond makes all of them and removes those of lives that are over.
 * Where processes have users of their own, RUN, STATE and STORE can be passed by all and read by nobody, an own folder
 * is its user's alone, and what two share belongs to who binds there and to the group of the other.
 */
#ifndef TN_KERNEL_PLACES_H
#define TN_KERNEL_PLACES_H

#include "core/kernel/worker.h"
#include "core/lib/err.h"

/* Empty texts where a process has none. Freed by tn_places_free(). */
struct tn_places {
    char *run;
    char *state;
    char *store;
};

/* What the own folders of a process are called, and its user; NULL: it has none. Borrowed of the worker. */
const char *tn_places_name(const struct tn_worker *worker);

void tn_places_of(const struct tn_worker *worker, const struct tn_kernel_config *config, struct tn_places *out);
void tn_places_free(struct tn_places *places);
/* Makes the own folders of a process that are not there, and gives them to its user, also those that an earlier tenond
 * made for another one. Its settings become readable for it. */
int tn_places_make(const struct tn_places *places, const struct tn_worker *worker, struct tn_err *err) TN_MUST_CHECK;
/* Opens the folders of the installation to the users of its processes; each can enter its own below. */
int tn_places_open(struct tn_kernel *kernel, struct tn_err *err) TN_MUST_CHECK;

/* Makes the folders of the sockets of a peer in this life: who binds owns them, the peer's group may enter. */
int tn_places_add_life(const struct tn_kernel *kernel, uint16_t address, uint32_t life,
                       struct tn_err *err) TN_MUST_CHECK;
/* Removes them. */
void tn_places_remove_life(const char *run_dir, uint16_t address, uint32_t life);

#endif
