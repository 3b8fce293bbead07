#include "core/output/results.h"
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/log.h"
#include "core/output/json_text.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

enum { FLUSH_BYTES = 256 * 1024, SHOWN_NAME = 300, SHOWN_MESSAGE = 600, SHOWN_LINES = 4, SNIFF = 512 };

struct tn_results {
    char *path, *partial, *root; /* owned */
    int fd;
    struct tn_buf lines;  /* not written yet */
    struct tn_err failed; /* the first write that failed */
    struct tn_junit_counts counts;
    uint64_t files, ignored;
    cJSON *failures, *notes; /* owned */
    uint64_t more_notes;
    struct tn_timings timings;
};

struct tn_results *tn_results_new(const char *path, const char *root, struct tn_err *err)
{
    struct tn_results *results = calloc(1, sizeof(*results));
    auto_free char *folder = tn_fs_path("%.*s", (int)(strrchr(path, '/') - path), path);

    if (results == NULL)
        tn_fatal(3, "out of memory: test results");
    results->path = tn_fs_path("%s", path);
    results->partial = tn_fs_path("%s.partial", path);
    results->root = tn_fs_path("%s", root);
    results->failures = cJSON_CreateArray();
    results->notes = cJSON_CreateArray();
    results->fd = -1;
    if (tn_fs_make_dirs(folder, 0755, err) == 0) {
        results->fd = open(results->partial, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
        if (results->fd >= 0)
            return results;
        tn_err_sys(err, errno, "cannot write %s", results->partial);
    }
    tn_results_free(results);
    return NULL;
}

static void flush(struct tn_results *results)
{
    if (results->failed.code == TN_OK && results->lines.len > 0 &&
        tn_fs_write_all(results->fd, results->lines.data, results->lines.len, &results->failed) != 0)
        tn_err_wrap(&results->failed, "cannot write %s", results->partial);
    tn_buf_reset(&results->lines);
}

/* ---- one test ---- */

static const char *result_word(enum tn_junit_result result)
{
    static const char *const words[] = {
        [TN_JUNIT_PASSED] = "success",
        [TN_JUNIT_FAILED] = "failure",
        [TN_JUNIT_ERROR] = "error",
        [TN_JUNIT_SKIPPED] = "skipped",
    };

    return words[result];
}

/* Jobs of this host lie in a folder of their own each: only what is relative means the same in the next one. */
static const char *relative(const struct tn_results *results, const char *file)
{
    size_t length = strlen(results->root);

    if (length > 1 && strncmp(file, results->root, length) == 0 && file[length] == '/')
        file += length + 1;
    while (file[0] == '.' && file[1] == '/')
        file += 2 + strspn(file + 2, "/");
    return file;
}

/* The first lines that are not blank. */
static void shorten(char *out, size_t size, const char *text)
{
    size_t used = 0;
    unsigned lines = 0;

    out[0] = '\0';
    while (*text != '\0' && lines < SHOWN_LINES && used + 2 < size) {
        size_t length = strcspn(text, "\n");

        if (strspn(text, " \t\r") < length) {
            if (lines++ > 0)
                out[used++] = '\n';
            tn_junit_clip(out + used, size - used, text, length);
            used += strlen(out + used);
        }
        text += length + (text[length] == '\n');
    }
}

static void add_failure(cJSON *failures, const struct tn_junit_test *test, const char *file)
{
    const struct {
        const char *key;
        const char *text;
        size_t size;
    } members[] = {{"name", test->name, SHOWN_NAME},
                   {"classname", test->classname, SHOWN_NAME},
                   {"file", file, SHOWN_NAME},
                   {"suite", test->suite, SHOWN_NAME},
                   {"message", test->message, SHOWN_MESSAGE}};
    cJSON *failure = cJSON_CreateObject();

    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
        char text[SHOWN_MESSAGE];

        if (members[i].text[0] == '\0')
            continue;
        shorten(text, members[i].size, members[i].text);
        cJSON_AddStringToObject(failure, members[i].key, text);
    }
    cJSON_AddItemToArray(failures, failure);
}

static void on_test(void *arg, const struct tn_junit_test *test)
{
    struct tn_results *results = arg;
    struct tn_buf *out = &results->lines;
    const char *file = relative(results, test->file);

    tn_buf_addf(out, "{\"result\":\"%s\"", result_word(test->result));
    tn_json_text_member(out, "name", test->name);
    tn_json_text_member(out, "classname", test->classname);
    tn_json_text_member(out, "file", file);
    tn_json_text_member(out, "suite", test->suite);
    if (test->seconds >= 0)
        tn_buf_addf(out, ",\"seconds\":%.9g", test->seconds);
    if (test->flaky)
        tn_buf_adds(out, ",\"flaky\":true");
    tn_json_text_member(out, "message", test->message);
    tn_buf_adds(out, "}\n");
    if (out->len >= FLUSH_BYTES)
        flush(results);
    if ((test->result == TN_JUNIT_FAILED || test->result == TN_JUNIT_ERROR) &&
        cJSON_GetArraySize(results->failures) < TN_RESULTS_FAILURES)
        add_failure(results->failures, test, file);
    tn_timings_add(&results->timings, test, file);
}

/* ---- files ---- */

static bool is_xml(const char *name)
{
    size_t length = strlen(name);

    return length >= 4 && strcasecmp(name + length - 4, ".xml") == 0;
}

static bool begins_like_junit(int fd)
{
    char head[SNIFF];
    ssize_t got = pread(fd, head, sizeof(head), 0);

    return got > 0 && memmem(head, (size_t)got, "<testsuite", 10) != NULL;
}

void tn_results_file(void *arg, int fd, const char *name)
{
    struct tn_results *results = arg;
    const char *slash = strchr(name, '/'); /* behind the step's number */
    struct tn_err err = TN_ERR_INIT;

    if (!is_xml(name) && !begins_like_junit(fd)) {
        results->ignored++;
        return;
    }
    results->files++;
    if (tn_junit_read_file(fd, slash != NULL ? slash + 1 : name, on_test, results, &results->counts, &err) == 0)
        return;
    if (cJSON_GetArraySize(results->notes) < TN_RESULTS_NOTES)
        cJSON_AddItemToArray(results->notes, cJSON_CreateString(err.text));
    else
        results->more_notes++;
}

/* ---- the end ---- */

static void add_note(cJSON *notes, const char *before, uint64_t count, const char *behind)
{
    auto_free char *note = tn_fs_path("%s%" PRIu64 " %s %s", before, count, count == 1 ? "file" : "files", behind);

    cJSON_AddItemToArray(notes, cJSON_CreateString(note));
}

static void describe(struct tn_results *results, cJSON *tests)
{
    const struct tn_junit_counts *counts = &results->counts;

    cJSON_AddNumberToObject(tests, "total", (double)counts->total);
    cJSON_AddNumberToObject(tests, "failed", (double)counts->failed);
    cJSON_AddNumberToObject(tests, "errors", (double)counts->errors);
    cJSON_AddNumberToObject(tests, "skipped", (double)counts->skipped);
    cJSON_AddNumberToObject(tests, "flaky", (double)counts->flaky);
    cJSON_AddNumberToObject(tests, "damaged", (double)counts->damaged);
    cJSON_AddNumberToObject(tests, "files", (double)results->files);
    if (results->more_notes > 0)
        add_note(results->notes, "and ", results->more_notes, "more");
    if (results->ignored > 0)
        add_note(results->notes, "Ignored ", results->ignored, "without XML");
    cJSON_AddItemToObject(tests, "notes", results->notes);
    cJSON_AddItemToObject(tests, "failures", results->failures);
    results->notes = results->failures = NULL;
    cJSON_AddStringToObject(tests, "list", results->path);
}

int tn_results_finish(struct tn_results *results, cJSON **tests, struct tn_err *err)
{
    flush(results);
    if (results->failed.code == TN_OK && fsync(results->fd) != 0)
        tn_err_sys(&results->failed, errno, "cannot write %s", results->partial);
    if (results->failed.code != TN_OK) {
        *err = results->failed;
        return -1;
    }
    if (rename(results->partial, results->path) != 0)
        return tn_err_sys(err, errno, "cannot write %s", results->path);
    close(results->fd);
    results->fd = -1;
    *tests = cJSON_CreateObject();
    describe(results, *tests);
    return 0;
}

struct tn_timings *tn_results_timings(struct tn_results *results)
{
    return &results->timings;
}

void tn_results_free(struct tn_results *results)
{
    if (results == NULL)
        return;
    if (results->fd >= 0) {
        close(results->fd);
        unlink(results->partial);
    }
    cJSON_Delete(results->failures);
    cJSON_Delete(results->notes);
    tn_buf_free(&results->lines);
    tn_timings_free(&results->timings);
    free(results->path);
    free(results->partial);
    free(results->root);
    free(results);
}
