/* The times of former runs, in the JSON form of $CIRCLE_INTERNAL_TASK_DATA/circle-test-results/results.json:
 * {"tests": [{"file", "classname", "name", "run_time", …}, …], …}. Members in any order, unknown ones are passed over,
 * a missing or null one is none. What cannot be read ends the reading; what came before it counts. */
#ifndef TN_AGENT_TIMINGS_H
#define TN_AGENT_TIMINGS_H

enum tn_timing_type { TN_TIMING_AUTO = 0, TN_TIMING_FILE = 1, TN_TIMING_CLASS = 2, TN_TIMING_TEST = 3 };

/* One test: fields[] by enum tn_timing_type, each NULL or a string that is borrowed for the call. */
typedef void tn_timing_cb(void *arg, double seconds, char *const fields[4]);

/* Reads `text` (a string, which is changed) and calls `cb` for each test. */
void tn_timings_read(char *text, tn_timing_cb *cb, void *arg);

/* A plain decimal number that is not negative, with an exponent or without; *end is behind it, or at `text` if there is
 * none. strtod() would double the size of what this needs. */
double tn_parse_decimal(const char *text, char **end);

#endif
