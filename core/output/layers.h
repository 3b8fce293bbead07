/* What lies in workspace layers, and the rule about it: a file that two jobs persisted neither of which is upstream of
 * the other cannot be attached.
 *
 * Beside each layer lies its list: its files' paths, so that the tar need not be read again. A list that is missing or
 * damaged is made anew from the layer. Blocks on the disk only. */
#ifndef TN_OUTPUT_LAYERS_H
#define TN_OUTPUT_LAYERS_H

#include "core/lib/buf.h"
#include "core/lib/json.h"
#include "core/output/zfile.h"

enum {
    TN_LAYER_LIST_MAX = 256 << 20, /* bytes of paths of one layer */
    TN_LAYER_CONFLICTS_MAX = 20,   /* that are named */
};

/* Appends the clean paths of all files and links in the tar to `paths`, each with its NUL. */
int tn_layer_paths(struct tn_zreader *reader, struct tn_buf *paths, struct tn_err *err) TN_MUST_CHECK;
/* The list as it is written beside a layer. */
void tn_layer_list_encode(const struct tn_buf *paths, struct tn_buf *list);
/* Its paths again; -1 if these bytes are no whole list. */
int tn_layer_list_decode(const void *bytes, size_t length, struct tn_buf *paths);
/* The path of the list that lies beside the layer `layer`. The caller frees it. */
char *tn_layer_list_path(const char *layer);
/* Writes the list of a finished layer beside where it is going to lie. */
int tn_layer_list_write(const char *partial, const char *layer, struct tn_err *err) TN_MUST_CHECK;
/* The paths of a layer, from its list or itself. */
int tn_layer_list_read(const char *layer, struct tn_buf *paths, struct tn_err *err) TN_MUST_CHECK;

/* A layer of a task of a job. */
struct tn_layer {
    char *path; /* owned */
    uint64_t task;
    uint32_t attempt;
    unsigned step;
    int job; /* position in `jobs`, -1: not known, then it conflicts with nothing */
};

/* The jobs of BLOB_FIND: [{name, tasks, requires: [positions]}], each after those that it requires. NULL if that is not
 * what they are. */
struct tn_layer_jobs; /* opaque */
struct tn_layer_jobs *tn_layer_jobs_new(const cJSON *jobs, struct tn_err *err) TN_MUST_CHECK;
void tn_layer_jobs_free(struct tn_layer_jobs *jobs);
/* The position of the job that the task is of, or -1; its name. */
int tn_layer_jobs_find(const struct tn_layer_jobs *jobs, uint64_t task);
const char *tn_layer_jobs_name(const struct tn_layer_jobs *jobs, int job);
/* May the two run at the same time? */
bool tn_layer_jobs_concurrent(const struct tn_layer_jobs *jobs, const struct tn_layer *a, const struct tn_layer *b);

/* Appends {path, jobs: [names]} for the first conflicts to `conflicts`; `*total` counts them all. */
int tn_layers_conflicts(const struct tn_layer_jobs *jobs, const struct tn_layer *layers, size_t count, cJSON *conflicts,
                        size_t *total, struct tn_err *err) TN_MUST_CHECK;

#endif
