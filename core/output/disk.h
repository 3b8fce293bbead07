/* Tells the scheduler whether there is room for what jobs keep: DISK_STATE at start, at each change, and again from
 * time to time, since a notice may be lost. */
#ifndef TN_OUTPUT_DISK_H
#define TN_OUTPUT_DISK_H

#include "core/output/room.h"
#include "core/peer/service.h"

struct tn_disk {
    struct tn_service *service; /* borrowed */
    const struct tn_room *room; /* borrowed */
    struct event *timer;        /* owned */
    bool low;
    unsigned silent; /* ticks since it was told last */
};

/* Begins to measure. The bus socket must be open. */
int tn_disk_start(struct tn_disk *disk, struct tn_service *service, const struct tn_room *room,
                  struct tn_err *err) TN_MUST_CHECK;
/* Measures and tells now. */
void tn_disk_tell(struct tn_disk *disk);
void tn_disk_stop(struct tn_disk *disk);

#endif
