/* The child that removes a folder for clears.c. */
#ifndef TN_KERNEL_CLEAR_CHILD_H
#define TN_KERNEL_CLEAR_CHILD_H

#include <sys/types.h>

/* What the child writes before it ends is at most this: fewer bytes than a pipe holds, so that it never waits. */
enum { TN_CLEAR_VERDICT = 2048 };

/* Forks it; it removes `below` (components without "..", joined by "/") in the folder `root` and writes the verdict to
 * `verdict_fd`: "ok", or the code of a REFUSED, a blank and the text. Returns its id, or -1 with errno. */
pid_t tn_clear_child_start(const char *root, const char *below, int verdict_fd);

#endif
