/* The working tree as a tar stream, made piece by piece: what a job's `checkout` gets.
 *
 * Of a git checkout: the tracked files as they lie there now, changed or not, the files that are neither tracked nor
 * ignored, and a .git that works by itself (also when the checkout's own .git is a file: a worktree or a submodule).
 * Elsewhere, or when git is not installed: every file. Symbolic links stay links; sockets, devices and fifos are left
 * out. Names in the tar are relative to the root. */
#ifndef TN_TOOLS_SOURCE_H
#define TN_TOOLS_SOURCE_H

#include "core/lib/buf.h"
#include "core/lib/err.h"
#include "tools/project.h"

struct source; /* opaque */

/* Lists the files; blocks while git does. NULL on failure. `project` is borrowed. */
struct source *source_open(const struct project *project, struct tn_err *err);
/* Appends at least `want` bytes of the tar to `out` unless the end comes before. 1: there is more, 0: that was the end,
 * -1: failed. A file that vanished since it was listed is left out. */
int source_read(struct source *source, size_t want, struct tn_buf *out, struct tn_err *err) TN_MUST_CHECK;
void source_close(struct source *source);

#endif
