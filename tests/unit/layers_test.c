/* Workspace layers: what lies in them, their lists, and which jobs' files clash. */
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/output/layers.h"
#include "tests/unit/check.h"

#include <archive.h>
#include <archive_entry.h>
#include <string.h>
#include <time.h>

/* a ── b ──┐
 * └─── c ──┴─ d (two tasks) */
static const char jobs_text[] = "[{\"name\":\"a\",\"tasks\":[\"1\"],\"requires\":[]},"
                                "{\"name\":\"b\",\"tasks\":[\"2\"],\"requires\":[0]},"
                                "{\"name\":\"c\",\"tasks\":[\"3\"],\"requires\":[0]},"
                                "{\"name\":\"d\",\"tasks\":[\"4\",\"5\"],\"requires\":[1,2]}]";

/* Stores a layer of files with these names (a "/" at the end: a folder), and its list if asked for. */
static char *make_layer(const char *folder, const char *name, const char *const *files, bool with_list)
{
    char *path = tn_fs_path("%s/%s.tar.zst", folder, name);
    static char tar[1 << 16];
    size_t used = 0;
    struct archive *archive = archive_write_new();
    struct tn_zpack *zpack = tn_zpack_new();
    struct tn_err err = TN_ERR_INIT;
    struct tn_zwriter *writer = tn_zwriter_create(zpack, path, &err);

    archive_write_set_format_pax_restricted(archive);
    CHECK(archive_write_open_memory(archive, tar, sizeof(tar), &used) == ARCHIVE_OK);
    for (; *files != NULL; files++) {
        struct archive_entry *entry = archive_entry_new();
        bool is_folder = (*files)[strlen(*files) - 1] == '/';

        archive_entry_set_pathname(entry, *files);
        archive_entry_set_filetype(entry, is_folder ? AE_IFDIR : AE_IFREG);
        archive_entry_set_perm(entry, 0644);
        archive_entry_set_size(entry, is_folder ? 0 : 700);
        CHECK(archive_write_header(archive, entry) == ARCHIVE_OK);
        if (!is_folder)
            CHECK(archive_write_data(archive, jobs_text, 100) == 100);
        archive_entry_free(entry);
    }
    CHECK(archive_write_close(archive) == ARCHIVE_OK);
    archive_write_free(archive);
    CHECK(tn_zwriter_write(writer, tar, used, &err) == 0 && tn_zwriter_finish(writer, &err) == 0);
    tn_zwriter_close(writer);
    tn_zpack_free(zpack);
    if (with_list)
        CHECK(tn_layer_list_write(path, path, &err) == 0);
    return path;
}

static void test_lists(const char *folder)
{
    static const char *const files[] = {"out/", "./out/a", "out//b", "../away", "c\nd", NULL};
    static const char want[] = "out/a\0out/b\0c\nd";
    auto_free char *layer = make_layer(folder, "list", files, true);
    auto_free char *list = tn_layer_list_path(layer);
    auto_buf struct tn_buf bytes = TN_BUF_INIT;
    struct tn_err err = TN_ERR_INIT;

    CHECK(tn_fs_read(list, 10000, &bytes, &err) == 0);
    for (size_t i = 0; i < 3; i++) { /* whole, damaged, missing: each time the same */
        auto_buf struct tn_buf paths = TN_BUF_INIT;

        CHECK(tn_layer_list_read(layer, &paths, &err) == 0);
        CHECK(paths.len == sizeof(want) && memcmp(paths.data, want, sizeof(want)) == 0);
        bytes.data[bytes.len - 3] ^= 1;
        if (i == 0)
            CHECK(tn_fs_write_atomic(list, bytes.data, bytes.len, 0600, &err) == 0);
        else
            CHECK(unlink(list) == 0 || i == 2);
    }
    for (size_t i = 0; i < bytes.len; i++) {
        auto_buf struct tn_buf paths = TN_BUF_INIT;

        CHECK(tn_layer_list_decode(bytes.data, i, &paths) == -1 && paths.len == 0);
    }
}

static void test_jobs(void)
{
    auto_json cJSON *list = cJSON_Parse(jobs_text);
    auto_json cJSON *wrong = cJSON_Parse("[{\"name\":\"a\",\"requires\":[0]}]");
    struct tn_err err = TN_ERR_INIT;
    struct tn_layer_jobs *jobs = tn_layer_jobs_new(list, &err);
    struct tn_layer layers[6];

    CHECK(jobs != NULL);
    for (unsigned i = 1; i <= 5; i++)
        layers[i] = (struct tn_layer){.task = i, .job = tn_layer_jobs_find(jobs, i)};
    CHECK_INT(tn_layer_jobs_find(jobs, 6), -1);
    CHECK_STR(tn_layer_jobs_name(jobs, layers[5].job), "d");
    for (unsigned i = 1; i <= 5; i++)
        for (unsigned k = 1; k <= 5; k++) {
            bool want = (i == 2 && k == 3) || (i == 3 && k == 2) || (i == 4 && k == 5) || (i == 5 && k == 4);

            CHECK_INT(tn_layer_jobs_concurrent(jobs, &layers[i], &layers[k]), want);
        }
    tn_layer_jobs_free(jobs);
    CHECK(tn_layer_jobs_new(wrong, &err) == NULL);
    CHECK_STR(err.text, "BLOB_FIND: job 0 requires job 0, expected one before it");
    jobs = tn_layer_jobs_new(NULL, &err);
    CHECK(jobs != NULL && tn_layer_jobs_find(jobs, 1) == -1);
    tn_layer_jobs_free(jobs);
}

static size_t conflicts_of(struct tn_layer *layers, size_t count, cJSON *conflicts)
{
    auto_json cJSON *list = cJSON_Parse(jobs_text);
    struct tn_err err = TN_ERR_INIT;
    struct tn_layer_jobs *jobs = tn_layer_jobs_new(list, &err);
    size_t total = 0;

    for (size_t i = 0; i < count; i++)
        layers[i].job = tn_layer_jobs_find(jobs, layers[i].task);
    CHECK(tn_layers_conflicts(jobs, layers, count, conflicts, &total, &err) == 0);
    tn_layer_jobs_free(jobs);
    return total;
}

static void test_conflicts(const char *folder)
{
    static const char *const first[] = {"same", "dir/", "dir/x", NULL};
    static const char *const second[] = {"same", "dir/", "dir/y", NULL};
    static const char *const third[] = {"dir/", "dir/z", "dir/y", NULL};
    auto_free char *one = make_layer(folder, "one", first, true);
    auto_free char *two = make_layer(folder, "two", second, true);
    auto_free char *three = make_layer(folder, "three", third, false);
    struct tn_layer ordered[] = {{.path = one, .task = 1}, {.path = two, .task = 2}};
    struct tn_layer again[] = {{.path = one, .task = 2}, {.path = two, .task = 2, .step = 4}};
    struct tn_layer clash[] = {{.path = one, .task = 1}, {.path = two, .task = 2}, {.path = three, .task = 3}};
    struct tn_layer tasks[] = {{.path = one, .task = 4}, {.path = one, .task = 5}};
    struct tn_layer strangers[] = {{.path = one, .task = 8}, {.path = one, .task = 9}};
    auto_json cJSON *conflicts = cJSON_CreateArray();
    const cJSON *names;

    CHECK_INT(conflicts_of(ordered, 2, conflicts), 0);
    CHECK_INT(conflicts_of(again, 2, conflicts), 0);
    CHECK_INT(conflicts_of(strangers, 2, conflicts), 0);
    CHECK_INT(cJSON_GetArraySize(conflicts), 0);
    CHECK_INT(conflicts_of(clash, 3, conflicts), 1); /* folders do not clash */
    CHECK_STR(tn_json_string(cJSON_GetArrayItem(conflicts, 0), "path", ""), "dir/y");
    names = tn_json_get(cJSON_GetArrayItem(conflicts, 0), "jobs");
    CHECK_INT(cJSON_GetArraySize(names), 2);
    CHECK_STR(cJSON_GetArrayItem(names, 0)->valuestring, "b");
    CHECK_STR(cJSON_GetArrayItem(names, 1)->valuestring, "c");
    CHECK_INT(conflicts_of(tasks, 2, conflicts), 2);
}

/* A tar may name one file over and over: linear all the same, and one conflict. */
static void test_one_path_often(const char *folder)
{
    enum { TIMES = 150000, SECONDS = 4 };
    auto_free char *layer = tn_fs_path("%s/often", folder);
    auto_free char *path = tn_layer_list_path(layer);
    struct tn_layer layers[] = {{.path = layer, .task = 4}, {.path = layer, .task = 5}};
    auto_json cJSON *conflicts = cJSON_CreateArray();
    auto_buf struct tn_buf paths = TN_BUF_INIT;
    auto_buf struct tn_buf list = TN_BUF_INIT;
    clock_t begun = clock();

    for (int i = 0; i < TIMES; i++)
        tn_buf_add(&paths, "a", 2);
    tn_layer_list_encode(&paths, &list);
    CHECK(tn_fs_write_atomic(path, list.data, list.len, 0600, NULL) == 0);
    CHECK_INT(conflicts_of(layers, 2, conflicts), 1);
    CHECK_INT(cJSON_GetArraySize(tn_json_get(cJSON_GetArrayItem(conflicts, 0), "jobs")), 1);
    CHECK(clock() - begun < SECONDS * CLOCKS_PER_SEC);
}

int main(void)
{
    char folder[] = "/tmp/tenon-layers-test-XXXXXX";
    struct tn_err err = TN_ERR_INIT;

    CHECK(mkdtemp(folder) != NULL);
    test_lists(folder);
    test_jobs();
    test_conflicts(folder);
    test_one_path_often(folder);
    CHECK(tn_fs_remove_tree(folder, &err) == 0);
    return tn_check_result();
}
