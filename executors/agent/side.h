/* The side pipe: how the child of a channel tells the agent what went wrong before its program ran, and how the
 * children that pack and unpack trees report. Records are written in one piece (below PIPE_BUF). */
#ifndef TN_AGENT_SIDE_H
#define TN_AGENT_SIDE_H

#include "core/lib/err.h"

#include <stddef.h>
#include <stdint.h>

#define TN_SIDE_TEXT 2000

enum tn_side_kind {
    TN_SIDE_SPAWN = 'S',   /* the program could not be started; code is errno */
    TN_SIDE_WARN = 'W',    /* something was left out; work goes on */
    TN_SIDE_MISSING = 'M', /* the text is a path or pattern that matched nothing */
    TN_SIDE_ERROR = 'E',   /* the work failed */
};

struct tn_side_record {
    uint8_t kind;
    uint8_t zero;
    uint16_t len;
    int32_t code;
    char text[TN_SIDE_TEXT];
};

#define TN_SIDE_HEAD offsetof(struct tn_side_record, text)

void tn_side_say(int fd, enum tn_side_kind kind, int code, const char *fmt, ...) TN_PRINTF(4, 5);

#endif
