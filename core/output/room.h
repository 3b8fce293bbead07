/* Room: what is free on a disk, what a project keeps, and the words for too little of it. Blocks on the disk only. */
#ifndef TN_OUTPUT_ROOM_H
#define TN_OUTPUT_ROOM_H

#include "core/lib/err.h"
#include "core/output/layout.h"

#include <stdbool.h>
#include <stdint.h>

/* What the operator allows (settings: store). */
struct tn_room {
    uint64_t reserve; /* bytes free below which no job begins */
    uint64_t quota;   /* bytes that a project may keep; 0: no bound */
};

/* Bytes that we may still write to the file system of `path`; UINT64_MAX if that cannot be known. */
uint64_t tn_room_free(const char *path);
/* Bytes that are left to logs and the ledger: what a job saves does not touch them. A sixteenth of the reserve, at most
 * 64 MiB. */
uint64_t tn_room_floor(const struct tn_room *room);
/* -1 with the error of tn_room_lacks() if `bytes` more do not fit on the file system of `path`. */
int tn_room_check(const struct tn_room *room, const char *path, uint64_t bytes, struct tn_err *err) TN_MUST_CHECK;
/* Sets "needs [at least] X, Y are free on PATH (Z of them are left to logs)" with ENOSPC. `path` is a file or folder on
 * that disk. Returns -1. */
int tn_room_lacks(const struct tn_room *room, const char *path, uint64_t bytes, bool at_least, struct tn_err *err);
/* Is this the error of a full disk, or of a quota? */
bool tn_room_is_lack(const struct tn_err *err);

/* Makes room for `bytes` more of the project within the quota: its oldest caches go. What counts is its caches and what
 * this run keeps. -1 and why if that is not enough; then nothing is removed. */
int tn_room_quota(const struct tn_layout *layout, const char *project, uint64_t bytes, uint64_t quota,
                  struct tn_err *err) TN_MUST_CHECK;
/* Bytes of all files below a folder. */
uint64_t tn_room_used(const char *folder);

#endif
