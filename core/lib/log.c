#include "core/lib/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char *const level_names[] = {
    [TN_LOG_ERROR] = "error",
    [TN_LOG_WARN] = "warn",
    [TN_LOG_INFO] = "info",
    [TN_LOG_DEBUG] = "debug",
};

/* The one state that is global: where every line of a process goes, set once by its main(). */
static const char *log_role = "tenon";
static enum tn_log_level log_level = TN_LOG_INFO;

void tn_log_open(const char *role)
{
    const char *wanted = getenv("TENON_LOG");

    log_role = role;
    for (size_t i = 0; wanted != NULL && i < sizeof(level_names) / sizeof(level_names[0]); i++)
        if (strcmp(wanted, level_names[i]) == 0)
            log_level = (enum tn_log_level)i;
}

/* One write(2) a line, so that lines of several processes on one descriptor do not mix. */
TN_PRINTF(2, 0)
static void log_write(enum tn_log_level level, const char *fmt, va_list ap)
{
    char line[2048];
    struct timespec now;
    struct tm utc;
    size_t used;
    int written;

    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    used = strftime(line, sizeof(line), "%Y-%m-%dT%H:%M:%S", &utc);
    written = snprintf(line + used, sizeof(line) - used, ".%03ldZ %s %s: ", now.tv_nsec / 1000000, level_names[level],
                       log_role);
    used += (size_t)written;
    written = vsnprintf(line + used, sizeof(line) - used - 1, fmt, ap);
    if (written > 0)
        used += (size_t)written < sizeof(line) - used - 1 ? (size_t)written : sizeof(line) - used - 2;
    line[used++] = '\n';
    /* A log line that cannot be written has nowhere to be reported. */
    if (write(STDERR_FILENO, line, used) < 0)
        return;
}

void tn_log(enum tn_log_level level, const char *fmt, ...)
{
    va_list ap;

    if (level > log_level)
        return;
    va_start(ap, fmt);
    log_write(level, fmt, ap);
    va_end(ap);
}

void tn_fatal(int status, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    log_write(TN_LOG_ERROR, fmt, ap);
    va_end(ap);
    exit(status);
}
