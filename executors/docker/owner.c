#include "executors/docker/owner.h"

#include "core/lib/buf.h"
#include "core/lib/fs.h"

#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool tn_owner_of(const char *run, struct tn_owner *owner)
{
    auto_buf struct tn_buf boot = TN_BUF_INIT;
    char parent[sizeof(owner->run)];
    struct stat status;

    memset(owner, 0, sizeof(*owner));
    if (strlen(run) >= sizeof(owner->run) || strpbrk(run, " \t\n") != NULL ||
        tn_fs_read("/proc/sys/kernel/random/boot_id", 1024, &boot, NULL) != 0 || boot.len < 10)
        return false;
    snprintf(owner->boot, sizeof(owner->boot), "%.*s", (int)strcspn(boot.data, "\n"), boot.data);
    snprintf(owner->run, sizeof(owner->run), "%s", run);
    snprintf(parent, sizeof(parent), "%s", run);
    if (stat(dirname(parent), &status) != 0)
        return false;
    owner->uid = geteuid();
    owner->device = status.st_dev;
    owner->inode = status.st_ino;
    return true;
}

void tn_owner_format(const struct tn_owner *owner, char text[TN_OWNER_TEXT_MAX])
{
    snprintf(text, TN_OWNER_TEXT_MAX, "%u %s %llx:%llx %s", owner->uid, owner->boot, owner->device, owner->inode,
             owner->run);
}

bool tn_owner_parse(const char *text, struct tn_owner *owner)
{
    int end = 0;

    memset(owner, 0, sizeof(*owner));
    return strlen(text) < TN_OWNER_TEXT_MAX &&
           sscanf(text, "%u %39s %llx:%llx %255s%n", &owner->uid, owner->boot, &owner->device, &owner->inode,
                  owner->run, &end) == 5 &&
           text[end] == '\0' && owner->run[0] == '/';
}

enum tn_owner_life tn_owner_life(const struct tn_owner *owner, const struct tn_owner *ours, bool there, bool runs)
{
    if (owner->uid != ours->uid)
        return TN_OWNER_UNKNOWN;
    if (strcmp(owner->boot, ours->boot) != 0)
        return runs ? TN_OWNER_UNKNOWN : TN_OWNER_DEAD;
    if (owner->device != ours->device || owner->inode != ours->inode)
        return TN_OWNER_UNKNOWN;
    return there || strcmp(owner->run, ours->run) == 0 ? TN_OWNER_LIVES : TN_OWNER_DEAD;
}
