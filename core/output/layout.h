/* Where everything of the output service lies below the state and the store folder. Pure: makes texts, touches no file.
 * All returned paths are the caller's to free. The picture is in README.md. */
#ifndef TN_OUTPUT_LAYOUT_H
#define TN_OUTPUT_LAYOUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tn_layout {
    const char *state; /* borrowed: folder of this installation or run */
    const char *store; /* borrowed: folder that the runs of a user share */
    char run[17];      /* names the state folder in the shared store */
};

/* Where a task's output belongs. Names as the config has them; they become safe parts of paths here. */
struct tn_place {
    char *workflow; /* owned */
    char *job;      /* owned */
    unsigned index;
    unsigned total;
    uint32_t attempt;
};

/* Borrows both folders; they must outlive the layout. */
void tn_layout_init(struct tn_layout *layout, const char *state, const char *store);
/* A name as one safe part of a path; one that had to be changed gets a hash behind it, so that two names stay two. */
char *tn_layout_name(const char *name);
/* SHA-256 of a text in hexadecimal. */
void tn_layout_hash(const char *text, char out[65]);

/* STATE/logs/<workflow>/<job>[-<index>]/attempt-<n> */
char *tn_layout_logs(const struct tn_layout *layout, const struct tn_place *place);
/* …/<NN>-<step name>.log below it */
char *tn_layout_log(const struct tn_layout *layout, const struct tn_place *place, unsigned step, const char *name);
/* STATE/artifacts/<workflow>/<job>/<index> */
char *tn_layout_artifacts(const struct tn_layout *layout, const struct tn_place *place);
/* STATE/test-results/<workflow>/<job>/<index> */
char *tn_layout_tests(const struct tn_layout *layout, const struct tn_place *place);
/* STORE/timings, and …/scope-<project>/<job>.tar below it */
char *tn_layout_timings_folder(const struct tn_layout *layout);
char *tn_layout_timings(const struct tn_layout *layout, const char *project, const char *job);
/* STATE/test-results/.timings/<pipeline>.<job>.tar: what of it the tasks of a parallel job go by */
char *tn_layout_timings_pin(const struct tn_layout *layout, const char *pipeline, const char *job);
/* STATE/output/<task>.<attempt>: the attempt's record */
char *tn_layout_record(const struct tn_layout *layout, uint64_t task, uint32_t attempt);
/* A stream that is being written: STATE/output/partial/…, for a cache STORE/caches/partial/…, since a file must be on
 * the file system to which it will be renamed. */
char *tn_layout_partial(const struct tn_layout *layout, bool in_store, uint64_t task, uint32_t attempt, uint32_t owner,
                        uint32_t stream);
char *tn_layout_partial_folder(const struct tn_layout *layout, bool in_store);
/* What the partial files of an attempt begin with. */
char *tn_layout_partial_prefix(const struct tn_layout *layout, bool in_store, uint64_t task, uint32_t attempt);

/* STORE/blobs/<SHA-256 of the content>.tar.zst: another name of stored files, by which equal ones are found */
char *tn_layout_shared(const struct tn_layout *layout, const uint8_t content[32]);
/* STATE/project: whose output the folder holds */
char *tn_layout_project(const struct tn_layout *layout);
/* STORE/damaged: what was set aside */
char *tn_layout_damaged(const struct tn_layout *layout);
/* `count` bytes in hexadecimal; `out` has room for 2 * count + 1. */
void tn_layout_hex(const uint8_t *bytes, size_t count, char *out);

/* STATE/workspaces/<task>.<attempt>.<step>.tar.zst, STATE/sources/<pipeline>.tar.zst */
char *tn_layout_workspace(const struct tn_layout *layout, uint64_t task, uint32_t attempt, unsigned step);
char *tn_layout_source(const struct tn_layout *layout, const char *pipeline);
/* STORE/caches/<scope> */
char *tn_layout_scope(const struct tn_layout *layout, const char *project);
/* STORE/caches/<scope>/<sha-256 of the key>.json: the cache's entry, cache.h */
char *tn_layout_cache(const struct tn_layout *layout, const char *project, const char *key);

#endif
