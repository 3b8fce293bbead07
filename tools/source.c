#include "tools/source.h"

#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/log.h"
#include "tools/source_list.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

enum { PIECE = 128 * 1024, CONFIG_BYTES = 1024 * 1024 };

struct source {
    struct source_list list;
    size_t next; /* item to begin */
    struct archive *tar;
    struct tn_buf *out; /* borrowed during source_read() */
    int fd;             /* file that is being copied, or -1 */
    uint64_t left;      /* bytes of it that its header promised */
    bool ended;
    char *piece; /* owned */
};

static la_ssize_t on_tar(struct archive *tar, void *arg, const void *bytes, size_t length)
{
    struct source *source = arg;

    tn_buf_add(source->out, bytes, length);
    return (la_ssize_t)length;
}

static int tar_failed(struct source *source, const char *path, struct tn_err *err)
{
    return tn_err_set(err, TN_ERR_SYSTEM, "cannot put %s into the tar of the working tree: %s", path,
                      archive_error_string(source->tar));
}

struct source *source_open(const struct project *project, struct tn_err *err)
{
    struct source *source = calloc(1, sizeof(*source));

    if (source == NULL)
        tn_fatal(3, "out of memory: the working tree's tar");
    source->fd = -1;
    source->piece = malloc(PIECE);
    source->tar = archive_write_new();
    if (source->piece == NULL || source->tar == NULL)
        tn_fatal(3, "out of memory: the working tree's tar");
    if (source_list_make(&source->list, project, err) != 0) {
        source_close(source);
        return NULL;
    }
    archive_write_set_format_pax_restricted(source->tar);
    archive_write_set_bytes_per_block(source->tar, 0);
    if (archive_write_open(source->tar, source, NULL, on_tar, NULL) != ARCHIVE_OK) {
        tar_failed(source, "anything", err);
        source_close(source);
        return NULL;
    }
    return source;
}

void source_close(struct source *source)
{
    struct tn_buf rest = TN_BUF_INIT;

    if (source == NULL)
        return;
    /* cppcheck-suppress autoVariables ; the source is freed below */
    source->out = &rest; /* libarchive may write its end */
    if (source->tar != NULL)
        archive_write_free(source->tar);
    tn_buf_free(&rest);
    if (source->fd >= 0)
        close(source->fd);
    source_list_free(&source->list);
    free(source->piece);
    free(source);
}

static int write_header(struct source *source, const struct source_item *item, const struct stat *status,
                        const char *link, struct tn_err *err)
{
    struct archive_entry *entry = archive_entry_new();
    int rc;

    if (entry == NULL)
        tn_fatal(3, "out of memory: an entry of the working tree's tar");
    archive_entry_set_pathname(entry, item->name);
    archive_entry_set_filetype(entry, status->st_mode & S_IFMT);
    archive_entry_set_perm(entry, status->st_mode & 0777);
    archive_entry_set_mtime(entry, status->st_mtim.tv_sec, 0);
    if (S_ISREG(status->st_mode))
        archive_entry_set_size(entry, status->st_size);
    else
        archive_entry_set_size(entry, 0);
    if (link != NULL)
        archive_entry_set_symlink(entry, link);
    rc = archive_write_header(source->tar, entry);
    archive_entry_free(entry);
    return rc >= ARCHIVE_WARN ? 0 : tar_failed(source, item->path, err);
}

/* A submodule's or a worktree's config may say where its working tree lies here; in a job it lies elsewhere. */
static void drop_worktree(struct tn_buf *text)
{
    struct tn_buf kept = TN_BUF_INIT;
    size_t at = 0;

    while (at < text->len) {
        const char *line = text->data + at;
        const char *end = memchr(line, '\n', text->len - at);
        size_t length = end != NULL ? (size_t)(end - line) + 1 : text->len - at;
        const char *word = line + strspn(line, " \t");

        if (strncmp(word, "worktree", 8) != 0 || strchr(" \t=", word[8]) == NULL)
            tn_buf_add(&kept, line, length);
        at += length;
    }
    tn_buf_free(text);
    *text = kept;
}

static int write_config(struct source *source, const struct source_item *item, struct stat *status, struct tn_err *err)
{
    auto_buf struct tn_buf text = TN_BUF_INIT;

    if (tn_fs_read(item->path, CONFIG_BYTES, &text, err) != 0)
        return -1;
    drop_worktree(&text);
    status->st_size = (off_t)text.len;
    if (write_header(source, item, status, NULL, err) != 0)
        return -1;
    if (text.len > 0 && archive_write_data(source->tar, text.data, text.len) < 0)
        return tar_failed(source, item->path, err);
    return 0;
}

static int begin_file(struct source *source, const struct source_item *item, struct tn_err *err)
{
    auto_fd int fd = open(item->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct stat status;

    if (fd < 0)
        return errno == ENOENT || errno == ELOOP ? 0 : tn_err_sys(err, errno, "cannot read %s", item->path);
    if (fstat(fd, &status) != 0)
        return tn_err_sys(err, errno, "cannot read %s", item->path);
    if (!S_ISREG(status.st_mode))
        return 0; /* replaced by something else since it was listed */
    if (item->config)
        return write_config(source, item, &status, err);
    if (write_header(source, item, &status, NULL, err) != 0)
        return -1;
    source->left = (uint64_t)status.st_size;
    source->fd = steal_fd(&fd);
    return 0;
}

static int begin(struct source *source, const struct source_item *item, struct tn_err *err)
{
    char link[PATH_MAX];
    struct stat status;
    ssize_t length;

    if (lstat(item->path, &status) != 0)
        return 0;
    if (S_ISREG(status.st_mode))
        return begin_file(source, item, err);
    if (S_ISDIR(status.st_mode))
        return write_header(source, item, &status, NULL, err);
    if (!S_ISLNK(status.st_mode) || (length = readlink(item->path, link, sizeof(link) - 1)) < 0)
        return 0;
    link[length] = '\0';
    return write_header(source, item, &status, link, err);
}

/* Copies one piece. A file that became shorter is filled up by libarchive, of a longer one the rest is left out: its
 * header is written already. */
static int copy_piece(struct source *source, struct tn_err *err)
{
    const char *path = source->list.items[source->next - 1].path;
    ssize_t got = 0;

    if (source->left > 0) {
        do
            got = read(source->fd, source->piece, source->left < PIECE ? (size_t)source->left : PIECE);
        while (got < 0 && errno == EINTR);
        if (got < 0)
            return tn_err_sys(err, errno, "cannot read %s", path);
    }
    if (got > 0) {
        source->left -= (uint64_t)got;
        if (archive_write_data(source->tar, source->piece, (size_t)got) < 0)
            return tar_failed(source, path, err);
    }
    if (got == 0 || source->left == 0) {
        close(source->fd);
        source->fd = -1;
        if (archive_write_finish_entry(source->tar) < ARCHIVE_WARN)
            return tar_failed(source, path, err);
    }
    return 0;
}

int source_read(struct source *source, size_t want, struct tn_buf *out, struct tn_err *err)
{
    size_t end = out->len + want;
    int rc = 0;

    source->out = out;
    while (rc == 0 && !source->ended && out->len < end) {
        if (source->fd >= 0) {
            rc = copy_piece(source, err);
        } else if (source->next < source->list.count) {
            const struct source_item *item = &source->list.items[source->next++];

            rc = begin(source, item, err);
        } else {
            source->ended = true;
            if (archive_write_close(source->tar) != ARCHIVE_OK)
                rc = tar_failed(source, "its end", err);
        }
    }
    source->out = NULL;
    return rc != 0 ? -1 : source->ended ? 0 : 1;
}
