/* What the files of the kernel share: one supervised process, the whole of them, and the calls between
 * kernel.c (supervision, the beginning and the end) and kernel_bus.c (what is said and heard over the bus). */
#ifndef TN_KERNEL_WORKER_H
#define TN_KERNEL_WORKER_H

#include "core/kernel/clears.h"
#include "core/kernel/confinement.h"
#include "core/kernel/kernel.h"
#include "core/kernel/link.h"
#include "core/kernel/manifest.h"
#include "core/kernel/programs.h"
#include "core/kernel/roles.h"
#include "core/kernel/supervise.h"
#include "core/peer/seen.h"

#include <event2/event.h>

#include <stdint.h>
#include <sys/types.h>

enum { TN_WORKERS_MAX = 80 };

struct tn_kernel;

struct tn_worker {
    struct tn_kernel *kernel;      /* borrowed */
    const struct tn_role_row *row; /* borrowed */
    struct tn_manifest *manifest;  /* owned; of an executor, else NULL */
    char *name;                    /* owned; "scheduler", "executor-machine" */
    char *program;                 /* owned; path */
    uint16_t address;
    uint32_t life;         /* 0: none yet */
    uint64_t add_sequence; /* of the PEER_ADD that is not answered, or 0 */
    pid_t pid;             /* 0: it does not run */
    struct tn_supervision sup;
    struct event *timer; /* owned */
    char *confinement;   /* owned; what it said at READY, or NULL */
    struct tn_own_user user;
    gid_t groups[TN_CONFINEMENT_GROUPS_MAX]; /* supplementary ones that its present life was started with */
    size_t group_count;
    cJSON *mechanisms; /* owned; what confines its present life (mechanisms.h), or NULL */
    bool is_refused;   /* its confinement is weaker than the operator demands: `reason` says why */
    char reason[256];  /* why it ended the last time, or "" */
    bool is_cut;       /* the bus has cut off its present life: `reason` says why */
    unsigned cuts;     /* how often the bus has cut it off */
    cJSON *traffic;    /* owned; what the bus last told of it (BUS_STATUS), or NULL */
};

struct tn_kernel {
    const struct tn_kernel_config *config; /* borrowed */
    struct event_base *base;               /* owned */
    struct tn_worker workers[TN_WORKERS_MAX];
    size_t count;
    struct tn_worker *bus; /* the first of them */
    struct tn_link *link;  /* owned; NULL while there is no bus */
    int bus_fd;            /* the bus's end of the link, until it is spawned */
    cJSON *settings;       /* owned; of the operator */
    struct tn_means means; /* what processes can be confined by here */
    struct tn_programs *programs;
    struct tn_clears *clears; /* owned */
    struct tn_seen *seen;
    uint32_t life;      /* own */
    uint32_t last_life; /* that was given to anybody */
    uint32_t counter;   /* of own messages */
    uint16_t client;    /* address of the one client of a private run */
    uint32_t client_life;
    bool client_cut;       /* the bus has cut it off, and will not be asked for it again */
    cJSON *client_traffic; /* owned; as that of a worker */
    bool ready_told;
    bool stopping;
    bool is_over;          /* nothing is left to be stopped */
    bool forced;           /* no grace any more */
    unsigned terms;        /* signals to stop so far; the second one forces */
    bool programs_stopped; /* nothing of them is left */
    bool stopping_programs;
    unsigned stop_phase;
    int status;                 /* of tenond */
    struct event *status_timer; /* owned; NULL: nothing has changed yet */
    struct event *events[8];    /* owned; signals and descriptors */
    size_t event_count;
};

/* Starts its program, unless it would be confined less than the operator demands (TN_ERR_CONFIG). `pass_fd` becomes
 * descriptor 3 (-1: none). Returns the process's id or -1. */
pid_t tn_worker_spawn(struct tn_worker *worker, const struct tn_kernel_config *config, int pass_fd,
                      struct tn_err *err) TN_MUST_CHECK;

/* kernel.c: one event of a process. */
void tn_kernel__step(struct tn_worker *worker, enum tn_sup_event event);

/* kernel_bus.c */

/* A fresh socket pair: our end is `kernel->link`, the bus's is `kernel->bus_fd`. */
int tn_kernel__open_link(struct tn_kernel *kernel, struct tn_err *err) TN_MUST_CHECK;
/* A new bus knows nobody: everybody who has a life is added with it again, and is said to be up if it is. */
void tn_kernel__introduce_all(struct tn_kernel *kernel);
/* PEER_ADD; returns its sequence. */
uint64_t tn_kernel__add_peer(struct tn_kernel *kernel, uint16_t address, uint32_t life, const char *name,
                             const struct tn_manifest *manifest);
/* PEER_STATE: "up", "down" or "failed" with the reason. */
void tn_kernel__tell_state(struct tn_worker *worker, const char *state);
/* One line of JSON to the ready descriptor, once: where the client finds everything, or why it does not. Does nothing
 * while a core process is not ready yet. */
void tn_kernel__tell_ready(struct tn_kernel *kernel);
/* Callbacks of programs.h. */
bool tn_kernel__user_of(void *arg, const char *executor, uid_t *user);
void tn_kernel__reply(void *arg, const struct tn_header *request, enum tn_msg_kind kind, const cJSON *body);
void tn_kernel__program_exited(void *arg, const char *executor, uint64_t task, uint32_t attempt, const cJSON *body);

#endif
