/* One attempt of one task, shared between the files of the runner. Not for executors: executor.h is.
 *
 *   task.c    the attempt's life: output, environment, agent, checkpoints, release, the terminal state
 *   report.c  states on their way to the scheduler, in order
 *   runner.c  the steps: which runs next, halting, cancel
 *   runner_command.c  the command of a step: shell, timeouts, automatic reruns
 *   tree*.c   the steps that move file trees: checkout and workspaces, caches, artifacts and test results
 *
 * What an attempt must remember over a crash of this process is `struct tn_progress`; it is written into every
 * checkpoint together with the agent stream's offset up to which it is true. After a crash the attempt begins anew from
 * there: a `run` step's command is sent again (the agent knows the channel and does nothing), any other step starts
 * over under new channel numbers. */
#ifndef TN_SDK_TASK_H
#define TN_SDK_TASK_H

#include "core/lib/buf.h"
#include "executors/sdk/agent_link.h"
#include "executors/sdk/environ.h"
#include "executors/sdk/executor.h"
#include "executors/sdk/outlet.h"
#include "proto/states.h"

#include <sys/queue.h>

enum tn_task_phase {
    TN_PHASE_OPENING,    /* asks tenon-output for the last checkpoint */
    TN_PHASE_ACQUIRING,  /* the executor makes or finds the environment */
    TN_PHASE_CONNECTING, /* to the agent */
    TN_PHASE_STEPPING,
    TN_PHASE_SEALING,   /* the result is in a checkpoint soon: what follows may be repeated */
    TN_PHASE_DRAINING,  /* what runs beside the steps ends, the rest of its logs is kept */
    TN_PHASE_RELEASING, /* the executor removes the environment */
    TN_PHASE_CLOSING,   /* tenon-output flushes */
    TN_PHASE_REPORTING, /* the terminal state is on its way */
};

struct tn_progress {
    unsigned step;     /* index of the current step; 0 is "Spin up environment", n is the plan's step n - 1 */
    unsigned tries;    /* how often it was taken up again: gives channels of other numbers to what starts over */
    unsigned rerun;    /* of the current step's command: how often it failed and was to be run again */
    uint64_t rerun_at; /* milliseconds since 1970: not before; 0: at once */
    bool begun;        /* a step of the user's has begun */
    bool failed;
    bool halted;
    bool canceled;
    bool timed_out;
    uint64_t limit_at;       /* milliseconds since 1970: when the job has run too long; 0: it has not begun */
    int ended;               /* enum tn_task_state of the result, or -1 */
    bool final;              /* an infrastructure failure that a retry cannot mend */
    char reason[512];        /* of the result */
    unsigned background[64]; /* steps whose processes go on */
    size_t backgrounds;
    char artifacts[512]; /* folder, once there are any */
};

/* An operation on the agent that belongs to a step that is not `run`. */
struct tn_op {
    uint32_t channel; /* 0: none */
    void (*on_out)(struct tn_task *task, const void *bytes, size_t length);
    void (*on_exit)(struct tn_task *task, const struct tn_agent_exit *end);
};

/* The part of the progress on which the next command waits until a checkpoint has it. */
struct tn_kept {
    unsigned step;
    unsigned tries;
    unsigned rerun;
    bool open;
};

struct tn_report {
    STAILQ_ENTRY(tn_report) next;
    enum tn_msg_kind kind;
    char *body; /* owned */
};

struct tn_step_state; /* runner.c: what is known of the current step only while this process lives */
struct tn_tree_state; /* tree.c */
struct tn_companions; /* companion.c */

struct tn_task {
    TAILQ_ENTRY(tn_task) next;
    struct tn_executor *executor; /* borrowed */
    uint64_t id;
    uint32_t attempt;
    cJSON *lease;            /* owned */
    struct tn_mask *mask;    /* owned: secret values, for what is reported */
    const cJSON *definition; /* borrowed from lease */
    const cJSON *steps;      /* borrowed from lease */
    enum tn_task_phase phase;
    bool acquire_pending; /* acquire or release was asked for and not answered */

    /* where commands run */
    char *agent_socket, *bin, *scratch, *home, *root, *node; /* owned */
    int patience_ms;                                         /* until an agent out of reach is given up */
    char *facts;                                             /* owned */
    char *cwd;                                               /* owned: the job's working directory */

    struct tn_outlet *outlet;
    struct tn_agent_link *link;
    uint8_t boot[TN_AGENT_BOOT];
    uint64_t cursor; /* agent stream offset up to which everything is handled */
    bool reading_paused;
    bool reading_held; /* until the current step, taken up again, can take what the agent repeats */

    struct tn_progress progress;
    cJSON *tests;       /* owned: of its results, as TASK_STATE has them (tests.h); part of the progress; NULL: none */
    char *timings;      /* owned: id of the times of the job's tests in the store; NULL: there are none */
    bool adopted;       /* progress came from a checkpoint of an earlier life */
    bool output_failed; /* bytes could not be stored: it ends without another checkpoint */
    bool checkpoint_sent, checkpoint_dirty, checkpoint_held;
    uint64_t checkpoint_cursor; /* of the one that is sent */
    uint64_t acked_cursor;
    struct tn_kept kept, kept_next; /* in the last checkpoint that was acknowledged; in the one that is sent */
    struct event *checkpoint_timer;
    struct event *step_timer; /* no output; grace after a cancel */
    struct event *job_timer;  /* the job's own limit */
    uint64_t limit_ms;        /* of it: the setting */
    bool cancel_wanted;       /* also before progress is known */
    bool has_cancel;
    struct tn_msg_ref cancel; /* TASK_CANCEL to answer */

    STAILQ_HEAD(, tn_report) reports;
    bool report_sent;
    char *folder;       /* owned: of its logs */
    uint64_t log_limit; /* what is kept of a log; 0: all */

    uint64_t step_started_ms;
    char *step_log;    /* owned: path of the current step's log */
    unsigned channels; /* of the current step that were used by this life */
    char *shell;       /* owned: the environment's default */
    bool step_open;    /* the current step has begun and not ended */
    struct tn_op op;
    struct tn_tree_state *tree;
    struct tn_companions *companions;   /* owned; NULL: nothing runs beside the steps */
    bool drained;                       /* the executor has ended them */
    void (*then)(struct tn_task *task); /* after the current step's log is open; NULL: it is */
    bool begin_waits;                   /* the current step begins once a checkpoint says so */
    bool command_runs;                  /* the current step's command was started and has not ended */
    bool rerun_waits;                   /* the step timer is for the delay before the command is run again */
    bool no_output_over;
    uint64_t no_output_ms;
    uint64_t last_output_ms;
    enum { TN_STOP_NONE, TN_STOP_TERM, TN_STOP_KILL } stopping; /* how far the current command is being ended */
};

/* task.c */
struct tn_task *tn_task_new(struct tn_executor *executor, uint64_t id, uint32_t attempt, cJSON *lease);
void tn_task_free(struct tn_task *task);
/* (Re)starts from the last checkpoint. */
void tn_task_begin(struct tn_task *task);
/* Progress or cursor changed: a checkpoint follows soon. */
void tn_task_touch(struct tn_task *task);
/* The result is known; the rest follows by itself. A second call is ignored. */
void tn_task_finish(struct tn_task *task, enum tn_task_state result, const char *fmt, ...) TN_PRINTF(3, 4);
/* From the scheduler, or because the executor stops. */
void tn_task_cancel(struct tn_task *task, bool force, const struct tn_msg_ref *request);
/* Removes the environment without reporting anything: the installation ends with this process. */
void tn_task_abandon(struct tn_task *task);

/* report.c: what is reported passes no log, so it is masked here: names, reasons, tests */
void tn_task_report_state(struct tn_task *task, enum tn_task_state state, const char *reason);
/* An end is reported before the step's log is closed. */
void tn_task_report_step(struct tn_task *task, unsigned step, const char *state, const cJSON *result);
/* Masks the names of the lease's steps, once; `masks`: the values. */
void tn_task_mask_names(struct tn_task *task, const cJSON *masks);
void tn_task_reports_free(struct tn_task *task);

/* runner.c */
void tn_runner_start(struct tn_task *task); /* the agent is there: go on with progress.step */
void tn_runner_on_out(struct tn_task *task, uint32_t channel, const void *bytes, size_t length);
void tn_runner_on_exit(struct tn_task *task, uint32_t channel, const struct tn_agent_exit *end);
void tn_runner_cancel(struct tn_task *task, bool force);
void tn_runner_time_out(struct tn_task *task);
/* A command did not fit the link's queue or was refused by it: `failed` is what its function returned. */
void tn_runner_sent(struct tn_task *task, int failed, const struct tn_err *err);
/* The current step ends: NULL error for success. */
void tn_runner_step_done(struct tn_task *task, const char *fail_reason);
/* Opens the log of the current step and reports it as running; `then` goes on. */
void tn_runner_open_log(struct tn_task *task, void (*then)(struct tn_task *task));
/* Text of ours into the log of the current step. */
void tn_runner_say(struct tn_task *task, const char *fmt, ...) TN_PRINTF(2, 3);
const char *tn_runner_fact(const struct tn_task *task, const char *name, char *out, size_t size);
/* `~`, relative and absolute paths of the config as the environment knows them. The caller frees it. */
char *tn_runner_path(const struct tn_task *task, const char *path);
void tn_runner_environ(const struct tn_task *task, const cJSON *step, struct tn_environ *env);
uint32_t tn_runner_stream(unsigned step);
/* explain.c: "killed: out of memory (limit 2 GB, resource class small)" if the kernel killed for memory meanwhile; else
 * false, and nothing in `out`. */
bool tn_runner_out_of_memory(const struct tn_task *task, const struct tn_agent_exit *end, char *out, size_t size);
/* The current step wants the default shell, and the environment has neither bash nor sh. */
bool tn_runner_lacks_shell(const struct tn_task *task);
/* A channel number of the current step that was never used. */
uint32_t tn_runner_channel(struct tn_task *task);
const cJSON *tn_runner_step(const struct tn_task *task, unsigned step);
const char *tn_runner_step_name(const struct tn_task *task, unsigned step);

/* tree.c: begins the current step of one of its types; ends with tn_runner_step_done(). False: not its type. */
bool tn_tree_begin(struct tn_task *task, const char *type, const cJSON *step);
void tn_tree_free(struct tn_task *task);
/* tenon-output has no room for what the current step stores. */
void tn_tree_on_stream_failed(struct tn_task *task, uint32_t stream, const struct tn_err *err);
void tn_tree_on_window(struct tn_task *task, uint32_t channel, uint64_t limit);

uint64_t tn_now_ms(void); /* wall clock, milliseconds since 1970 */

#endif
