#include "core/kernel/tree.h"
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

enum { COPY_BYTES = 1 << 20 };

/* ---- before the process ---- */

void tn_tree_init(struct tn_tree *tree, const char *base)
{
    memset(tree, 0, sizeof(*tree));
    tree->base = tn_fs_path("%s", base);
}

void tn_tree_free(struct tn_tree *tree)
{
    for (size_t i = 0; i < tree->count; i++) {
        free(tree->entries[i].path);
        free(tree->entries[i].source);
    }
    free(tree->base);
    memset(tree, 0, sizeof(*tree));
}

/* The rest of `path` behind the folder `above`: "" if it is that folder, NULL if it is not below it. */
static const char *rest_behind(const char *path, const char *above)
{
    size_t length = strlen(above);

    if (strncmp(path, above, length) != 0 || (path[length] != '\0' && path[length] != '/'))
        return NULL;
    return path + length;
}

bool tn_tree_has(const struct tn_tree *tree, const char *path)
{
    for (size_t i = 0; i < tree->count; i++) {
        const struct tn_tree_entry *entry = &tree->entries[i];
        const char *rest = rest_behind(path, entry->path);

        if (rest == NULL)
            continue;
        if (*rest == '\0')
            return true;
        if ((entry->kind == TN_TREE_READ || entry->kind == TN_TREE_WRITE) && strcmp(entry->path, entry->source) == 0)
            return true;
        if (entry->kind == TN_TREE_LINK && strchr(entry->path + 1, '/') == NULL) /* /bin and the like */
            return true;
    }
    return false;
}

void tn_tree_add(struct tn_tree *tree, enum tn_tree_kind kind, const char *path, const char *source)
{
    for (size_t i = 0; i < tree->count; i++)
        if (strcmp(tree->entries[i].path, path) == 0)
            return;
    if (tree->count == TN_TREE_ENTRIES_MAX) {
        tree->overflow = true;
        return;
    }
    tree->entries[tree->count++] = (struct tn_tree_entry){
        .kind = kind, .path = tn_fs_path("%s", path), .source = tn_fs_path("%s", source != NULL ? source : path)};
}

/* What is a link on the host (as /bin is where /usr is merged) is one here. */
static void add_as_it_is(struct tn_tree *tree, const char *path)
{
    char text[PATH_MAX];
    ssize_t length = readlink(path, text, sizeof(text) - 1);

    if (length > 0) {
        text[length] = '\0';
        tn_tree_add(tree, TN_TREE_LINK, path, text);
    } else if (access(path, F_OK) == 0) {
        tn_tree_add(tree, TN_TREE_READ, path, NULL);
    }
}

void tn_tree_add_system(struct tn_tree *tree)
{
    static const char *const paths[] = {"/usr",          "/bin",    "/sbin",      "/lib",       "/lib32",
                                        "/lib64",        "/libx32", "/nix/store", "/gnu/store", "/etc/ld.so.cache",
                                        "/etc/localtime"};
    static const char *const devices[] = {"/dev/null", "/dev/zero", "/dev/random", "/dev/urandom"};

    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
        add_as_it_is(tree, paths[i]);
    for (size_t i = 0; i < sizeof(devices) / sizeof(devices[0]); i++)
        tn_tree_add(tree, TN_TREE_DEVICE, devices[i], NULL);
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct tn_tree_entry *)a)->path, ((const struct tn_tree_entry *)b)->path);
}

void tn_tree_sort(struct tn_tree *tree)
{
    qsort(tree->entries, tree->count, sizeof(tree->entries[0]), by_path);
}

/* ---- in the process ---- */

static bool is_bind(const struct tn_tree_entry *entry)
{
    return entry->kind == TN_TREE_READ || entry->kind == TN_TREE_WRITE || entry->kind == TN_TREE_DEVICE;
}

/* A detached copy of what is mounted there, with the entry's restrictions; -1 with errno. */
static int detach(const struct tn_tree_entry *entry)
{
    struct mount_attr attributes = {.attr_set = MOUNT_ATTR_NOSUID};
    auto_fd int fd = open_tree(AT_FDCWD, entry->source, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);

    if (fd < 0)
        return -1;
    if (entry->kind != TN_TREE_WRITE)
        attributes.attr_set |= MOUNT_ATTR_RDONLY;
    if (entry->kind != TN_TREE_READ)
        attributes.attr_set |= MOUNT_ATTR_NOEXEC;
    if (entry->kind != TN_TREE_DEVICE)
        attributes.attr_set |= MOUNT_ATTR_NODEV;
    if (mount_setattr(fd, "", AT_EMPTY_PATH | AT_RECURSIVE, &attributes, sizeof(attributes)) != 0)
        return -1;
    return steal_fd(&fd);
}

/* The folders above `path`, relative to the current one. */
static int make_parents(const char *path)
{
    char part[PATH_MAX];

    for (const char *slash = strchr(path, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        snprintf(part, sizeof(part), "%.*s", (int)(slash - path), path);
        if (mkdir(part, 0755) != 0 && errno != EEXIST)
            return -1;
    }
    return 0;
}

static int attach(int fd, const char *path)
{
    struct stat info;
    auto_fd int file = -1;

    if (fstat(fd, &info) != 0)
        return -1;
    if (S_ISDIR(info.st_mode)) {
        if (mkdir(path, 0755) != 0 && errno != EEXIST)
            return -1;
    } else {
        file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444);
        if (file < 0 && errno != EEXIST)
            return -1;
    }
    return move_mount(fd, "", AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH);
}

/* What an entry needs of the host, taken before the new root covers the base. */
struct taken {
    int fd;
    struct tn_buf copy;
    mode_t mode; /* of what was copied: a secret that is open to others is to be seen as that */
};

/* Here the process is still who may read it. */
static int read_copy(const char *path, struct taken *out)
{
    struct tn_err err = TN_ERR_INIT;
    struct stat info;

    if (stat(path, &info) != 0)
        return -1;
    out->mode = info.st_mode & 0777;
    if (tn_fs_read(path, COPY_BYTES, &out->copy, &err) == 0)
        return 0;
    errno = err.sys != 0 ? err.sys : EFBIG;
    return -1;
}

static int write_copy(const struct tn_tree *tree, const struct taken *taken, const char *path)
{
    auto_fd int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0400);

    return fd >= 0 && tn_fs_write_all(fd, taken->copy.data, taken->copy.len, NULL) == 0 &&
                   fchown(fd, tree->uid, tree->gid) == 0 && fchmod(fd, taken->mode | 0400) == 0
               ? 0
               : -1;
}

static int take(const struct tn_tree_entry *entry, struct taken *out)
{
    out->fd = -1;
    if (entry->kind == TN_TREE_COPY)
        return read_copy(entry->source, out);
    if (!is_bind(entry))
        return 0;
    out->fd = detach(entry);
    if (out->fd < 0 && entry->kind != TN_TREE_WRITE && (errno == ENOENT || errno == EACCES || errno == ENOTDIR))
        return 0; /* left out */
    return out->fd < 0 ? -1 : 0;
}

/* `path` is relative: the current folder is the new root. */
static int put(const struct tn_tree *tree, const struct tn_tree_entry *entry, const struct taken *taken,
               const char *path)
{
    if (is_bind(entry) && taken->fd < 0)
        return 0;
    if (make_parents(path) != 0)
        return -1;
    switch (entry->kind) {
    case TN_TREE_READ:
    case TN_TREE_WRITE:
    case TN_TREE_DEVICE:
        return attach(taken->fd, path);
    case TN_TREE_LINK:
        return symlink(entry->source, path) == 0 || errno == EEXIST || errno == EROFS ? 0 : -1; /* shown already */
    case TN_TREE_COPY:
        return write_copy(tree, taken, path);
    case TN_TREE_EMPTY:
        if (mkdir(path, 0755) != 0 && errno != EEXIST)
            return errno == ENOENT || errno == EROFS ? 0 : -1; /* nothing there that could be seen */
        return mount("tenon", path, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY, "mode=0555,size=4k");
    }
    return -1;
}

/* Puts the new root in place of the old one, of which nothing stays reachable. */
static const char *change_root(void)
{
    struct mount_attr read_only = {.attr_set = MOUNT_ATTR_RDONLY};

    if (mount_setattr(AT_FDCWD, ".", 0, &read_only, sizeof(read_only)) != 0)
        return "mounts, the root read-only";
    if (syscall(SYS_pivot_root, ".", ".") != 0)
        return "mounts, pivot_root";
    if (umount2(".", MNT_DETACH) != 0 || chdir("/") != 0)
        return "mounts, leaving the old root";
    return NULL;
}

const char *tn_tree_enter(const struct tn_tree *tree, char *where, size_t size)
{
    static struct taken taken[TN_TREE_ENTRIES_MAX]; /* of this process alone: it ends or becomes another program */
    mode_t before;

    snprintf(where, size, "%s", tree->base);
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
        return "mounts, private";
    for (size_t i = 0; i < tree->count; i++) {
        snprintf(where, size, "%s", tree->entries[i].source);
        if (take(&tree->entries[i], &taken[i]) != 0)
            return "mounts, taking";
    }
    snprintf(where, size, "%s", tree->base);
    if (mount("tenon", tree->base, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0755,size=8m,nr_inodes=1024") !=
            0 ||
        chdir(tree->base) != 0)
        return "mounts, a new root";
    before = umask(022);
    for (size_t i = 0; i < tree->count; i++) {
        snprintf(where, size, "%s", tree->entries[i].path);
        if (put(tree, &tree->entries[i], &taken[i], tree->entries[i].path + 1) != 0)
            return "mounts, putting";
        if (taken[i].fd >= 0)
            close(taken[i].fd);
    }
    umask(before);
    snprintf(where, size, "/");
    return change_root();
}
