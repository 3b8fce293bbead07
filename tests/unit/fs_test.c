/* Folders, atomic files, removal of trees that resist or lead elsewhere, safe names. */
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "tests/unit/check.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

static void put(const char *folder, const char *name)
{
    auto_free char *path = tn_fs_path("%s/%s", folder, name);
    auto_fd int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    CHECK(fd >= 0);
}

static void test_files(const char *root)
{
    auto_free char *folder = tn_fs_path("%s/a/b/c", root);
    auto_free char *file = tn_fs_path("%s/f", folder);
    auto_free char *below_file = tn_fs_path("%s/f/x", folder);
    auto_buf struct tn_buf text = TN_BUF_INIT;
    struct tn_err err = TN_ERR_INIT;
    struct stat info;

    CHECK_INT(tn_fs_make_dirs(folder, 0700, &err), 0);
    CHECK_INT(tn_fs_make_dirs(folder, 0700, &err), 0);
    CHECK_INT(tn_fs_write_atomic(file, "one", 3, 0640, &err), 0);
    CHECK_INT(tn_fs_write_atomic(file, "three", 5, 0640, &err), 0);
    CHECK(stat(file, &info) == 0 && (info.st_mode & 0777) == 0640);
    CHECK_INT(tn_fs_read(file, 5, &text, &err), 0);
    CHECK_STR(text.data, "three");
    tn_buf_reset(&text);
    CHECK_INT(tn_fs_read(file, 4, &text, &err), -1);
    CHECK_INT(err.code, TN_ERR_LIMIT);
    CHECK(strstr(err.text, "larger than 4 bytes") != NULL);
    CHECK_INT(tn_fs_read(below_file, 4, &text, &err), -1);
    CHECK_INT(err.sys, ENOTDIR);
    CHECK_INT(tn_fs_make_dirs(below_file, 0700, &err), -1);
    CHECK_INT(err.code, TN_ERR_SYSTEM);
}

/* Read-only folders, links out of the tree, a file, a link itself, and what is not there. */
static void test_remove(const char *root)
{
    auto_free char *tree = tn_fs_path("%s/tree", root);
    auto_free char *locked = tn_fs_path("%s/tree/locked/below", root);
    auto_free char *locked_parent = tn_fs_path("%s/tree/locked", root);
    auto_free char *outside = tn_fs_path("%s/outside", root);
    auto_free char *kept = tn_fs_path("%s/outside/kept", root);
    auto_free char *link_path = tn_fs_path("%s/tree/link", root);
    auto_free char *top_link = tn_fs_path("%s/top", root);
    struct tn_err err = TN_ERR_INIT;

    CHECK_INT(tn_fs_make_dirs(locked, 0700, &err), 0);
    CHECK_INT(tn_fs_make_dirs(outside, 0700, &err), 0);
    put(outside, "kept");
    put(locked, "file");
    CHECK_INT(symlink(outside, link_path), 0);
    CHECK_INT(chmod(locked, 0), 0);
    CHECK_INT(chmod(locked_parent, 0500), 0);
    CHECK_INT(tn_fs_remove_tree(tree, &err), 0);
    CHECK_STR(err.text, "");
    CHECK(access(tree, F_OK) != 0);
    CHECK_INT(symlink(outside, top_link), 0);
    CHECK_INT(tn_fs_remove_tree(top_link, &err), 0);
    CHECK(access(kept, F_OK) == 0);
    CHECK_INT(tn_fs_remove_tree(kept, &err), 0);
    CHECK_INT(tn_fs_remove_tree(kept, &err), 0);
}

static void check_name(const char *name, const char *want)
{
    auto_free char *safe = tn_fs_safe_name(name);

    CHECK_STR(safe, want);
}

int main(void)
{
    char root[] = "/tmp/tenon-fs-test-XXXXXX";
    struct tn_err err = TN_ERR_INIT;

    CHECK(mkdtemp(root) != NULL);
    test_files(root);
    test_remove(root);
    check_name("build-1.2_x+y", "build-1.2_x+y");
    check_name("../etc/passwd", "_._etc_passwd");
    check_name("", "_");
    check_name(".", "_");
    check_name("..", "_");
    check_name("\xc3\xa4 b", "___b");
    CHECK_INT(tn_fs_remove_tree(root, &err), 0);
    CHECK(access(root, F_OK) != 0);
    return tn_check_result();
}
