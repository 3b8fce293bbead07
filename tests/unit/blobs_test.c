/* Stored files (frames, cutting back, reading anywhere, damage), finding caches, and paths of untar. */
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/output/blobs.h"
#include "core/output/untar.h"
#include "tests/unit/check.h"

#include <fcntl.h>

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
    auto_buf struct tn_buf label = TN_BUF_INIT;
    struct tn_zwriter *writer = tn_zwriter_create(zpack, path, "the key", &err);
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
    CHECK(tn_zfile_label(path, &label, &err) == 0);
    CHECK_STR(label.data, "the key");
    reader = tn_zreader_open(path, &err);
    CHECK(reader != NULL && tn_zreader_size(reader) == bytes.len);
    CHECK(tn_zreader_read(reader, 999990, 1400000, &back, &err) == 0);
    CHECK(back.len == 1400000 && memcmp(back.data, bytes.data + 999990, back.len) == 0);
    tn_buf_reset(&back);
    CHECK(tn_zreader_read(reader, bytes.len - 3, 100, &back, &err) == 0 && back.len == 3);
    CHECK(tn_zreader_read(reader, UINT64_MAX - 5, 100, &back, &err) == 0 && back.len == 3);
    tn_zreader_close(reader);
    tn_zpack_free(zpack);
}

/* Every byte of a small file changed, and every length cut: an error or other bytes, never a crash. */
static void test_damage(const char *folder)
{
    auto_free char *path = tn_fs_path("%s/small", folder);
    struct tn_zpack *zpack = tn_zpack_new();
    struct tn_err err = TN_ERR_INIT;
    auto_buf struct tn_buf file = TN_BUF_INIT;
    struct tn_zwriter *writer = tn_zwriter_create(zpack, path, "k", &err);

    CHECK(tn_zwriter_write(writer, "hello hello hello", 17, &err) == 0 && tn_zwriter_finish(writer, &err) == 0);
    tn_zwriter_close(writer);
    tn_zpack_free(zpack);
    CHECK(tn_fs_read(path, 10000, &file, &err) == 0);
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
        tn_zreader_close(reader);
    }
}

static void save_cache(struct tn_blobs *blobs, const struct tn_layout *layout, const char *key, const char *content,
                       bool expect_kept)
{
    auto_free char *partial = tn_layout_partial(layout, true, 1, 1, 0, 1);
    auto_free char *path = tn_layout_cache(layout, "p", key);
    auto_free char *label = tn_blobs_label(key, "home");
    struct tn_err err = TN_ERR_INIT;
    struct tn_zwriter *writer = tn_zwriter_create(tn_blobs_zpack(blobs), partial, label, &err);
    bool kept = !expect_kept;

    CHECK(tn_zwriter_write(writer, content, strlen(content), &err) == 0 && tn_zwriter_finish(writer, &err) == 0);
    tn_zwriter_close(writer);
    CHECK(tn_blobs_commit(partial, path, true, &kept, &err) == 0);
    CHECK_INT(kept, expect_kept);
    CHECK(tn_blobs_commit(partial, path, true, &kept, &err) == 0); /* once more, as after a crash */
}

static void check_found(struct tn_blobs *blobs, const char *project, const char *wanted, const char *key)
{
    auto_json cJSON *body = cJSON_Parse(wanted);
    auto_json cJSON *found = cJSON_CreateArray();
    struct tn_err err = TN_ERR_INIT;

    CHECK(tn_blobs_find(blobs, project, body, found, &err) == 0);
    CHECK_STR(tn_json_string(cJSON_GetArrayItem(found, 0), "key", "none"), key);
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
    CHECK(tn_blobs_has_cache(blobs, "p", "deps-v1-exact") && !tn_blobs_has_cache(blobs, "p", "deps"));
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
