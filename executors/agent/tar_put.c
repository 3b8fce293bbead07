/* Unpacking. Why it is safe: every component of a name is opened by itself, relative to its parent, with O_NOFOLLOW,
 * so a link that an earlier entry (or the job) made cannot lead out of the target; names are refused if absolute or
 * with ".."; what is in the way is unlinked, never written through. */
#include "core/lib/cleanup.h"
#include "executors/agent/side.h"
#include "executors/agent/tar.h"
#include "proto/agent_frames.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#define BUFFER_SIZE (128u * 1024u)
#define FOLDERS_MAX 1000000u
#define FATAL (-1)
#define REFUSED 1

struct folder {
    char *name; /* owned */
    mode_t mode;
    struct timespec mtime;
};

struct unpack {
    int from;
    int base;
    int side;
    unsigned refused;
    bool told;       /* why it failed was said already */
    uint8_t *buffer; /* owned */
    size_t at;
    size_t len;
    char *parent_name;      /* owned: the folder that parent_fd is */
    int parent_fd;          /* owned */
    struct folder *folders; /* owned: modes and times that are set at the end, when nothing is written any more */
    size_t folder_count;
    size_t folder_size;
    struct tn_tar_pax pax; /* owned: for the next entry */
};

/* Makes at least one byte available; 0 at the end of the input, -1 on error. */
static int fill(struct unpack *unpack)
{
    ssize_t got;

    if (unpack->at < unpack->len)
        return 1;
    do
        got = read(unpack->from, unpack->buffer, BUFFER_SIZE);
    while (got < 0 && errno == EINTR);
    unpack->at = 0;
    unpack->len = got > 0 ? (size_t)got : 0;
    return got > 0 ? 1 : (int)got;
}

/* Reads exactly `len` bytes; -1 if the input ends before. */
static int take(struct unpack *unpack, void *out, size_t len)
{
    while (len > 0) {
        size_t part;

        if (fill(unpack) <= 0)
            return -1;
        part = unpack->len - unpack->at < len ? unpack->len - unpack->at : len;
        memcpy(out, unpack->buffer + unpack->at, part);
        out = (uint8_t *)out + part;
        unpack->at += part;
        len -= part;
    }
    return 0;
}

/* Passes `len` bytes on to `fd` (or drops them if it is -1), then the padding up to a whole block. Returns 0, FATAL if
 * the input ends, or errno if writing fails (the input is then behind the entry all the same). */
static int pass(struct unpack *unpack, int fd, uint64_t len)
{
    uint64_t padding = (TN_TAR_BLOCK - len % TN_TAR_BLOCK) % TN_TAR_BLOCK;
    uint64_t left = len + padding;
    int error = 0;

    while (left > 0) {
        uint64_t part;
        size_t done = 0;

        if (fill(unpack) <= 0)
            return FATAL;
        part = unpack->len - unpack->at < left ? unpack->len - unpack->at : left;
        while (fd >= 0 && error == 0 && left > padding && done < part && done < left - padding) {
            size_t want = part < left - padding ? (size_t)part : (size_t)(left - padding);
            ssize_t put = write(fd, unpack->buffer + unpack->at + done, want - done);

            if (put < 0 && errno != EINTR)
                error = errno;
            done += put > 0 ? (size_t)put : 0;
        }
        unpack->at += (size_t)part;
        left -= part;
    }
    return error;
}

static int refuse(struct unpack *unpack, const char *name, const char *why)
{
    unpack->refused++;
    tn_side_say(unpack->side, TN_SIDE_WARN, 0, "not unpacked: %.1500s: %s", name, why);
    return REFUSED;
}

/* The name without needless slashes and dots; NULL if it could lead out of the target. */
static char *clean_name(const char *name)
{
    char *clean = malloc(strlen(name) + 1);
    size_t len = 0;

    if (clean == NULL || name[0] == '/') {
        free(clean);
        return NULL;
    }
    while (*name != '\0') {
        size_t part = strcspn(name, "/");

        if (part == 2 && memcmp(name, "..", 2) == 0) {
            free(clean);
            return NULL;
        }
        if (part > 0 && !(part == 1 && name[0] == '.')) {
            if (len > 0)
                clean[len++] = '/';
            memcpy(clean + len, name, part);
            len += part;
        }
        name += part;
        name += strspn(name, "/");
    }
    clean[len] = '\0';
    return clean;
}

/* Opens the folder `name` below the target, making what is missing. -1 with errno; ELOOP or ENOTDIR if a component is
 * a link or a file. */
static int open_folder(const struct unpack *unpack, const char *name)
{
    int fd = fcntl(unpack->base, F_DUPFD_CLOEXEC, 0);

    while (fd >= 0 && *name != '\0') {
        size_t len = strcspn(name, "/");
        auto_free char *part = strndup(name, len);
        int next;

        if (part == NULL) {
            close(fd);
            errno = ENOMEM;
            return -1;
        }
        next = openat(fd, part, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (next < 0 && errno == ENOENT && (mkdirat(fd, part, 0755) == 0 || errno == EEXIST))
            next = openat(fd, part, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        close(fd);
        fd = next;
        name += len;
        name += *name == '/';
    }
    return fd;
}

/* Opens the parent of the clean `name`; it stays open for the next entry. *leaf is the last component. */
static int open_parent(struct unpack *unpack, const char *name, const char **leaf)
{
    const char *slash = strrchr(name, '/');
    size_t len = slash != NULL ? (size_t)(slash - name) : 0;

    *leaf = slash != NULL ? slash + 1 : name;
    if (unpack->parent_fd >= 0 && strlen(unpack->parent_name) == len && memcmp(unpack->parent_name, name, len) == 0)
        return unpack->parent_fd;
    if (unpack->parent_fd >= 0)
        close(unpack->parent_fd);
    free(unpack->parent_name);
    unpack->parent_name = strndup(name, len);
    unpack->parent_fd = unpack->parent_name != NULL ? open_folder(unpack, unpack->parent_name) : -1;
    return unpack->parent_fd;
}

/* After a folder was replaced the open parent may be a folder that is no longer in the tree. */
static void forget_parent(struct unpack *unpack)
{
    if (unpack->parent_fd >= 0)
        close(unpack->parent_fd);
    unpack->parent_fd = -1;
}

/* Takes away what has the name, but no folder with content. */
static int clear_place(int parent, const char *leaf)
{
    if (unlinkat(parent, leaf, 0) == 0 || errno == ENOENT)
        return 0;
    if ((errno == EISDIR || errno == EPERM) && unlinkat(parent, leaf, AT_REMOVEDIR) == 0)
        return 0;
    return -1;
}

static int put_file(struct unpack *unpack, int parent, const char *leaf, const struct tn_tar_entry *entry)
{
    struct timespec times[2] = {{0, UTIME_OMIT}, {(time_t)entry->mtime, entry->mtime_ns}};
    int result = 0;
    auto_fd int fd = openat(parent, leaf, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

    if (fd < 0 && errno == EEXIST && clear_place(parent, leaf) == 0)
        fd = openat(parent, leaf, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0) {
        const char *why = strerror(errno);

        refuse(unpack, entry->name, why);
        return pass(unpack, -1, entry->size) == 0 ? REFUSED : FATAL;
    }
    result = pass(unpack, fd, entry->size);
    if (result > 0) {
        tn_side_say(unpack->side, TN_SIDE_ERROR, result, "cannot write %.1500s: %s", entry->name, strerror(result));
        unpack->told = true;
        return FATAL;
    }
    if (result == 0 && (fchmod(fd, entry->mode & 01777) != 0 || futimens(fd, times) != 0))
        return refuse(unpack, entry->name, strerror(errno));
    return result;
}

static int put_folder(struct unpack *unpack, int parent, const char *leaf, const char *clean,
                      const struct tn_tar_entry *entry)
{
    struct stat info;

    if (mkdirat(parent, leaf, 0700) != 0) {
        if (errno != EEXIST || fstatat(parent, leaf, &info, AT_SYMLINK_NOFOLLOW) != 0)
            return refuse(unpack, entry->name, strerror(errno));
        if (!S_ISDIR(info.st_mode) && (unlinkat(parent, leaf, 0) != 0 || mkdirat(parent, leaf, 0700) != 0))
            return refuse(unpack, entry->name, strerror(errno));
        if (S_ISDIR(info.st_mode) && (info.st_mode & 0700) != 0700 &&
            fchmodat(parent, leaf, info.st_mode | 0700, 0) != 0)
            return refuse(unpack, entry->name, strerror(errno));
    }
    if (unpack->folder_count == FOLDERS_MAX)
        return refuse(unpack, entry->name, "too many folders: its permissions and time are not set");
    if (unpack->folder_count == unpack->folder_size) {
        size_t size = unpack->folder_size != 0 ? unpack->folder_size * 2 : 256;
        struct folder *folders = realloc(unpack->folders, size * sizeof(*folders));

        if (folders == NULL)
            return refuse(unpack, entry->name, "out of memory");
        unpack->folders = folders;
        unpack->folder_size = size;
    }
    unpack->folders[unpack->folder_count++] =
        (struct folder){strdup(clean), entry->mode & 01777, {(time_t)entry->mtime, entry->mtime_ns}};
    return 0;
}

static int put_link(struct unpack *unpack, int parent, const char *leaf, const struct tn_tar_entry *entry)
{
    struct timespec times[2] = {{0, UTIME_OMIT}, {(time_t)entry->mtime, entry->mtime_ns}};

    if (symlinkat(entry->link, parent, leaf) != 0 &&
        (errno != EEXIST || clear_place(parent, leaf) != 0 || symlinkat(entry->link, parent, leaf) != 0))
        return refuse(unpack, entry->name, strerror(errno));
    /* Where a link's time cannot be set nobody misses it. */
    if (utimensat(parent, leaf, times, AT_SYMLINK_NOFOLLOW) != 0)
        return 0;
    return 0;
}

static int put_hard_link(struct unpack *unpack, int parent, const char *leaf, const struct tn_tar_entry *entry)
{
    auto_free char *target = clean_name(entry->link);
    const char *slash = target != NULL ? strrchr(target, '/') : NULL;
    auto_free char *folder = slash != NULL ? strndup(target, (size_t)(slash - target)) : strdup("");
    const char *name = slash != NULL ? slash + 1 : target;
    auto_fd int from = -1;
    struct stat a;
    struct stat b;

    if (target == NULL || target[0] == '\0' || folder == NULL)
        return refuse(unpack, entry->name, "its target is absolute, has \"..\" or is empty");
    from = open_folder(unpack, folder);
    if (from < 0)
        return refuse(unpack, entry->name, strerror(errno));
    /* To itself: unlinking the place would destroy the target. */
    if (fstatat(from, name, &a, AT_SYMLINK_NOFOLLOW) == 0 && fstatat(parent, leaf, &b, AT_SYMLINK_NOFOLLOW) == 0 &&
        a.st_dev == b.st_dev && a.st_ino == b.st_ino)
        return 0;
    if (linkat(from, name, parent, leaf, 0) != 0 &&
        (errno != EEXIST || clear_place(parent, leaf) != 0 || linkat(from, name, parent, leaf, 0) != 0))
        return refuse(unpack, entry->name, strerror(errno));
    return 0;
}

/* Returns 0, REFUSED, or FATAL if the archive cannot be followed any further. */
static int put_entry(struct unpack *unpack, const struct tn_tar_entry *entry)
{
    auto_free char *clean = clean_name(entry->name);
    const char *leaf;
    int result = REFUSED;
    int parent;

    if (clean == NULL) {
        refuse(unpack, entry->name, "the name is absolute or has \"..\"");
    } else if (clean[0] == '\0') {
        result = 0; /* the target itself */
    } else if ((parent = open_parent(unpack, clean, &leaf)) < 0) {
        refuse(unpack, entry->name,
               errno == ELOOP || errno == ENOTDIR ? "a folder of its path is a link or a file" : strerror(errno));
    } else if (entry->type == TN_TAR_FILE) {
        return put_file(unpack, parent, leaf, entry);
    } else if (entry->type == TN_TAR_DIR) {
        result = put_folder(unpack, parent, leaf, clean, entry);
        forget_parent(unpack);
    } else if (entry->type == TN_TAR_LINK) {
        result = put_link(unpack, parent, leaf, entry);
        forget_parent(unpack);
    } else if (entry->type == TN_TAR_HARD) {
        result = put_hard_link(unpack, parent, leaf, entry);
        forget_parent(unpack);
        return result; /* some archives give a hard link a size, but no content follows */
    } else {
        tn_side_say(unpack->side, TN_SIDE_WARN, 0, "skipped: %.1500s is a special file (type %c)", entry->name,
                    entry->type > ' ' && entry->type < 127 ? entry->type : '?');
        result = 0;
    }
    return pass(unpack, -1, entry->size) == 0 ? result : FATAL;
}

/* The payload of an entry that describes the next one. */
static int take_extra(struct unpack *unpack, const struct tn_tar_entry *entry)
{
    size_t size = (size_t)entry->size;
    size_t whole = (size + TN_TAR_BLOCK - 1) / TN_TAR_BLOCK * TN_TAR_BLOCK;
    auto_free char *text = NULL;
    char **place = entry->type == TN_TAR_LONG_NAME ? &unpack->pax.name : &unpack->pax.link;

    if (entry->type == TN_TAR_PAX_GLOBAL && entry->size < 1ull << 40)
        return pass(unpack, -1, entry->size);
    if (entry->size > (entry->type == TN_TAR_PAX ? TN_TAR_PAX_MAX : TN_TAR_NAME_MAX))
        return FATAL;
    text = malloc(whole + 1);
    if (text == NULL || take(unpack, text, whole) != 0)
        return FATAL;
    text[size] = '\0';
    if (entry->type == TN_TAR_PAX)
        return tn_tar_pax_get(text, size, &unpack->pax) == 0 ? 0 : FATAL;
    free(*place);
    *place = steal_ptr(&text);
    return 0;
}

/* One entry with its describing ones. 0; 1 at the end of the archive; FATAL. */
static int next_entry(struct unpack *unpack)
{
    uint8_t block[TN_TAR_BLOCK];
    struct tn_tar_names names;
    struct tn_tar_entry entry;
    int result;

    if (take(unpack, block, sizeof(block)) != 0)
        return FATAL;
    result = tn_tar_header_get(block, &names, &entry);
    if (result != 0)
        return result < 0 ? FATAL : 1;
    if (entry.type == TN_TAR_PAX || entry.type == TN_TAR_PAX_GLOBAL || entry.type == TN_TAR_LONG_NAME ||
        entry.type == TN_TAR_LONG_LINK)
        return take_extra(unpack, &entry) == 0 ? 0 : FATAL;
    if (unpack->pax.name != NULL)
        entry.name = unpack->pax.name;
    if (unpack->pax.link != NULL)
        entry.link = unpack->pax.link;
    if (unpack->pax.has_size)
        entry.size = unpack->pax.size;
    if (unpack->pax.has_mtime) {
        entry.mtime = unpack->pax.mtime;
        entry.mtime_ns = unpack->pax.mtime_ns;
    }
    result = put_entry(unpack, &entry);
    tn_tar_pax_free(&unpack->pax);
    return result == FATAL ? FATAL : 0;
}

/* Deepest last in the archive, so from the end: a folder's time is set after those of what lies in it. */
static void finish_folders(struct unpack *unpack)
{
    while (unpack->folder_count > 0) {
        struct folder *folder = &unpack->folders[--unpack->folder_count];
        struct timespec times[2] = {{0, UTIME_OMIT}, folder->mtime};
        auto_fd int fd = folder->name != NULL ? open_folder(unpack, folder->name) : -1;

        if (fd >= 0 && (futimens(fd, times) != 0 || fchmod(fd, folder->mode) != 0))
            tn_side_say(unpack->side, TN_SIDE_WARN, errno, "permissions of the folder %.1500s: %s", folder->name,
                        strerror(errno));
        free(folder->name);
    }
    free(unpack->folders);
}

int tn_tar_unpack(int from, int base, int side)
{
    struct unpack unpack = {.from = from, .base = base, .side = side, .parent_fd = -1};
    int result = 0;

    unpack.buffer = malloc(BUFFER_SIZE);
    if (unpack.buffer == NULL)
        return 1;
    umask(0);
    while (result == 0)
        result = next_entry(&unpack);
    finish_folders(&unpack);
    if (result == FATAL && !unpack.told)
        tn_side_say(side, TN_SIDE_ERROR, 0, "the archive is malformed or cut off: %s",
                    fill(&unpack) > 0 ? "an entry's header was expected" : "it ends before its end mark");
    else if (unpack.refused > 0)
        tn_side_say(side, TN_SIDE_ERROR, 0, "%u entries of the archive were not unpacked", unpack.refused);
    /* The sender pads the end with empty blocks; to leave them unread would look like a failure to it. */
    while (result == 1 && fill(&unpack) > 0)
        unpack.at = unpack.len;
    forget_parent(&unpack);
    free(unpack.parent_name);
    free(unpack.buffer);
    tn_tar_pax_free(&unpack.pax);
    return result == 1 && unpack.refused == 0 ? 0 : 1;
}

/* Like mkdir -p. */
static int make_path(const char *path)
{
    auto_free char *copy = strdup(path);

    for (char *at = copy; copy != NULL && (at = strchr(at + 1, '/')) != NULL; *at = '/') {
        *at = '\0';
        if (mkdir(copy, 0755) != 0 && errno != EEXIST && errno != EROFS && errno != EACCES)
            return -1;
    }
    return copy != NULL && (mkdir(path, 0755) == 0 || errno == EEXIST) ? 0 : -1;
}

int tn_tar_put_work(void *arg, int side)
{
    const struct tn_agent_tree *tree = arg;
    int why_not;
    int base;

    umask(022);
    why_not = make_path(tree->path) != 0 ? errno : 0;
    base = open(tree->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (base < 0) {
        int error = why_not != 0 ? why_not : errno;

        tn_side_say(side, TN_SIDE_ERROR, error, "cannot %s the folder %s: %s", why_not != 0 ? "make" : "open",
                    tree->path, strerror(error));
        return 1;
    }
    return tn_tar_unpack(STDIN_FILENO, base, side);
}
