#include "core/lib/permit.h"
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"

#include <errno.h>
#include <grp.h>
#include <libgen.h>
#include <limits.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NAME_BYTES = 40 };

/* ---- names ---- */

/* The files themselves: a confined process cannot load what the name service switch names besides. */
static const char *user_name(uid_t uid, char name[NAME_BYTES])
{
    auto_file FILE *file = fopen("/etc/passwd", "re");
    const struct passwd *entry;

    snprintf(name, NAME_BYTES, "%u", (unsigned)uid);
    while (file != NULL && (entry = fgetpwent(file)) != NULL)
        if (entry->pw_uid == uid) {
            snprintf(name, NAME_BYTES, "%s", entry->pw_name);
            break;
        }
    return name;
}

static const char *group_name(gid_t gid, char name[NAME_BYTES])
{
    auto_file FILE *file = fopen("/etc/group", "re");
    const struct group *entry;

    snprintf(name, NAME_BYTES, "%u", (unsigned)gid);
    while (file != NULL && (entry = fgetgrent(file)) != NULL)
        if (entry->gr_gid == gid) {
            snprintf(name, NAME_BYTES, "%s", entry->gr_name);
            break;
        }
    return name;
}

/* ---- what is in the way ---- */

/* "user U may not VERB WHAT (owner O, group G, mode M)" */
static void describe(const char *verb, const char *what, const struct stat *info, char *text, size_t size)
{
    char user[NAME_BYTES];
    char owner[NAME_BYTES];
    char group[NAME_BYTES];

    snprintf(text, size, "user %s may not %s %.200s (owner %s, group %s, mode %04o)", user_name(geteuid(), user), verb,
             what, user_name(info->st_uid, owner), group_name(info->st_gid, group), (unsigned)info->st_mode & 07777);
}

/* The first folder on the way to `path` that may not be entered; false if there is none. */
static bool find_closed(const char *path, char *folder, size_t size)
{
    const char *slash = path;

    while ((slash = strchr(slash + 1, '/')) != NULL) {
        snprintf(folder, size, "%.*s", (int)(slash - path), path);
        if (access(folder, X_OK) != 0 && errno == EACCES)
            return true;
    }
    return false;
}

/* A link may lead into a folder that is closed; then the folder is named by the path that the link stands for. */
static bool find_closed_behind(const char *path, struct stat *info)
{
    char target[PATH_MAX];
    ssize_t length = readlink(path, target, sizeof(target) - 1);

    if (length <= 0)
        return false;
    target[length] = '\0';
    return stat(dirname(target), info) == 0 && access(target, X_OK) != 0;
}

/* True if a folder is in the way, and told. */
static bool tell_folder(const char *path, const char *group, char *text, size_t size)
{
    char folder[PATH_MAX];
    struct stat info;
    size_t used;

    if (find_closed(path, folder, sizeof(folder))) {
        if (stat(folder, &info) != 0)
            return false;
    } else if (find_closed_behind(path, &info)) {
        snprintf(folder, sizeof(folder), "%s", path);
        dirname(folder);
    } else {
        return false;
    }
    describe("enter", folder, &info, text, size);
    used = strlen(text);
    snprintf(text + used, size - used, ": chgrp %s %.200s; chmod g+x %.200s", group, folder, folder);
    return true;
}

void tn_permit_read(const char *path, char *text, size_t size)
{
    char group[NAME_BYTES];
    struct stat info;
    size_t used;

    text[0] = '\0';
    group_name(getegid(), group);
    if (tell_folder(path, group, text, size) || stat(path, &info) != 0 || access(path, R_OK) == 0)
        return;
    describe("read", "it", &info, text, size);
    used = strlen(text);
    snprintf(text + used, size - used, ": give its group read permission (chgrp %s %.200s; chmod 640 %.200s)", group,
             path, path);
}

void tn_permit_connect(const char *path, char *text, size_t size)
{
    char group[NAME_BYTES];
    char user[NAME_BYTES];
    struct stat info;
    size_t used;

    text[0] = '\0';
    group_name(getegid(), group);
    if (tell_folder(path, group, text, size) || stat(path, &info) != 0 || access(path, W_OK) == 0)
        return;
    describe("connect to", path, &info, text, size);
    used = strlen(text);
    group_name(info.st_gid, group);
    if (info.st_gid != 0 && (info.st_mode & S_IWGRP) != 0)
        snprintf(text + used, size - used,
                 ": add it to group %s (usermod -aG %s %s), then log in again or restart Tenon", group, group,
                 user_name(geteuid(), user));
    else
        snprintf(text + used, size - used,
                 ": give it a group that may write (chgrp GROUP %.200s; chmod 660 %.200s; of an engine: dockerd "
                 "--group)",
                 path, path);
}

int tn_permit_add(struct tn_err *err, const char *path)
{
    char text[TN_PERMIT_TEXT];
    size_t used;

    if (err == NULL || err->code == TN_OK || err->sys != EACCES)
        return -1;
    tn_permit_read(path, text, sizeof(text));
    used = strlen(err->text);
    if (text[0] != '\0')
        snprintf(err->text + used, sizeof(err->text) - used, "; %s", text);
    return -1;
}
