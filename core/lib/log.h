/* One line an event, to standard error: "time level role: text".
 *
 * Never pass a secret. Levels: error (somebody must act), warn (something was lost or is degraded), info (a state
 * changed), debug (only with TENON_LOG=debug). TENON_LOG=error|warn|info|debug chooses; the default is info. */
#ifndef TN_LOG_H
#define TN_LOG_H

#include "core/lib/err.h"

enum tn_log_level { TN_LOG_ERROR, TN_LOG_WARN, TN_LOG_INFO, TN_LOG_DEBUG };

/* Names the process in each line and reads TENON_LOG. `role` is borrowed and must live as long as the process. */
void tn_log_open(const char *role);

/* One line in one write(2), so it blocks only if standard error does; a text over 2 KiB is cut. */
void tn_log(enum tn_log_level level, const char *fmt, ...) TN_PRINTF(2, 3);

#define tn_error(...) tn_log(TN_LOG_ERROR, __VA_ARGS__)
#define tn_warn(...) tn_log(TN_LOG_WARN, __VA_ARGS__)
#define tn_info(...) tn_log(TN_LOG_INFO, __VA_ARGS__)
#define tn_debug(...) tn_log(TN_LOG_DEBUG, __VA_ARGS__)

/* Reports and ends the process with `status`. Only at start-up or for a broken invariant of our own. */
void tn_fatal(int status, const char *fmt, ...) TN_PRINTF(2, 3) __attribute__((noreturn));

#endif
