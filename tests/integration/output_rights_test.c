/* An executor at the real tenon-output that wants what its leases do not entitle it to: another's task, an older
 * attempt, other projects' caches, other pipelines' sources, other jobs' workspaces. Usage: output_rights_test
 * [PROGRAM]. */
#include "tests/integration/output_rig.h"
#include "tests/unit/check.h"

#define INTRUDER TN_ADDRESS(TN_ROLE_EXECUTOR, 2)

static const char mine[] = "{\"masks\":[\"hunter22\"],\"pipeline\":\"p1\",\"workflow\":\"main\",\"job\":\"build\","
                           "\"project\":\"gh/mine/it\"}";

static void refused(struct rig *rig, struct tn_peer *peer, enum tn_msg_kind kind, uint64_t task, uint32_t attempt,
                    const char *body, const char *code, const char *text)
{
    struct rig_reply r = {0};

    CHECK_INT(rig_call(rig, peer, &r, kind, task, attempt, "%s", body), TN_MSG_REFUSED);
    CHECK_STR(tn_json_string(r.json, "code", ""), code);
    CHECK_STR(tn_json_string(r.json, "text", ""), text);
    rig_reply_free(&r);
}

/* A TASK_OPEN with the grant of one attempt and one change to it; `from` and `to` have the same length. */
static char *changed(const char *from, const char *to, uint64_t task, uint32_t attempt)
{
    char *body = rig_grant(mine, task, attempt);
    char *at = strstr(strstr(body, "\"grant\""), from);

    CHECK(at != NULL && strlen(from) == strlen(to));
    if (at != NULL)
        memcpy(at, to, strlen(to));
    return body;
}

/* Only the grant of the lease opens a task, and only in the hands of the executor that holds it. */
static void test_opening(struct rig *rig, struct tn_peer *intruder)
{
    auto_free char *grant = rig_grant(mine, 40, 1);
    auto_free char *project = changed("mine/it", "ours/it", 40, 1);
    auto_free char *task = changed("\\\"task\\\":\\\"40", "\\\"task\\\":\\\"41", 40, 1);
    struct rig_reply r = {0};

    refused(rig, rig->executor, TN_MSG_TASK_OPEN, 40, 1, "{\"masks\":[],\"grant\":\"\"}", "fenced",
            "TASK_OPEN: the grant is none of this installation's scheduler");
    refused(rig, rig->executor, TN_MSG_TASK_OPEN, 40, 1, "{\"masks\":[],\"grant\":7}", "fenced",
            "TASK_OPEN: it brings no grant, expected the one of its LEASE");
    refused(rig, rig->executor, TN_MSG_TASK_OPEN, 40, 1, project, "fenced",
            "TASK_OPEN: the grant is none of this installation's scheduler");
    refused(rig, rig->executor, TN_MSG_TASK_OPEN, 41, 1, task, "fenced",
            "TASK_OPEN: the grant is none of this installation's scheduler");
    refused(rig, rig->executor, TN_MSG_TASK_OPEN, 41, 1, grant, "fenced",
            "TASK_OPEN: the grant is for task 40, attempt 1, executor 0x0701; this is about task 41, attempt 1 from "
            "0x0701");
    refused(rig, rig->executor, TN_MSG_TASK_OPEN, 40, 2, grant, "fenced",
            "TASK_OPEN: the grant is for task 40, attempt 1, executor 0x0701; this is about task 40, attempt 2 from "
            "0x0701");
    CHECK_INT(rig_call(rig, rig->executor, &r, TN_MSG_TASK_OPEN, 40, 1, "%s", grant), TN_MSG_TASK_OPENED);
    /* Somebody else has the very words of the lease. */
    refused(rig, intruder, TN_MSG_TASK_OPEN, 40, 1, grant, "fenced",
            "TASK_OPEN: the grant is for task 40, attempt 1, executor 0x0701; this is about task 40, attempt 1 from "
            "0x0702");
    CHECK_INT(rig_call(rig, rig->executor, &r, TN_MSG_STREAM_OPEN, 40, 1, "{\"stream\":1,\"type\":\"log\",\"step\":1}"),
              TN_MSG_STREAM_OPENED);
    rig_reply_free(&r);
}

/* What an executor says of another's open task. */
static void test_other_task(struct rig *rig, struct tn_peer *intruder)
{
    static const char text[] = "task 40, attempt 1 was opened on another connection";
    struct rig_reply r = {0};

    refused(rig, intruder, TN_MSG_STREAM_OPEN, 40, 1, "{\"stream\":9,\"type\":\"log\",\"step\":3}", "fenced", text);
    refused(rig, intruder, TN_MSG_STREAM_CLOSE, 40, 1, "{\"stream\":1,\"size\":\"0\",\"drop\":true}", "fenced", text);
    refused(rig, intruder, TN_MSG_CHECKPOINT, 40, 1, "{\"boot\":\"x\",\"cursor\":\"1\",\"state\":{}}", "fenced", text);
    refused(rig, intruder, TN_MSG_TASK_CLOSE, 40, 1, "{}", "fenced", text);
    refused(rig, intruder, TN_MSG_BLOB_FIND, 40, 1, "{\"type\":\"cache\",\"keys\":[\"k\"]}", "fenced", text);
    refused(rig, intruder, TN_MSG_BLOB_READ, 40, 1, "{\"id\":\"workspace/1.1.1.tar.zst\"}", "fenced", text);
    rig_send(intruder, &r, 40, 1, 1, 0, "forged", 6, rig_on_reply, &r);
    while (!r.done)
        event_base_loop(rig->base, EVLOOP_ONCE);
    CHECK_INT(r.kind, TN_MSG_REFUSED);
    CHECK_STR(tn_json_string(r.json, "text", ""), text);
    CHECK_INT(rig_write(rig, rig->executor, &r, 40, 1, 0, "own\n", 4), TN_MSG_ACK);
    CHECK_INT(rig_call(rig, rig->executor, &r, TN_MSG_STREAM_CLOSE, 40, 1, "{\"stream\":1,\"size\":\"4\"}"),
              TN_MSG_STREAM_CLOSED);
    CHECK_INT(tn_json_u64(r.json, "stored", 9), 4);
    rig_reply_free(&r);
}

/* What an executor asks for with a lease that is its own. */
static void test_reading(struct rig *rig)
{
    static const struct {
        enum tn_msg_kind kind;
        const char *body;
        const char *text;
    } wanted[] = {
        {TN_MSG_BLOB_FIND, "{\"type\":\"source\",\"pipeline\":\"p2\"}", "the source of pipeline p2"},
        {TN_MSG_BLOB_FIND, "{\"type\":\"workspace\",\"tasks\":[\"5\",\"300\"]}", "the workspace of task 300"},
        {TN_MSG_BLOB_READ, "{\"id\":\"workspace/300.1.1.tar.zst\"}", "the blob \"workspace/300.1.1.tar.zst\""},
        {TN_MSG_BLOB_READ, "{\"id\":\"workspace/../output/1.1\"}", "the blob \"workspace/../output/1.1\""},
        {TN_MSG_BLOB_READ, "{\"id\":\"source/p2.tar.zst\"}", "the blob \"source/p2.tar.zst\""},
        {TN_MSG_BLOB_READ, "{\"id\":\"source/p1.tar.zst/../p2.tar.zst\"}",
         "the blob \"source/p1.tar.zst/../p2.tar.zst\""},
        {TN_MSG_BLOB_READ, "{\"id\":\"cache/scope-gh_ours_it/x.tar.zst\"}",
         "the blob \"cache/scope-gh_ours_it/x.tar.zst\""},
        {TN_MSG_BLOB_READ, "{}", "the blob \"\""},
    };

    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
        auto_free char *text = tn_fs_path("%s: %s is nothing that the attempt's lease entitles to",
                                          tn_msg_name(wanted[i].kind), wanted[i].text);

        refused(rig, rig->executor, wanted[i].kind, 40, 1, wanted[i].body, "fenced", text);
    }
}

/* A later attempt has begun: the older one's words are over, also when the later one is not open any more. */
static void test_old_attempt(struct rig *rig)
{
    struct rig_reply r = {0};

    CHECK_INT(rig_call(rig, rig->executor, &r, TN_MSG_TASK_OPEN, 40, 2, "%s", mine), TN_MSG_TASK_OPENED);
    refused(rig, rig->executor, TN_MSG_TASK_OPEN, 40, 1, mine, "fenced", "attempt 2 of task 40 is open");
    CHECK_INT(rig_call(rig, rig->executor, &r, TN_MSG_TASK_CLOSE, 40, 2, "{}"), TN_MSG_ACK);
    refused(rig, rig->executor, TN_MSG_TASK_OPEN, 40, 1, mine, "fenced", "a later attempt of task 40 has begun");
    rig_reply_free(&r);
}

/* What comes before the scheduler has told the key waits for it. */
static void test_key_comes_late(struct rig *rig)
{
    struct rig_reply r = {0};
    auto_free char *body = rig_grant(mine, 50, 1);

    CHECK_INT(rig_stop(rig, SIGKILL), SIGKILL);
    rig->keyless = true;
    rig_start(rig);
    refused(rig, rig->executor, TN_MSG_TASK_OPEN, 0, 1, "{}", "invalid",
            "TASK_OPEN needs a task and an attempt in the header");
    tn_peer_request(rig->executor, TN_MSG_TASK_OPEN, OUTPUT, 50, 1, body, strlen(body), 0, rig_on_reply, &r);
    refused(rig, rig->executor, TN_MSG_STREAM_OPEN, 50, 1, "{}", "not_open",
            "task 50, attempt 1 is not open here: begin with TASK_OPEN (a client with STREAM_OPEN)");
    CHECK(!r.done);
    rig_tell_key(rig);
    while (!r.done)
        event_base_loop(rig->base, EVLOOP_ONCE);
    CHECK_INT(r.kind, TN_MSG_TASK_OPENED);
    rig_reply_free(&r);
}

int main(int argc, char **argv)
{
    static struct rig rig;
    const char *build = getenv("TENON_BUILD");
    auto_free char *path = tn_fs_path("%s/core/output/tenon-output", build != NULL ? build : "build");
    auto_free char *program = realpath(argc > 1 ? argv[1] : path, NULL);
    struct tn_peer *intruder;

    if (program == NULL) {
        fprintf(stderr, "skipped: no tenon-output at %s; usage: output_rights_test [PROGRAM]\n", path);
        return 77;
    }
    signal(SIGPIPE, SIG_IGN);
    alarm(100);
    rig_open(&rig, program);
    CHECK(mkdir("data/0702.00000009", 0700) == 0);
    rig_tell_peer(&rig, INTRUDER, 9, "added");
    intruder = rig_connect(&rig, INTRUDER, 9);
    test_opening(&rig, intruder);
    test_other_task(&rig, intruder);
    test_reading(&rig);
    test_old_attempt(&rig);
    tn_peer_close(intruder);
    test_key_comes_late(&rig);
    CHECK_INT(rig_stop(&rig, SIGTERM), 0);
    rig_close(&rig);
    return tn_check_result();
}
