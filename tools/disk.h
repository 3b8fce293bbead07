/* Watches the free space of the run's disk. On a full one nothing that a job does can be recorded, so jobs stand still
 * and cannot be canceled in order, and the person must be told why. */
#ifndef TN_TOOLS_DISK_H
#define TN_TOOLS_DISK_H

#include <event2/event.h>

#include <stdbool.h>

struct disk;

/* `full` is called when the disk of `folder` has become full (`is_full`) and when it is so no longer. NULL if it cannot
 * be watched. */
struct disk *disk_watch(struct event_base *base, const char *folder, void (*full)(void *arg, bool is_full), void *arg);
bool disk_is_full(const struct disk *disk);
/* NULL is closed already. */
void disk_close(struct disk *disk);

#endif
