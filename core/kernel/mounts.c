#include "core/kernel/mounts.h"
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/log.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

enum { MOUNTS_MAX = 1000 };

/* mountinfo writes blanks, tabs, newlines and backslashes as three octal digits. */
static void unescape(char *text)
{
    char *out = text;

    for (const char *at = text; *at != '\0'; at++) {
        if (at[0] == '\\' && at[1] >= '0' && at[1] <= '3' && at[2] >= '0' && at[2] <= '7' && at[3] >= '0' &&
            at[3] <= '7') {
            *out++ = (char)((at[1] - '0') << 6 | (at[2] - '0') << 3 | (at[3] - '0'));
            at += 3;
        } else {
            *out++ = *at;
        }
    }
    *out = '\0';
}

/* The last mount point at or below `folder`: what is mounted later lies above. NULL: none. */
static char *find_last(const char *folder)
{
    auto_file FILE *file = fopen("/proc/self/mountinfo", "re");
    auto_free char *line = NULL;
    auto_free char *found = NULL;
    size_t length = strlen(folder);
    size_t size = 0;

    while (file != NULL && getline(&line, &size, file) > 0) {
        char *save = NULL;
        char *field = strtok_r(line, " ", &save);

        for (int i = 0; i < 4 && field != NULL; i++)
            field = strtok_r(NULL, " ", &save);
        if (field == NULL)
            continue;
        unescape(field);
        if (strncmp(field, folder, length) == 0 && (field[length] == '/' || field[length] == '\0')) {
            free(found);
            found = tn_fs_path("%s", field);
        }
    }
    return steal_ptr(&found);
}

void tn_mounts_remove_below(const char *folder)
{
    for (int i = 0; i < MOUNTS_MAX; i++) {
        auto_free char *point = find_last(folder);

        if (point == NULL)
            return;
        if (umount2(point, MNT_DETACH | UMOUNT_NOFOLLOW) != 0) {
            tn_warn("cannot unmount %s, which a job left: %s", point, strerror(errno));
            return;
        }
        tn_info("unmounted %s, which a job left", point);
    }
}

/* ---- where a path lies ---- */

static bool is_local(const char *type)
{
    static const char *const types[] = {"ext2",     "ext3", "ext4",     "xfs",     "btrfs", "f2fs", "jfs",
                                        "reiserfs", "zfs",  "bcachefs", "overlay", "tmpfs", "ramfs"};

    for (size_t i = 0; type != NULL && i < sizeof(types) / sizeof(types[0]); i++)
        if (strcmp(type, types[i]) == 0)
            return true;
    return false;
}

static bool is_above(const char *point, const char *path)
{
    size_t length = strcmp(point, "/") == 0 ? 0 : strlen(point);

    return strncmp(path, point, length) == 0 && (path[length] == '/' || path[length] == '\0');
}

char *tn_mounts_local(const char *path)
{
    auto_file FILE *file = fopen("/proc/self/mountinfo", "re");
    auto_free char *line = NULL;
    auto_free char *found = NULL;
    size_t size = 0;

    while (file != NULL && getline(&line, &size, file) > 0) {
        char *save = NULL;
        char *point = strtok_r(line, " ", &save);
        char *word;

        for (int i = 0; i < 4 && point != NULL; i++)
            point = strtok_r(NULL, " ", &save);
        /* Optional fields, a hyphen, the type. */
        while ((word = strtok_r(NULL, " ", &save)) != NULL && strcmp(word, "-") != 0)
            continue;
        if (point == NULL)
            continue;
        unescape(point);
        if (!is_above(point, path))
            continue;
        if (!is_local(strtok_r(NULL, " ", &save)))
            return NULL;
        if (found == NULL || strlen(point) >= strlen(found)) {
            free(found);
            found = tn_fs_path("%s", point);
        }
    }
    return steal_ptr(&found);
}
