/* Brings the working tree's tar to tenon-output, as the stream `source` of a pipeline. */
#ifndef TN_TOOLS_UPLOAD_H
#define TN_TOOLS_UPLOAD_H

#include "core/lib/err.h"
#include "core/peer/peer.h"
#include "tools/project.h"

#include <stdint.h>

struct upload; /* opaque */

/* `err` is NULL when all is stored, `size` the tar's. The upload is closed by the caller, also from here. */
typedef void upload_done_cb(void *arg, uint64_t size, const struct tn_err *err);

/* Lists the files (blocks while git does), then sends as answers come. `data`, `project` and `pipeline` are borrowed.
 * If the output service restarts meanwhile, it begins again. NULL on failure. */
struct upload *upload_start(struct event_base *base, struct tn_peer *data, const struct project *project,
                            const char *pipeline, upload_done_cb *done, void *arg, struct tn_err *err);
/* Stops it where it is; NULL is allowed. */
void upload_close(struct upload *upload);

#endif
