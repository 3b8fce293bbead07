/* What the engine keeps of a container's output: entries with times, and going on behind a cursor. */
#include "executors/docker/service_log.h"
#include "tests/unit/check.h"

#include <stdlib.h>

static void on_entry(const char *text, size_t length, bool lost, void *arg)
{
    tn_buf_addf(arg, "%s%.*s|", lost ? "!" : "", (int)length, text);
}

/* Feeds entries of "TIME TEXT" in pieces of `piece` bytes; returns the error's code. */
static enum tn_err_code feed(struct tn_service_log *log, const char *const *entries, size_t piece, struct tn_buf *out)
{
    struct tn_err err = TN_ERR_INIT;

    for (; *entries != NULL; entries++) {
        size_t length = strlen(*entries);

        tn_service_log_next(log, (uint32_t)length);
        for (size_t at = 0; at < length; at += piece)
            if (tn_service_log_feed(log, *entries + at, length - at < piece ? length - at : piece, on_entry, out,
                                    &err) != 0)
                return err.code;
    }
    return TN_OK;
}

#define T(second, nano) "2026-11-21T13:14:" second "." nano "Z "

static const char *const entries[] = {T("05", "000000001") "a\n", T("05", "000000002") "b",
                                      T("05", "000000002") "\xff\n", T("06", "500000000") "d\n", NULL};

static void test_all(void)
{
    struct tn_service_log log = {0};
    struct tn_err err = TN_ERR_INIT;
    auto_buf struct tn_buf out = TN_BUF_INIT;
    char text[64];

    for (size_t piece = 1; piece < 40; piece += 13) {
        tn_buf_reset(&out);
        CHECK(tn_service_log_begin(&log, "", &err) == 0);
        tn_service_log_since(&log, text, sizeof(text));
        CHECK_STR(text, "");
        tn_service_log_cursor(&log, text, sizeof(text));
        CHECK_STR(text, "");
        CHECK_INT(feed(&log, entries, piece, &out), TN_OK);
        CHECK_STR(out.data, "a\n|b|\xff\n|d\n|");
        tn_service_log_cursor(&log, text, sizeof(text));
        CHECK_STR(text, "2026-11-21T13:14:06.500000000Z#1");
    }
    tn_service_log_free(&log);
}

/* What comes again when reading goes on behind `cursor`, and what of it is new. */
static void go_on(const char *cursor, const char *since, const char *const *again, const char *expected)
{
    struct tn_service_log log = {0};
    struct tn_err err = TN_ERR_INIT;
    auto_buf struct tn_buf out = TN_BUF_INIT;
    char text[64];

    CHECK(tn_service_log_begin(&log, cursor, &err) == 0);
    tn_service_log_since(&log, text, sizeof(text));
    CHECK_STR(text, since);
    tn_service_log_cursor(&log, text, sizeof(text));
    CHECK_STR(text, cursor);
    CHECK_INT(feed(&log, again, 7, &out), TN_OK);
    CHECK_STR(out.data != NULL ? out.data : "", expected);
    tn_service_log_free(&log);
}

static void test_going_on(void)
{
    /* Two entries of one time, one of which was passed on. */
    go_on("2026-11-21T13:14:05.000000002Z#1", "1795266845.000000001", entries, "\xff\n|d\n|");
    go_on("2026-11-21T13:14:05.000000002Z#2", "1795266845.000000001", entries + 1, "d\n|");
    go_on("2026-11-21T13:14:06.500000000Z#1", "1795266846.499999999", entries + 3, "");
    /* The engine has thrown away what was there: said once. */
    go_on("2026-11-21T13:14:05.000000001Z#1", "1795266845.000000000", entries + 3, "!d\n|");
    go_on("2026-11-21T13:14:05.000000002Z#2", "1795266845.000000001", entries + 2, "!d\n|");
    /* Podman's times: fewer digits, and its own zone. */
    {
        static const char *const local[] = {"2026-11-21T15:14:05.5+02:00 x\n", "2026-11-21T15:14:06+02:00 y\n", NULL};

        go_on("2026-11-21T15:14:05.5+02:00#1", "1795266845.499999999", local, "y\n|");
        go_on("2026-11-21T15:14:05+02:00#1", "1795266844.999999999", local, "!x\n|y\n|");
    }
}

static void test_nonsense(void)
{
    static const char *const cursors[] = {"x",
                                          "#1",
                                          "2026-11-21T13:14:05Z",
                                          "2026-11-21T13:14:05Z#",
                                          "Z#1",
                                          "2026-11-21T13:14:05Z#1x",
                                          "2026-11-21 13:14:05Z#1",
                                          "2026-11-21T13:14:05+0100#1",
                                          "1926-11-21T13:14:05Z#1"};
    static const char *const bad[][2] = {{"no time\n", NULL}, {"2026-11-21T13:14:05Zx", NULL}, {" x", NULL}};
    struct tn_service_log log = {0};
    struct tn_err err = TN_ERR_INIT;
    auto_buf struct tn_buf out = TN_BUF_INIT;

    for (size_t i = 0; i < sizeof(cursors) / sizeof(cursors[0]); i++) {
        CHECK(tn_service_log_begin(&log, cursors[i], &err) != 0);
        CHECK_INT(err.code, TN_ERR_PROTOCOL);
    }
    CHECK(tn_service_log_begin(&log, "", &err) == 0);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        CHECK_INT(feed(&log, bad[i], 100, &out), TN_ERR_PROTOCOL);
    tn_service_log_next(&log, 3);
    CHECK(tn_service_log_feed(&log, "abcd", 4, on_entry, &out, &err) != 0);
    CHECK_INT(err.code, TN_ERR_PROTOCOL);
    CHECK(out.len == 0);
    tn_service_log_free(&log);
}

static void test_bound(void)
{
    struct tn_service_log log = {0};
    struct tn_err err = TN_ERR_INIT;
    auto_buf struct tn_buf out = TN_BUF_INIT;
    char *piece = calloc(1, TN_SERVICE_ENTRY / 2);

    tn_service_log_next(&log, UINT32_MAX);
    CHECK(piece != NULL && tn_service_log_feed(&log, piece, TN_SERVICE_ENTRY / 2, on_entry, &out, &err) == 0);
    CHECK(piece != NULL && tn_service_log_feed(&log, piece, TN_SERVICE_ENTRY / 2, on_entry, &out, &err) == 0);
    CHECK(tn_service_log_feed(&log, "x", 1, on_entry, &out, &err) != 0);
    CHECK_INT(err.code, TN_ERR_LIMIT);
    free(piece);
    tn_service_log_free(&log);
}

int main(void)
{
    test_all();
    test_going_on();
    test_nonsense();
    test_bound();
    return tn_check_result();
}
