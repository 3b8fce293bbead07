/* libFuzzer: any bytes as a stored file: opened, verified, read, and as a layer listed; as the list of a layer; and as
 * a cache's entry. Nothing but errors may come of it.
 *
 * decodes: core/output/zfile.c core/output/layers.c core/output/cache.c
 * max_len: 16384 */
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
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
    if (tn_fs_remove_tree(folder, NULL) != 0 || tn_fs_make_dirs(folder, 0700, NULL) != 0)
        abort();
    return 0;
}
