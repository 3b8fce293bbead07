/* What an open attempt may read and where it writes: what the grant in its lease says (core/lib/grant.h), not what the
 * executor says. An executor gets at no other project's caches, no other pipeline's source, no other jobs' workspace.
 */
#ifndef TN_OUTPUT_RIGHTS_H
#define TN_OUTPUT_RIGHTS_H

#include "core/lib/grant.h"
#include "core/output/layout.h"

struct tn_rights {
    cJSON *claims;      /* owned; pipeline, workflow, job, index, total, project */
    uint64_t *upstream; /* owned, sorted; tasks whose layers its workspace is made of */
    size_t upstream_count;
};

/* Is it this attempt's grant, and that executor's? NULL with `err`: nothing of it is to be believed. The caller frees
 * it with tn_rights_free(). */
struct tn_rights *tn_rights_open(const uint8_t key[TN_GRANT_KEY], const char *grant, uint64_t task, uint32_t attempt,
                                 uint16_t executor, struct tn_err *err) TN_MUST_CHECK;
/* NULL is allowed. */
void tn_rights_free(struct tn_rights *rights);

/* May it ask for that: the body of a BLOB_FIND? (Caches are looked for in its own project, whatever it asks.) */
int tn_rights_find(const struct tn_rights *rights, const cJSON *wanted, struct tn_err *err) TN_MUST_CHECK;
/* May it read the blob of that id? */
int tn_rights_read(const struct tn_rights *rights, const struct tn_layout *layout, const char *id,
                   struct tn_err *err) TN_MUST_CHECK;

#endif
