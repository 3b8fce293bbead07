/* libFuzzer: any bytes as a stored file, and as the content of one: opened, verified, read, and as a layer listed; as
 * the list of a layer; and as a cache's entry. Nothing but errors may come of it.
 *
 * decodes: core/output/zfile.c core/output/layers.c core/output/cache.c
 * max_len: 16384 */
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/json.h"
#include "core/output/cache.h"
#include "core/output/layers.h"
#include "tests/fuzz/folder.h"

#include <stdlib.h>
#include <string.h>

static void read_stored(const char *path)
{
    auto_buf struct tn_buf content = TN_BUF_INIT;
    auto_buf struct tn_buf paths = TN_BUF_INIT;
    struct tn_zreader *reader = tn_zreader_open(path, NULL);

    if (reader == NULL)
        return;
    if (tn_zreader_verify(reader, NULL) == 0 && tn_layer_paths(reader, &paths, NULL) == 0 && paths.len > 0 &&
        paths.data[paths.len - 1] != '\0')
        abort();
    if (tn_zreader_read(reader, 0, 1 << 20, &content, NULL) == 0 && content.len > tn_zreader_size(reader))
        abort();
    tn_zreader_close(reader);
}

/* The same bytes as the content of a stored file: a tar, or none. Torn and whole give the same file. */
static void store(const char *path, const uint8_t *data, size_t size)
{
    static struct tn_zpack *zpack;
    struct tn_zwriter *writer;
    size_t half = size / 2;

    if (zpack == NULL)
        zpack = tn_zpack_new();
    writer = tn_zwriter_create(zpack, path, NULL);
    if (writer == NULL || tn_zwriter_write(writer, data, half, NULL) != 0 || tn_zwriter_flush(writer, NULL) != 0 ||
        tn_zwriter_write(writer, data + half, size - half, NULL) != 0 || tn_zwriter_finish(writer, NULL) != 0)
        abort();
    tn_zwriter_close(writer);
}

static void check_content(const char *path, const uint8_t *data, size_t size)
{
    struct tn_zreader *reader = tn_zreader_open(path, NULL);
    auto_buf struct tn_buf content = TN_BUF_INIT;

    if (reader == NULL || tn_zreader_size(reader) != size || tn_zreader_verify(reader, NULL) != 0 ||
        tn_zreader_read(reader, 0, size, &content, NULL) != 0 || content.len != size ||
        (size > 0 && memcmp(content.data, data, size) != 0))
        abort();
    tn_zreader_close(reader);
}

/* Two jobs that may run at the same time have written the same layer: each of its paths is a conflict, said once. With
 * a list beside the layer, and without. */
static void compare_layers(char *path, bool listed)
{
    auto_json cJSON *list = cJSON_Parse("[{\"name\":\"a\",\"tasks\":[\"1\"]},{\"name\":\"b\",\"tasks\":[\"2\"]}]");
    struct tn_layer_jobs *jobs = tn_layer_jobs_new(list, NULL);
    struct tn_layer layers[] = {{path, 1, 1, 1, 0}, {path, 2, 1, 1, 1}};
    auto_json cJSON *conflicts = cJSON_CreateArray();
    size_t total = 0;

    if (listed)
        (void)!tn_layer_list_write(path, path, NULL); /* what is no tar has none */
    if (tn_layers_conflicts(jobs, layers, 2, conflicts, &total, NULL) == 0 &&
        ((size_t)cJSON_GetArraySize(conflicts) > total || cJSON_GetArraySize(conflicts) > TN_LAYER_CONFLICTS_MAX))
        abort();
    tn_layer_jobs_free(jobs);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *folder = fuzz_folder();
    auto_free char *path = NULL;
    auto_buf struct tn_buf paths = TN_BUF_INIT;
    struct tn_cache cache;

    path = tn_fs_path("%s/x.json", folder);
    if (tn_fs_write_atomic(path, data, size, 0600, NULL) != 0)
        abort();
    read_stored(path);
    if (tn_layer_list_decode(data, size, &paths) == 0 && paths.len > 0 && paths.data[paths.len - 1] != '\0')
        abort();
    if (tn_cache_read(folder, "x.json", &cache, NULL) == 0 &&
        (strchr(cache.file, '/') != NULL || strlen(cache.key) > TN_CACHE_KEY_MAX))
        abort();
    tn_cache_clear(&cache);
    store(path, data, size);
    check_content(path, data, size);
    read_stored(path);
    compare_layers(path, false);
    compare_layers(path, true);
    if (tn_fs_remove_tree(folder, NULL) != 0 || tn_fs_make_dirs(folder, 0700, NULL) != 0)
        abort();
    return 0;
}
