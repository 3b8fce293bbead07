#include "core/output/zfile.h"
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <zstd.h>

enum { HEAD = 8, FOOTER = 9, ENTRY = 8 };
static const uint32_t label_magic = 0x184D2A50u;
static const uint32_t table_magic = 0x184D2A5Eu;
static const uint32_t footer_magic = 0x8F92EAB1u;

struct tn_zpack {
    ZSTD_CCtx *context;
    struct tn_buf scratch;
};

struct frame {
    uint32_t stored;
    uint32_t size;
};

struct tn_zwriter {
    struct tn_zpack *zpack; /* borrowed */
    char *path;
    int fd;
    struct tn_buf waiting; /* content of the next frame */
    uint64_t size;         /* content in the file; what waits is not counted */
    uint64_t stored;
    struct frame *frames;
    size_t count;
    size_t room;
};

static void put32(uint8_t *at, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(value >> 8 * i);
}

static uint32_t get32(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

struct tn_zpack *tn_zpack_new(void)
{
    struct tn_zpack *zpack = calloc(1, sizeof(*zpack));

    if (zpack == NULL || (zpack->context = ZSTD_createCCtx()) == NULL)
        tn_fatal(3, "out of memory: a compressor");
    ZSTD_CCtx_setParameter(zpack->context, ZSTD_c_compressionLevel, TN_ZFILE_LEVEL);
    ZSTD_CCtx_setParameter(zpack->context, ZSTD_c_checksumFlag, 1);
    return zpack;
}

void tn_zpack_free(struct tn_zpack *zpack)
{
    if (zpack == NULL)
        return;
    ZSTD_freeCCtx(zpack->context);
    tn_buf_free(&zpack->scratch);
    free(zpack);
}

/* ---- writing ---- */

static int write_at(const struct tn_zwriter *writer, const void *bytes, size_t length, struct tn_err *err)
{
    size_t done = 0;

    while (done < length) {
        ssize_t put = pwrite(writer->fd, (const char *)bytes + done, length - done, (off_t)(writer->stored + done));

        if (put < 0 && errno != EINTR)
            return tn_err_sys(err, errno, "cannot write %zu bytes to %s", length, writer->path);
        done += put > 0 ? (size_t)put : 0;
    }
    return 0;
}

static struct tn_zwriter *writer_open(struct tn_zpack *zpack, const char *path, int flags, struct tn_err *err)
{
    struct tn_zwriter *writer;
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | flags, 0644);

    if (fd < 0) {
        tn_err_sys(err, errno, "cannot open %s", path);
        return NULL;
    }
    writer = calloc(1, sizeof(*writer));
    if (writer == NULL)
        tn_fatal(3, "out of memory: a stored file");
    writer->zpack = zpack;
    writer->path = tn_fs_path("%s", path);
    writer->fd = fd;
    return writer;
}

struct tn_zwriter *tn_zwriter_create(struct tn_zpack *zpack, const char *path, const char *label, struct tn_err *err)
{
    struct tn_zwriter *writer = writer_open(zpack, path, O_CREAT | O_TRUNC, err);
    uint8_t head[HEAD + TN_ZFILE_LABEL_MAX];
    size_t length = label != NULL ? strlen(label) : 0;

    if (writer == NULL || label == NULL)
        return writer;
    if (length > TN_ZFILE_LABEL_MAX) {
        tn_err_set(err, TN_ERR_LIMIT, "%s: a label of %zu bytes, at most %d are allowed", path, length,
                   TN_ZFILE_LABEL_MAX);
        tn_zwriter_close(writer);
        return NULL;
    }
    put32(head, label_magic);
    put32(head + 4, (uint32_t)length);
    memcpy(head + HEAD, label, length);
    if (write_at(writer, head, HEAD + length, err) != 0) {
        tn_zwriter_close(writer);
        return NULL;
    }
    writer->stored = HEAD + length;
    return writer;
}

static void note_frame(struct tn_zwriter *writer, size_t stored, size_t size)
{
    if (writer->count == writer->room) {
        writer->room = writer->room * 2 + 16;
        writer->frames = realloc(writer->frames, writer->room * sizeof(*writer->frames));
        if (writer->frames == NULL)
            tn_fatal(3, "out of memory: a table of %zu frames", writer->room);
    }
    writer->frames[writer->count++] = (struct frame){(uint32_t)stored, (uint32_t)size};
    writer->size += size;
    writer->stored += stored;
}

/* Finds the frames that are in a file again: the table is only written at its end. */
static int scan_frames(struct tn_zwriter *writer, uint64_t stored, struct tn_err *err)
{
    size_t room = ZSTD_compressBound(TN_ZFILE_FRAME);
    struct tn_buf *bytes = &writer->zpack->scratch;

    tn_buf_reset(bytes);
    tn_buf_reserve(bytes, room);
    while (writer->stored < stored) {
        uint64_t left = stored - writer->stored;
        ssize_t got = pread(writer->fd, bytes->data, left < room ? left : room, (off_t)writer->stored);
        size_t length;
        unsigned long long size;

        if (got <= 0)
            return tn_err_sys(err, got < 0 ? errno : EIO, "cannot read %s at %" PRIu64, writer->path, writer->stored);
        length = ZSTD_findFrameCompressedSize(bytes->data, (size_t)got);
        if (ZSTD_isError(length))
            return tn_err_set(err, TN_ERR_PROTOCOL, "%s is damaged at %" PRIu64, writer->path, writer->stored);
        if (writer->stored == 0 && got >= HEAD && get32((uint8_t *)bytes->data) == label_magic) {
            writer->stored = length;
            continue;
        }
        size = ZSTD_getFrameContentSize(bytes->data, (size_t)got);
        if (size > TN_ZFILE_FRAME)
            return tn_err_set(err, TN_ERR_PROTOCOL, "%s is damaged at %" PRIu64, writer->path, writer->stored);
        note_frame(writer, length, (size_t)size);
    }
    return 0;
}

struct tn_zwriter *tn_zwriter_resume(struct tn_zpack *zpack, const char *path, uint64_t size, uint64_t stored,
                                     struct tn_err *err)
{
    struct tn_zwriter *writer = writer_open(zpack, path, 0, err);

    if (writer == NULL)
        return NULL;
    if (scan_frames(writer, stored, err) != 0) {
        tn_zwriter_close(writer);
        return NULL;
    }
    if (writer->size != size || writer->stored != stored || ftruncate(writer->fd, (off_t)stored) != 0) {
        tn_err_set(err, TN_ERR_PROTOCOL, "%s holds %" PRIu64 " bytes in %" PRIu64 ", expected %" PRIu64 " in %" PRIu64,
                   path, writer->size, writer->stored, size, stored);
        tn_zwriter_close(writer);
        return NULL;
    }
    return writer;
}

int tn_zwriter_flush(struct tn_zwriter *writer, struct tn_err *err)
{
    struct tn_buf *out = &writer->zpack->scratch;
    size_t room = ZSTD_compressBound(writer->waiting.len);
    size_t length;

    if (writer->waiting.len == 0)
        return 0;
    tn_buf_reset(out);
    tn_buf_reserve(out, room);
    length = ZSTD_compress2(writer->zpack->context, out->data, room, writer->waiting.data, writer->waiting.len);
    if (ZSTD_isError(length))
        return tn_err_set(err, TN_ERR_SYSTEM, "cannot compress %s: %s", writer->path, ZSTD_getErrorName(length));
    if (write_at(writer, out->data, length, err) != 0)
        return -1;
    note_frame(writer, length, writer->waiting.len);
    tn_buf_free(&writer->waiting);
    return 0;
}

int tn_zwriter_write(struct tn_zwriter *writer, const void *bytes, size_t length, struct tn_err *err)
{
    if (length > TN_ZFILE_FRAME)
        return tn_err_set(err, TN_ERR_LIMIT, "%zu bytes at once, at most %d are allowed", length, TN_ZFILE_FRAME);
    if (writer->waiting.len + length > TN_ZFILE_FRAME && tn_zwriter_flush(writer, err) != 0)
        return -1;
    tn_buf_add(&writer->waiting, bytes, length);
    return 0;
}

int tn_zwriter_finish(struct tn_zwriter *writer, struct tn_err *err)
{
    struct tn_buf *table = &writer->zpack->scratch;
    size_t length;
    uint8_t *at;

    if (tn_zwriter_flush(writer, err) != 0)
        return -1;
    length = HEAD + writer->count * ENTRY + FOOTER;
    tn_buf_reset(table);
    at = (uint8_t *)tn_buf_reserve(table, length);
    put32(at, table_magic);
    put32(at + 4, (uint32_t)(length - HEAD));
    at += HEAD;
    for (size_t i = 0; i < writer->count; i++, at += ENTRY) {
        put32(at, writer->frames[i].stored);
        put32(at + 4, writer->frames[i].size);
    }
    put32(at, (uint32_t)writer->count);
    at[4] = 0;
    put32(at + 5, footer_magic);
    if (write_at(writer, table->data, length, err) != 0)
        return -1;
    if (ftruncate(writer->fd, (off_t)(writer->stored + length)) != 0 || fsync(writer->fd) != 0)
        return tn_err_sys(err, errno, "cannot sync %s", writer->path);
    return 0;
}

void tn_zwriter_close(struct tn_zwriter *writer)
{
    if (writer == NULL)
        return;
    close(writer->fd);
    tn_buf_free(&writer->waiting);
    free(writer->frames);
    free(writer->path);
    free(writer);
}

uint64_t tn_zwriter_size(const struct tn_zwriter *writer)
{
    return writer->size + writer->waiting.len;
}

uint64_t tn_zwriter_stored(const struct tn_zwriter *writer)
{
    return writer->stored;
}

/* ---- reading ---- */

struct place {
    uint64_t at;    /* in the file */
    uint64_t start; /* of the content */
};

struct tn_zreader {
    char *path;
    int fd;
    struct place *places; /* count + 1: the last one is the end */
    size_t count;
    ZSTD_DCtx *context;
    size_t current; /* the frame in `content`, count: none */
    struct tn_buf content;
    struct tn_buf stored;
};

static int read_at(const char *path, int fd, void *out, size_t length, uint64_t offset, struct tn_err *err)
{
    size_t done = 0;

    while (done < length) {
        ssize_t got = pread(fd, (char *)out + done, length - done, (off_t)(offset + done));

        if (got == 0 || (got < 0 && errno != EINTR))
            return tn_err_sys(err, got < 0 ? errno : EIO, "cannot read %zu bytes of %s", length, path);
        done += got > 0 ? (size_t)got : 0;
    }
    return 0;
}

static uint64_t label_size(const char *path, int fd, uint64_t file)
{
    uint8_t head[HEAD];

    if (file < HEAD || read_at(path, fd, head, HEAD, 0, NULL) != 0 || get32(head) != label_magic)
        return 0;
    return HEAD + (uint64_t)get32(head + 4);
}

/* Fills the places from the table; every sum is checked, so that no frame leads out of the file. */
static int read_table(struct tn_zreader *reader, uint64_t file, struct tn_err *err)
{
    uint8_t footer[FOOTER];
    struct tn_buf *table = &reader->stored;
    struct place place = {0, 0};
    uint64_t length;

    if (file < FOOTER + HEAD || read_at(reader->path, reader->fd, footer, FOOTER, file - FOOTER, err) != 0 ||
        get32(footer + 5) != footer_magic)
        return tn_err_set(err, TN_ERR_PROTOCOL, "%s is not a finished stored file", reader->path);
    reader->count = get32(footer);
    length = (uint64_t)reader->count * ENTRY;
    if (length + FOOTER + HEAD > file)
        return tn_err_set(err, TN_ERR_PROTOCOL, "%s: the table of %zu frames is larger than the file", reader->path,
                          reader->count);
    reader->places = calloc(reader->count + 1, sizeof(*reader->places));
    if (reader->places == NULL)
        return tn_err_set(err, TN_ERR_LIMIT, "%s: no memory for %zu frames", reader->path, reader->count);
    tn_buf_reserve(table, length);
    if (read_at(reader->path, reader->fd, table->data, length, file - FOOTER - length, err) != 0)
        return -1;
    place.at = label_size(reader->path, reader->fd, file);
    for (size_t i = 0; i < reader->count; i++) {
        const uint8_t *entry = (const uint8_t *)table->data + i * ENTRY;

        reader->places[i] = place;
        place.at += get32(entry);
        place.start += get32(entry + 4);
        if (get32(entry) > ZSTD_compressBound(TN_ZFILE_FRAME) || get32(entry + 4) > TN_ZFILE_FRAME)
            return tn_err_set(err, TN_ERR_PROTOCOL, "%s: frame %zu is too large", reader->path, i);
    }
    reader->places[reader->count] = place;
    reader->current = reader->count;
    if (place.at > file)
        return tn_err_set(err, TN_ERR_PROTOCOL, "%s: frames end behind the file", reader->path);
    return 0;
}

struct tn_zreader *tn_zreader_open(const char *path, struct tn_err *err)
{
    struct tn_zreader *reader = calloc(1, sizeof(*reader));
    struct stat status;

    if (reader == NULL || (reader->context = ZSTD_createDCtx()) == NULL)
        tn_fatal(3, "out of memory: a decoder");
    reader->path = tn_fs_path("%s", path);
    reader->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (reader->fd < 0 || fstat(reader->fd, &status) != 0)
        tn_err_sys(err, errno, "cannot open %s", path);
    else if (read_table(reader, (uint64_t)status.st_size, err) == 0)
        return reader;
    tn_zreader_close(reader);
    return NULL;
}

void tn_zreader_close(struct tn_zreader *reader)
{
    if (reader == NULL)
        return;
    if (reader->fd >= 0)
        close(reader->fd);
    ZSTD_freeDCtx(reader->context);
    tn_buf_free(&reader->content);
    tn_buf_free(&reader->stored);
    free(reader->places);
    free(reader->path);
    free(reader);
}

uint64_t tn_zreader_size(const struct tn_zreader *reader)
{
    return reader->places[reader->count].start;
}

static int load_frame(struct tn_zreader *reader, size_t frame, struct tn_err *err)
{
    const struct place *place = &reader->places[frame];
    size_t stored = place[1].at - place->at;
    size_t size = place[1].start - place->start;
    size_t got;

    if (reader->current == frame)
        return 0;
    reader->current = reader->count;
    tn_buf_reset(&reader->stored);
    tn_buf_reset(&reader->content);
    tn_buf_reserve(&reader->stored, stored);
    tn_buf_reserve(&reader->content, size);
    if (read_at(reader->path, reader->fd, reader->stored.data, stored, place->at, err) != 0)
        return -1;
    got = ZSTD_decompressDCtx(reader->context, reader->content.data, size, reader->stored.data, stored);
    if (ZSTD_isError(got) || got != size)
        return tn_err_set(err, TN_ERR_PROTOCOL, "%s is damaged at %" PRIu64 "%s%s", reader->path, place->at,
                          ZSTD_isError(got) ? ": " : "", ZSTD_isError(got) ? ZSTD_getErrorName(got) : "");
    reader->content.len = size;
    reader->current = frame;
    return 0;
}

/* The frame that holds `offset`, which lies before the end. */
static size_t find_frame(const struct tn_zreader *reader, uint64_t offset)
{
    size_t low = 0;
    size_t high = reader->count;

    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;

        if (reader->places[middle].start <= offset)
            low = middle;
        else
            high = middle;
    }
    return low;
}

int tn_zreader_peek(struct tn_zreader *reader, uint64_t offset, const void **bytes, size_t *length, struct tn_err *err)
{
    size_t frame;

    *bytes = NULL;
    *length = 0;
    if (offset >= tn_zreader_size(reader))
        return 0;
    frame = find_frame(reader, offset);
    if (load_frame(reader, frame, err) != 0)
        return -1;
    *bytes = reader->content.data + (offset - reader->places[frame].start);
    *length = reader->places[frame + 1].start - offset;
    return 0;
}

int tn_zreader_read(struct tn_zreader *reader, uint64_t offset, size_t length, struct tn_buf *out, struct tn_err *err)
{
    while (length > 0) {
        const void *bytes;
        size_t there;

        if (tn_zreader_peek(reader, offset, &bytes, &there, err) != 0)
            return -1;
        if (there == 0)
            return 0;
        there = there < length ? there : length;
        tn_buf_add(out, bytes, there);
        offset += there;
        length -= there;
    }
    return 0;
}

int tn_zfile_label(const char *path, struct tn_buf *label, struct tn_err *err)
{
    auto_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    uint8_t head[HEAD];
    uint32_t length;

    if (fd < 0)
        return tn_err_sys(err, errno, "cannot open %s", path);
    if (read_at(path, fd, head, HEAD, 0, err) != 0)
        return -1;
    length = get32(head + 4);
    if (get32(head) != label_magic || length > TN_ZFILE_LABEL_MAX)
        return tn_err_set(err, TN_ERR_PROTOCOL, "%s has no label", path);
    tn_buf_reset(label);
    tn_buf_reserve(label, length);
    if (read_at(path, fd, label->data, length, HEAD, err) != 0)
        return -1;
    label->len = length;
    label->data[length] = '\0';
    return 0;
}
