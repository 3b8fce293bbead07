/* What a job stored to be looked at, artifacts and test results, out of its tar into folders; the tests are read on the
 * way. Trusts nothing in it. */
#ifndef TN_OUTPUT_UNPACK_H
#define TN_OUTPUT_UNPACK_H

#include "core/output/stream.h"

/* Unpacks the finished file `partial` of the stream and adds to `result` what STREAM_CLOSED says of it. Doing it again
 * does no more. Blocks; may be called in any thread. */
int tn_unpack(const struct tn_stream_home *home, const struct tn_stream *stream, const char *partial, cJSON *result,
              struct tn_err *err) TN_MUST_CHECK;

#endif
