/* The last lines of a file. */
#ifndef TN_TOOLS_TAIL_H
#define TN_TOOLS_TAIL_H

#include "core/lib/buf.h"

/* Appends the last `lines` lines (at most the last 16 KiB) of a file, each behind `prefix` and with one newline. A file
 * that cannot be read adds nothing. As text_clean() shows it: logs are foreign text. */
void tail_file(const char *path, unsigned lines, const char *prefix, struct tn_buf *out);

#endif
