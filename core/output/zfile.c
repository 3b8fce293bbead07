#include "core/output/zfile.h"
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <string.h>
#include <sys/stat.h>
#include <zstd.h>

/* The frame of digests: its head, a version, SHA-256 of the file (all of it but this frame), SHA-256 of the content. */
enum { HEAD = 8, FOOTER = 9, ENTRY = 8, DIGEST = TN_ZFILE_DIGEST, SEAL = HEAD + 4 + 2 * DIGEST, PIECE = 1 << 20 };
static const uint32_t seal_magic = 0x184D2A51u;
static const uint32_t seal_version = 0x315A4E54u; /* "TNZ1" */
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
    EVP_MD_CTX *file;    /* digest of what is in the file */
    EVP_MD_CTX *content; /* digest of what was taken; NULL: of a part only, since it was taken up */
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

/* ---- digests ---- */

static EVP_MD_CTX *digest_new(void)
{
    EVP_MD_CTX *digest = EVP_MD_CTX_new();

    if (digest == NULL || EVP_DigestInit_ex(digest, EVP_sha256(), NULL) != 1)
        tn_fatal(3, "out of memory: a digest");
    return digest;
}

static void digest_add(EVP_MD_CTX *digest, const void *bytes, size_t length)
{
    if (digest != NULL && EVP_DigestUpdate(digest, bytes, length) != 1)
        tn_fatal(3, "SHA-256 failed");
}

static void digest_end(EVP_MD_CTX *digest, uint8_t out[DIGEST])
{
    if (EVP_DigestFinal_ex(digest, out, NULL) != 1)
        tn_fatal(3, "SHA-256 failed");
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
    writer->file = digest_new();
    return writer;
}

struct tn_zwriter *tn_zwriter_create(struct tn_zpack *zpack, const char *path, struct tn_err *err)
{
    struct tn_zwriter *writer;

    if (unlink(path) != 0 && errno != ENOENT) { /* never emptied: it might have another name */
        tn_err_sys(err, errno, "cannot replace %s", path);
        return NULL;
    }
    writer = writer_open(zpack, path, O_CREAT | O_EXCL, err);
    if (writer != NULL)
        writer->content = digest_new();
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
        size = ZSTD_getFrameContentSize(bytes->data, (size_t)got);
        if (size > TN_ZFILE_FRAME)
            return tn_err_set(err, TN_ERR_PROTOCOL, "%s is damaged at %" PRIu64, writer->path, writer->stored);
        digest_add(writer->file, bytes->data, length);
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
    digest_add(writer->file, out->data, length);
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
    digest_add(writer->content, bytes, length);
    return 0;
}

static void make_table(const struct tn_zwriter *writer, struct tn_buf *table)
{
    size_t length = HEAD + writer->count * ENTRY + FOOTER;
    uint8_t *at = (uint8_t *)tn_buf_reserve(table, length);

    table->len += length;
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
}

static void make_seal(struct tn_zwriter *writer, const struct tn_buf *table, uint8_t seal[SEAL])
{
    EVP_MD_CTX *whole = EVP_MD_CTX_new(); /* a copy: a finish that failed for a full disk may be tried again */

    memset(seal, 0, SEAL);
    put32(seal, seal_magic);
    put32(seal + 4, SEAL - HEAD);
    put32(seal + HEAD, seal_version);
    if (whole == NULL || EVP_MD_CTX_copy_ex(whole, writer->file) != 1)
        tn_fatal(3, "out of memory: a digest");
    digest_add(whole, table->data, table->len);
    digest_end(whole, seal + HEAD + 4);
    if (writer->content != NULL) {
        if (EVP_MD_CTX_copy_ex(whole, writer->content) != 1)
            tn_fatal(3, "out of memory: a digest");
        digest_end(whole, seal + HEAD + 4 + DIGEST);
    }
    EVP_MD_CTX_free(whole);
}

int tn_zwriter_finish(struct tn_zwriter *writer, struct tn_err *err)
{
    auto_buf struct tn_buf end = TN_BUF_INIT;
    auto_buf struct tn_buf table = TN_BUF_INIT;
    uint8_t seal[SEAL];

    if (tn_zwriter_flush(writer, err) != 0)
        return -1;
    make_table(writer, &table);
    make_seal(writer, &table, seal);
    tn_buf_add(&end, seal, sizeof(seal));
    tn_buf_add(&end, table.data, table.len);
    if (write_at(writer, end.data, end.len, err) != 0)
        return -1;
    if (ftruncate(writer->fd, (off_t)(writer->stored + end.len)) != 0 || fsync(writer->fd) != 0)
        return tn_err_sys(err, errno, "cannot sync %s", writer->path);
    return 0;
}

void tn_zwriter_close(struct tn_zwriter *writer)
{
    if (writer == NULL)
        return;
    close(writer->fd);
    tn_buf_free(&writer->waiting);
    EVP_MD_CTX_free(writer->file);
    EVP_MD_CTX_free(writer->content);
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

uint64_t tn_zwriter_waiting(const struct tn_zwriter *writer)
{
    return writer->waiting.len;
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
    uint64_t seal; /* where the frame of digests is */
    uint8_t digest[DIGEST];
    uint8_t content_digest[DIGEST];
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

static int read_seal(struct tn_zreader *reader, uint64_t at, struct tn_err *err)
{
    uint8_t seal[SEAL];

    if (read_at(reader->path, reader->fd, seal, SEAL, at, err) != 0)
        return -1;
    if (get32(seal) != seal_magic || get32(seal + 4) != SEAL - HEAD || get32(seal + HEAD) != seal_version)
        return tn_err_set(err, TN_ERR_PROTOCOL, "%s is damaged: it has no digest where one belongs", reader->path);
    memcpy(reader->digest, seal + HEAD + 4, DIGEST);
    memcpy(reader->content_digest, seal + HEAD + 4 + DIGEST, DIGEST);
    reader->seal = at;
    return 0;
}

/* Fills the places from the table; every sum is checked, so that no frame leads out of the file. */
static int read_table(struct tn_zreader *reader, uint64_t file, struct tn_err *err)
{
    uint8_t footer[FOOTER];
    struct tn_buf *table = &reader->stored;
    struct place place = {0, 0};
    uint64_t length;

    if (file < FOOTER + HEAD + SEAL || read_at(reader->path, reader->fd, footer, FOOTER, file - FOOTER, err) != 0 ||
        get32(footer + 5) != footer_magic)
        return tn_err_set(err, TN_ERR_PROTOCOL, "%s is not a finished stored file", reader->path);
    reader->count = get32(footer);
    length = (uint64_t)reader->count * ENTRY;
    if (length + FOOTER + HEAD + SEAL > file)
        return tn_err_set(err, TN_ERR_PROTOCOL, "%s: the table of %zu frames is larger than the file", reader->path,
                          reader->count);
    reader->places = calloc(reader->count + 1, sizeof(*reader->places));
    if (reader->places == NULL)
        return tn_err_set(err, TN_ERR_LIMIT, "%s: no memory for %zu frames", reader->path, reader->count);
    tn_buf_reserve(table, length);
    if (read_at(reader->path, reader->fd, table->data, length, file - FOOTER - length, err) != 0)
        return -1;
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
    if (place.at != file - FOOTER - length - HEAD - SEAL)
        return tn_err_set(err, TN_ERR_PROTOCOL, "%s is damaged: its frames do not end where its table begins",
                          reader->path);
    return read_seal(reader, place.at, err);
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

/* ---- verifying ---- */

const uint8_t *tn_zreader_digest(const struct tn_zreader *reader)
{
    return reader->digest;
}

const uint8_t *tn_zreader_content(const struct tn_zreader *reader)
{
    static const uint8_t unknown[DIGEST];

    return memcmp(reader->content_digest, unknown, DIGEST) != 0 ? reader->content_digest : NULL;
}

static int add_part(const struct tn_zreader *reader, EVP_MD_CTX *digest, uint64_t from, uint64_t to, char *piece,
                    struct tn_err *err)
{
    while (from < to) {
        size_t part = to - from < PIECE ? (size_t)(to - from) : PIECE;

        if (read_at(reader->path, reader->fd, piece, part, from, err) != 0)
            return -1;
        digest_add(digest, piece, part);
        from += part;
    }
    return 0;
}

int tn_zreader_verify(const struct tn_zreader *reader, struct tn_err *err)
{
    auto_free char *piece = malloc(PIECE);
    EVP_MD_CTX *digest = digest_new();
    uint8_t is[DIGEST];
    struct stat status;
    int failed;

    if (piece == NULL)
        tn_fatal(3, "out of memory: a piece of a stored file");
    failed = fstat(reader->fd, &status) != 0 ? tn_err_sys(err, errno, "cannot read %s", reader->path)
                                             : add_part(reader, digest, 0, reader->seal, piece, err);
    if (failed == 0)
        failed = add_part(reader, digest, reader->seal + SEAL, (uint64_t)status.st_size, piece, err);
    digest_end(digest, is);
    EVP_MD_CTX_free(digest);
    if (failed == 0 && memcmp(is, reader->digest, DIGEST) != 0)
        failed = tn_err_set(err, TN_ERR_PROTOCOL, "%s is damaged: its SHA-256 is another than when it was stored",
                            reader->path);
    return failed;
}
