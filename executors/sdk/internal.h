/* What executor.c, task.c, checkpoint.c and the runner's files offer to one another. Not for executors. */
#ifndef TN_SDK_INTERNAL_H
#define TN_SDK_INTERNAL_H

#include "executors/sdk/keyring.h"
#include "executors/sdk/task.h"

/* The executor's own functions, and the connection to tenon-output. Borrowed. */
const struct tn_executor_ops *tn_executor_ops(const struct tn_executor *executor);
struct tn_peer *tn_executor_data(struct tn_executor *executor);
/* What the settings give for checkout. */
const struct tn_keyring *tn_executor_keyring(const struct tn_executor *executor);
/* True once this process is to end and leave nothing behind. */
bool tn_executor_stopping(const struct tn_executor *executor);
/* Takes the task out of the table; it is being freed. */
void tn_executor_forget(struct tn_executor *executor, struct tn_task *task);

/* The step timer has fired: silence, or the grace after a signal, was too long. */
void tn_runner_on_timer(struct tn_task *task);
void tn_runner_background_done(struct tn_task *task, unsigned step);
/* A checkpoint is kept: the current step may have waited for it. */
void tn_runner_on_kept(struct tn_task *task);
/* Where the job's steps begin, of what the config says. The caller's to free. */
char *tn_runner_working_directory(const struct tn_task *task);

/* runner.c, for runner_command.c: how the current step goes on. */
void tn_runner__begin_step(struct tn_task *task);
void tn_runner__end_step(struct tn_task *task, const char *state, const struct tn_agent_exit *end, const char *reason);
void tn_runner__next_step(struct tn_task *task);

/* runner_command.c: the command of the current step, a try of which has a channel of its own. */
enum { TN_COMMAND_CHANNELS = 8 }; /* of a step: the first try's, one for each further try, and none */
uint32_t tn_command_channel(const struct tn_task *task);
bool tn_command_is_channel(uint32_t channel);
/* Starts the command of a `run` step. */
void tn_command_run(struct tn_task *task);
/* Starts a program as the current step's command. False: it was not possible, and the step or the job is over. */
bool tn_command_spawn(struct tn_task *task, const char *const *words, const struct tn_environ *env, const char *cwd);
/* The command is to be started (again) after `delay_ms`, once a checkpoint knows it. */
void tn_command_again(struct tn_task *task, uint64_t delay_ms);
/* True while the delay before the current try is not over; the step begins when it is. */
bool tn_command_delayed(struct tn_task *task);
/* "10m0s", as Go prints a duration: users know messages so. */
const char *tn_command_duration(uint64_t ms, char *out, size_t size);
void tn_command_ended(struct tn_task *task, const struct tn_agent_exit *end);
void tn_command_stop(struct tn_task *task, bool kill);

/* checkpoint.c: sends the progress now, unless one is on its way (then another follows). */
void tn_task__checkpoint(struct tn_task *task);
/* The same, and another does follow. */
void tn_task__checkpoint_now(struct tn_task *task);
/* Goes on from what an earlier life of the attempt kept; NULL: there was none. */
void tn_task__take_checkpoint(struct tn_task *task, const cJSON *checkpoint);
/* task_agent.c: connects to the agent at the attempt's offset; forgets the connection. */
void tn_task__connect(struct tn_task *task);
void tn_task__drop_link(struct tn_task *task);
/* task.c. The result is kept: what runs beside the steps ends, then the environment is released. */
void tn_task__sealed(struct tn_task *task);
void tn_task__release(struct tn_task *task);

#endif
