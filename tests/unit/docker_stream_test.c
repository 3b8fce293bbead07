/* Decoders of the Docker Engine's streams: frames of output and lines of progress, whole and torn anywhere. */
#include "core/lib/buf.h"
#include "executors/docker/stream.h"
#include "tests/unit/check.h"

struct sink {
    struct tn_buf text; /* owned; "1:bytes" a part, or "id|status|current|total" a line */
    int last;
    int parts_left; /* -1 is asked for after so many parts; negative: never */
};

static int on_bytes(enum tn_docker_stream stream, const char *bytes, size_t len, void *arg)
{
    struct sink *sink = arg;

    if (sink->parts_left == 0)
        return -1;
    sink->parts_left--;
    if (sink->last != (int)stream)
        tn_buf_addf(&sink->text, "<%d>", (int)stream);
    sink->last = (int)stream;
    tn_buf_add(&sink->text, bytes, len);
    return 0;
}

static void on_progress(const struct tn_docker_progress *progress, void *arg)
{
    struct sink *sink = arg;

    tn_buf_addf(&sink->text, "%s|%s|%lld|%lld\n", progress->id, progress->status, (long long)progress->current,
                (long long)progress->total);
}

static void test_frames_torn_anywhere(void)
{
    static const char bytes[] = "\1\0\0\0\0\0\0\5hello\2\0\0\0\0\0\0\3err\1\0\0\0\0\0\0\0\1\0\0\0\0\0\0\2ok";

    for (size_t piece = 1; piece < sizeof(bytes); piece++) {
        struct tn_docker_demux demux = {0};
        struct sink sink = {TN_BUF_INIT, -1, -1};
        struct tn_err err = TN_ERR_INIT;

        for (size_t at = 0; at < sizeof(bytes) - 1; at += piece) {
            size_t left = sizeof(bytes) - 1 - at;

            CHECK(tn_docker_demux_feed(&demux, bytes + at, piece < left ? piece : left, on_bytes, &sink, &err) == 0);
        }
        CHECK(tn_docker_demux_finish(&demux, &err) == 0);
        CHECK_STR(sink.text.data, "<1>hello<2>err<1>ok");
        tn_buf_free(&sink.text);
    }
}

static void expect_demux(const char *bytes, size_t len, enum tn_err_code code, const char *text)
{
    struct tn_docker_demux demux = {0};
    struct sink sink = {TN_BUF_INIT, -1, -1};
    struct tn_err err = TN_ERR_INIT;

    if (tn_docker_demux_feed(&demux, bytes, len, on_bytes, &sink, &err) == 0)
        CHECK(tn_docker_demux_finish(&demux, &err) < 0);
    CHECK_INT(err.code, code);
    CHECK_STR(err.text, text);
    tn_buf_free(&sink.text);
}

static void test_bad_frames(void)
{
    struct tn_docker_demux demux = {0};
    struct sink sink = {TN_BUF_INIT, -1, 1};
    struct tn_err err = TN_ERR_INIT;

    expect_demux("plain text", 10, TN_ERR_PROTOCOL,
                 "the engine's output stream has a frame that starts with 706c6169; expected a stream number of 0 to 3 "
                 "and three zero bytes (was the container made with a terminal?)");
    expect_demux("\1\0\0\0\0\0", 6, TN_ERR_PROTOCOL, "the engine's output stream ended within the header of a frame");
    expect_demux("\1\0\0\0\xff\xff\xff\xff"
                 "abc",
                 11, TN_ERR_PROTOCOL, "the engine's output stream ended 4294967292 bytes before the end of a frame");
    expect_demux("\3\0\0\0\0\0\0\4oh\nno", 12, TN_ERR_UNAVAILABLE, "the engine broke off the output: oh n");
    /* A reader that has enough ends it without an error. */
    CHECK(tn_docker_demux_feed(&demux, "\1\0\0\0\0\0\0\1a\1\0\0\0\0\0\0\1b", 18, on_bytes, &sink, &err) < 0);
    CHECK_INT(err.code, TN_OK);
    CHECK_STR(sink.text.data, "<1>a");
    tn_buf_free(&sink.text);
}

static void test_lines_torn_anywhere(void)
{
    static const char bytes[] =
        "{\"status\":\"Pulling from library/alpine\",\"id\":\"3.19\"}\r\n"
        "{\"status\":\"Downloading\",\"progressDetail\":{\"current\":10,\"total\":200},\"id\":\"abc\"}\r\n\r\n"
        "{\"status\":\"Extract\\ning\\u001b[0m\",\"progressDetail\":{\"current\":-1,\"total\":1e300}}\n"
        "{\"status\":\"Done\"}";

    for (size_t piece = 1; piece < sizeof(bytes); piece++) {
        struct tn_docker_lines lines = {TN_BUF_INIT};
        struct sink sink = {TN_BUF_INIT, -1, -1};
        struct tn_err err = TN_ERR_INIT;

        for (size_t at = 0; at < sizeof(bytes) - 1; at += piece) {
            size_t left = sizeof(bytes) - 1 - at;

            CHECK(tn_docker_lines_feed(&lines, bytes + at, piece < left ? piece : left, on_progress, &sink, &err) == 0);
        }
        CHECK(tn_docker_lines_finish(&lines, on_progress, &sink, &err) == 0);
        CHECK_STR(sink.text.data, "3.19|Pulling from library/alpine|-1|-1\nabc|Downloading|10|200\n"
                                  "|Extract ing [0m|-1|-1\n|Done|-1|-1\n");
        tn_buf_free(&sink.text);
        tn_docker_lines_free(&lines);
    }
}

static void expect_line(const char *line, enum tn_err_code code, const char *text)
{
    struct tn_docker_progress progress;
    struct tn_err err = TN_ERR_INIT;

    CHECK(tn_docker_progress_parse(line, strlen(line), &progress, &err) < 0);
    CHECK_INT(err.code, code);
    CHECK_STR(err.text, text);
}

static void test_bad_lines(void)
{
    struct tn_docker_lines lines = {TN_BUF_INIT};
    struct tn_err err = TN_ERR_INIT;
    auto_buf struct tn_buf deep = TN_BUF_INIT;

    expect_line("{\"errorDetail\":{\"message\":\"manifest for x\\nnot found\"},\"error\":\"short\"}",
                TN_ERR_UNAVAILABLE, "manifest for x not found");
    expect_line("{\"error\":\"short\"}", TN_ERR_UNAVAILABLE, "short");
    expect_line("{\"error\":{}}", TN_ERR_UNAVAILABLE, "an error without a text");
    expect_line("[1]", TN_ERR_PROTOCOL, "the engine's progress has a line of 3 bytes that is no JSON object");
    expect_line("{", TN_ERR_PROTOCOL, "the engine's progress has a line of 1 bytes that is no JSON object");
    for (int i = 0; i < 50000; i++)
        tn_buf_adds(&deep, "[");
    expect_line(deep.data, TN_ERR_PROTOCOL, "the engine's progress has a line of 50000 bytes that is no JSON object");
    for (int i = 0; i < 50000; i++)
        tn_buf_adds(&deep, "[");
    CHECK(tn_docker_lines_feed(&lines, deep.data, deep.len, NULL, NULL, &err) < 0);
    CHECK_INT(err.code, TN_ERR_LIMIT);
    CHECK_STR(err.text, "the engine's progress has a line of more than 65536 bytes");
    tn_docker_lines_free(&lines);
}

int main(void)
{
    test_frames_torn_anywhere();
    test_bad_frames();
    test_lines_torn_anywhere();
    test_bad_lines();
    return tn_check_result();
}
