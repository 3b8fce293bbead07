#include "executors/agent/side.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

void tn_side_say(int fd, enum tn_side_kind kind, int code, const char *fmt, ...)
{
    struct tn_side_record record = {.kind = (uint8_t)kind, .code = code};
    va_list ap;
    int len;

    va_start(ap, fmt);
    len = vsnprintf(record.text, sizeof(record.text), fmt, ap);
    va_end(ap);
    if (len < 0)
        len = 0;
    record.len = (uint16_t)(len < TN_SIDE_TEXT ? len : TN_SIDE_TEXT - 1);
    /* Nobody reads only if the agent is gone, and then nobody can be told. */
    if (write(fd, &record, TN_SIDE_HEAD + record.len) < 0)
        return;
}
