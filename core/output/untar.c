#include "core/output/untar.h"
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/log.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

enum { PATH_BYTES = 4000, PARTS_MAX = 200 };

struct run {
    const struct tn_untar *untar;
    struct tn_untar_result *result;
    struct tn_err *err;
    int root; /* the folder */
};

char *tn_untar_clean(const char *path)
{
    auto_free char *clean = tn_fs_path("%s", "");
    struct tn_buf out = TN_BUF_INIT;
    unsigned parts = 0;

    if (strlen(path) > PATH_BYTES)
        return NULL;
    while (*path != '\0') {
        size_t length = strcspn(path, "/");

        if (length == 2 && memcmp(path, "..", 2) == 0) {
            tn_buf_free(&out);
            return NULL;
        }
        if (length > 255 || parts > PARTS_MAX) {
            tn_buf_free(&out);
            return NULL;
        }
        if (length > 0 && !(length == 1 && *path == '.')) {
            if (parts++ > 0)
                tn_buf_adds(&out, "/");
            tn_buf_add(&out, path, length);
        }
        path += length + (path[length] == '/');
    }
    return parts > 0 ? tn_buf_steal(&out) : steal_ptr(&clean);
}

/* Leading ".." parts are allowed as far as the link's folder is deep, others never: then each link leads from a real
 * folder up at most to the top and down again, and so does every chain of them. */
bool tn_untar_link_stays(const char *name, const char *target)
{
    unsigned depth = 0;
    bool down = false;

    if (*target == '/' || *target == '\0' || strlen(target) > PATH_BYTES)
        return false;
    for (const char *at = name; *at != '\0'; at++)
        depth += *at == '/';
    while (*target != '\0') {
        size_t length = strcspn(target, "/");
        bool up = length == 2 && memcmp(target, "..", 2) == 0;

        if (up && (down || depth-- == 0))
            return false;
        if (!up && length > 0 && !(length == 1 && *target == '.'))
            down = true;
        target += length + (target[length] == '/');
    }
    return true;
}

/* Opens the folder of the clean path `name` below the root, making what is missing. `*last` gets its last part. */
static int open_parent(const struct run *run, const char *name, const char **last)
{
    int dir = fcntl(run->root, F_DUPFD_CLOEXEC, 0);
    const char *slash;

    for (; dir >= 0 && (slash = strchr(name, '/')) != NULL; name = slash + 1) {
        char part[256];
        int next;

        memcpy(part, name, (size_t)(slash - name));
        part[slash - name] = '\0';
        if (mkdirat(dir, part, 0755) != 0 && errno != EEXIST) {
            close(dir);
            return -1;
        }
        next = openat(dir, part, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        close(dir);
        dir = next;
    }
    *last = name;
    return dir;
}

static int system_failed(const struct run *run, const char *name)
{
    return tn_err_sys(run->err, errno, "cannot unpack %s below %s", name, run->untar->folder);
}

static int copy_data(const struct run *run, struct archive *archive, int fd, const char *name, uint64_t size)
{
    for (;;) {
        const void *bytes;
        size_t length;
        la_int64_t offset;
        size_t done = 0;
        int got = archive_read_data_block(archive, &bytes, &length, &offset);

        if (got == ARCHIVE_EOF)
            return ftruncate(fd, (off_t)size) == 0 ? 0 : system_failed(run, name);
        if (got < ARCHIVE_WARN)
            return run->err->code != TN_OK ? -1
                                           : tn_err_set(run->err, TN_ERR_PROTOCOL, "the tar is damaged in %s: %s", name,
                                                        archive_error_string(archive));
        if (offset < 0 || (uint64_t)offset > size || length > size - (uint64_t)offset)
            return tn_err_set(run->err, TN_ERR_PROTOCOL, "the tar is damaged: %s has data behind its end", name);
        while (done < length) {
            ssize_t put = pwrite(fd, (const char *)bytes + done, length - done, (off_t)(offset + (la_int64_t)done));

            if (put < 0 && errno != EINTR)
                return system_failed(run, name);
            done += put > 0 ? (size_t)put : 0;
        }
    }
}

static int take_file(const struct run *run, struct archive *archive, struct archive_entry *entry, int dir,
                     const char *last, const char *name)
{
    uint64_t size = archive_entry_size(entry) > 0 ? (uint64_t)archive_entry_size(entry) : 0;
    mode_t mode = (archive_entry_perm(entry) & 0111) != 0 ? 0755 : 0644;
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = archive_entry_mtime(entry)}};
    auto_fd int fd = -1;

    if (size > run->untar->limits.bytes - run->result->bytes)
        return tn_err_set(run->err, TN_ERR_LIMIT, "%s: the files are larger than %" PRIu64 " bytes together, the limit",
                          name, run->untar->limits.bytes);
    if (unlinkat(dir, last, 0) != 0 && errno != ENOENT)
        return system_failed(run, name);
    fd = openat(dir, last, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
    if (fd < 0)
        return system_failed(run, name);
    if (copy_data(run, archive, fd, name, size) != 0)
        return -1;
    if (futimens(fd, times) != 0)
        tn_debug("cannot set the time of %s", name);
    run->result->bytes += size;
    run->result->files++;
    if (run->untar->on_file != NULL)
        run->untar->on_file(run->untar->arg, fd, name);
    return 0;
}

static int take_link(const struct run *run, struct archive_entry *entry, int dir, const char *last, const char *name)
{
    const char *target = archive_entry_symlink(entry);

    if (target == NULL || !tn_untar_link_stays(name, target)) {
        run->result->skipped++;
        return 0;
    }
    if ((unlinkat(dir, last, 0) != 0 && errno != ENOENT) || symlinkat(target, dir, last) != 0)
        return system_failed(run, name);
    run->result->files++;
    return 0;
}

/* The clean path that an entry gets, or NULL: it is not taken. */
static char *entry_name(const struct run *run, struct archive_entry *entry)
{
    const char *path = archive_entry_pathname(entry);
    auto_free char *clean = NULL;
    const char *rest;

    if (path == NULL || *path == '/' || archive_entry_hardlink(entry) != NULL)
        return NULL;
    clean = tn_untar_clean(path);
    if (clean == NULL || *clean == '\0')
        return NULL;
    rest = strchr(clean, '/');
    if (*run->untar->prefix == '\0')
        return rest != NULL ? tn_fs_path("%s", rest + 1) : steal_ptr(&clean);
    if (rest == NULL && run->untar->keep_file_name && archive_entry_filetype(entry) != AE_IFDIR)
        return tn_fs_path("%s/%s", run->untar->prefix, clean);
    return tn_fs_path("%s%s", run->untar->prefix, rest != NULL ? rest : "");
}

static int take_entry(const struct run *run, struct archive *archive, struct archive_entry *entry)
{
    unsigned type = archive_entry_filetype(entry);
    auto_free char *name = entry_name(run, entry);
    const char *last;
    auto_fd int dir = -1;

    if (name == NULL || (type != AE_IFREG && type != AE_IFDIR && type != AE_IFLNK)) {
        const char *path = archive_entry_pathname(entry);

        /* "./" itself is no loss. */
        if (type != AE_IFDIR || path == NULL || strspn(path, "./") != strlen(path))
            run->result->skipped++;
        return 0;
    }
    dir = open_parent(run, name, &last);
    if (dir < 0 && (errno == ELOOP || errno == ENOTDIR || errno == EEXIST)) {
        run->result->skipped++; /* below something that is no folder */
        return 0;
    }
    if (dir < 0)
        return system_failed(run, name);
    if (type == AE_IFDIR) {
        if (mkdirat(dir, last, 0755) != 0 && errno != EEXIST)
            return system_failed(run, name);
        return 0;
    }
    if (faccessat(dir, last, F_OK, AT_SYMLINK_NOFOLLOW) == 0) {
        struct stat status;

        if (fstatat(dir, last, &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(status.st_mode)) {
            run->result->skipped++; /* a folder is in its place */
            return 0;
        }
    }
    return type == AE_IFREG ? take_file(run, archive, entry, dir, last, name) : take_link(run, entry, dir, last, name);
}

static la_ssize_t read_bytes(struct archive *archive, void *arg, const void **bytes)
{
    struct run *run = arg;
    ssize_t got = run->untar->read(run->untar->arg, bytes, run->err);

    if (got < 0)
        archive_set_error(archive, EIO, "%s", run->err->text);
    return got;
}

static int take_entries(struct run *run, struct archive *archive)
{
    uint64_t entries = 0;

    for (;;) {
        struct archive_entry *entry;
        int got = archive_read_next_header(archive, &entry);

        if (got == ARCHIVE_EOF)
            return 0;
        if (got < ARCHIVE_WARN)
            return run->err->code != TN_OK
                       ? -1
                       : tn_err_set(run->err, TN_ERR_PROTOCOL, "the tar is damaged: %s", archive_error_string(archive));
        if (++entries > run->untar->limits.files)
            return tn_err_set(run->err, TN_ERR_LIMIT, "the tar has more than %" PRIu64 " entries, the limit",
                              run->untar->limits.files);
        if (take_entry(run, archive, entry) != 0)
            return -1;
    }
}

int tn_untar(const struct tn_untar *untar, struct tn_untar_result *result, struct tn_err *err)
{
    struct tn_err own = TN_ERR_INIT;
    auto_fd int root = -1;
    struct run run = {untar, result, err != NULL ? err : &own, -1};
    struct archive *archive;
    int failed;

    memset(result, 0, sizeof(*result));
    if (tn_fs_make_dirs(untar->folder, 0755, err) != 0)
        return -1;
    root = open(untar->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root < 0)
        return tn_err_sys(err, errno, "cannot open %s", untar->folder);
    run.root = root;
    archive = archive_read_new();
    if (archive == NULL)
        tn_fatal(3, "out of memory: a tar reader");
    archive_read_support_format_tar(archive);
    archive_read_support_format_empty(archive);
    failed = archive_read_open(archive, &run, NULL, read_bytes, NULL) == ARCHIVE_OK
                 ? take_entries(&run, archive)
                 : tn_err_set(run.err, TN_ERR_PROTOCOL, "this is no tar: %s", archive_error_string(archive));
    archive_read_free(archive);
    return failed;
}
