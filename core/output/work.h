/* Work that takes longer than a loop may stand still: reading a stored file through, syncing one, unpacking a tar,
 * looking over the store. A few threads do it; the loop hears when it is done.
 *
 * What a thread works on belongs to it until then: nothing else may touch it. */
#ifndef TN_OUTPUT_WORK_H
#define TN_OUTPUT_WORK_H

#include "core/lib/err.h"

#include <event2/event.h>

#include <stdbool.h>

enum { TN_WORK_THREADS = 2 };

struct tn_works; /* opaque: the threads and what waits for them */
struct tn_work;  /* opaque: one piece of work */

/* Runs in a thread: blocks as it likes, touches nothing but `arg` and files. */
typedef void tn_work_run_cb(void *arg);
/* Runs in the loop when the work is done; the work is gone afterwards. */
typedef void tn_work_done_cb(void *arg);

/* Starts the threads. They are bound by what the calling thread is bound by (Landlock). */
struct tn_works *tn_works_new(struct event_base *base, struct tn_err *err) TN_MUST_CHECK;
/* Ends the threads; work that is under way is waited for, the rest is dropped. NULL is allowed. */
void tn_works_free(struct tn_works *works);
/* Queues it, first come, first served. */
struct tn_work *tn_work_start(struct tn_works *works, tn_work_run_cb *run, tn_work_done_cb *done, void *arg);
/* Takes the work back: it has run to its end, or never will (false). `done` is not called. Blocks while it is under
 * way. */
bool tn_work_take(struct tn_work *work);

#endif
