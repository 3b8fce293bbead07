/* What the files of the programs share: programs.c (requests), program_end.c (ends), program_records.c (what is kept
 * for the next tenond). */
#ifndef TN_KERNEL_PROGRAMS_INTERNAL_H
#define TN_KERNEL_PROGRAMS_INTERNAL_H

#include "core/kernel/cgroup.h"
#include "core/kernel/metadata.h"
#include "core/kernel/programs.h"

#include <sys/queue.h>

/* How a program is kept together, the best first. */
enum tn_enclosure {
    TN_ENCLOSURE_CGROUP,    /* a control group of its own */
    TN_ENCLOSURE_NAMESPACE, /* a process id namespace: its first process takes all others with it */
    TN_ENCLOSURE_GROUP,     /* neither: its process group, its descendants, orphans, and what carries its mark */
};

/* The variable by which what left everything else is still found. */
#define TN_PROGRAM_MARK "TENON_PROGRAM"

enum tn_program_state {
    TN_PROGRAM_RUNNING,
    TN_PROGRAM_TERMINATING, /* SIGTERM is sent, the grace runs */
    TN_PROGRAM_CLEARING,    /* its first process has ended, or has no grace left: everything is killed until nothing is
                               left */
    TN_PROGRAM_ENDED,       /* nothing is left; kept so that it is not started again */
};

struct tn_program {
    LIST_ENTRY(tn_program) next;
    struct tn_programs *programs; /* borrowed */
    char *executor;               /* owned; name */
    uint64_t task;
    uint32_t attempt;
    pid_t pid;
    uint64_t start_time;
    bool is_child; /* else adopted: its end is seen on `pid_fd`, without a status */
    bool alive;    /* its first process */
    int status;    /* of waitpid, if it was our child */
    int pid_fd;
    struct event *gone; /* owned; of pid_fd */
    enum tn_program_state state;
    enum tn_enclosure enclosure;
    bool apart;              /* it has a process id namespace: no process of another job can be seen from within */
    char metadata_why[200];  /* why it reaches the host's metadata addresses; "" if it does not */
    struct tn_cgroup cgroup; /* of TN_ENCLOSURE_CGROUP */
    unsigned limited;        /* TN_LIMIT_… that hold */
    char *folder;            /* owned; what lies in it is the program's: "" for none */
    struct event *timer;     /* owned */
    unsigned wait_ms;
    unsigned clearing_ms;
    size_t foreign;   /* processes that the last look found and that we may not kill */
    bool stop_wanted; /* `stop` is to be answered */
    struct tn_header stop;
};

struct tn_programs {
    struct tn_programs_config config;
    struct tn_cgroups groups;
    enum tn_enclosure enclosure; /* of programs that begin */
    bool apart;                  /* process id namespaces can be had, whatever the enclosure is */
    struct tn_metadata metadata; /* the addresses that programs do not reach; */
    char metadata_why[200];      /* why they do; "" if they do not */
    bool refused;                /* the operator asked for an enclosure that cannot be had; `why` says so */
    char why[320];               /* why it is not a better one; "" if it is the best */
    unsigned limits;             /* TN_LIMIT_… that can be set */
    LIST_HEAD(, tn_program) list;
    size_t count;
    bool stopping;
    struct event *sweep; /* owned; looks for orphans while stopping */
    size_t orphans;      /* found by the last look */
};

/* programs.c */
struct tn_program *tn_program__new(struct tn_programs *programs, const char *executor, uint64_t task, uint32_t attempt);
void tn_program__free(struct tn_program *program);

/* program_end.c */
/* Kills all that came from it until nothing is left; then it has ended. */
void tn_program__begin_clearing(struct tn_program *program);
void tn_program__first_process_ended(struct tn_program *program);
void tn_program__terminate(struct tn_program *program, unsigned grace_ms);
void tn_program__on_timer(evutil_socket_t fd, short what, void *arg);
void tn_programs__set_timer(struct event *timer, unsigned ms);
/* Tells the config's `idle` if it is stopping and nothing is left. */
void tn_programs__check_idle(struct tn_programs *programs);
void tn_programs__on_sweep(evutil_socket_t fd, short what, void *arg);

/* program_records.c */
void tn_program__name(uint64_t task, uint32_t attempt, char out[32]);
/* "TENON_PROGRAM=…" of it, the same for every tenond of a lasting installation. The caller frees it. */
char *tn_program__mark(const struct tn_program *program);
void tn_program__record(const struct tn_program *program);
void tn_program__forget(const struct tn_program *program);
/* The programs of an earlier tenond. */
int tn_programs__adopt_all(struct tn_programs *programs, struct tn_err *err) TN_MUST_CHECK;
/* Kills what carries the mark of a program that nobody looks after any more: its tenond and its agent were killed. */
void tn_programs__kill_abandoned(struct tn_programs *programs);

#endif
