/* tenon-output through its sockets: logs, masking, checkpoints and taking up, caches, workspaces, artifacts, test
 * results, and the kill test: 20 times SIGKILL at random while an executor streams, and afterwards every byte once.
 *
 *     output_test [PROGRAM]          the tests; the program is by default the one of the build folder $TENON_BUILD
 *     output_test PROGRAM bench      bytes a second of a log through the data socket, without and with masks */
#include "core/output/mask.h"
#include "tests/integration/output_rig.h"
#include "tests/unit/check.h"

#include <archive.h>
#include <archive_entry.h>
#include <sys/stat.h>

static const char task_body[] =
    "{\"masks\":[\"hunter22\",\"0000123\",\"true\",\"abc\"],\"pipeline\":\"p1\","
    "\"workflow\":\"main\",\"job\":\"build\",\"index\":0,\"total\":1,\"project\":\"gh/a/b\"}";

static const char *refusal(const struct rig_reply *reply)
{
    return reply->kind == TN_MSG_REFUSED ? tn_json_string(reply->json, "code", "?") : "";
}

static void check_file(const char *path, const void *bytes, size_t length)
{
    auto_buf struct tn_buf file = TN_BUF_INIT;
    struct tn_err err = TN_ERR_INIT;

    CHECK(tn_fs_read(path, 1u << 30, &file, &err) == 0);
    CHECK_INT(file.len, length);
    CHECK(file.len == length && (length == 0 || memcmp(file.data, bytes, length) == 0));
}

/* ---- logs ---- */

static void test_log(struct rig *rig)
{
    struct rig_reply r = {0};
    static const char path[] = "state/logs/main/build/attempt-1/02-Say_it.log";

    CHECK_INT(rig_call(rig, rig->executor, &r, TN_MSG_STREAM_OPEN, 1, 1, "{\"stream\":1,\"type\":\"log\"}"),
              TN_MSG_REFUSED);
    CHECK_STR(refusal(&r), "not_open");
    CHECK_INT(rig_call(rig, rig->executor, &r, TN_MSG_TASK_OPEN, 1, 1, "%s", task_body), TN_MSG_TASK_OPENED);
    CHECK(cJSON_IsNull(cJSON_GetObjectItem(r.json, "checkpoint")));
    CHECK_INT(rig_call(rig, rig->executor, &r, TN_MSG_STREAM_OPEN, 1, 1,
                       "{\"stream\":1,\"type\":\"log\",\"step\":2,\"name\":\"Say it\"}"),
              TN_MSG_STREAM_OPENED);
    CHECK_INT(tn_json_u64(r.json, "offset", 9), 0);
    CHECK_INT(rig_write(rig, rig->executor, &r, 1, 1, 0, "pass hunt", 9), TN_MSG_ACK);
    CHECK_INT(rig_call(rig, rig->client, &r, TN_MSG_LOG_READ, 1, 1, "{\"step\":2,\"offset\":\"0\"}"), TN_MSG_LOG_DATA);
    CHECK_STR(r.bytes.data + TN_CHUNK_SIZE, "pass ");
    CHECK_INT(rig_write(rig, rig->executor, &r, 1, 1, 0, "pass hunter22!\n", 15), TN_MSG_ACK);
    CHECK_INT(rig_call(rig, rig->executor, &r, TN_MSG_STREAM_OPEN, 1, 1, "{\"stream\":1,\"type\":\"log\",\"step\":2}"),
              TN_MSG_STREAM_OPENED);
    CHECK_INT(tn_json_u64(r.json, "offset", 9), 15);
    CHECK_INT(rig_call(rig, rig->executor, &r, TN_MSG_STREAM_CLOSE, 1, 1, "{\"stream\":1,\"size\":\"14\"}"),
              TN_MSG_REFUSED);
    CHECK_STR(refusal(&r), "invalid");
    CHECK_INT(rig_call(rig, rig->executor, &r, TN_MSG_STREAM_CLOSE, 1, 1, "{\"stream\":1,\"size\":\"15\"}"),
              TN_MSG_STREAM_CLOSED);
    CHECK_INT(tn_json_u64(r.json, "stored", 0), 11);
    CHECK_INT(rig_call(rig, rig->executor, &r, TN_MSG_STREAM_CLOSE, 1, 1, "{\"stream\":1,\"size\":\"15\"}"),
              TN_MSG_STREAM_CLOSED);
    check_file(path, "pass ****!\n", 11);
    CHECK_INT(rig_call(rig, rig->client, &r, TN_MSG_LOG_READ, 1, 1, "{\"step\":2,\"offset\":\"5\"}"), TN_MSG_LOG_DATA);
    CHECK_STR(r.bytes.data + TN_CHUNK_SIZE, "****!\n");
    CHECK_INT(r.bytes.data[4], TN_CHUNK_END);
    while (!rig->event_ended)
        event_base_loop(rig->base, EVLOOP_ONCE);
    CHECK_INT(rig->event_size, 11);
    CHECK_INT(rig_call(rig, rig->executor, &r, TN_MSG_TASK_OPEN, 1, 1, "[]"), TN_MSG_REFUSED);
    CHECK_STR(refusal(&r), "invalid");
    rig_reply_free(&r);
}

/* Writes behind a gap, a close and a checkpoint ahead of their bytes: answered when the gap is filled. */
static void test_order(struct rig *rig)
{
    struct rig_reply late = {0};
    struct rig_reply kept = {0};
    struct rig_reply closed = {0};
    struct rig_reply r = {0};
    static const char close[] = "{\"stream\":2,\"size\":12}";
    static const char checkpoint[] = "{\"boot\":\"b\",\"cursor\":\"8\",\"state\":{\"x\":[1]},"
                                     "\"streams\":[{\"stream\":2,\"offset\":\"8\"}]}";

    rig_call(rig, rig->executor, &r, TN_MSG_STREAM_OPEN, 1, 1,
             "{\"stream\":2,\"type\":\"log\",\"step\":3,\"name\":\"..\"}");
    CHECK_INT(r.kind, TN_MSG_STREAM_OPENED);
    tn_peer_request(rig->executor, TN_MSG_STREAM_CLOSE, OUTPUT, 1, 1, close, strlen(close), 0, rig_on_reply, &closed);
    tn_peer_request(rig->executor, TN_MSG_CHECKPOINT, OUTPUT, 1, 1, checkpoint, strlen(checkpoint), 0, rig_on_reply,
                    &kept);
    rig_send(rig->executor, &late, 1, 1, 2, 4, "45678901", 8, rig_on_reply, &late);
    rig_call(rig, rig->client, &r, TN_MSG_LOG_READ, 1, 1, "{\"step\":3,\"offset\":0}");
    CHECK_INT(r.bytes.len, TN_CHUNK_SIZE);
    rig_call(rig, rig->executor, &r, TN_MSG_BLOB_FIND, 1, 1, "{\"type\":\"cache\",\"keys\":[]}");
    CHECK(!late.done && !kept.done && !closed.done);
    CHECK_INT(rig_write(rig, rig->executor, &r, 1, 2, 0, "0123", 4), TN_MSG_ACK);
    while (!late.done || !kept.done || !closed.done)
        event_base_loop(rig->base, EVLOOP_ONCE);
    CHECK_INT(late.kind, TN_MSG_ACK);
    CHECK_INT(kept.kind, TN_MSG_ACK);
    CHECK_INT(closed.kind, TN_MSG_STREAM_CLOSED);
    check_file("state/logs/main/build/attempt-1/03-_.log", "012345678901", 12);
    rig_reply_free(&late);
    rig_reply_free(&kept);
    rig_reply_free(&closed);
    rig_reply_free(&r);
}

/* The executor opens the attempt again: streams go back to the checkpoint, those that it does not know begin anew. */
static void test_take_up(struct rig *rig)
{
    struct rig_reply r = {0};

    CHECK_INT(rig_call(rig, rig->executor, &r, TN_MSG_TASK_OPEN, 5, 2,
                       "{\"masks\":[\"secret-word\"],\"workflow\":\"w\","
                       "\"job\":\"a b\",\"index\":3,\"total\":4}"),
              TN_MSG_TASK_OPENED);
    rig_call(rig, rig->executor, &r, TN_MSG_STREAM_OPEN, 5, 2,
             "{\"stream\":1,\"type\":\"log\",\"step\":0,\"name\":\"n\"}");
    rig_send(rig->executor, &r, 5, 2, 1, 0, "one secret-wo", 13, rig_on_reply, &r);
    while (!r.done)
        event_base_loop(rig->base, EVLOOP_ONCE);
    CHECK_INT(rig_call(rig, rig->executor, &r, TN_MSG_CHECKPOINT, 5, 2,
                       "{\"boot\":\"b\",\"cursor\":\"13\",\"state\":\"s\","
                       "\"streams\":[{\"stream\":1,\"offset\":\"13\"}]}"),
              TN_MSG_ACK);
    rig_send(rig->executor, &r, 5, 2, 1, 13, "rse end", 7, rig_on_reply, &r);
    while (!r.done)
        event_base_loop(rig->base, EVLOOP_ONCE);
    rig_call(rig, rig->executor, &r, TN_MSG_STREAM_OPEN, 5, 2,
             "{\"stream\":2,\"type\":\"log\",\"step\":1,\"name\":\"m\"}");
    CHECK_INT(rig_call(rig, rig->executor, &r, TN_MSG_TASK_OPEN, 5, 2, "{\"masks\":[\"secret-word\"]}"),
              TN_MSG_TASK_OPENED);
    CHECK_STR(tn_json_string(tn_json_get(r.json, "checkpoint"), "cursor", ""), "13");
    CHECK_STR(tn_json_string(tn_json_get(r.json, "checkpoint"), "state", ""), "s");
    CHECK_INT(cJSON_GetArraySize(tn_json_get(r.json, "streams")), 1);
    rig_send(rig->executor, &r, 5, 2, 1, 13, "rd two\n", 7, rig_on_reply, &r);
    while (!r.done)
        event_base_loop(rig->base, EVLOOP_ONCE);
    CHECK_INT(rig_call(rig, rig->executor, &r, TN_MSG_TASK_CLOSE, 5, 2, "%s", ""), TN_MSG_ACK);
    CHECK_INT(rig_call(rig, rig->executor, &r, TN_MSG_TASK_CLOSE, 5, 2, "%s", ""), TN_MSG_ACK);
    CHECK_INT(rig_call(rig, rig->client, &r, TN_MSG_LOG_READ, 5, 2, "{\"step\":0,\"offset\":4}"), TN_MSG_LOG_DATA);
    CHECK_STR(r.bytes.data + TN_CHUNK_SIZE, "**** two\n");
    CHECK_INT(rig_call(rig, rig->client, &r, TN_MSG_LOG_READ, 6, 1, "{\"step\":0}"), TN_MSG_REFUSED);
    CHECK_STR(refusal(&r), "not_found");
    CHECK_INT(rig_call(rig, rig->executor, &r, TN_MSG_TASK_OPEN, 5, 3, "{}"), TN_MSG_TASK_OPENED);
    CHECK_INT(rig_call(rig, rig->executor, &r, TN_MSG_TASK_OPEN, 5, 2, "{}"), TN_MSG_REFUSED);
    CHECK_STR(refusal(&r), "fenced");
    rig_reply_free(&r);
}

/* A file that cannot be made: refused with the reason, and the rest goes on. */
static void test_failure(struct rig *rig)
{
    struct rig_reply r = {0};

    CHECK(mkdir("state/logs/main/build/attempt-1/09-x.log", 0700) == 0);
    CHECK_INT(rig_call(rig, rig->executor, &r, TN_MSG_STREAM_OPEN, 1, 1,
                       "{\"stream\":9,\"type\":\"log\",\"step\":9,\"name\":\"x\"}"),
              TN_MSG_REFUSED);
    CHECK_STR(refusal(&r), "failed");
    CHECK(strstr(tn_json_string(r.json, "text", ""), "09-x.log: Is a directory") != NULL);
    CHECK_INT(rig_call(rig, rig->executor, &r, TN_MSG_STREAM_OPEN, 1, 1, "{\"stream\":9,\"type\":\"log\",\"step\":10}"),
              TN_MSG_STREAM_OPENED);
    rig_reply_free(&r);
}

/* ---- blobs ---- */

static unsigned send_blob(struct rig *rig, struct tn_peer *peer, struct rig_reply *r, uint64_t task, uint32_t stream,
                          const char *open, const void *bytes, size_t length)
{
    uint32_t attempt = peer == rig->client ? 0 : 1;
    size_t at = 0;

    rig_call(rig, peer, r, TN_MSG_STREAM_OPEN, task, attempt, "%s", open);
    if (r->kind != TN_MSG_STREAM_OPENED || tn_json_bool(r->json, "exists", false))
        return r->kind;
    while (at < length) {
        size_t part = length - at < 200000 ? length - at : 200000;

        CHECK_INT(rig_write(rig, peer, r, task, stream, at, (const char *)bytes + at, part), TN_MSG_ACK);
        at += part;
    }
    return rig_call(rig, peer, r, TN_MSG_STREAM_CLOSE, task, attempt, "{\"stream\":%u,\"size\":\"%zu\"}",
                    (unsigned)stream, length);
}

/* Reads the first blob that was found, in odd pieces. */
static void read_blob(struct rig *rig, uint64_t task, const struct rig_reply *found, struct tn_buf *out)
{
    const cJSON *blob = cJSON_GetArrayItem(tn_json_get(found->json, "blobs"), 0);
    auto_free char *id = tn_fs_path("%s", tn_json_string(blob, "id", ""));
    struct rig_reply r = {0};

    do {
        CHECK_INT(rig_call(rig, rig->executor, &r, TN_MSG_BLOB_READ, task, 1,
                           "{\"id\":\"%s\",\"offset\":\"%zu\",\"length\":777777}", id, out->len),
                  TN_MSG_BLOB_DATA);
        if (r.kind != TN_MSG_BLOB_DATA)
            break;
        tn_buf_add(out, r.bytes.data + TN_CHUNK_SIZE, r.bytes.len - TN_CHUNK_SIZE);
    } while ((r.bytes.data[4] & TN_CHUNK_END) == 0);
    rig_reply_free(&r);
}

static const char *found_key(const struct rig_reply *r)
{
    return tn_json_string(cJSON_GetArrayItem(tn_json_get(r->json, "blobs"), 0), "key", "none");
}

static void test_caches(struct rig *rig)
{
    struct rig_reply r = {0};
    auto_buf struct tn_buf big = TN_BUF_INIT;
    auto_buf struct tn_buf back = TN_BUF_INIT;

    for (unsigned i = 0; big.len < 3500000; i++)
        tn_buf_addf(&big, "%u %u\n", i, i * 2654435761u);
    CHECK_INT(send_blob(rig, rig->executor, &r, 1, 20, "{\"stream\":20,\"type\":\"cache\",\"key\":\"v1-abc\"}",
                        big.data, big.len),
              TN_MSG_STREAM_CLOSED);
    CHECK_INT(send_blob(rig, rig->executor, &r, 1, 21, "{\"stream\":21,\"type\":\"cache\",\"key\":\"v1-\"}", "x", 1),
              TN_MSG_STREAM_CLOSED);
    CHECK_INT(send_blob(rig, rig->executor, &r, 1, 22, "{\"stream\":22,\"type\":\"cache\",\"key\":\"v1-abc\"}", "y", 1),
              TN_MSG_STREAM_OPENED);
    CHECK(tn_json_bool(r.json, "exists", false));
    CHECK_INT(rig_call(rig, rig->executor, &r, TN_MSG_STREAM_CLOSE, 1, 1, "{\"stream\":22,\"size\":0}"),
              TN_MSG_STREAM_CLOSED);
    rig_call(rig, rig->executor, &r, TN_MSG_BLOB_FIND, 1, 1,
             "{\"type\":\"cache\",\"keys\":[\"v2-\",\"v1-\",\"v1-abc\"]}");
    CHECK_STR(found_key(&r), "v1-");
    CHECK_INT(cJSON_GetArraySize(tn_json_get(r.json, "blobs")), 1);
    rig_call(rig, rig->executor, &r, TN_MSG_BLOB_FIND, 1, 1, "{\"type\":\"cache\",\"keys\":[\"v1-a\"]}");
    CHECK_STR(found_key(&r), "v1-abc");
    read_blob(rig, 1, &r, &back);
    CHECK(back.len == big.len && memcmp(back.data, big.data, big.len) == 0);
    rig_call(rig, rig->executor, &r, TN_MSG_BLOB_FIND, 5, 3, "{\"type\":\"cache\",\"keys\":[\"v1-a\"]}");
    CHECK_STR(found_key(&r), "none"); /* another project */
    CHECK_INT(rig_call(rig, rig->executor, &r, TN_MSG_BLOB_READ, 1, 1, "{\"id\":\"cache/scope-x/../../y\"}"),
              TN_MSG_REFUSED);
    CHECK_STR(refusal(&r), "fenced");
    /* Two write the same key at once: the later commit is dropped without an error. */
    rig_call(rig, rig->executor, &r, TN_MSG_STREAM_OPEN, 1, 1, "{\"stream\":23,\"type\":\"cache\",\"key\":\"race\"}");
    CHECK_INT(
        send_blob(rig, rig->executor, &r, 1, 24, "{\"stream\":24,\"type\":\"cache\",\"key\":\"race\"}", "first", 5),
        TN_MSG_STREAM_CLOSED);
    CHECK_INT(rig_write(rig, rig->executor, &r, 1, 23, 0, "second", 6), TN_MSG_ACK);
    CHECK_INT(rig_call(rig, rig->executor, &r, TN_MSG_STREAM_CLOSE, 1, 1, "{\"stream\":23,\"size\":6}"),
              TN_MSG_STREAM_CLOSED);
    tn_buf_reset(&back);
    rig_call(rig, rig->executor, &r, TN_MSG_BLOB_FIND, 1, 1, "{\"type\":\"cache\",\"keys\":[\"race\"]}");
    read_blob(rig, 1, &r, &back);
    CHECK_STR(back.data, "first");
    rig_reply_free(&r);
}

static void test_workspaces_and_sources(struct rig *rig)
{
    struct rig_reply r = {0};
    auto_buf struct tn_buf back = TN_BUF_INIT;

    send_blob(rig, rig->executor, &r, 1, 30, "{\"stream\":30,\"type\":\"workspace\",\"step\":4}", "layer4", 6);
    send_blob(rig, rig->executor, &r, 1, 31, "{\"stream\":31,\"type\":\"workspace\",\"step\":3}", "layer3", 6);
    rig_call(rig, rig->executor, &r, TN_MSG_BLOB_FIND, 1, 1, "{\"type\":\"workspace\",\"tasks\":[\"77\",\"1\"]}");
    CHECK_INT(cJSON_GetArraySize(tn_json_get(r.json, "blobs")), 2);
    read_blob(rig, 1, &r, &back);
    CHECK_STR(back.data, "layer3");
    CHECK_INT(rig_write(rig, rig->client, &r, 0, 1, 0, "x", 1), TN_MSG_REFUSED);
    CHECK_STR(refusal(&r), "not_open");
    CHECK_INT(
        send_blob(rig, rig->client, &r, 0, 1, "{\"stream\":1,\"type\":\"source\",\"pipeline\":\"p1\"}", "tree", 4),
        TN_MSG_STREAM_CLOSED);
    tn_buf_reset(&back);
    rig_call(rig, rig->executor, &r, TN_MSG_BLOB_FIND, 1, 1, "{\"type\":\"source\",\"pipeline\":\"p1\"}");
    read_blob(rig, 1, &r, &back);
    CHECK_STR(back.data, "tree");
    rig_call(rig, rig->executor, &r, TN_MSG_STREAM_OPEN, 1, 1, "{\"stream\":40,\"type\":\"workspace\",\"step\":9}");
    CHECK_INT(rig_call(rig, rig->executor, &r, TN_MSG_STREAM_CLOSE, 1, 1, "{\"stream\":40,\"size\":0,\"drop\":true}"),
              TN_MSG_STREAM_CLOSED);
    CHECK(access("state/workspaces/1.1.9.tar.zst", F_OK) != 0);
    rig_reply_free(&r);
}

/* ---- trees ---- */

struct item {
    const char *path;
    unsigned type;
    const char *content; /* or the link's target */
};

static size_t make_tar(const struct item *items, char *out, size_t room)
{
    struct archive *archive = archive_write_new();
    size_t used = 0;

    archive_write_set_format_pax_restricted(archive);
    archive_write_open_memory(archive, out, room, &used);
    for (; items->path != NULL; items++) {
        struct archive_entry *entry = archive_entry_new();

        archive_entry_set_pathname(entry, items->path);
        archive_entry_set_filetype(entry, items->type);
        archive_entry_set_perm(entry, 0755);
        archive_entry_set_size(entry, items->type == AE_IFREG ? (la_int64_t)strlen(items->content) : 0);
        if (items->type == AE_IFLNK)
            archive_entry_set_symlink(entry, items->content);
        archive_write_header(archive, entry);
        if (items->type == AE_IFREG)
            archive_write_data(archive, items->content, strlen(items->content));
        archive_entry_free(entry);
    }
    archive_write_close(archive);
    archive_write_free(archive);
    return used;
}

static void test_artifacts(struct rig *rig)
{
    static char tar[65536];
    struct rig_reply r = {0};
    static const struct item single[] = {{"artifact-1.txt", AE_IFREG, "one"}, {NULL, 0, NULL}};
    static const struct item tree[] = {{"top/", AE_IFDIR, ""},
                                       {"top/sub/file", AE_IFREG, "two"},
                                       {"../up", AE_IFREG, "bad"},
                                       {"/etc/abs", AE_IFREG, "bad"},
                                       {"top/out", AE_IFLNK, "../../../.."},
                                       {"top/sub/in", AE_IFLNK, "../sub/file"},
                                       {"top/fifo", AE_IFIFO, ""},
                                       {"top/in-dir", AE_IFLNK, "sub"},
                                       {"top/in-dir/through", AE_IFREG, "bad"},
                                       {NULL, 0, NULL}};
    size_t size = make_tar(single, tar, sizeof(tar));

    CHECK_INT(send_blob(rig, rig->executor, &r, 1, 50,
                        "{\"stream\":50,\"type\":\"artifacts\",\"step\":5,"
                        "\"destination\":\"artifact-file.txt\"}",
                        tar, size),
              TN_MSG_STREAM_CLOSED);
    CHECK_INT(tn_json_u64(r.json, "files", 0), 1);
    check_file("state/artifacts/main/build/0/artifact-file.txt", "one", 3);
    size = make_tar(tree, tar, sizeof(tar));
    CHECK_INT(send_blob(rig, rig->executor, &r, 1, 51,
                        "{\"stream\":51,\"type\":\"artifacts\",\"step\":6,"
                        "\"destination\":\"/tmp/out/\"}",
                        tar, size),
              TN_MSG_STREAM_CLOSED);
    CHECK_INT(tn_json_u64(r.json, "files", 0), 3);
    CHECK_INT(tn_json_u64(r.json, "skipped", 0), 5);
    check_file("state/artifacts/main/build/0/tmp/out/sub/file", "two", 3);
    check_file("state/artifacts/main/build/0/tmp/out/sub/in", "two", 3);
    CHECK(access("state/artifacts/main/build/0/tmp/up", F_OK) != 0);
    CHECK_INT(rig_call(rig, rig->executor, &r, TN_MSG_STREAM_OPEN, 1, 1,
                       "{\"stream\":52,\"type\":\"artifacts\","
                       "\"destination\":\"a/../../b\"}"),
              TN_MSG_REFUSED);
    CHECK_STR(refusal(&r), "invalid");
    CHECK_INT(send_blob(rig, rig->executor, &r, 1, 53, "{\"stream\":53,\"type\":\"artifacts\",\"destination\":\"d\"}",
                        "no tar at all, not even nearly", 30),
              TN_MSG_REFUSED);
    CHECK_STR(refusal(&r), "failed");
    rig_reply_free(&r);
}

static void test_results(struct rig *rig)
{
    static char tar[65536];
    struct rig_reply r = {0};
    const cJSON *tests;
    static const struct item tree[] = {
        {"r/a/one.xml", AE_IFREG,
         "<testsuites><testsuite tests='3'><testcase name='a'/><testcase name='b'><failure/>"
         "</testcase><testcase name='c'><skipped/></testcase></testsuite></testsuites>"},
        {"r/two.XML", AE_IFREG, "<testsuite tests='5' errors='1' failures='2' skipped='1'/>"},
        {"r/three.xml", AE_IFREG, "<testsuite><testcase/><oops"},
        {"r/note.txt", AE_IFREG, "<testcase/>"},
        {NULL, 0, NULL}};
    size_t size = make_tar(tree, tar, sizeof(tar));

    CHECK_INT(
        send_blob(rig, rig->executor, &r, 1, 60, "{\"stream\":60,\"type\":\"test_results\",\"step\":7}", tar, size),
        TN_MSG_STREAM_CLOSED);
    tests = tn_json_get(r.json, "tests");
    CHECK_INT(tn_json_number(tests, "total", 0), 9);
    CHECK_INT(tn_json_number(tests, "failed", 0), 4);
    CHECK_INT(tn_json_number(tests, "errors", 0), 1);
    CHECK_INT(tn_json_number(tests, "skipped", 0), 2);
    CHECK_INT(tn_json_number(tests, "damaged", 0), 1);
    CHECK(access("state/test-results/main/build/0/07/a/one.xml", F_OK) == 0);
    /* After a restart the same close answers the same. */
    rig_stop(rig, SIGKILL);
    rig_start(rig);
    CHECK_INT(rig_call(rig, rig->executor, &r, TN_MSG_STREAM_CLOSE, 1, 1, "{\"stream\":60,\"size\":%zu}", size),
              TN_MSG_REFUSED);
    CHECK_STR(refusal(&r), "not_open");
    CHECK_INT(rig_call(rig, rig->executor, &r, TN_MSG_TASK_OPEN, 1, 1, "%s", task_body), TN_MSG_TASK_OPENED);
    CHECK_INT(rig_call(rig, rig->executor, &r, TN_MSG_STREAM_CLOSE, 1, 1, "{\"stream\":60,\"size\":%zu}", size),
              TN_MSG_STREAM_CLOSED);
    CHECK_INT(tn_json_number(tn_json_get(r.json, "tests"), "total", 0), 9);
    CHECK_INT(rig_call(rig, rig->executor, &r, TN_MSG_TASK_CLOSE, 1, 1, "%s", ""), TN_MSG_ACK);
    rig_reply_free(&r);
}

/* ---- the kill test ---- */

enum { WINDOW = 16, KILLS = 20, TASK = 9 };

/* An executor that streams numbered lines into a log and a workspace layer, and keeps a checkpoint now and then. */
struct pump {
    struct rig *rig;
    uint64_t sent; /* the same in both streams */
    uint64_t stop;
    unsigned open;
    unsigned since; /* pieces since the last checkpoint */
    bool broken;    /* refused: wait for the restart */
};

/* The stream's content is a function of the offset: lines of 16 bytes. */
static size_t make_lines(uint64_t offset, char *out, size_t lines)
{
    for (size_t i = 0; i < lines; i++) {
        uint64_t number = offset / 16 + i;

        for (int digit = 14; digit >= 0; digit--, number /= 10)
            out[i * 16 + (size_t)digit] = (char)('0' + number % 10);
        out[i * 16 + 15] = '\n';
    }
    return lines * 16;
}

static void pump_more(struct pump *pump);

static void pump_on_reply(void *arg, const struct tn_msg *msg)
{
    struct pump *pump = arg;

    pump->open--;
    if (msg == NULL || msg->header.kind != TN_MSG_ACK)
        pump->broken = true;
    pump_more(pump);
}

static void pump_checkpoint(struct pump *pump)
{
    auto_free char *body = tn_fs_path("{\"boot\":\"b\",\"cursor\":\"%" PRIu64
                                      "\",\"state\":null,\"streams\":[{\"stream\":1,\"offset\":\"%" PRIu64
                                      "\"},{\"stream\":2,\"offset\":\"%" PRIu64 "\"}]}",
                                      pump->sent, pump->sent, pump->sent);

    pump->since = 0;
    pump->open++;
    tn_peer_request(pump->rig->executor, TN_MSG_CHECKPOINT, OUTPUT, TASK, 1, body, strlen(body), 0, pump_on_reply,
                    pump);
}

static void pump_more(struct pump *pump)
{
    char bytes[16 * 512];

    while (!pump->broken && pump->open + 2 < WINDOW && pump->sent < pump->stop) {
        size_t length = make_lines(pump->sent, bytes, 1 + (size_t)random() % 512);

        rig_send(pump->rig->executor, NULL, TASK, 1, 1, pump->sent, bytes, length, pump_on_reply, pump);
        rig_send(pump->rig->executor, NULL, TASK, 1, 2, pump->sent, bytes, length, pump_on_reply, pump);
        pump->open += 2;
        pump->sent += length;
        if (++pump->since >= 5)
            pump_checkpoint(pump);
    }
}

static void pump_take_up(struct pump *pump)
{
    struct rig_reply r = {0};

    tn_peer_forget(pump->rig->executor, pump);
    pump->open = 0;
    pump->broken = false;
    CHECK_INT(rig_call(pump->rig, pump->rig->executor, &r, TN_MSG_TASK_OPEN, TASK, 1, "%s", task_body),
              TN_MSG_TASK_OPENED);
    pump->sent = tn_json_u64(tn_json_get(r.json, "checkpoint"), "cursor", 0);
    rig_call(pump->rig, pump->rig->executor, &r, TN_MSG_STREAM_OPEN, TASK, 1,
             "{\"stream\":1,\"type\":\"log\",\"step\":1,\"name\":\"lines\"}");
    CHECK_INT(tn_json_u64(r.json, "offset", 1), pump->sent);
    rig_call(pump->rig, pump->rig->executor, &r, TN_MSG_STREAM_OPEN, TASK, 1,
             "{\"stream\":2,\"type\":\"workspace\",\"step\":2}");
    CHECK_INT(tn_json_u64(r.json, "offset", 1), pump->sent);
    rig_reply_free(&r);
}

static void turn_for(struct rig *rig, long microseconds)
{
    struct timeval time = {0, microseconds};

    event_base_loopexit(rig->base, &time);
    event_base_dispatch(rig->base);
}

static void test_kill(struct rig *rig)
{
    struct pump pump = {.rig = rig, .stop = UINT64_MAX};
    struct rig_reply r = {0};
    auto_buf struct tn_buf raw = TN_BUF_INIT;
    auto_buf struct tn_buf masked = TN_BUF_INIT;
    auto_buf struct tn_buf back = TN_BUF_INIT;
    const char *const values[] = {"hunter22", "0000123"};
    struct tn_mask *mask = tn_mask_new(values, 2, NULL);
    struct tn_mask_state state = {0};

    for (int i = 0; i < KILLS; i++) {
        pump_take_up(&pump);
        pump_more(&pump);
        turn_for(rig, 500 + random() % 25000);
        rig_stop(rig, SIGKILL);
        rig_start(rig);
    }
    pump_take_up(&pump);
    pump.stop = pump.sent + 1000000;
    pump_more(&pump);
    while (pump.open > 0)
        event_base_loop(rig->base, EVLOOP_ONCE);
    CHECK(!pump.broken);
    fprintf(stderr, "kill test: %d kills, %" PRIu64 " bytes\n", KILLS, pump.sent);
    for (int stream = 1; stream <= 2; stream++)
        CHECK_INT(rig_call(rig, rig->executor, &r, TN_MSG_STREAM_CLOSE, TASK, 1,
                           "{\"stream\":%d,\"size\":\"%" PRIu64 "\"}", stream, pump.sent),
                  TN_MSG_STREAM_CLOSED);
    tn_buf_reserve(&raw, pump.sent);
    raw.len = make_lines(0, raw.data, pump.sent / 16);
    tn_mask_feed(mask, &state, raw.data, raw.len, &masked);
    tn_mask_finish(&state, &masked);
    check_file("state/logs/main/build/attempt-1/01-lines.log", masked.data, masked.len);
    rig_call(rig, rig->executor, &r, TN_MSG_BLOB_FIND, TASK, 1, "{\"type\":\"workspace\",\"tasks\":[\"9\"]}");
    read_blob(rig, TASK, &r, &back);
    CHECK(back.len == raw.len && memcmp(back.data, raw.data, raw.len) == 0);
    CHECK_INT(rig_call(rig, rig->executor, &r, TN_MSG_TASK_CLOSE, TASK, 1, "%s", ""), TN_MSG_ACK);
    tn_mask_state_free(&state);
    tn_mask_free(mask);
    rig_reply_free(&r);
}

/* ---- bench ---- */

struct bench {
    struct rig *rig;
    char *bytes;
    uint64_t sent;
    uint64_t total;
    unsigned open;
};

enum { PIECE = 256 * 1024 };

static void bench_on_reply(void *arg, const struct tn_msg *msg)
{
    struct bench *bench = arg;

    bench->open--;
    while (bench->open < WINDOW && bench->sent < bench->total) {
        rig_send(bench->rig->executor, NULL, 20, 1, 1, bench->sent, bench->bytes, PIECE, bench_on_reply, bench);
        bench->sent += PIECE;
        bench->open++;
    }
}

static void bench_log(struct rig *rig, const char *what, const char *masks)
{
    struct bench bench = {.rig = rig, .bytes = malloc(PIECE + 1), .total = 2ull << 30, .open = 1};
    struct rig_reply r = {0};
    struct timespec from;
    struct timespec to;
    double seconds;

    for (size_t i = 0; i < PIECE / 64; i++)
        snprintf(bench.bytes + i * 64, 65, "%06zu the quick brown fox jumps over a lazy dog, again and ag\n", i);
    rig_call(rig, rig->executor, &r, TN_MSG_TASK_OPEN, 20, 1, "{\"masks\":[%s],\"workflow\":\"w\",\"job\":\"bench\"}",
             masks);
    rig_call(rig, rig->executor, &r, TN_MSG_STREAM_OPEN, 20, 1,
             "{\"stream\":1,\"type\":\"log\",\"step\":0,\"name\":\"b\"}");
    clock_gettime(CLOCK_MONOTONIC, &from);
    bench_on_reply(&bench, NULL);
    while (bench.open > 0)
        event_base_loop(rig->base, EVLOOP_ONCE);
    clock_gettime(CLOCK_MONOTONIC, &to);
    seconds = (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9;
    printf("log, %s: %.0f MB/s\n", what, (double)bench.total / 1e6 / seconds);
    rig_call(rig, rig->executor, &r, TN_MSG_TASK_CLOSE, 20, 1, "%s", "");
    unlink("state/output/20.1");
    rig_reply_free(&r);
    free(bench.bytes);
}

int main(int argc, char **argv)
{
    struct rig rig;
    const char *build = getenv("TENON_BUILD");
    auto_free char *path = tn_fs_path("%s/core/output/tenon-output", build != NULL ? build : "build");
    auto_free char *program = realpath(argc > 1 ? argv[1] : path, NULL);

    if (program == NULL) {
        fprintf(stderr, "skipped: no tenon-output at %s; usage: output_test [PROGRAM [bench]]\n", path);
        return 77;
    }
    signal(SIGPIPE, SIG_IGN);
    alarm(300);
    rig_open(&rig, program);
    if (argc > 2) {
        bench_log(&rig, "no masks", "");
        bench_log(&rig, "five masks",
                  "\"hunter2222\",\"ghp_abcdefgh0123\",\"the-long-password\",\"AKIAXXXXX\",\"a+b+c+d\"");
        tn_check_count++;
    } else {
        test_log(&rig);
        test_order(&rig);
        test_take_up(&rig);
        test_failure(&rig);
        test_caches(&rig);
        test_workspaces_and_sources(&rig);
        test_artifacts(&rig);
        test_results(&rig);
        test_kill(&rig);
    }
    CHECK_INT(rig_stop(&rig, SIGTERM), 0);
    rig_close(&rig);
    return tn_check_result();
}
