/* The programs that executors have started: the agent on this host, a virtual machine. They outlive their executor.
 *
 * Each runs in a session of its own, kept together by the best that can be had here: a control group; else a process id
 * namespace; else its process group, its descendants and a mark in their environment. It is named by (task, attempt);
 * starting it again while it runs, or stopping it when it is gone, does nothing more. When its first process ends, or
 * it is stopped, everything that came from it is killed before PROGRAM_EXITED or the answer is sent, also the orphans
 * that came to tenond (it is the subreaper) and that nobody knows; what is mounted in its folder is unmounted. What
 * belongs to other users and may not be killed is told in the log. A program that ended by itself is remembered until
 * it is stopped, so that a repeated PROGRAM_START cannot run it twice. A record of each lies in RUN/programs (not in a
 * private run, which nothing outlives): the next tenond adopts them. What a killed tenond left without a record is
 * found by its control group or its mark. */
#ifndef TN_KERNEL_PROGRAMS_H
#define TN_KERNEL_PROGRAMS_H

#include "core/kernel/manifest.h"
#include "core/lib/err.h"
#include "proto/codec.h"

#include <cjson/cJSON.h>
#include <event2/event.h>

#include <stdbool.h>
#include <sys/types.h>

struct tn_programs; /* opaque */

struct tn_programs_config {
    struct event_base *base; /* borrowed */
    const char *run_dir;     /* borrowed */
    const char *state_dir;   /* borrowed; what a program left mounted in its folder below STATE/EXECUTOR is unmounted */
    const char *store_dir;   /* borrowed; notes for the next tenond go there */
    const cJSON *settings;   /* borrowed; the operator's, see operator.h */
    const char *enclosure;   /* borrowed; "auto", "cgroup", "namespace" or "group" */
    const char *installation;
    bool is_private;
    int log_fd;
    /* Answers a request: `kind` with a JSON object, or REFUSED with a code and a text. */
    void (*reply)(void *arg, const struct tn_header *request, enum tn_msg_kind kind, const cJSON *body);
    /* PROGRAM_EXITED to the executor of that name. */
    void (*exited)(void *arg, const char *executor, uint64_t task, uint32_t attempt, const cJSON *body);
    /* The user that the executor of that name runs as. False: it does not run. */
    bool (*user_of)(void *arg, const char *executor, uid_t *user);
    /* Is it a child that somebody else here knows? */
    bool (*is_known)(void *arg, pid_t pid);
    /* There is nothing left after tn_programs_stop_all(). */
    void (*idle)(void *arg);
    void *arg;
};

/* No program runs yet. `config` is copied, what it points to is borrowed. NULL with `err`. */
struct tn_programs *tn_programs_open(const struct tn_programs_config *config, struct tn_err *err) TN_MUST_CHECK;
void tn_programs_close(struct tn_programs *programs);

/* The three requests, of the executor whose manifest it is. Each is answered through `reply`, maybe later. */
void tn_programs_start(struct tn_programs *programs, const struct tn_manifest *executor,
                       const struct tn_header *request, const cJSON *body);
void tn_programs_stop(struct tn_programs *programs, const struct tn_manifest *executor, const struct tn_header *request,
                      const cJSON *body);
void tn_programs_list(struct tn_programs *programs, const struct tn_manifest *executor,
                      const struct tn_header *request);

/* What keeps programs together here, and which limits can be set: "cgroup (version 2), limits: cpu memory pids".
 * Returns `out`. */
const char *tn_programs_text(const struct tn_programs *programs, char *out, size_t size);

/* A child has ended. False if it was no program's first process. */
bool tn_programs_reaped(struct tn_programs *programs, pid_t pid, int status);
/* Ends all of them and whatever else is a child that nobody knows; `idle` is called when nothing is left. Starts are
 * refused from now on. May be called again with less grace. */
void tn_programs_stop_all(struct tn_programs *programs, unsigned grace_ms);

#endif
