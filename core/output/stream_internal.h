/* What stream.c and stream_end.c share. */
#ifndef TN_OUTPUT_STREAM_INTERNAL_H
#define TN_OUTPUT_STREAM_INTERNAL_H

#include "core/output/stream.h"

/* Where its file lies while it is written. */
char *tn_stream__partial_path(const struct tn_stream_home *home, const struct tn_stream *stream);
/* Where a blob lies when it is committed, or NULL for what is unpacked. */
char *tn_stream__final_path(const struct tn_stream_home *home, const struct tn_stream *stream);
/* Gives the finished file its final name; a cache whose key came to be there meanwhile stays, and the result says so.
 */
int tn_stream__commit(const struct tn_stream_home *home, const struct tn_stream *stream, const char *partial,
                      const char *final, struct tn_err *err) TN_MUST_CHECK;
/* There is no room for it: what it took goes at once, so that others have it. Sets the error with the figures unless
 * `err` has them already, and returns -1. */
int tn_stream__fail_for_room(const struct tn_stream_home *home, struct tn_stream *stream, uint64_t needs, bool at_least,
                             struct tn_err *err);
/* Sets the error that it failed with. Returns -1. */
int tn_stream__say_failed(const struct tn_stream *stream, struct tn_err *err);
/* Takes the thread's work back, if there is any, and frees it. */
void tn_stream__ending_free(struct tn_stream *stream);

#endif
