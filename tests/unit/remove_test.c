/* Removal of trees that resist: deep, read-only, of others, marked immutable, with mounts and links in them. */
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/remove.h"
#include "tests/unit/check.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum { DEEP = 3000, MANY = 5000, NOBODY = 65534 };

static void put(const char *path)
{
    auto_fd int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    CHECK(fd >= 0);
}

static bool is_there(const char *path)
{
    return faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static char *make(const char *root, const char *name)
{
    char *path = tn_fs_path("%s/%s", root, name);
    struct tn_err err = TN_ERR_INIT;

    CHECK_INT(tn_fs_make_dirs(path, 0700, &err), 0);
    return path;
}

/* Far longer than PATH_MAX, a link out of it and a read-only folder at each tenth level. */
static void test_deep(const char *root)
{
    auto_free char *tree = make(root, "deep");
    auto_free char *outside = make(root, "outside/kept");
    struct tn_err err = TN_ERR_INIT;
    auto_fd int at = open(tree, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    for (int i = 0; i < DEEP; i++) {
        int below;

        CHECK_INT(mkdirat(at, "a-folder", 0700), 0);
        CHECK_INT(symlinkat(outside, at, "link"), 0);
        below = openat(at, "a-folder", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        CHECK(below >= 0);
        if (i % 10 == 0)
            CHECK_INT(fchmod(at, 0500), 0);
        close(at);
        at = below;
    }
    CHECK_INT(tn_fs_remove_tree(tree, &err), 0);
    CHECK_STR(err.text, "");
    CHECK(!is_there(tree) && is_there(outside));
}

static void test_slices(const char *root)
{
    auto_free char *tree = make(root, "many/below");
    auto_free char *top = tn_fs_path("%s/many", root);
    struct tn_removal *removal;
    struct tn_err err = TN_ERR_INIT;
    unsigned slices = 0;

    for (int i = 0; i < MANY; i++) {
        auto_free char *path = tn_fs_path("%s/%d", tree, i);

        put(path);
    }
    removal = tn_removal_begin(top);
    while (tn_removal_step(removal, 500))
        slices++;
    CHECK_INT(tn_removal_end(removal, &err), 0);
    CHECK(slices >= MANY / 500 && slices < MANY / 100);
    CHECK(!is_there(top));
    /* Given up half-way it says nothing and leaks nothing. */
    CHECK_INT(tn_fs_make_dirs(tree, 0700, &err), 0);
    removal = tn_removal_begin(top);
    CHECK(tn_removal_step(removal, 1));
    CHECK_INT(tn_removal_end(removal, &err), 0);
    CHECK_INT(tn_fs_remove_tree(top, &err), 0);
    removal = tn_removal_begin("/nonexistent/folder/x/");
    CHECK(!tn_removal_step(removal, 1));
    CHECK_INT(tn_removal_end(removal, &err), 0);
}

/* What a step mounted is not emptied: it is named, and the rest goes. */
static void test_mounts(const char *root)
{
    auto_free char *outside = make(root, "mounted");
    auto_free char *kept = tn_fs_path("%s/kept", outside);
    auto_free char *point = make(root, "tree/below/point");
    auto_free char *tree = tn_fs_path("%s/tree", root);
    auto_free char *other = make(root, "tree/other");
    auto_free char *file = tn_fs_path("%s/file", other);
    auto_free char *want =
        tn_fs_path("cannot remove %s: a file system is mounted there: unmount it (umount %s)", point, point);
    struct tn_err err = TN_ERR_INIT;

    put(kept);
    put(file);
    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
        return;
    CHECK_INT(mount(outside, point, NULL, MS_BIND, NULL), 0); /* the same file system */
    CHECK_INT(mount("none", other, "tmpfs", 0, NULL), 0);
    CHECK_INT(umount(other), 0);
    CHECK_INT(tn_fs_remove_tree(tree, &err), -1);
    CHECK_STR(err.text, want);
    CHECK(is_there(kept) && is_there(point) && !is_there(other));
    tn_err_clear(&err);
    CHECK_INT(tn_fs_remove_tree(point, &err), -1); /* the tree itself is one */
    CHECK_STR(err.text, want);
    CHECK(is_there(kept));
    CHECK_INT(umount(point), 0);
    tn_err_clear(&err);
    CHECK_INT(tn_fs_remove_tree(tree, &err), 0);
    CHECK(!is_there(tree) && is_there(kept));
}

static int set_marks(const char *path, int marks)
{
    auto_fd int fd = open(path, O_RDONLY | O_CLOEXEC);

    return ioctl(fd, FS_IOC_SETFLAGS, &marks);
}

static int as_nobody(void (*work)(const char *root), const char *root)
{
    int status = -1;
    pid_t pid = fork();

    if (pid == 0) {
        if (setgid(NOBODY) != 0 || setuid(NOBODY) != 0)
            _exit(99);
        work(root);
        _exit(tn_check_failures);
    }
    waitpid(pid, &status, 0);
    return status;
}

static void remove_as_nobody(const char *root)
{
    auto_free char *tree = tn_fs_path("%s/open/tree", root);
    auto_free char *want =
        tn_fs_path("cannot remove %s/theirs/file: it belongs to user 0: remove it as that user or as root", tree);
    auto_free char *own = tn_fs_path("%s/own", tree);
    struct tn_err err = TN_ERR_INIT;

    CHECK_INT(tn_fs_remove_tree(tree, &err), -1);
    CHECK_STR(err.text, want);
    CHECK(!is_there(own));
}

/* Root removes what belongs to others and what is marked; another user is told whose it is. */
static void test_others(const char *root)
{
    auto_free char *open_folder = make(root, "open");
    auto_free char *tree = make(root, "open/tree");
    auto_free char *theirs = make(root, "open/tree/theirs");
    auto_free char *own = make(root, "open/tree/own");
    auto_free char *file = tn_fs_path("%s/file", theirs);
    struct tn_err err = TN_ERR_INIT;

    put(file);
    CHECK_INT(chmod(theirs, 0755), 0);
    CHECK_INT(chown(tree, NOBODY, NOBODY), 0);
    CHECK_INT(chown(own, NOBODY, NOBODY), 0);
    CHECK_INT(chown(open_folder, NOBODY, NOBODY), 0);
    CHECK_INT(chmod(root, 0755), 0);
    CHECK_INT(as_nobody(remove_as_nobody, root), 0);
    if (set_marks(file, FS_IMMUTABLE_FL) == 0) /* where the file system has marks */
        CHECK_INT(set_marks(theirs, FS_APPEND_FL), 0);
    CHECK_INT(tn_fs_remove_tree(tree, &err), 0);
    CHECK_STR(err.text, "");
    CHECK(!is_there(tree));
}

int main(void)
{
    char root[] = "/tmp/remove_test.XXXXXX";
    struct tn_err err = TN_ERR_INIT;

    CHECK(mkdtemp(root) != NULL);
    test_deep(root);
    test_slices(root);
    if (geteuid() == 0) {
        test_others(root);
        test_mounts(root);
    }
    CHECK_INT(tn_fs_remove_tree(root, &err), 0);
    return tn_check_result();
}
