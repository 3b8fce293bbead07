/* The ledger: one SQLite file (WAL, synchronous=FULL) that knows what was promised, and the counters beside it.
 *
 * Writes are queued with tn_ledger_put() and become durable together with tn_ledger_commit(): all or nothing, in order.
 * A commit that fails (disk full) keeps them; call it again later. Reading sees only what is committed.
 * `PRAGMA user_version` is the schema's version; an unknown one is refused. All functions block for the disk. */
#ifndef TN_SCHEDULER_LEDGER_H
#define TN_SCHEDULER_LEDGER_H

#include "core/lib/err.h"
#include "core/scheduler/model.h"

/* X(NAME, SQL): the parameters are those of tn_ledger_put(), in order. */
#define TN_LEDGER_WRITES(X)                                                                                            \
    X(PIPELINE_ADD, "INSERT INTO pipeline(number,id,state,created,request) VALUES(?,?,?,?,?)")                         \
    X(PIPELINE_STATE, "UPDATE pipeline SET state=?2, ended=?3, diagnostics=?4 WHERE number=?1")                        \
    X(PIPELINE_CANCEL, "UPDATE pipeline SET cancel=?2 WHERE number=?1")                                                \
    X(SECRET_ADD, "INSERT INTO secret(pipeline,body) VALUES(?,?)")                                                     \
    X(SECRET_DROP, "DELETE FROM secret WHERE pipeline=?")                                                              \
    X(WORKFLOW_ADD, "INSERT INTO workflow(pipeline,position,id,name,state,created) VALUES(?,?,?,?,?,?)")               \
    X(WORKFLOW_STATE, "UPDATE workflow SET state=?3, ended=?4 WHERE pipeline=?1 AND position=?2")                      \
    X(JOB_ADD, "INSERT INTO job(number,pipeline,workflow,position,id,name,type,kind,cpu_milli,memory_mb,parallelism,"  \
               "requires,definition,state) VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?)")                                       \
    X(JOB_STATE, "UPDATE job SET state=?2, outcome=?3, reason=?4, started=?5, ended=?6 WHERE number=?1")               \
    X(TASK_ADD, "INSERT INTO task(id,job,position,state,attempt) VALUES(?,?,?,?,1)")                                   \
    X(TASK_STATE, "UPDATE task SET state=?2, reason=?3, attempt=?4, executor=?5, steps_begun=?6, not_before=?7,"       \
                  " started=?8, ended=?9, folder=?10, artifacts=?11, tests=?12 WHERE id=?1")                           \
    X(TRANSITION_ADD, "INSERT INTO transition(task,attempt,from_state,to_state,reason,time,terminal)"                  \
                      " VALUES(?,?,?,?,?,?,?)")                                                                        \
    X(STEP_PUT, "INSERT INTO step(task,attempt,number,body) VALUES(?,?,?,?)"                                           \
                " ON CONFLICT DO UPDATE SET body=excluded.body")

enum tn_ledger_write {
#define TN_LEDGER_ENUM(name, sql) TN_LEDGER_##name,
    TN_LEDGER_WRITES(TN_LEDGER_ENUM)
#undef TN_LEDGER_ENUM
        TN_LEDGER_WRITE_COUNT
};

struct tn_ledger; /* opaque */

/* Opens or makes STATE/ledger.db (mode 0600) and STORE/numbers.db. NULL and why. */
struct tn_ledger *tn_ledger_open(const char *state_dir, const char *store_dir, struct tn_err *err) TN_MUST_CHECK;
/* Moves the WAL into the file and closes. What is queued is dropped: nobody was told of it. NULL is allowed. */
void tn_ledger_close(struct tn_ledger *ledger);

/* Queues one write. `format` has a letter a parameter: i int64_t, s text (copied; NULL is SQL's NULL). */
void tn_ledger_put(struct tn_ledger *ledger, enum tn_ledger_write write, const char *format, ...);
size_t tn_ledger_queued(const struct tn_ledger *ledger);
/* Makes what is queued durable. TN_ERR_SYSTEM: nothing happened, what is queued stays. TN_ERR_CONFLICT: a constraint
 * that only a fault of ours can violate, e.g. a second terminal row. */
int tn_ledger_commit(struct tn_ledger *ledger, struct tn_err *err) TN_MUST_CHECK;
/* Empties the WAL, so that deleted secrets lie nowhere any more. */
void tn_ledger_checkpoint(struct tn_ledger *ledger);

/* Takes `count` numbers of the counter "pipeline", "job" or "task"; the first goes to *first. Shared by all schedulers
 * of a user, durable at once, waits up to 5 s for another one. */
int tn_ledger_take_numbers(struct tn_ledger *ledger, const char *counter, uint64_t count, uint64_t *first,
                           struct tn_err *err) TN_MUST_CHECK;

/* The ids of the pipelines that have not ended, by number. */
int tn_ledger_each_open(struct tn_ledger *ledger, void (*cb)(void *arg, const char *id), void *arg,
                        struct tn_err *err) TN_MUST_CHECK;
/* All that is recorded of a pipeline, linked as in the model, or NULL: TN_ERR_NOT_FOUND, or a fault. The caller frees
 * it. */
struct tn_pipeline *tn_ledger_load(struct tn_ledger *ledger, const char *id, struct tn_err *err) TN_MUST_CHECK;
/* A task that is not in memory: its attempt, state and holder. 0, or -1 when it is not recorded. */
struct tn_task_row {
    unsigned attempt;
    enum tn_task_state state;
    uint16_t executor;
};
int tn_ledger_find_task(struct tn_ledger *ledger, uint64_t id, struct tn_task_row *row) TN_MUST_CHECK;

#endif
