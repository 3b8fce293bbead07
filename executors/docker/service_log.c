#include "executors/docker/service_log.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Reads exactly `digits` digits; -1 if there are not as many. */
static int number(const char **at, int digits)
{
    int value = 0;

    for (int i = 0; i < digits; i++, (*at)++) {
        if (!isdigit((unsigned char)**at))
            return -1;
        value = value * 10 + (**at - '0');
    }
    return value;
}

static bool take(const char **at, char expected)
{
    return *(*at)++ == expected;
}

/* "Z" or "+HH:MM"; the offset in seconds. */
static bool read_zone(const char *at, long *offset)
{
    int sign = *at == '-' ? -1 : 1;
    int hours;
    int minutes;

    *offset = 0;
    if (strcmp(at, "Z") == 0)
        return true;
    if (*at != '+' && *at != '-')
        return false;
    at++;
    hours = number(&at, 2);
    if (hours < 0 || !take(&at, ':'))
        return false;
    minutes = number(&at, 2);
    *offset = sign * (hours * 3600L + minutes * 60L);
    return minutes >= 0 && *at == '\0';
}

/* RFC 3339, with up to nine digits of a second. */
static bool read_time(const char *text, int64_t *seconds, int32_t *nanoseconds)
{
    struct tm day = {0};
    const char *at = text;
    long offset;
    int unit = 100000000;

    if ((day.tm_year = number(&at, 4) - 1900) < 70 || !take(&at, '-') || (day.tm_mon = number(&at, 2) - 1) < 0 ||
        !take(&at, '-') || (day.tm_mday = number(&at, 2)) < 1 || !take(&at, 'T') ||
        (day.tm_hour = number(&at, 2)) < 0 || !take(&at, ':') || (day.tm_min = number(&at, 2)) < 0 || !take(&at, ':') ||
        (day.tm_sec = number(&at, 2)) < 0)
        return false;
    *nanoseconds = 0;
    if (*at == '.')
        for (at++; isdigit((unsigned char)*at) && unit > 0; at++, unit /= 10)
            *nanoseconds += (*at - '0') * unit;
    if (!read_zone(at, &offset))
        return false;
    *seconds = (int64_t)timegm(&day) - offset;
    return true;
}

int tn_service_log_begin(struct tn_service_log *log, const char *cursor, struct tn_err *err)
{
    const char *mark = strrchr(cursor, '#');
    size_t length = mark != NULL ? (size_t)(mark - cursor) : 0;
    char *end = NULL;

    tn_service_log_free(log);
    log->resumed = cursor[0] != '\0';
    if (!log->resumed)
        return 0;
    if (length > 0 && length < sizeof(log->time)) {
        memcpy(log->time, cursor, length);
        log->same = log->skip = (unsigned)strtoul(mark + 1, &end, 10);
    }
    if (end == NULL || end == mark + 1 || *end != '\0' || !read_time(log->time, &log->seconds, &log->nanoseconds)) {
        *log = (struct tn_service_log){0};
        return tn_err_set(err, TN_ERR_PROTOCOL, "\"%.60s\" is no place in a container's output", cursor);
    }
    return 0;
}

void tn_service_log_since(const struct tn_service_log *log, char *out, size_t size)
{
    int64_t seconds = log->nanoseconds > 0 ? log->seconds : log->seconds - 1;
    int32_t nanoseconds = log->nanoseconds > 0 ? log->nanoseconds - 1 : 999999999;

    out[0] = '\0';
    if (log->time[0] != '\0')
        snprintf(out, size, "%" PRId64 ".%09" PRId32, seconds, nanoseconds);
}

void tn_service_log_cursor(const struct tn_service_log *log, char *out, size_t size)
{
    out[0] = '\0';
    if (log->time[0] != '\0')
        snprintf(out, size, "%s#%u", log->time, log->same);
}

void tn_service_log_next(struct tn_service_log *log, uint32_t length)
{
    tn_buf_reset(&log->entry);
    log->left = length;
}

/* Was it passed on before? Sets whether something between then and now is missing. */
static bool is_known(struct tn_service_log *log, int64_t seconds, int32_t nanoseconds, bool *lost)
{
    bool same = seconds == log->seconds && nanoseconds == log->nanoseconds;
    bool before = seconds < log->seconds || (seconds == log->seconds && nanoseconds < log->nanoseconds);

    *lost = false;
    if (!log->resumed)
        return false;
    if (before)
        return true;
    if (same && log->skip > 0) {
        log->skip--;
        return true;
    }
    *lost = log->skip > 0;
    log->resumed = false;
    return false;
}

static int take_entry(struct tn_service_log *log, tn_service_log_entry *on_entry, void *arg, struct tn_err *err)
{
    const char *text = log->entry.data;
    const char *blank = memchr(text, ' ', log->entry.len < TN_SERVICE_TIME ? log->entry.len : TN_SERVICE_TIME);
    char time[TN_SERVICE_TIME];
    int64_t seconds;
    int32_t nanoseconds;
    bool lost;

    snprintf(time, sizeof(time), "%.*s", blank != NULL ? (int)(blank - text) : 0, text);
    if (blank == NULL || !read_time(time, &seconds, &nanoseconds))
        return tn_err_set(err, TN_ERR_PROTOCOL, "an entry of a container's output has no time before it");
    if (is_known(log, seconds, nanoseconds, &lost))
        return 0;
    log->same = strcmp(time, log->time) == 0 ? log->same + 1 : 1;
    memcpy(log->time, time, sizeof(time));
    log->seconds = seconds;
    log->nanoseconds = nanoseconds;
    on_entry(blank + 1, log->entry.len - (size_t)(blank + 1 - text), lost, arg);
    return 0;
}

int tn_service_log_feed(struct tn_service_log *log, const char *bytes, size_t length, tn_service_log_entry *on_entry,
                        void *arg, struct tn_err *err)
{
    if (length > log->left)
        return tn_err_set(err, TN_ERR_PROTOCOL, "an entry of a container's output is longer than it says");
    if (log->entry.len + length > TN_SERVICE_ENTRY)
        return tn_err_set(err, TN_ERR_LIMIT, "an entry of a container's output is longer than %u bytes",
                          TN_SERVICE_ENTRY);
    tn_buf_add(&log->entry, bytes, length);
    log->left -= (uint32_t)length;
    return log->left == 0 ? take_entry(log, on_entry, arg, err) : 0;
}

void tn_service_log_free(struct tn_service_log *log)
{
    tn_buf_free(&log->entry);
    *log = (struct tn_service_log){0};
}
