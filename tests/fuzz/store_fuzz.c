/* libFuzzer target: what executors ask of tenon-output, and the records that it takes up: opening streams under any
 * name, looking for blobs, reading one by its id. The first byte chooses, the second cuts. Nothing may come to lie
 * outside of the two folders.
 *
 * decodes: core/output/stream.c core/output/stream_end.c core/output/layout.c core/output/blobs.c core/output/logs.c
 * max_len: 4096 */
#include "core/lib/cleanup.h"
#include "core/lib/json.h"
#include "core/lib/log.h"
#include "core/output/blobs.h"
#include "core/output/stream.h"
#include "tests/fuzz/folder.h"

#include <dirent.h>
#include <event2/event.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { RUNS_OF_A_STORE = 64 }; /* to make one is most of the work */

struct store {
    char *state;
    char *shared;
    struct tn_layout layout;
    struct tn_room room;
    struct tn_logs logs;
    struct tn_blobs *blobs;
    struct tn_mask *mask;
    struct tn_stream_home home;
};

static void on_changed(void *arg, const struct tn_log_file *log)
{
}

static void open_store(struct store *store, struct event_base *base)
{
    store->state = tn_fs_path("%s/state", fuzz_folder());
    store->shared = tn_fs_path("%s/store", fuzz_folder());
    tn_layout_init(&store->layout, store->state, store->shared);
    tn_logs_init(&store->logs, base, on_changed, NULL);
    store->blobs = tn_blobs_new(&store->layout, NULL);
    store->mask = tn_mask_new((const char *const[]){"secret"}, 1, NULL);
    if (store->blobs == NULL || store->mask == NULL)
        abort();
    store->home = (struct tn_stream_home){.layout = &store->layout,
                                          .blobs = store->blobs,
                                          .logs = &store->logs,
                                          .room = &store->room,
                                          .mask = store->mask,
                                          .place = {"w/..", "j", 0, 2, 1},
                                          .project = "gh/o/r",
                                          .task = 1,
                                          .attempt = 1};
}

static void close_store(struct store *store)
{
    tn_blobs_free(store->blobs);
    tn_mask_free(store->mask);
    tn_logs_free(&store->logs);
    if (tn_fs_remove_tree(store->state, NULL) != 0 || tn_fs_remove_tree(store->shared, NULL) != 0)
        abort();
    free(store->state);
    free(store->shared);
}

/* Only the two. */
static void check_folder(void)
{
    DIR *dir = opendir(fuzz_folder());
    const struct dirent *entry;

    while (dir != NULL && (entry = readdir(dir)) != NULL)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
            strcmp(entry->d_name, "state") != 0 && strcmp(entry->d_name, "store") != 0)
            abort();
    closedir(dir);
}

static int keep(void *arg, const struct tn_stream *stream, struct tn_err *err)
{
    cJSON *entry = tn_stream_entry(stream, stream->offset);

    cJSON_Delete(entry);
    return 0;
}

static void use_stream(struct store *store, struct tn_stream *stream, uint8_t how)
{
    static const char bytes[2048] = "a file\nor the begin of a tar";
    struct tn_err err = TN_ERR_INIT;

    if (tn_stream_write(&store->home, stream, how % 4, bytes, how, &err) == 1 && how % 3 == 0 &&
        stream->type != TN_STREAM_LOG)
        err.code = tn_stream_drop(&store->home, stream, keep, NULL, &err) == 0 ? TN_OK : err.code;
    else if (how % 3 == 1 && tn_stream_finish(&store->home, stream, keep, NULL, &err) != 0 && err.text[0] == '\0')
        abort();
}

static void take(struct store *store, uint8_t what, uint8_t how, const char *text, size_t size)
{
    auto_json cJSON *json = tn_json_parse(text, size, "x", NULL);
    auto_json cJSON *answer = cJSON_CreateObject();
    auto_buf struct tn_buf out = TN_BUF_INIT;
    struct tn_stream *stream = NULL;
    struct tn_err err = TN_ERR_INIT;
    bool end;

    if (what % 4 == 2) {
        auto_free char *id = strndup(text, size);

        (void)!tn_blobs_read(store->blobs, store, id, how, 64, &out, &end, &err);
        return;
    }
    if (json == NULL)
        return;
    if (what % 4 == 3 && tn_blobs_find(store->blobs, "p", json, answer, &err) != 0 && err.text[0] == '\0')
        abort();
    if (what % 4 == 0) {
        store->home.owner = what >= 128;
        stream = tn_stream_open(&store->home, json, &err);
    } else if (what % 4 == 1) {
        stream = tn_stream_resume(&store->home, json, what >= 128, &err);
    }
    if (stream == NULL)
        return;
    if (what < 128)
        use_stream(store, stream, how);
    tn_stream_free(stream);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct event_base *base;
    static struct store store;
    static unsigned runs;

    if (size < 2)
        return 0;
    if (base == NULL) {
        setenv("TENON_LOG", "error", 0);
        tn_log_open("fuzz");
        base = event_base_new();
        open_store(&store, base);
    }
    take(&store, data[0], data[1], (const char *)data + 2, size - 2);
    if (++runs % RUNS_OF_A_STORE == 0) {
        check_folder();
        close_store(&store);
        store = (struct store){0};
        open_store(&store, base);
    }
    return 0;
}
