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
/* Appends one line of output without control characters and escape sequences: of what carriage returns overwrite the
 * last, tabs as blanks. `colour` keeps colour sequences, and resets them at the end. */
void text_clean(const char *line, size_t length, bool colour, struct tn_buf *out);
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
