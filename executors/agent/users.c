#include "executors/agent/users.h"
#include "core/lib/cleanup.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_MAX_BYTES 8192

/* Cuts the next field off `rest` at `mark`; "" when there is none. */
static char *next_field(char **rest, const char *mark)
{
    char *field = strsep(rest, mark);

    return field != NULL ? field : "";
}

/* Fills in from the entry of `name` (or, if that is NULL, of user->uid). */
static int read_passwd(const char *name, struct tn_user *user)
{
    auto_file FILE *file = fopen("/etc/passwd", "re");
    char line[LINE_MAX_BYTES];

    while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        char *rest = line;
        const char *login = next_field(&rest, ":");
        const char *uid;
        const char *gid;

        next_field(&rest, ":");
        uid = next_field(&rest, ":");
        gid = next_field(&rest, ":");
        next_field(&rest, ":");
        if (!isdigit((unsigned char)uid[0]))
            continue;
        if (name != NULL ? strcmp(name, login) != 0 : (uid_t)strtoul(uid, NULL, 10) != user->uid)
            continue;
        user->uid = (uid_t)strtoul(uid, NULL, 10);
        user->gid = (gid_t)strtoul(gid, NULL, 10);
        snprintf(user->name, sizeof(user->name), "%s", login);
        snprintf(user->home, sizeof(user->home), "%s", next_field(&rest, ":\n"));
        return 0;
    }
    return -1;
}

static void read_groups(struct tn_user *user)
{
    auto_file FILE *file = fopen("/etc/group", "re");
    char line[LINE_MAX_BYTES];

    user->groups[0] = user->gid;
    user->group_count = 1;
    while (file != NULL && user->name[0] != '\0' && fgets(line, sizeof(line), file) != NULL) {
        char *rest = line;
        const char *gid;
        char *member;

        next_field(&rest, ":");
        next_field(&rest, ":");
        gid = next_field(&rest, ":");
        while ((member = strsep(&rest, ",\n")) != NULL && user->group_count < TN_USER_GROUPS)
            if (strcmp(member, user->name) == 0)
                user->groups[user->group_count++] = (gid_t)strtoul(gid, NULL, 10);
    }
}

int tn_user_find(const char *who, struct tn_user *user, struct tn_err *err)
{
    *user = (struct tn_user){0};
    if (isdigit((unsigned char)who[0])) {
        char *end;

        user->uid = (uid_t)strtoul(who, &end, 10);
        if (read_passwd(NULL, user) != 0)
            user->gid = 0;
        if (*end == ':' && isdigit((unsigned char)end[1]))
            user->gid = (gid_t)strtoul(end + 1, &end, 10);
        if (*end != '\0')
            return tn_err_set(err, TN_ERR_USAGE, "user \"%s\": expected a name, a uid or uid:gid", who);
    } else if (read_passwd(who, user) != 0) {
        return tn_err_set(err, TN_ERR_NOT_FOUND, "no user \"%s\" in /etc/passwd of this environment", who);
    }
    read_groups(user);
    return 0;
}
