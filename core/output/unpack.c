#include "core/output/unpack.h"
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/log.h"
#include "core/output/results.h"
#include "core/output/untar.h"

/* What a job may leave; generous, until an issue makes them configurable. */
static const struct tn_untar_limits untar_limits = {.bytes = 256ull << 30, .files = 2000000};

struct unpacking {
    struct tn_zreader *reader;
    uint64_t offset;
    struct tn_results *results; /* of tests; NULL: artifacts */
};

static ssize_t read_tar(void *arg, const void **bytes, struct tn_err *err)
{
    struct unpacking *unpacking = arg;
    size_t length;

    if (tn_zreader_peek(unpacking->reader, unpacking->offset, bytes, &length, err) != 0)
        return -1;
    unpacking->offset += length;
    return (ssize_t)length;
}

static void take_file(void *arg, int fd, const char *name)
{
    struct unpacking *unpacking = arg;

    tn_results_file(unpacking->results, fd, name);
}

/* The times are a help for the next run: that they cannot be kept is no reason to fail this one. */
static void keep_times(const struct tn_stream_home *home, const struct tn_stream *stream, struct tn_results *results)
{
    auto_free char *path = tn_layout_timings(home->layout, home->project, home->place.job);
    struct tn_timings_run run = {.id = tn_json_string(stream->opened, "pipeline", ""),
                                 .failed = tn_json_bool(stream->opened, "failed", false),
                                 .now = time(NULL),
                                 .keep_days = TN_TIMINGS_DAYS};
    struct tn_err err = TN_ERR_INIT;

    if (tn_timings_keep(path, tn_results_timings(results), &run, &err) != 0)
        tn_warn("the times of the tests are not kept: %s", err.text);
}

static int end_results(const struct tn_stream_home *home, const struct tn_stream *stream, struct tn_results *results,
                       cJSON *result, struct tn_err *err)
{
    cJSON *tests = NULL;

    if (tn_results_finish(results, &tests, err) != 0)
        return -1;
    cJSON_AddItemToObject(result, "tests", tests);
    keep_times(home, stream, results);
    return 0;
}

static int unpack_files(const struct tn_stream_home *home, const struct tn_stream *stream, struct unpacking *unpacking,
                        cJSON *result, struct tn_err *err)
{
    bool is_tests = unpacking->results != NULL;
    auto_free char *folder =
        is_tests ? tn_layout_tests(home->layout, &home->place) : tn_layout_artifacts(home->layout, &home->place);
    auto_free char *prefix =
        is_tests ? tn_fs_path("%02u", stream->step) : tn_untar_clean(tn_json_string(stream->opened, "destination", ""));
    struct tn_untar untar = {.folder = folder,
                             .prefix = prefix,
                             .keep_file_name = is_tests,
                             .limits = untar_limits,
                             .read = read_tar,
                             .on_file = is_tests ? take_file : NULL,
                             .arg = unpacking};
    struct tn_untar_result done;

    if (tn_untar(&untar, &done, err) != 0)
        return -1;
    cJSON_AddNumberToObject(result, "files", (double)done.files);
    cJSON_AddNumberToObject(result, "skipped", (double)done.skipped);
    cJSON_AddStringToObject(result, "path", folder);
    return is_tests ? end_results(home, stream, unpacking->results, result, err) : 0;
}

int tn_unpack(const struct tn_stream_home *home, const struct tn_stream *stream, const char *partial, cJSON *result,
              struct tn_err *err)
{
    struct unpacking unpacking = {.reader = tn_zreader_open(partial, err)};
    int failed = -1;

    if (unpacking.reader == NULL)
        return -1;
    if (stream->type == TN_STREAM_TEST_RESULTS) {
        auto_free char *folder = tn_layout_tests(home->layout, &home->place);
        auto_free char *list = tn_fs_path("%s/%02u.jsonl", folder, stream->step);

        unpacking.results = tn_results_new(list, tn_json_string(stream->opened, "root", ""), err);
    }
    if (stream->type != TN_STREAM_TEST_RESULTS || unpacking.results != NULL)
        failed = unpack_files(home, stream, &unpacking, result, err);
    tn_results_free(unpacking.results);
    tn_zreader_close(unpacking.reader);
    return failed;
}
