/* What runs beside the steps of an attempt: service containers, and the program that a primary container keeps (its
 * entrypoint). Each has a log of its own and is shown as a step that goes on while the job's steps do; the numbers of
 * these steps follow those of the plan.
 *
 * Executors see tn_task_companion_*() of executor.h. A companion's log goes into the same checkpoints as the steps':
 * each byte is kept together with the cursor that it came with, so whoever takes the attempt up goes on behind it. */
#ifndef TN_SDK_COMPANION_H
#define TN_SDK_COMPANION_H

#include "executors/sdk/task.h"

struct tn_companion {
    unsigned index;
    char *name;                       /* owned */
    char *log;                        /* owned; path of its log once that is known, or NULL */
    char cursor[TN_COMPANION_CURSOR]; /* of the last bytes */
    uint64_t started_ms;
    bool open; /* may be written to */
    bool over; /* its end was reported */
};

/* The companion shown as step number `step`, or NULL. */
const struct tn_companion *tn_companion_of_step(const struct tn_task *task, unsigned step);
/* True while one is not over: its end is to be waited for before the environment is removed. */
bool tn_companions_open(const struct tn_task *task);
/* Ends those that are not over: they ran until the job's end. */
void tn_companions_end(struct tn_task *task);
/* Forgets all of them. */
void tn_companions_free(struct tn_task *task);

/* For progress.c. */
void tn_companions_save(const struct tn_task *task, cJSON *json);
void tn_companions_load(struct tn_task *task, const cJSON *json);

/* The program that the environment keeps beside the steps (tn_environment.program), companion 0. Its log, then, once
 * the agent is there, its start, which may be said again. */
void tn_companion_keep_program(struct tn_task *task, const struct tn_environment *environment);
void tn_companion_start_program(struct tn_task *task);
/* True if the channel is the program's: then it was handled. The end of the program is the end of the job. */
bool tn_companion_on_out(struct tn_task *task, uint32_t channel, const void *bytes, size_t length);
bool tn_companion_on_exit(struct tn_task *task, uint32_t channel, const struct tn_agent_exit *end);

#endif
