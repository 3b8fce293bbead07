/* Why a file or socket may not be used, and what the operator does about it: for messages. Processes of ours have users
 * of their own, so what root named in the settings is often root's alone. */
#ifndef TN_PERMIT_H
#define TN_PERMIT_H

#include "core/lib/err.h"

#include <stddef.h>

enum { TN_PERMIT_TEXT = 700 };

/* What is in the way of reading the file `path`, or of connecting to the socket `path`: "user U may not read it (owner
 * O, group G, mode 0600): …". "" when nothing that can be seen is. Reads /etc/passwd and /etc/group, where it may. */
void tn_permit_read(const char *path, char *text, size_t size);
void tn_permit_connect(const char *path, char *text, size_t size);

/* Adds that to `err` if it says that `path` may not be read (EACCES); else does nothing. Returns -1. */
int tn_permit_add(struct tn_err *err, const char *path);

#endif
