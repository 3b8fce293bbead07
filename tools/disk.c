#include "tools/disk.h"

#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

/* The smallest write of a log or the ledger takes some pages; what is left below that is of no use. */
enum { USELESS_BYTES = 32 * 1024, PERIOD_MS = 500 };

struct disk {
    struct event *timer;
    char *folder;
    void (*full)(void *arg, bool is_full);
    void *arg;
    bool is_full;
};

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct disk *disk = arg;
    struct statvfs facts;
    bool is_full;

    if (statvfs(disk->folder, &facts) != 0)
        return;
    is_full = (unsigned long long)facts.f_bavail * facts.f_frsize < USELESS_BYTES;
    if (is_full == disk->is_full)
        return;
    disk->is_full = is_full;
    disk->full(disk->arg, is_full);
}

struct disk *disk_watch(struct event_base *base, const char *folder, void (*full)(void *arg, bool is_full), void *arg)
{
    static const struct timeval period = {0, PERIOD_MS * 1000};
    struct disk *disk = calloc(1, sizeof(*disk));

    if (disk == NULL)
        return NULL;
    disk->full = full;
    disk->arg = arg;
    disk->folder = strdup(folder);
    disk->timer = event_new(base, -1, EV_PERSIST, on_timer, disk);
    if (disk->folder == NULL || disk->timer == NULL || event_add(disk->timer, &period) != 0) {
        disk_close(disk);
        return NULL;
    }
    return disk;
}

bool disk_is_full(const struct disk *disk)
{
    return disk != NULL && disk->is_full;
}

void disk_close(struct disk *disk)
{
    if (disk == NULL)
        return;
    if (disk->timer != NULL)
        event_free(disk->timer);
    free(disk->folder);
    free(disk);
}
