/* What a user's runs and their store keep, counted. Blocks on the disk only. */
#ifndef TN_TOOLS_STORE_USAGE_H
#define TN_TOOLS_STORE_USAGE_H

#include "core/lib/json.h"

/* {"rows": [{project, kind, count, bytes, oldest}], "bytes": of all rows, "disk": what they take, since equal files are
 * stored once}; `oldest` in ms since 1970. Sorted by project and kind. The caller deletes it. */
cJSON *store_usage(const char *home);

#endif
