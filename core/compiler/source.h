/* The config's bytes: checked before the parser sees them, and cut into lines for messages. */
#ifndef TN_COMPILER_SOURCE_H
#define TN_COMPILER_SOURCE_H

#include "core/compiler/arena.h"

#include <stdbool.h>

struct diags;

struct source {
    const char *text; /* borrowed; behind the byte order mark, if there was one */
    size_t len;
    const uint32_t *lines; /* offset of each line's first byte; in the arena */
    size_t line_count;
};

/* Checks size and encoding and fills `source`. Returns false after a report: too big, UTF-16, invalid UTF-8, NUL or
 * another control character. Line ends are those of YAML 1.1 (LF, CR, CRLF, NEL, LS, PS), as the parser counts. */
bool source__scan(struct source *source, struct arena *arena, struct diags *diags, const char *text, size_t len);

/* The line `number` (from 1) without its end, in the arena; at most 1000 bytes of it. "" if there is no such line. */
const char *source__line(const struct source *source, struct arena *arena, size_t number);

/* Looks for `needle` from a place on, at most 64 KiB far, and moves the place there. Returns false if it is not found.
 */
bool source__find(const struct source *source, const char *needle, size_t len, uint32_t *line, uint32_t *column);

#endif
