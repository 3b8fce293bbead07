/* What an attempt knows of tests: the results that its steps stored, and the times of former runs, which it puts where
 * `circleci tests split` finds them. Between the runner's files; not for executors. */
#ifndef TN_SDK_TESTS_H
#define TN_SDK_TESTS_H

#include "executors/sdk/task.h"

enum { TN_TESTS_FAILURES = 10 }; /* failed tests that are told by name; the list in the store has all */

/* Adds `tests` of a STREAM_CLOSED to those of the attempt (task->tests, as TASK_STATE tells them) and says in the
 * step's log what came of it. `folder` is where results lie. */
void tn_tests_take(struct tn_task *task, const cJSON *tests, const char *folder);
/* Puts the times of the job's tests into the task data of the environment, if there are any, then calls `then`. That it
 * does not succeed is said, and no reason to fail. */
void tn_tests_put_timings(struct tn_task *task, void (*then)(struct tn_task *task));

#endif
