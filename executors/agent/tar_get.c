/* Packing. Files that change or vanish meanwhile never break the archive: what the header announced is what follows. */
#include "core/lib/cleanup.h"
#include "executors/agent/glob.h"
#include "executors/agent/side.h"
#include "executors/agent/tar.h"
#include "proto/agent_frames.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#define BUFFER_SIZE (256u * 1024u)
#define LINKS_MAX 1000000u
#define DEPTH_MAX 900 /* one descriptor a level */

/* A file with several names: the first one is packed, the others become links to it. */
struct known {
    dev_t dev;
    ino_t ino;
    char *name; /* owned */
};

struct pack {
    int to;
    int side;
    struct tn_buf out;
    struct known *known; /* owned hash table, open addressing */
    size_t known_size;
    size_t known_count;
    bool failed;
};

static void flush(struct pack *pack)
{
    size_t done = 0;

    while (done < pack->out.len && !pack->failed) {
        ssize_t put = write(pack->to, pack->out.data + done, pack->out.len - done);

        if (put < 0 && errno != EINTR)
            pack->failed = true;
        done += put > 0 ? (size_t)put : 0;
    }
    tn_buf_reset(&pack->out);
}

static void warn(struct pack *pack, const char *what, const char *name, const char *why)
{
    tn_side_say(pack->side, TN_SIDE_WARN, 0, "%s: %.1500s: %s", what, name, why);
}

static struct known *find_known(struct pack *pack, dev_t dev, ino_t ino)
{
    size_t at = (size_t)(ino * 2654435761u + dev) & (pack->known_size - 1);

    while (pack->known[at].name != NULL && (pack->known[at].dev != dev || pack->known[at].ino != ino))
        at = (at + 1) & (pack->known_size - 1);
    return &pack->known[at];
}

static bool grow_known(struct pack *pack)
{
    struct known *old = pack->known;
    size_t old_size = pack->known_size;

    pack->known_size = old_size != 0 ? old_size * 2 : 1024;
    pack->known = calloc(pack->known_size, sizeof(*pack->known));
    if (pack->known == NULL) {
        pack->known = old;
        pack->known_size = old_size;
        return false;
    }
    for (size_t i = 0; i < old_size; i++)
        if (old[i].name != NULL)
            *find_known(pack, old[i].dev, old[i].ino) = old[i];
    free(old);
    return true;
}

/* The name under which the file was packed before, or NULL; then it is known from now on. */
static const char *seen_before(struct pack *pack, const struct stat *info, const char *name)
{
    struct known *place;

    if (info->st_nlink < 2 || pack->known_count >= LINKS_MAX)
        return NULL;
    if (pack->known_count * 2 >= pack->known_size && !grow_known(pack))
        return NULL;
    place = find_known(pack, info->st_dev, info->st_ino);
    if (place->name != NULL)
        return place->name;
    *place = (struct known){info->st_dev, info->st_ino, strdup(name)};
    pack->known_count += place->name != NULL;
    return NULL;
}

static struct tn_tar_entry entry_of(const struct stat *info, const char *name, char type)
{
    return (struct tn_tar_entry){.name = name,
                                 .link = "",
                                 .type = type,
                                 .mode = info->st_mode & 07777,
                                 .mtime = info->st_mtim.tv_sec,
                                 .mtime_ns = info->st_mtim.tv_nsec};
}

/* Exactly `size` bytes follow, then zeros up to a whole block. */
static void pack_content(struct pack *pack, int fd, uint64_t size, const char *name)
{
    uint64_t left = size;
    bool ended = false;

    while (left > 0 && !pack->failed) {
        size_t want = left < BUFFER_SIZE ? (size_t)left : BUFFER_SIZE;
        char *place = tn_buf_reserve(&pack->out, want);
        ssize_t got = ended ? 0 : read(fd, place, want);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0 && !ended) {
            warn(pack, "changed while it was packed, filled up with zeros", name,
                 got < 0 ? strerror(errno) : "too short");
            ended = true;
        }
        if (ended) {
            memset(place, 0, want);
            got = (ssize_t)want;
        }
        pack->out.len += (size_t)got;
        left -= (uint64_t)got;
        if (pack->out.len >= BUFFER_SIZE)
            flush(pack);
    }
    if (size % TN_TAR_BLOCK != 0) {
        size_t padding = TN_TAR_BLOCK - (size_t)(size % TN_TAR_BLOCK);

        memset(tn_buf_reserve(&pack->out, padding), 0, padding);
        pack->out.len += padding;
    }
}

static void pack_file(struct pack *pack, int parent, const char *leaf, const char *name)
{
    struct stat info;
    struct tn_tar_entry entry;
    const char *before;
    auto_fd int fd = openat(parent, leaf, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

    if (fd < 0 || fstat(fd, &info) != 0) {
        warn(pack, "not packed", name, strerror(errno));
        return;
    }
    if (!S_ISREG(info.st_mode)) {
        warn(pack, "not packed", name, "it changed while the tree was read");
        return;
    }
    before = seen_before(pack, &info, name);
    entry = entry_of(&info, name, before != NULL ? TN_TAR_HARD : TN_TAR_FILE);
    if (before != NULL)
        entry.link = before;
    else
        entry.size = (uint64_t)info.st_size;
    tn_tar_header_put(&pack->out, &entry);
    if (before == NULL)
        pack_content(pack, fd, entry.size, name);
}

static void pack_link(struct pack *pack, int parent, const char *leaf, const char *name, const struct stat *info)
{
    struct tn_tar_entry entry = entry_of(info, name, TN_TAR_LINK);
    char target[PATH_MAX];
    ssize_t len = readlinkat(parent, leaf, target, sizeof(target) - 1);

    if (len < 0) {
        warn(pack, "not packed", name, strerror(errno));
        return;
    }
    target[len] = '\0';
    entry.link = target;
    tn_tar_header_put(&pack->out, &entry);
}

static void pack_any(struct pack *pack, int parent, const char *leaf, struct tn_buf *name, int depth);

/* Sorted, so that the same tree gives the same archive. */
static void pack_folder(struct pack *pack, int parent, const char *leaf, struct tn_buf *name, const struct stat *info,
                        int depth)
{
    struct tn_words names = {NULL, 0, 0};
    size_t len = name->len;
    int fd = depth < DEPTH_MAX ? openat(parent, leaf, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    struct tn_tar_entry entry;
    struct dirent *found;

    if (dir == NULL) {
        warn(pack, "not packed", name->data, depth < DEPTH_MAX ? strerror(errno) : "folders are nested too deep");
        if (fd >= 0)
            close(fd);
        return;
    }
    tn_buf_adds(name, "/");
    if (strcmp(name->data, "./") != 0) {
        entry = entry_of(info, name->data, TN_TAR_DIR);
        tn_tar_header_put(&pack->out, &entry);
    }
    while ((found = readdir(dir)) != NULL)
        if (strcmp(found->d_name, ".") != 0 && strcmp(found->d_name, "..") != 0)
            tn_words_add(&names, found->d_name, strlen(found->d_name));
    tn_words_sort(&names);
    for (size_t i = 0; i < names.count && !pack->failed; i++) {
        tn_buf_adds(name, names.all[i]);
        pack_any(pack, dirfd(dir), names.all[i], name, depth + 1);
        name->len = len + 1;
        name->data[name->len] = '\0';
    }
    tn_words_free(&names);
    closedir(dir);
    name->len = len;
    name->data[len] = '\0';
}

static void pack_any(struct pack *pack, int parent, const char *leaf, struct tn_buf *name, int depth)
{
    struct stat info;

    if (fstatat(parent, leaf, &info, AT_SYMLINK_NOFOLLOW) != 0) {
        if (errno != ENOENT) /* what vanished meanwhile is simply not there */
            warn(pack, "not packed", name->data, strerror(errno));
        return;
    }
    if (S_ISREG(info.st_mode))
        pack_file(pack, parent, leaf, name->data);
    else if (S_ISDIR(info.st_mode))
        pack_folder(pack, parent, leaf, name, &info, depth);
    else if (S_ISLNK(info.st_mode))
        pack_link(pack, parent, leaf, name->data, &info);
    else
        warn(pack, "not packed", name->data, "it is a socket, a pipe or a device");
    if (pack->out.len >= BUFFER_SIZE)
        flush(pack);
}

static bool stays_inside(const char *path)
{
    if (path[0] == '/' || path[0] == '\0')
        return false;
    for (const char *at = path; *at != '\0'; at += strspn(at, "/")) {
        size_t part = strcspn(at, "/");

        if (part == 2 && memcmp(at, "..", 2) == 0)
            return false;
        at += part;
    }
    return true;
}

/* Adds what `path` stands for, without needless dots and slashes; says so if that is nothing. */
static void add_roots(struct pack *pack, const char *path, int glob, struct tn_words *roots)
{
    size_t before = roots->count;
    struct tn_err err = TN_ERR_INIT;
    struct stat info;
    size_t len;

    if (!stays_inside(path)) {
        tn_side_say(pack->side, TN_SIDE_ERROR, 0,
                    "the path %.1500s is absolute or has \"..\": expected one below the folder", path);
        pack->failed = true;
        return;
    }
    while (path[0] == '.' && path[1] == '/')
        path += 1 + strspn(path + 1, "/");
    if (path[0] == '\0')
        path = ".";
    len = strlen(path);
    while (len > 1 && path[len - 1] == '/')
        len--;
    auto_free char *clean = strndup(path, len);
    auto_free char *pattern = clean != NULL ? tn_glob_of_match(clean) : NULL;
    if (pattern == NULL)
        return;
    if (glob && tn_glob_find(pattern, false, roots, &err) != 0) {
        tn_side_say(pack->side, TN_SIDE_ERROR, 0, "%s", err.text);
        pack->failed = true;
    } else if (!glob && lstat(clean, &info) == 0) {
        tn_words_add(roots, clean, len);
    }
    if (roots->count == before)
        tn_side_say(pack->side, TN_SIDE_MISSING, 0, "%s", path);
}

static bool lies_in(const char *path, const char *folder)
{
    size_t len = strlen(folder);

    return strcmp(folder, ".") == 0 || (strncmp(path, folder, len) == 0 && (path[len] == '/' || path[len] == '\0'));
}

int tn_tar_pack(const char *const *paths, int glob, int to, int side)
{
    struct pack pack = {.to = to, .side = side};
    struct tn_words roots = {NULL, 0, 0};
    const char *last = NULL;

    if (!grow_known(&pack))
        return 1;
    for (; *paths != NULL && !pack.failed; paths++)
        add_roots(&pack, *paths, glob, &roots);
    tn_words_sort(&roots);
    for (size_t i = 0; i < roots.count && !pack.failed; i++) {
        auto_buf struct tn_buf name = TN_BUF_INIT;

        if (last != NULL && lies_in(roots.all[i], last))
            continue;
        tn_buf_adds(&name, roots.all[i]);
        pack_any(&pack, AT_FDCWD, roots.all[i], &name, 0);
        last = roots.all[i];
    }
    memset(tn_buf_reserve(&pack.out, 2 * TN_TAR_BLOCK), 0, 2 * TN_TAR_BLOCK);
    pack.out.len += 2 * TN_TAR_BLOCK;
    if (!pack.failed)
        flush(&pack);
    tn_words_free(&roots);
    for (size_t i = 0; i < pack.known_size; i++)
        free(pack.known[i].name);
    free(pack.known);
    tn_buf_free(&pack.out);
    return pack.failed ? 1 : 0;
}

int tn_tar_get_work(void *arg, int side)
{
    const struct tn_agent_tree *tree = arg;

    /* Where patterns are to be looked for is no path that may match nothing. */
    if ((tree->flags & TN_AGENT_GLOB) == 0 && chdir(tree->path) != 0 && (errno == ENOENT || errno == ENOTDIR)) {
        static const char *const nothing[] = {NULL};

        tn_side_say(side, TN_SIDE_MISSING, 0, "%s", tree->path);
        return tn_tar_pack(nothing, false, STDOUT_FILENO, side);
    }
    if (chdir(tree->path) != 0) {
        tn_side_say(side, TN_SIDE_ERROR, errno, "cannot enter the folder %s: %s", tree->path, strerror(errno));
        return 1;
    }
    return tn_tar_pack(tree->paths, (tree->flags & TN_AGENT_GLOB) != 0, STDOUT_FILENO, side);
}

int tn_file_get_work(void *arg, int side)
{
    const struct tn_agent_tree *tree = arg;
    auto_fd int fd = open(tree->path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    struct pack pack = {.to = STDOUT_FILENO, .side = side};
    struct stat info;
    uint64_t total = 0;
    ssize_t got = 0;

    if (fd < 0 || fstat(fd, &info) != 0) {
        tn_side_say(side, TN_SIDE_ERROR, errno, "cannot open %s: %s", tree->path, strerror(errno));
        return 1;
    }
    if (!S_ISREG(info.st_mode)) {
        tn_side_say(side, TN_SIDE_ERROR, EINVAL, "%s is not a file", tree->path);
        return 1;
    }
    if ((uint64_t)info.st_size <= tree->max)
        while (total <= tree->max && !pack.failed &&
               (got = read(fd, tn_buf_reserve(&pack.out, BUFFER_SIZE), BUFFER_SIZE)) > 0) {
            pack.out.len = (size_t)got;
            total += (uint64_t)got;
            flush(&pack);
        }
    tn_buf_free(&pack.out);
    if (total > tree->max || (uint64_t)info.st_size > tree->max) {
        tn_side_say(side, TN_SIDE_ERROR, EFBIG, "%s has %llu bytes: more than the %llu that were asked for", tree->path,
                    (unsigned long long)info.st_size, (unsigned long long)tree->max);
        return 1;
    }
    if (got < 0)
        tn_side_say(side, TN_SIDE_ERROR, errno, "cannot read %s: %s", tree->path, strerror(errno));
    return got < 0 || pack.failed ? 1 : 0;
}
