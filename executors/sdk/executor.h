/* What an executor is made of. It answers four questions about environments; everything else (bus, leases, steps,
 * output, adoption, ending) is done here, once for all executors.
 *
 *     int main(void) { return tn_executor_main(&docker_ops); }
 *
 * All functions run in one libevent loop and must not block: each question is answered by a later call of the function
 * named with it. An operation may be asked for again (after a crash, on adoption), so each must be idempotent by
 * (task id, attempt): acquire finds what is there already, release of what is gone is a success. */
#ifndef TN_EXECUTOR_H
#define TN_EXECUTOR_H

#include "core/lib/confine.h"
#include "core/lib/err.h"
#include "core/peer/service.h"

#include <cjson/cJSON.h>

struct tn_executor; /* opaque: the process */
struct tn_task;     /* opaque: one attempt of one task */

/* Where the job's commands run. Strings are borrowed during the call. */
struct tn_environment {
    const char *agent_socket; /* path of the agent's socket on this host; NULL: `connect` is asked */
    const char *bin;          /* folder with the agent's in-job names, as the job sees it */
    const char *scratch;      /* writable folder for the runner's small files, as the job sees it */
    const char *home;         /* HOME for the steps; NULL: the agent's own */
    const char *root; /* put before an absolute working directory; "" where the environment has a root of its own */
    const char *node; /* name to show */
    /* What the environment's own first program would have been (an entrypoint that is kept), NULL at the end: the agent
     * starts it before the first step, with an empty stdin that stays open, and its end fails the job. NULL: nothing.
     */
    const char *const *program;
    const char *program_name; /* of its log */
    int patience_ms;          /* so long may the agent be out of reach before the environment counts as lost; 0: 30 s */
};

/* Beside the steps things may run that put out text of their own: service containers. Each has a log, shown as a step
 * that goes on while the job's steps do. */
#define TN_COMPANION_CURSOR 64 /* bytes of a cursor, its NUL included */

struct tn_companion_end {
    bool failed;
    int exit;           /* -1: not known */
    int signal;         /* 0: none */
    const char *reason; /* a line for its log and its step; borrowed; NULL: none */
};

struct tn_executor_ops {
    const char *kind; /* "docker": which jobs it takes */
    const char *role; /* "executor-docker": its name in the log */
    /* Opens what the kind needs (an engine). Later: tn_executor_available(). */
    int (*open)(struct tn_executor *executor, struct tn_err *err);
    /* Which environments of this installation exist? Later: tn_executor_found() for each, tn_executor_listed() once. */
    void (*list)(struct tn_executor *executor);
    /* An environment for this task. Later: tn_task_acquired() or tn_task_not_acquired(). Text for people on the way:
     * tn_task_say(). */
    void (*acquire)(struct tn_executor *executor, struct tn_task *task);
    /* Begins a connection to the agent of an environment without a socket: returns a connected descriptor at once, or
     * -1 with errno (then it is asked again). The newest one counts. May be NULL. */
    int (*connect)(struct tn_executor *executor, struct tn_task *task);
    /* Somebody outside told the environment to end (SIGTERM). Later, whatever happens: tn_task_environment_lost() with
     * who did it. NULL: nobody can say. */
    void (*told_to_end)(struct tn_executor *executor, struct tn_task *task);
    /* Remove it, whatever state it is in, also while acquire is under way. Later: tn_task_released(). */
    void (*release)(struct tn_executor *executor, struct tn_task *task);
    /* The job's result is sealed: end what runs beside the steps, hand over the rest of its output, end its logs.
     * Later: tn_task_drained(). Asked for only while such a log is open, also without an acquire before (after a
     * crash). NULL: there is never such a log. */
    void (*drain)(struct tn_executor *executor, struct tn_task *task);
    /* tn_task_companion_full() was true and is not any more. May be NULL. */
    void (*room)(struct tn_executor *executor, struct tn_task *task);
    /* Remove an environment that was found and is not leased to us. No answer. */
    void (*remove)(struct tn_executor *executor, uint64_t task, uint32_t attempt);
    /* Messages from tenond that answer nothing (PROGRAM_EXITED); may be NULL. */
    void (*on_message)(struct tn_executor *executor, const struct tn_msg *msg);
    /* What the process may do once it runs. */
    const struct tn_profile *profile;
    /* Adds what the settings name (paths, ports), and makes the folders of the profile's places. Called before `open`,
     * with the service's folders known; what is added lives as long as the process. */
    void (*confine)(struct tn_executor *executor, struct tn_confine *confine);
    void (*close)(struct tn_executor *executor);
};

/* The whole program. Returns the exit code. */
int tn_executor_main(const struct tn_executor_ops *ops);

/* For the operations. `self` is whatever `open` made. */
struct tn_service *tn_executor_service(struct tn_executor *executor);
void tn_executor_set_self(struct tn_executor *executor, void *self);
void *tn_executor_self(struct tn_executor *executor);
/* `reason` NULL: jobs can run. Else nothing can be acquired for now, and why. May change at any time. */
void tn_executor_available(struct tn_executor *executor, const char *reason);
/* The same with a reason that passes by itself (a full disk): jobs wait for it, even those that wait for no executor.
 */
void tn_executor_busy(struct tn_executor *executor, const char *reason);
void tn_executor_found(struct tn_executor *executor, uint64_t task, uint32_t attempt);
void tn_executor_listed(struct tn_executor *executor);
/* The task with this id and attempt, or NULL. */
struct tn_task *tn_executor_task(struct tn_executor *executor, uint64_t id, uint32_t attempt);

/* For acquire and release. */
uint64_t tn_task_id(const struct tn_task *task);
uint32_t tn_task_attempt(const struct tn_task *task);
/* The LEASE's body (proto/README.md); lives as long as the task. */
const cJSON *tn_task_lease(const struct tn_task *task);
/* A line of text in the log of the task's first step, "Spin up environment". */
void tn_task_say(struct tn_task *task, const char *fmt, ...) TN_PRINTF(2, 3);
void tn_task_acquired(struct tn_task *task, const struct tn_environment *environment);
/* `retry`: trying again may help (an infrastructure failure); else the job is at fault (no such image). */
void tn_task_not_acquired(struct tn_task *task, bool retry, const char *fmt, ...) TN_PRINTF(3, 4);
void tn_task_released(struct tn_task *task);
void tn_task_drained(struct tn_task *task);

/* The log of what runs beside the steps. `index` (below 64; 0 is the environment's own program) means the same in every
 * life of the attempt. False: it is over. Else `cursor` is what the last bytes that are kept came with, "" before any:
 * go on behind it. */
bool tn_task_companion_begin(struct tn_task *task, unsigned index, const char *name, char cursor[TN_COMPANION_CURSOR]);
/* Copies the bytes. Never refused: stop reading while tn_task_companion_full(). */
void tn_task_companion_write(struct tn_task *task, unsigned index, const void *bytes, size_t length,
                             const char *cursor);
bool tn_task_companion_full(const struct tn_task *task);
/* It never began, or its end is known already. */
bool tn_task_companion_over(const struct tn_task *task, unsigned index);
/* It ended by itself. Those that never do end with the job. */
void tn_task_companion_end(struct tn_task *task, unsigned index, const struct tn_companion_end *end);
/* The environment ended by itself; `reason` in words ("killed: out of memory (4 GB)"). Ignored once release began. */
void tn_task_environment_lost(struct tn_task *task, const char *fmt, ...) TN_PRINTF(2, 3);

#endif
