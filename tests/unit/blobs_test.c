/* Stored files (frames, cutting back, reading anywhere, damage), finding caches, and paths of untar. */
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/output/blobs.h"
#include "core/output/retention.h"
#include "core/output/room.h"
#include "core/output/untar.h"
#include "tests/unit/check.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

static void fill(struct tn_buf *bytes, size_t length)
{
    for (unsigned i = 0; bytes->len < length; i++)
        tn_buf_addf(bytes, "%u-%u;", i, i * 2654435761u);
}

static void test_zfile(const char *folder)
{
    auto_free char *path = tn_fs_path("%s/z", folder);
    struct tn_zpack *zpack = tn_zpack_new();
    struct tn_err err = TN_ERR_INIT;
    auto_buf struct tn_buf bytes = TN_BUF_INIT;
    auto_buf struct tn_buf back = TN_BUF_INIT;
    struct tn_zwriter *writer = tn_zwriter_create(zpack, path, &err);
    struct tn_zreader *reader;
    uint64_t size;
    uint64_t stored;

    fill(&bytes, 2500000);
    CHECK(tn_zwriter_write(writer, bytes.data, 1000000, &err) == 0);
    CHECK(tn_zwriter_write(writer, bytes.data + 1000000, 300000, &err) == 0);
    CHECK(tn_zwriter_flush(writer, &err) == 0);
    size = tn_zwriter_size(writer);
    stored = tn_zwriter_stored(writer);
    CHECK_INT(size, 1300000);
    CHECK(tn_zwriter_write(writer, "garbage that is lost", 20, &err) == 0);
    CHECK(tn_zwriter_flush(writer, &err) == 0);
    tn_zwriter_close(writer);
    CHECK(tn_zreader_open(path, &err) == NULL);
    CHECK(strstr(err.text, "is not a finished stored file") != NULL);
    CHECK(tn_zwriter_resume(zpack, path, size + 1, stored, &err) == NULL);
    writer = tn_zwriter_resume(zpack, path, size, stored, &err);
    CHECK(writer != NULL);
    CHECK(tn_zwriter_write(writer, bytes.data + size, 1000000, &err) == 0);
    CHECK(tn_zwriter_write(writer, bytes.data + size + 1000000, bytes.len - size - 1000000, &err) == 0);
    CHECK(tn_zwriter_finish(writer, &err) == 0);
    tn_zwriter_close(writer);
    reader = tn_zreader_open(path, &err);
    CHECK(reader != NULL && tn_zreader_size(reader) == bytes.len);
    CHECK(tn_zreader_verify(reader, &err) == 0);
    CHECK(tn_zreader_content(reader) == NULL); /* it was taken up: only a part went through one writer */
    CHECK(tn_zreader_read(reader, 999990, 1400000, &back, &err) == 0);
    CHECK(back.len == 1400000 && memcmp(back.data, bytes.data + 999990, back.len) == 0);
    tn_buf_reset(&back);
    CHECK(tn_zreader_read(reader, bytes.len - 3, 100, &back, &err) == 0 && back.len == 3);
    CHECK(tn_zreader_read(reader, UINT64_MAX - 5, 100, &back, &err) == 0 && back.len == 3);
    tn_zreader_close(reader);
    tn_zpack_free(zpack);
}

/* Every byte of a small file changed, and every length cut: always noticed. Only the digest of the content, at the end
 * of the frame of digests, is not covered by the other one; it decides nothing but what is shared. */
static void test_damage(const char *folder)
{
    auto_free char *path = tn_fs_path("%s/small", folder);
    struct tn_zpack *zpack = tn_zpack_new();
    struct tn_err err = TN_ERR_INIT;
    auto_buf struct tn_buf file = TN_BUF_INIT;
    struct tn_zwriter *writer = tn_zwriter_create(zpack, path, &err);
    struct tn_zreader *whole;
    uint8_t digest[32];
    uint8_t content[32];

    CHECK(tn_zwriter_write(writer, "hello hello hello", 17, &err) == 0 && tn_zwriter_finish(writer, &err) == 0);
    tn_zwriter_close(writer);
    tn_zpack_free(zpack);
    CHECK(tn_fs_read(path, 10000, &file, &err) == 0);
    whole = tn_zreader_open(path, &err);
    CHECK(whole != NULL && tn_zreader_content(whole) != NULL);
    memcpy(digest, tn_zreader_digest(whole), sizeof(digest));
    memcpy(content, tn_zreader_content(whole), sizeof(content));
    tn_zreader_close(whole);
    for (size_t i = 0; i < file.len * 2; i++) {
        auto_buf struct tn_buf back = TN_BUF_INIT;
        auto_fd int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
        struct tn_zreader *reader;

        if (i < file.len)
            file.data[i] = (char)~file.data[i];
        CHECK(tn_fs_write_all(fd, file.data, i < file.len ? file.len : i - file.len, &err) == 0);
        if (i < file.len)
            file.data[i] = (char)~file.data[i];
        reader = tn_zreader_open(path, &err);
        if (reader != NULL && tn_zreader_read(reader, 0, 100, &back, &err) == 0 && tn_zreader_size(reader) <= 17)
            CHECK(back.len <= 17);
        if (reader != NULL)
            CHECK((tn_zreader_verify(reader, &err) == 0) ==
                  (i < file.len && memcmp(tn_zreader_digest(reader), digest, sizeof(digest)) == 0 &&
                   tn_zreader_content(reader) != NULL && memcmp(tn_zreader_content(reader), content, 32) != 0));
        tn_zreader_close(reader);
    }
}

/* As the end of a stream does it. */
static void save_cache(struct tn_blobs *blobs, const struct tn_layout *layout, const char *key, const char *content,
                       bool expect_kept)
{
    auto_free char *partial = tn_layout_partial(layout, true, 1, 1, 0, 1);
    auto_free char *shared = NULL;
    auto_free char *twin = NULL;
    struct tn_err err = TN_ERR_INIT;
    struct tn_zwriter *writer = tn_zwriter_create(tn_blobs_zpack(blobs), partial, &err);
    bool kept = !expect_kept;

    CHECK(tn_zwriter_write(writer, content, strlen(content), &err) == 0 && tn_zwriter_finish(writer, &err) == 0);
    tn_zwriter_close(writer);
    twin = tn_blobs_twin(blobs, partial, &shared);
    tn_blobs_share(partial, twin, shared);
    CHECK(tn_cache_commit(layout, "p", key, "home", partial, &kept, &err) == 0);
    CHECK_INT(kept, expect_kept);
    CHECK(tn_cache_commit(layout, "p", key, "home", partial, &kept, &err) == 0); /* once more, as after a crash */
}

static const char *check_found(struct tn_blobs *blobs, const char *project, const char *wanted, const char *key)
{
    static char warning[2000];
    auto_json cJSON *body = cJSON_Parse(wanted);
    auto_json cJSON *found = cJSON_CreateObject();
    struct tn_err err = TN_ERR_INIT;
    const cJSON *warnings;

    CHECK(tn_blobs_find(blobs, project, body, found, &err) == 0);
    CHECK_STR(tn_json_string(cJSON_GetArrayItem(tn_json_get(found, "blobs"), 0), "key", "none"), key);
    warnings = tn_json_get(found, "warnings");
    snprintf(warning, sizeof(warning), "%s",
             cJSON_GetArraySize(warnings) > 0 ? cJSON_GetArrayItem(warnings, 0)->valuestring : "");
    return warning;
}

/* The tar of a cache. The caller frees it. */
static char *tar_of(const struct tn_layout *layout, const char *key)
{
    auto_free char *scope = tn_layout_scope(layout, "p");
    struct tn_cache cache;
    char *path;

    CHECK(tn_cache_newest(scope, key, NULL, &cache));
    path = tn_fs_path("%s/%s", scope, cache.file);
    tn_cache_clear(&cache);
    return path;
}

static void change_byte(const char *path, off_t at)
{
    auto_fd int fd = open(path, O_RDWR | O_CLOEXEC);
    char byte;

    CHECK(pread(fd, &byte, 1, at) == 1);
    byte = (char)~byte;
    CHECK(pwrite(fd, &byte, 1, at) == 1);
}

static void test_damaged_cache(struct tn_blobs *blobs, const struct tn_layout *layout)
{
    auto_free char *tar = NULL;
    auto_free char *scope = tn_layout_scope(layout, "p");
    auto_free char *entry = tn_layout_cache(layout, "p", "dam-3");
    const char *warning;
    struct tn_cache cache;
    struct tn_err err = TN_ERR_INIT;
    uint64_t freed = 0;

    save_cache(blobs, layout, "dam-1", "the older one, whole", true);
    save_cache(blobs, layout, "dam-2", "the newer one, damaged", true);
    tar = tar_of(layout, "dam-2");
    check_found(blobs, "p", "{\"type\":\"cache\",\"keys\":[\"dam\"]}", "dam-2");
    change_byte(tar, 12);
    warning = check_found(blobs, "p", "{\"type\":\"cache\",\"keys\":[\"dam\"]}", "dam-1");
    CHECK(strncmp(warning, "The cache for key dam-2 is damaged and was set aside: ", 54) == 0);
    CHECK(strstr(warning, "is damaged: its SHA-256 is another than when it was stored") != NULL);
    CHECK(access(tar, F_OK) != 0 && !tn_cache_exists(layout, "p", "dam-2"));
    CHECK_STR(check_found(blobs, "p", "{\"type\":\"cache\",\"keys\":[\"dam\"]}", "dam-1"), "");
    /* Its content is stored anew, not taken from the damaged file that others might share. */
    save_cache(blobs, layout, "dam-2", "the newer one, damaged", true);
    CHECK_STR(check_found(blobs, "p", "{\"type\":\"cache\",\"keys\":[\"dam-2\"]}", "dam-2"), "");
    /* What a kill leaves: an entry without its tar, and one that is no entry. */
    save_cache(blobs, layout, "dam-3", "gone", true);
    free(tar);
    tar = tar_of(layout, "dam-3");
    CHECK(unlink(tar) == 0);
    warning = check_found(blobs, "p", "{\"type\":\"cache\",\"keys\":[\"dam-3\",\"dam-1\"]}", "dam-1");
    CHECK(strstr(warning, "No such file or directory") != NULL);
    CHECK(tn_fs_write_atomic(entry, "{\"key\":\"dam-3\",\"file\":\"../../x\"}", 31, 0644, &err) == 0);
    CHECK(tn_cache_read(scope, strrchr(entry, '/') + 1, &cache, &err) == -1 && err.code == TN_ERR_PROTOCOL);
    CHECK(strstr(err.text, "is damaged: it is no entry of a cache") != NULL);
    CHECK(tn_cache_unlink(entry, &freed, &err) == 0 && freed == 31);
}

/* Equal content is stored once, and is whole after any of its names went. */
static void test_shared(struct tn_blobs *blobs, const struct tn_layout *layout)
{
    auto_free char *one = NULL;
    auto_free char *two = NULL;
    struct stat first;
    struct stat second;

    save_cache(blobs, layout, "same-1", "equal content", true);
    save_cache(blobs, layout, "same-2", "equal content", true);
    one = tar_of(layout, "same-1");
    two = tar_of(layout, "same-2");
    CHECK(stat(one, &first) == 0 && stat(two, &second) == 0);
    CHECK(first.st_ino == second.st_ino && first.st_nlink == 3);
    CHECK(unlink(one) == 0);
    CHECK_STR(check_found(blobs, "p", "{\"type\":\"cache\",\"keys\":[\"same-2\"]}", "same-2"), "");
}

static void count_removed(void *arg, const char *kind, const char *path, uint64_t bytes)
{
    auto_free char *more = tn_fs_path("%s ", kind);

    tn_buf_adds(arg, more);
}

static void test_retention(struct tn_blobs *blobs, const struct tn_layout *layout)
{
    auto_free char *partial = tn_layout_partial(layout, true, 9, 1, 0, 1);
    auto_free char *orphan = tn_fs_path("%s/caches/scope-p/orphan.tar.zst", layout->store);
    auto_buf struct tn_buf kinds = TN_BUF_INIT;
    struct tn_retention retention = {
        .keep = tn_keep_read(NULL), .now = (uint64_t)time(NULL), .removed = count_removed, .arg = &kinds};
    struct tn_err err = TN_ERR_INIT;

    CHECK(tn_fs_write_atomic(partial, "x", 1, 0644, &err) == 0 && tn_fs_write_atomic(orphan, "x", 1, 0644, &err) == 0);
    save_cache(blobs, layout, "aged", "to be removed", true);
    tn_buf_adds(&kinds, "");
    tn_retention_store(&retention, layout, NULL);
    CHECK(strstr(kinds.data, "cache ") == NULL && access(orphan, F_OK) == 0); /* all of it is young */
    tn_buf_reset(&kinds);
    retention.now += 15 * 86400 + 10;
    retention.dry = true;
    tn_retention_store(&retention, layout, NULL);
    CHECK(strstr(kinds.data, "cache ") != NULL && strstr(kinds.data, "leftover ") != NULL);
    CHECK(tn_cache_exists(layout, "p", "aged") && access(partial, F_OK) == 0 && access(orphan, F_OK) == 0);
    retention.dry = false;
    tn_retention_store(&retention, layout, NULL);
    CHECK(!tn_cache_exists(layout, "p", "aged") && access(partial, F_OK) != 0 && access(orphan, F_OK) != 0);
    {
        auto_free char *shared = tn_fs_path("%s/blobs", layout->store);

        CHECK_INT(tn_room_used(shared), 0);
    }
    CHECK(tn_room_used(layout->store) < 100); /* .project */
}

static void test_quota(struct tn_blobs *blobs, const struct tn_layout *layout)
{
    struct tn_err err = TN_ERR_INIT;
    uint64_t one;
    auto_free char *tar = NULL;
    struct stat status;

    save_cache(blobs, layout, "quota-1", "first of three", true);
    save_cache(blobs, layout, "quota-2", "second of three", true);
    tar = tar_of(layout, "quota-1");
    CHECK(stat(tar, &status) == 0);
    one = (uint64_t)status.st_size + 10;
    CHECK(tn_room_quota(layout, "p", one, 0, &err) == 0);
    CHECK(tn_room_quota(layout, "p", one, 3 * one, &err) == 0);
    CHECK(tn_cache_exists(layout, "p", "quota-1") && tn_cache_exists(layout, "p", "quota-2"));
    CHECK(tn_room_quota(layout, "p", one, 2 * one, &err) == 0);
    CHECK(!tn_cache_exists(layout, "p", "quota-1") && tn_cache_exists(layout, "p", "quota-2"));
    CHECK(tn_room_quota(layout, "p", 4 * one, 1000, &err) == (4 * one > 1000 ? -1 : 0));
    CHECK(tn_room_quota(layout, "p", 5000, 1000, &err) == -1 && tn_room_is_lack(&err));
    CHECK_STR(err.text,
              "needs 4.9 KiB, but of the 1000 B that the project p may keep, 0 B are taken (store.project_quota)");
    CHECK(tn_cache_exists(layout, "p", "quota-2") || 4 * one <= 1000);
}

static void test_caches(const char *folder)
{
    auto_free char *state = tn_fs_path("%s/state", folder);
    auto_free char *store = tn_fs_path("%s/store", folder);
    struct tn_layout layout;
    struct tn_err err = TN_ERR_INIT;
    struct tn_blobs *blobs;

    tn_layout_init(&layout, state, store);
    blobs = tn_blobs_new(&layout, &err);
    CHECK(blobs != NULL);
    save_cache(blobs, &layout, "deps-v1-exact", "old", true);
    save_cache(blobs, &layout, "deps-v1-exact-longer", "new", true);
    save_cache(blobs, &layout, "deps-v1-exact", "again", false);
    check_found(blobs, "p", "{\"type\":\"cache\",\"keys\":[\"deps-v1-exact\"]}", "deps-v1-exact-longer");
    check_found(blobs, "p", "{\"type\":\"cache\",\"keys\":[\"deps-v2\",\"deps-v1-exact-l\",\"deps\"]}",
                "deps-v1-exact-longer");
    check_found(blobs, "p", "{\"type\":\"cache\",\"keys\":[\"eps\"]}", "none");
    check_found(blobs, "q", "{\"type\":\"cache\",\"keys\":[\"deps\"]}", "none");
    CHECK(tn_cache_exists(&layout, "p", "deps-v1-exact") && !tn_cache_exists(&layout, "p", "deps"));
    test_damaged_cache(blobs, &layout);
    test_shared(blobs, &layout);
    test_retention(blobs, &layout);
    test_quota(blobs, &layout);
    tn_blobs_free(blobs);
}

static void check_clean(const char *path, const char *want)
{
    auto_free char *clean = tn_untar_clean(path);

    if (want == NULL)
        CHECK(clean == NULL);
    else
        CHECK_STR(clean, want);
}

static void test_paths(void)
{
    auto_free char *changed = tn_layout_name("a/b");
    auto_free char *kept = tn_layout_name("a_b");

    check_clean("/tmp//./a/", "tmp/a");
    check_clean("./", "");
    check_clean("a/../b", NULL);
    check_clean("..", NULL);
    check_clean("..a/b..", "..a/b..");
    CHECK(tn_untar_link_stays("a/b", "../c") && tn_untar_link_stays("b", "c/d"));
    CHECK(!tn_untar_link_stays("b", "../c") && !tn_untar_link_stays("a/b", "../../c"));
    CHECK(!tn_untar_link_stays("a/b", "c/../d") && !tn_untar_link_stays("b", "/etc") && !tn_untar_link_stays("b", ""));
    CHECK_STR(kept, "a_b");
    CHECK(strcmp(changed, kept) != 0);
}

int main(void)
{
    char folder[] = "/tmp/tenon-blobs-test-XXXXXX";
    struct tn_err err = TN_ERR_INIT;

    CHECK(mkdtemp(folder) != NULL);
    test_zfile(folder);
    test_damage(folder);
    test_caches(folder);
    test_paths();
    CHECK(tn_fs_remove_tree(folder, &err) == 0);
    return tn_check_result();
}
