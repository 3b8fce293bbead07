/* Foreign text made fit for a terminal or for JSON. Pure. */
#ifndef TN_TOOLS_TEXT_H
#define TN_TOOLS_TEXT_H

#include "core/lib/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Appends the bytes as valid UTF-8 without NUL: what is neither becomes U+FFFD. */
void text_utf8(const void *bytes, size_t length, struct tn_buf *out);
/* Bytes at the end that begin a character and do not complete it (0 to 3). */
size_t text_incomplete(const void *bytes, size_t length);
/* What text_clean() leaves. */
enum { TEXT_COLOUR = 1, TEXT_TABS = 2 };
/* Appends one line of output without control characters and escape sequences, so that it can do nothing to a terminal
 * but show text: of what carriage returns overwrite the last, tabs as blanks. TEXT_COLOUR keeps sequences that choose
 * colours (SGR) and resets them at the end, TEXT_TABS keeps tabs. What is not UTF-8 becomes U+FFFD. */
void text_clean(const char *line, size_t length, unsigned keep, struct tn_buf *out);
/* Bytes at the beginning of an unfinished line that text_clean() would not show any more, whatever follows. */
size_t text_overwritten(const char *line, size_t length);
/* Appends at most `columns` columns of clean text; "…" (or "." without `unicode`) is the last if it was cut. Returns
 * the columns used. */
unsigned text_cut(const char *text, unsigned columns, bool unicode, struct tn_buf *out);
/* Columns of a line up to its newline or its end; colour sequences have none. */
unsigned text_columns(const char *line);
/* Appends the first line of a name (a step's name may be a whole script), "…" behind it if there are more. */
void text_name(const char *name, struct tn_buf *out);
/* "0.2s", "12s", "1m05s", "1h02m". Returns `out`. */
const char *text_duration(uint64_t ms, char out[24]);

#endif
