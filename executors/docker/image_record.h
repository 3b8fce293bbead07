/* What Tenon remembers of the images that it pulled: which, and when a job last used them. A small file each in a
 * folder of the store, so that runs of one user share them, a crash loses none, and no lock is needed. Only what has a
 * record is ever removed by the cleanup: what somebody else pulled, loaded or built stays.
 *
 * The folder is for one engine (its id is part of the path): FOLDER/<SHA-256 of the name and id>. */
#ifndef TN_EXECUTORS_DOCKER_IMAGE_RECORD_H
#define TN_EXECUTORS_DOCKER_IMAGE_RECORD_H

#include "core/lib/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TN_IMAGE_ID_MAX 160 /* "sha256:…" */

struct tn_image_record {
    char name[600];           /* full form of the reference; a file with a longer one is not read */
    char id[TN_IMAGE_ID_MAX]; /* the engine's id of the image */
    int64_t pulled;           /* seconds since 1970 */
    int64_t checked;          /* when its registry was last asked for a newer one */
    int64_t used;             /* when a job last began with it */
};

/* Writes it durably; the folder is made if it is missing. */
int tn_image_record_put(const char *folder, const struct tn_image_record *record, struct tn_err *err) TN_MUST_CHECK;
/* The record of this name and id. False if there is none or its file is damaged (it is removed then). */
bool tn_image_record_get(const char *folder, const char *name, const char *id, struct tn_image_record *record);
void tn_image_record_remove(const char *folder, const char *name, const char *id);
/* Calls back for each record; it may remove the one that it was called with. Damaged files are removed. */
void tn_image_record_each(const char *folder, void (*on_record)(const struct tn_image_record *record, void *arg),
                          void *arg);

/* Reads the text of a file. False unless it is a whole record. Pure. */
bool tn_image_record_parse(const char *text, size_t len, struct tn_image_record *record);

#endif
