#include "core/kernel/identity.h"
#include "core/lib/cleanup.h"

#include <pwd.h>
#include <stdio.h>
#include <string.h>

void tn_identity_give_up(struct tn_own_user *user, const char *why)
{
    user->is_own = false;
    user->uid = geteuid();
    user->gid = getegid();
    snprintf(user->why, sizeof(user->why), "%s", why);
}

void tn_identity_find(const char *name, struct tn_own_user *out)
{
    auto_file FILE *file = NULL;
    const struct passwd *entry;
    char why[128];

    memset(out, 0, sizeof(*out));
    snprintf(out->name, sizeof(out->name), "tenon-%s", name);
    if (geteuid() != 0) {
        tn_identity_give_up(out, "only root can give a process another user");
        return;
    }
    file = fopen("/etc/passwd", "re");
    while (file != NULL && (entry = fgetpwent(file)) != NULL) {
        if (strcmp(entry->pw_name, out->name) != 0)
            continue;
        out->is_own = entry->pw_uid != 0;
        out->uid = entry->pw_uid;
        out->gid = entry->pw_gid;
        if (!out->is_own)
            tn_identity_give_up(out, "its entry in /etc/passwd is root's");
        return;
    }
    snprintf(why, sizeof(why), "no user %s; tools/users makes it", out->name);
    tn_identity_give_up(out, why);
}
