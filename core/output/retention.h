/* What goes by itself: caches past their time, what is nobody's, what killed runs left, and the output of old runs. All
 * of it may be done while jobs run and by several at once: what another removed first is no error. Blocks on the disk
 * only. */
#ifndef TN_OUTPUT_RETENTION_H
#define TN_OUTPUT_RETENTION_H

#include "core/lib/json.h"
#include "core/output/layout.h"

/* How long each kind is kept, in seconds (settings: store.keep). */
struct tn_keep {
    uint64_t logs;
    uint64_t artifacts;
    uint64_t caches;
    uint64_t workspaces; /* and source trees */
    uint64_t test_results;
};

/* `settings` is the section "store", or NULL: all as by default. */
struct tn_keep tn_keep_read(const cJSON *settings);

/* Told of each thing that goes (with `dry`: would go). `kind`: "cache", "leftover", "unused", "damaged", "logs", …. */
typedef void tn_removed_cb(void *arg, const char *kind, const char *path, uint64_t bytes);

struct tn_retention {
    struct tn_keep keep;
    uint64_t now;           /* seconds since 1970 */
    bool dry;               /* removes nothing */
    tn_removed_cb *removed; /* NULL: a line in the log */
    void *arg;
};

/* The store: caches older than they are kept; tars and entries that a kill left; partial files a day old, or of a run
 * that `over` says is over (may be NULL; `run` is 16 hexadecimal digits, struct tn_layout); shared files that nobody
 * uses; damaged files, kept as long as caches. */
typedef bool tn_run_over_cb(void *arg, const char *run);
void tn_retention_store(const struct tn_retention *retention, const struct tn_layout *layout, tn_run_over_cb *over);
/* The folder of a run that is over and began at `began`: each kind past its time. True if nothing is kept of it any
 * more, so that its folder may go. */
bool tn_retention_run(const struct tn_retention *retention, const char *state, uint64_t began);

#endif
