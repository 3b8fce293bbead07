/* Why a file or socket may not be used: the exact words. */
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/permit.h"
#include "tests/unit/check.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[] = "/tmp/permit-test.XXXXXX";
static char user[64];
static char group[64];
static char owner[64];
static char owners[64]; /* its group */

static void name_of(uid_t uid, gid_t gid, char *user_name, char *group_name)
{
    const struct passwd *entry = getpwuid(uid);
    const struct group *group_entry = getgrgid(gid);

    snprintf(user_name, 64, "%s", entry != NULL ? entry->pw_name : "?");
    snprintf(group_name, 64, "%s", group_entry != NULL ? group_entry->gr_name : "?");
}

static char *below(const char *name)
{
    return tn_fs_path("%s/%s", folder, name);
}

static void make_file(const char *path, mode_t mode)
{
    auto_fd int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, mode);

    CHECK(fd >= 0 && fchmod(fd, mode) == 0);
}

static int make_socket(const char *path, mode_t mode)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0 && chmod(path, mode) == 0);
    return fd;
}

static void expect_read(const char *path, const char *expected)
{
    char text[TN_PERMIT_TEXT];

    tn_permit_read(path, text, sizeof(text));
    CHECK_STR(text, expected);
}

static void expect_connect(const char *path, const char *expected)
{
    char text[TN_PERMIT_TEXT];

    tn_permit_connect(path, text, sizeof(text));
    CHECK_STR(text, expected);
}

static void test_files(const char *secret, const char *open_file)
{
    auto_free char *why = tn_fs_path("user %s may not read it (owner %s, group %s, mode 0000): give its group read "
                                     "permission (chgrp %s %s; chmod 640 %s)",
                                     user, owner, owners, group, secret, secret);
    auto_free char *whole = tn_fs_path("cannot read %s: Permission denied; %s", secret, why);
    auto_buf struct tn_buf text = TN_BUF_INIT;
    struct tn_err err = TN_ERR_INIT;

    expect_read(secret, why);
    expect_read(open_file, "");
    expect_read("/no/such/file", "");
    CHECK_INT(tn_fs_read(secret, 100, &text, &err), -1);
    CHECK_INT(tn_permit_add(&err, secret), -1);
    CHECK_STR(err.text, whole);
    CHECK_INT(tn_fs_read("/no/such/file", 100, &text, &err), -1);
    CHECK_INT(tn_permit_add(&err, "/no/such/file"), -1);
    CHECK_STR(err.text, "cannot read /no/such/file: No such file or directory");
}

static void test_sockets(const char *closed, const char *groups)
{
    auto_free char *give = tn_fs_path("user %s may not connect to %s (owner %s, group %s, mode 0000): give it a group "
                                      "that may write (chgrp GROUP %s; chmod 660 %s; of an engine: dockerd --group)",
                                      user, closed, owner, owners, closed, closed);
    auto_free char *join = tn_fs_path("user %s may not connect to %s (owner %s, group daemon, mode 0060): add it to "
                                      "group daemon (usermod -aG daemon %s), then log in again or restart Tenon",
                                      user, groups, owner, user);

    expect_connect(closed, give);
    if (strcmp(owner, "root") == 0)
        expect_connect(groups, join);
}

static void test_folders(const char *closed, const char *inside, const char *link)
{
    auto_free char *way = tn_fs_path("user %s may not enter %s (owner %s, group %s, mode 0000): chgrp %s %s; chmod g+x "
                                     "%s",
                                     user, closed, owner, owners, group, closed, closed);
    auto_free char *behind = tn_fs_path("user %s may not enter %s (owner %s, group %s, mode 0000): chgrp %s %s; chmod "
                                        "g+x %s",
                                        user, folder, owner, owners, group, folder, folder);

    expect_read(inside, way);
    expect_connect(inside, way);
    expect_connect(link, behind); /* a link stands for its own folder */
}

int main(void)
{
    struct tn_err err = TN_ERR_INIT;
    auto_free char *secret = NULL;
    auto_free char *open_file = NULL;
    auto_free char *closed = NULL;
    auto_free char *inside = NULL;
    auto_free char *link = NULL;
    auto_free char *socket_path = NULL;
    auto_free char *of_group = NULL;
    auto_fd int first = -1;
    auto_fd int second = -1;
    bool root = geteuid() == 0;

    if (mkdtemp(folder) == NULL)
        return 1;
    secret = below("secret");
    open_file = below("open");
    closed = below("closed");
    inside = below("closed/x");
    link = below("link");
    socket_path = below("s");
    of_group = below("g");
    make_file(secret, 0);
    make_file(open_file, 0644);
    first = make_socket(socket_path, 0);
    second = make_socket(of_group, 060);
    CHECK(!root || chown(of_group, 0, 1) == 0);
    CHECK_INT(symlink(inside, link), 0);
    CHECK_INT(mkdir(closed, 0755), 0);
    make_file(inside, 0644);
    CHECK(chmod(folder, 0755) == 0 && chmod(closed, 0) == 0);
    name_of(geteuid(), getegid(), owner, owners);
    if (fork() == 0) { /* root may do everything */
        if (root && (setgroups(0, NULL) != 0 || setgid(65534) != 0 || setuid(65534) != 0))
            _exit(1);
        name_of(geteuid(), getegid(), user, group);
        test_files(secret, open_file);
        test_sockets(socket_path, of_group);
        test_folders(closed, inside, link);
        _exit(tn_check_result());
    }
    {
        int status = 1;

        CHECK(wait(&status) > 0 && status == 0);
    }
    CHECK_INT(chmod(closed, 0700), 0);
    CHECK_INT(tn_fs_remove_tree(folder, &err), 0);
    return tn_check_result();
}
