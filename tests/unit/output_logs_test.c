/* Where output lies, and step logs in a folder: masked, cut back to a mark, read from any offset, announced once. */
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/output/layout.h"
#include "core/output/logs.h"
#include "tests/unit/check.h"

#include <stdlib.h>
#include <unistd.h>

static void check_path(char *path, const char *expected)
{
    CHECK_STR(path, expected);
    free(path);
}

static void test_layout(void)
{
    struct tn_layout layout;
    struct tn_place place = {.workflow = (char *)"w", .job = (char *)"j", .index = 2, .total = 1, .attempt = 3};
    auto_free char *slash = tn_layout_name("a/b");
    auto_free char *blank = tn_layout_name("a b");
    auto_free char *up = tn_layout_name("..");
    auto_free char *prefix = NULL;
    auto_free char *partial = NULL;
    char hash[65];

    tn_layout_init(&layout, "/state", "/store");
    tn_layout_hash("abc", hash); /* FIPS 180-2, B.1 */
    CHECK_STR(hash, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    CHECK_INT(strlen(layout.run), 16);
    check_path(tn_layout_name("plain-1.2_x"), "plain-1.2_x");
    CHECK(strcmp(slash, blank) != 0); /* two names stay two */
    CHECK(strchr(slash, '/') == NULL && strcmp(up, "..") != 0 && strchr(up, '/') == NULL);

    check_path(tn_layout_logs(&layout, &place), "/state/logs/w/j/attempt-3");
    check_path(tn_layout_artifacts(&layout, &place), "/state/artifacts/w/j/2");
    check_path(tn_layout_tests(&layout, &place), "/state/test-results/w/j/2");
    check_path(tn_layout_record(&layout, 12, 3), "/state/output/12.3");
    check_path(tn_layout_workspace(&layout, 12, 3, 4), "/state/workspaces/12.3.4.tar.zst");
    check_path(tn_layout_source(&layout, "p"), "/state/sources/p.tar.zst");
    check_path(tn_layout_scope(&layout, "x"), "/store/caches/scope-x");
    check_path(tn_layout_cache(&layout, "x", "abc"), "/store/caches/scope-x/ba7816bf8f01cfea414140de5dae2223"
                                                     "b00361a396177a9cb410ff61f20015ad.json");
    place.total = 4;
    check_path(tn_layout_log(&layout, &place, 7, "s"), "/state/logs/w/j-2/attempt-3/07-s.log");

    /* The prefix of an attempt's partial files is not also that of another attempt's. */
    prefix = tn_layout_partial_prefix(&layout, true, 1, 2);
    partial = tn_layout_partial(&layout, true, 1, 2, 0x700, 5);
    CHECK(strncmp(partial, "/store/caches/partial/", 22) == 0 && strncmp(partial + 22, prefix, strlen(prefix)) == 0);
    check_path(tn_layout_partial(&layout, false, 1, 21, 0x700, 5), "/state/output/partial/1.21.700.5");
    check_path(tn_layout_partial_prefix(&layout, false, 1, 2), "1.2.");
}

struct told {
    unsigned count;
    uint64_t stored;
    bool ended;
};

static void on_changed(void *arg, const struct tn_log_file *log)
{
    struct told *told = arg;

    told->count++;
    told->stored = log->stored;
    told->ended = log->ended;
}

static void check_content(struct tn_log_file *log, uint64_t offset, size_t length, const char *expected)
{
    auto_buf struct tn_buf text = TN_BUF_INIT;
    struct tn_err err = TN_ERR_INIT;

    CHECK(tn_log_read(log, offset, length, &text, &err) == 0);
    tn_buf_adds(&text, "");
    CHECK_STR(text.data, expected);
}

static void write_text(struct tn_log_file *log, const char *text)
{
    struct tn_err err = TN_ERR_INIT;

    CHECK(tn_log_write(log, text, strlen(text), &err) == 0);
    CHECK_STR(err.text, "");
}

/* A restarted service goes back to its last mark: what came after it comes again, and is there once. */
static void test_resume(struct tn_logs *logs, const char *folder, const struct tn_mask *mask)
{
    auto_free char *path = tn_fs_path("%s/deep/er/1.log", folder);
    auto_json cJSON *mark = cJSON_CreateObject();
    struct tn_err err = TN_ERR_INIT;
    struct tn_log_file *log = tn_log_create(logs, path, mask, &err);
    uint64_t stored;

    CHECK(log != NULL);
    if (log == NULL)
        return;
    write_text(log, "one secre");
    CHECK_INT(log->raw, 9);
    CHECK(log->stored < log->raw); /* it may become the secret */
    stored = log->stored;
    tn_log_mark(log, mark);
    write_text(log, "ts and all that is lost\n");
    CHECK(tn_log_sync(log, &err) == 0);
    tn_log_close(log);

    log = tn_log_resume(logs, path, mask, mark, &err);
    CHECK(log != NULL);
    if (log == NULL)
        return;
    CHECK_INT(log->raw, 9);
    CHECK_INT(log->stored, stored);
    write_text(log, "tive\nsecretive");
    CHECK(tn_log_end(log, &err) == 0);
    CHECK(log->ended);
    check_content(log, 0, 100, "one ****\n****");
    check_content(log, 4, 5, "****\n");
    check_content(log, 100, 5, "");
    check_content(log, UINT64_MAX, 5, "");
    tn_log_close(log);
}

/* The first bytes are kept, the others counted; also when it is taken up before, at or behind the cut. What may begin a
 * secret at the cut does not show. */
static void test_limit(struct tn_logs *logs, const char *folder, const struct tn_mask *mask)
{
    static const char text[] = "0123456789 secretive and 30 more bytes of it\n";
    static const char cut[] = "\n[tenon: the output of this step is cut here, after ";
    struct tn_err err = TN_ERR_INIT;

    for (uint64_t limit = 1; limit <= sizeof(text); limit++)
        for (size_t first = 1; first < sizeof(text) - 1; first += 7) {
            auto_free char *path = tn_fs_path("%s/limit", folder);
            auto_json cJSON *mark = cJSON_CreateObject();
            auto_buf struct tn_buf want = TN_BUF_INIT;
            struct tn_log_file *log = tn_log_create(logs, path, mask, &err);

            CHECK(log != NULL);
            log->limit = limit;
            CHECK(tn_log_write(log, text, first, &err) == 0);
            tn_log_mark(log, mark);
            write_text(log, "what is lost, and comes again");
            tn_log_close(log);
            log = tn_log_resume(logs, path, mask, mark, &err);
            CHECK(log != NULL);
            log->limit = limit;
            write_text(log, text + first);
            CHECK(tn_log_end(log, &err) == 0);
            CHECK_INT(log->raw, sizeof(text) - 1);
            if (limit <= 11 + 3)
                tn_buf_add(&want, text, limit);
            else
                tn_buf_adds(&want, "0123456789 ****");
            if (limit > 20)
                tn_buf_add(&want, text + 20, (limit < sizeof(text) - 1 ? limit : sizeof(text) - 1) - 20);
            if (limit < sizeof(text) - 1) {
                tn_buf_addf(&want, "%s%d bytes: store.log_limit]\n", cut, (int)limit);
                tn_buf_addf(&want, "[tenon: %zu bytes of output were dropped]\n", sizeof(text) - 1 - (size_t)limit);
            }
            CHECK_INT(tn_log_dropped(log), limit < sizeof(text) - 1 ? sizeof(text) - 1 - limit : 0);
            check_content(log, 0, 1000, want.data);
            tn_log_close(log);
        }
}

/* More logs than descriptors: each still gets its own bytes. */
static void test_many(struct tn_logs *logs, const char *folder, const struct tn_mask *mask)
{
    enum { MANY = TN_LOGS_OPEN_MAX + 20 };
    struct tn_log_file *log[MANY];
    struct tn_err err = TN_ERR_INIT;
    char text[32];

    for (int i = 0; i < MANY; i++) {
        auto_free char *path = tn_fs_path("%s/many/%d", folder, i);

        log[i] = tn_log_create(logs, path, mask, &err);
        CHECK(log[i] != NULL);
    }
    for (int turn = 0; turn < 2; turn++)
        for (int i = 0; i < MANY; i++) {
            snprintf(text, sizeof(text), "%d.%d;", i, turn);
            write_text(log[i], text);
            CHECK(logs->open_count <= TN_LOGS_OPEN_MAX);
        }
    for (int i = 0; i < MANY; i++) {
        CHECK(tn_log_end(log[i], &err) == 0);
        snprintf(text, sizeof(text), "%d.0;%d.1;", i, i);
        check_content(log[i], 0, 100, text);
        tn_log_close(log[i]);
    }
    CHECK_INT(logs->open_count, 0);
}

static void test_announced(struct tn_logs *logs, struct event_base *base, const char *folder,
                           const struct tn_mask *mask, struct told *told)
{
    auto_free char *path = tn_fs_path("%s/told", folder);
    struct tn_err err = TN_ERR_INIT;
    struct tn_log_file *log = tn_log_create(logs, path, mask, &err);

    memset(told, 0, sizeof(*told));
    for (int i = 0; i < 50; i++)
        write_text(log, "a line\n");
    event_base_loop(base, EVLOOP_ONCE);
    CHECK_INT(told->count, 1); /* in one bundle */
    CHECK_INT(told->stored, 350);
    CHECK(tn_log_end(log, &err) == 0);
    event_base_loop(base, EVLOOP_ONCE);
    CHECK_INT(told->count, 2);
    CHECK(told->ended);
    write_text(log, "not told of");
    tn_log_close(log); /* what was to be announced is gone with it */
    event_base_loop(base, EVLOOP_ONCE);
    CHECK_INT(told->count, 2);
}

/* A link in the place of a log is not followed. */
static void test_link(struct tn_logs *logs, const char *folder, const struct tn_mask *mask)
{
    auto_free char *path = tn_fs_path("%s/link", folder);
    auto_free char *target = tn_fs_path("%s/target", folder);
    struct tn_err err = TN_ERR_INIT;

    CHECK(symlink(target, path) == 0);
    CHECK(tn_log_create(logs, path, mask, &err) == NULL);
    CHECK(strstr(err.text, "cannot open") != NULL);
    CHECK(access(target, F_OK) != 0);
}

int main(void)
{
    char folder[] = "/tmp/tenon-logs-test.XXXXXX";
    const char *const secrets[] = {"secretive"};
    struct event_base *base = event_base_new();
    struct tn_err err = TN_ERR_INIT;
    struct tn_mask *none = tn_mask_new(NULL, 0, &err);
    struct tn_mask *mask = tn_mask_new(secrets, 1, &err);
    struct tn_logs logs;
    struct told told = {0};

    test_layout();
    CHECK(mkdtemp(folder) != NULL);
    tn_logs_init(&logs, base, on_changed, &told);
    test_resume(&logs, folder, mask);
    test_limit(&logs, folder, mask);
    test_many(&logs, folder, none);
    test_announced(&logs, base, folder, none, &told);
    test_link(&logs, folder, none);
    tn_logs_free(&logs);
    tn_mask_free(mask);
    tn_mask_free(none);
    event_base_free(base);
    CHECK(tn_fs_remove_tree(folder, &err) == 0);
    return tn_check_result();
}
