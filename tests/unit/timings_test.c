/* Times of tests from run to run: what a run replaces, keeps and drops, what a failed one may add, pins, and files that
 * are not what they should be. */
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/json.h"
#include "core/output/timings.h"
#include "tests/unit/check.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { DAY = 86400 };

static char folder[] = "/tmp/timings-test.XXXXXX";
static char *path, *pin;

/* One test of a run: "file|class|name|seconds", "?" seconds are unknown. */
static void add(struct tn_timings *timings, const char *text)
{
    char copy[200];
    char *rest = copy;
    const char *file, *seconds;
    struct tn_junit_test test = {.result = TN_JUNIT_PASSED, .message = "", .suite = ""};

    snprintf(copy, sizeof(copy), "%s", text);
    file = strsep(&rest, "|");
    test.classname = strsep(&rest, "|");
    test.name = strsep(&rest, "|");
    seconds = rest;
    test.seconds = seconds[0] == '?' ? -1 : atof(seconds);
    tn_timings_add(timings, &test, file);
}

static void run_days(const char *id, bool failed, int day, const char *const *tests)
{
    struct tn_timings timings = {0};
    struct tn_timings_run run = {.id = id, .failed = failed, .now = (time_t)(20000 + day) * DAY, .keep_days = 30};
    struct tn_err err = TN_ERR_INIT;

    for (; *tests != NULL; tests++)
        add(&timings, *tests);
    if (tn_timings_keep(path, &timings, &run, &err) != 0)
        CHECK_STR(err.text, "");
    tn_timings_free(&timings);
}

#define RUN(id, failed, ...) run_days(id, failed, 0, (const char *const[]){__VA_ARGS__, NULL})

/* What the file holds: "file|class|name|seconds" of each, in their order; also whether it is a tar with valid JSON. */
static void check_holds(const char *wanted)
{
    auto_free char *version = tn_timings_version(path);
    auto_buf struct tn_buf tar = TN_BUF_INIT;
    auto_buf struct tn_buf text = TN_BUF_INIT;
    struct tn_err err = TN_ERR_INIT;
    bool end = false;
    const cJSON *test;

    CHECK(version != NULL);
    while (!end && version != NULL)
        if (tn_timings_read(path, version, tar.len, 100, &tar, &end, &err) != 0)
            end = true;
    CHECK_INT(tar.len % 512, 0);
    CHECK_STR(tar.data, "circle-test-results/results.json");
    CHECK_STR(tar.data + 257, "ustar");
    {
        auto_json cJSON *json = tn_json_parse(tar.data + 512, strtoul(tar.data + 124, NULL, 8), "results.json", &err);

        CHECK_STR(err.text, "");
        cJSON_ArrayForEach (test, tn_json_get(json, "tests"))
            tn_buf_addf(&text, "%s%s|%s|%s|%g", text.len > 0 ? " " : "", tn_json_string(test, "file", ""),
                        tn_json_string(test, "classname", ""), tn_json_string(test, "name", ""),
                        tn_json_number(test, "run_time", -1));
    }
    CHECK_STR(text.len > 0 ? text.data : "", wanted);
}

static void test_merging(void)
{
    RUN("1", false, "a|A|x|1", "a|A|y|2", "b|B|x|3", "|C|x|4", "||y|5", "d||z|?");
    check_holds("||y|5 |C|x|4 a|A|x|1 a|A|y|2 b|B|x|3");
    RUN("1", false, "a|A|x|1", "a|A|y|2", "b|B|x|3", "|C|x|4", "||y|5"); /* done again after a crash */
    check_holds("||y|5 |C|x|4 a|A|x|1 a|A|y|2 b|B|x|3");
    RUN("2", false, "a|A|x|9", "|C|new|1"); /* y is gone from a, and x from C */
    check_holds("||y|5 b|B|x|3 |C|new|1 a|A|x|9");
    RUN("2", false, "a|A|z|7"); /* another task of the same run has more of a */
    check_holds("||y|5 b|B|x|3 |C|new|1 a|A|x|9 a|A|z|7");
    RUN("3", false, "b|B|x|1", "b|B|x|2", "b|B|x|0.5"); /* the same test three times */
    check_holds("||y|5 |C|new|1 a|A|x|9 a|A|z|7 b|B|x|3.5");
}

static void test_failed(void)
{
    RUN("4", true, "a|A|x|0.1", "a|A|new|1", "new|N|x|2");
    check_holds("||y|5 |C|new|1 a|A|x|9 a|A|z|7 b|B|x|3.5 new|N|x|2");
    RUN("4", true, "new|N|x|3"); /* it is this run that brought it */
    check_holds("||y|5 |C|new|1 a|A|x|9 a|A|z|7 b|B|x|3.5 new|N|x|3");
    RUN("5", true, "?|?|none|?");
    check_holds("||y|5 |C|new|1 a|A|x|9 a|A|z|7 b|B|x|3.5 new|N|x|3");
}

static void test_ages(void)
{
    run_days("6", false, 30, (const char *const[]){"c|C|x|1", NULL});
    check_holds("||y|5 |C|new|1 a|A|x|9 a|A|z|7 b|B|x|3.5 new|N|x|3 c|C|x|1");
    run_days("7", false, 31, (const char *const[]){"d|D|x|1", NULL});
    check_holds("c|C|x|1 d|D|x|1");
}

static void test_pins(void)
{
    struct tn_err err = TN_ERR_INIT;
    auto_free char *none = tn_fs_path("%s/pins/none", folder);
    auto_free char *missing = tn_fs_path("%s/missing", folder);
    auto_free char *version = NULL;
    auto_free char *present = NULL;
    auto_buf struct tn_buf bytes = TN_BUF_INIT;
    bool end;

    CHECK_INT(tn_timings_pin(missing, none, &err), 0);
    CHECK(tn_timings_version(none) == NULL && access(none, F_OK) == 0);
    CHECK_INT(tn_timings_pin(path, none, &err), 0); /* that there was none is pinned too */
    CHECK(tn_timings_version(none) == NULL);
    CHECK_INT(tn_timings_pin(path, pin, &err), 0);
    version = tn_timings_version(pin);
    run_days("8", false, 31, (const char *const[]){"e|E|x|1", NULL});
    CHECK_INT(tn_timings_pin(path, pin, &err), 0);
    present = tn_timings_version(pin);
    CHECK_STR(present, version);
    CHECK_INT(tn_timings_read(path, version, 0, 10, &bytes, &end, &err), -1);
    CHECK_INT(err.code, TN_ERR_NOT_FOUND);
    CHECK_INT(tn_timings_read(pin, version, 1 << 30, 10, &bytes, &end, &err), 0);
    CHECK(end && bytes.len == 0);
}

/* A file that is damaged is as good as none, or as good as what can be read of it. */
static void test_damaged(void)
{
    static const char *const contents[] = {"", "{}", "circle-test-results/results.json"};
    struct tn_err err = TN_ERR_INIT;
    auto_buf struct tn_buf tar = TN_BUF_INIT;
    char *place;

    for (size_t i = 0; i < sizeof(contents) / sizeof(contents[0]); i++) {
        CHECK_INT(tn_fs_write_atomic(path, contents[i], strlen(contents[i]), 0644, &err), 0);
        RUN("9", false, "a|A|x|1");
        check_holds("a|A|x|1");
    }
    RUN("9", false, "b|B|x|1", "c|C|x|1");
    CHECK_INT(tn_fs_read(path, 1 << 20, &tar, &err), 0);
    place = memmem(tar.data, tar.len, "\"file\":\"b\"", 10);
    memcpy(place, "\"file\"}\"b\"", 10);
    CHECK_INT(tn_fs_write_atomic(path, tar.data, tar.len - 1300, 0644, &err), 0);
    RUN("10", false, "d|D|x|1");
    check_holds("a|A|x|1 d|D|x|1");
}

/* Many tests are bounded: the newest stay. */
static void test_bounds(void)
{
    struct tn_timings timings = {0};
    struct tn_timings_run run = {.id = "11", .now = (time_t)20031 * DAY, .keep_days = 30};
    struct tn_err err = TN_ERR_INIT;
    struct stat info;

    for (int i = 0; i < TN_TIMINGS_MAX + 1000; i++) {
        char name[64];

        snprintf(name, sizeof(name), "file-%06d|C|x|1", i);
        add(&timings, name);
    }
    CHECK_INT(timings.count, TN_TIMINGS_MAX);
    CHECK_INT(tn_timings_keep(path, &timings, &run, &err), 0);
    tn_timings_free(&timings);
    CHECK(stat(path, &info) == 0 && info.st_size < 32 << 20);
}

/* A failed run with as many tests of one file as there are old ones: linear, not each line through all of them. */
static void test_one_large_file(void)
{
    enum { TESTS = 45000, SECONDS = 5 };
    struct tn_err err = TN_ERR_INIT;
    clock_t begun = clock();

    CHECK_INT(unlink(path), 0);
    for (int run = 0; run < 2; run++) {
        struct tn_timings timings = {0};
        struct tn_timings_run of = {.id = run == 0 ? "a" : "b", .failed = run == 1, .now = DAY, .keep_days = 30};
        char text[40];

        for (int i = 0; i < TESTS; i++) {
            snprintf(text, sizeof(text), "f|C|%d|1", i);
            add(&timings, text);
        }
        CHECK_INT(tn_timings_keep(path, &timings, &of, &err), 0);
        tn_timings_free(&timings);
    }
    CHECK(clock() - begun < SECONDS * CLOCKS_PER_SEC);
}

int main(void)
{
    struct tn_err err = TN_ERR_INIT;

    CHECK(mkdtemp(folder) != NULL);
    path = tn_fs_path("%s/scope-x/job.tar", folder);
    pin = tn_fs_path("%s/pins/job.tar", folder);
    test_merging();
    test_failed();
    test_ages();
    test_pins();
    test_damaged();
    test_bounds();
    test_one_large_file();
    free(path);
    free(pin);
    CHECK_INT(tn_fs_remove_tree(folder, &err), 0);
    return tn_check_result();
}
