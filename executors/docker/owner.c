#include "executors/docker/owner.h"

#include <stdio.h>
#include <string.h>

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

const char *tn_owner_name(const struct tn_owner *owner)
{
    return strrchr(owner->run, '/') + 1;
}

enum tn_owner_life tn_owner_life(const struct tn_owner *owner, const struct tn_owner *ours, bool runs)
{
    if (owner->uid != ours->uid)
        return TN_OWNER_UNKNOWN;
    if (strcmp(owner->boot, ours->boot) != 0)
        return runs ? TN_OWNER_UNKNOWN : TN_OWNER_DEAD;
    if (owner->device != ours->device || owner->inode != ours->inode)
        return TN_OWNER_UNKNOWN;
    return strcmp(tn_owner_name(owner), tn_owner_name(ours)) == 0 ? TN_OWNER_LIVES : TN_OWNER_ASK;
}
