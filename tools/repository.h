/* What `tenon run --repository` checks out: asks the remote which revision a branch, a tag or a pull request is, so
 * that all jobs of the pipeline get the same one. */
#ifndef TN_TOOLS_REPOSITORY_H
#define TN_TOOLS_REPOSITORY_H

#include "tools/options.h"
#include "tools/project.h"

#include <cjson/cJSON.h>

/* One row of what `git ls-remote --symref` says, looked for by its name. Pure. */
struct repository_refs {
    const char *text; /* borrowed */
};
/* The revision of a ref, of a tag the commit's, copied to `out`; false if it is not there. */
bool repository_refs_find(const struct repository_refs *refs, const char *name, char out[65]);
/* The branch that HEAD stands for, copied to `out`; false if that is not said. */
bool repository_refs_head(const struct repository_refs *refs, char *out, size_t size);

/* The member `checkout` of PIPELINE_CREATE (proto/README.md), which the caller deletes; `project` becomes that of the
 * repository. `settings` (NULL: none) gives keys and tokens. TN_ERR_USAGE: the remote has not what was asked for;
 * TN_ERR_UNAVAILABLE: it does not answer, with what git says. Blocks while git runs. */
cJSON *repository_find(const struct options *options, const cJSON *settings, struct project *project,
                       struct tn_err *err);

#endif
