#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/scheduler/ledger.h"
#include "tests/unit/check.h"

#include <signal.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>

static char dir[] = "/tmp/tenon-ledger-test.XXXXXX";

static struct tn_ledger *open_ledger(void)
{
    struct tn_err err = TN_ERR_INIT;
    struct tn_ledger *ledger = tn_ledger_open(dir, dir, &err);

    CHECK_STR(err.text, "");
    if (ledger == NULL)
        exit(1);
    return ledger;
}

static void put_pipeline(struct tn_ledger *ledger, const char *id, int64_t number)
{
    tn_ledger_put(ledger, TN_LEDGER_PIPELINE_ADD, "issis", number, id, "running", (int64_t)5, "{\"wait\":true}");
    tn_ledger_put(ledger, TN_LEDGER_SECRET_ADD, "is", number, "{\"environment\":{\"A\":\"b\"},\"contexts\":{}}");
    tn_ledger_put(ledger, TN_LEDGER_WORKFLOW_ADD, "iisssi", number, (int64_t)0, id, "w", "running", (int64_t)5);
    for (int64_t j = 0; j < 2; j++) {
        auto_free char *uuid = tn_fs_path("%s-%d", id, (int)j);

        tn_ledger_put(ledger, TN_LEDGER_JOB_ADD, "iiiissssiiisss", number * 10 + j, number, (int64_t)0, j, uuid,
                      j == 0 ? "a" : "b", "build", "docker", (int64_t)1000, (int64_t)2048, (int64_t)1,
                      j == 0 ? "[]" : "[[0,2]]", "{}", "queued");
        tn_ledger_put(ledger, TN_LEDGER_TASK_ADD, "iiis", number * 10 + j, number * 10 + j, (int64_t)0, "queued");
    }
}

static void count_open(void *arg, const char *id)
{
    (*(int *)arg)++;
}

static void test_load(struct tn_ledger *ledger)
{
    struct tn_err err = TN_ERR_INIT;
    struct tn_pipeline *pipeline;
    struct tn_task_row row;
    int open = 0;

    put_pipeline(ledger, "one", 1);
    CHECK(tn_ledger_load(ledger, "one", &err) == NULL);
    CHECK_STR(err.text, "no pipeline has the id one");
    CHECK(tn_ledger_commit(ledger, &err) == 0);
    CHECK_INT(tn_ledger_queued(ledger), 0);
    CHECK(tn_ledger_each_open(ledger, count_open, &open, &err) == 0);
    CHECK_INT(open, 1);
    tn_ledger_put(ledger, TN_LEDGER_JOB_STATE, "isssii", (int64_t)10, "succeeded", "success", NULL, (int64_t)1,
                  (int64_t)2);
    tn_ledger_put(ledger, TN_LEDGER_TASK_STATE, "issiiiiiisss", (int64_t)10, "succeeded", "fine", (int64_t)2,
                  (int64_t)0x700, (int64_t)1, (int64_t)0, (int64_t)1, (int64_t)2, "/f", "[\"x\"]", NULL);
    tn_ledger_put(ledger, TN_LEDGER_STEP_PUT, "iiis", (int64_t)10, (int64_t)2, (int64_t)0, "{\"state\":\"running\"}");
    tn_ledger_put(ledger, TN_LEDGER_STEP_PUT, "iiis", (int64_t)10, (int64_t)2, (int64_t)0, "{\"state\":\"failed\"}");
    CHECK(tn_ledger_commit(ledger, &err) == 0);
    pipeline = tn_ledger_load(ledger, "one", &err);
    CHECK(pipeline != NULL);
    if (pipeline == NULL)
        return;
    CHECK(pipeline->wait);
    CHECK_STR(tn_json_string(pipeline->environment, "A", NULL), "b");
    CHECK_INT(pipeline->workflows[0].job_count, 2);
    CHECK(pipeline->workflows[0].jobs[1].released && pipeline->workflows[0].jobs[1].unresolved == 0);
    CHECK(!pipeline->workflows[0].jobs[0].released);
    CHECK_INT(pipeline->workflows[0].tally.succeeded, 1);
    CHECK_INT(pipeline->workflows[0].jobs[0].tasks[0].attempt, 2);
    CHECK_INT(pipeline->workflows[0].jobs[0].tasks[0].step_count, 1);
    CHECK(pipeline->workflows[0].jobs[0].tasks[0].steps[0].ended);
    tn_pipeline_free(pipeline);
    CHECK(tn_ledger_find_task(ledger, 10, &row) == 0 && row.attempt == 2 && row.state == TN_TASK_SUCCEEDED);
    CHECK(tn_ledger_find_task(ledger, 12345, &row) != 0);
}

static void put_end(struct tn_ledger *ledger, const char *state)
{
    tn_ledger_put(ledger, TN_LEDGER_TRANSITION_ADD, "iisssii", (int64_t)10, (int64_t)1, "running", state, NULL,
                  (int64_t)9, (int64_t)1);
}

static void test_one_end(struct tn_ledger **ledger)
{
    struct tn_err err = TN_ERR_INIT;

    put_end(*ledger, "failed");
    CHECK(tn_ledger_commit(*ledger, &err) == 0);
    put_end(*ledger, "succeeded");
    CHECK(tn_ledger_commit(*ledger, &err) != 0);
    CHECK_INT(err.code, TN_ERR_CONFLICT);
    CHECK_STR(err.text, "the ledger cannot write a row: UNIQUE constraint failed: transition.task");
    tn_ledger_close(*ledger);
    *ledger = open_ledger();
}

/* A disk that is full: nothing is lost, and the commit works once there is room. */
static void test_full_disk(struct tn_ledger *ledger)
{
    struct tn_err err = TN_ERR_INIT;
    struct rlimit limit;
    struct rlimit none;
    struct tn_pipeline *pipeline;

    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &limit);
    none = limit;
    none.rlim_cur = 4096;
    put_pipeline(ledger, "two", 2);
    setrlimit(RLIMIT_FSIZE, &none);
    CHECK(tn_ledger_commit(ledger, &err) != 0);
    CHECK_INT(err.code, TN_ERR_SYSTEM);
    CHECK(strstr(err.text, "free space on its disk") != NULL);
    CHECK(tn_ledger_queued(ledger) > 0);
    setrlimit(RLIMIT_FSIZE, &limit);
    tn_err_clear(&err);
    CHECK(tn_ledger_commit(ledger, &err) == 0);
    pipeline = tn_ledger_load(ledger, "two", &err);
    CHECK(pipeline != NULL && pipeline->number == 2);
    tn_pipeline_free(pipeline);
}

static void test_numbers(struct tn_ledger *ledger)
{
    struct tn_err err = TN_ERR_INIT;
    uint64_t first = 0;

    CHECK(tn_ledger_take_numbers(ledger, "job", 5, &first, &err) == 0);
    CHECK_INT(first, 22); /* above those of the ledger */
    CHECK(tn_ledger_take_numbers(ledger, "job", 1, &first, &err) == 0);
    CHECK_INT(first, 27);
    CHECK(tn_ledger_take_numbers(ledger, "pipeline", 1, &first, &err) == 0);
    CHECK_INT(first, 3);
}

static void test_version(void)
{
    struct tn_err err = TN_ERR_INIT;
    auto_free char *path = tn_fs_path("%s/ledger.db", dir);
    struct stat st;
    sqlite3 *db;

    CHECK(stat(path, &st) == 0 && (st.st_mode & 0777) == 0600);
    CHECK(sqlite3_open(path, &db) == SQLITE_OK);
    sqlite3_exec(db, "PRAGMA user_version=9", NULL, NULL, NULL);
    sqlite3_close(db);
    CHECK(tn_ledger_open(dir, dir, &err) == NULL);
    CHECK(strstr(err.text, "has version 9, this program knows up to 1: use the newer tenon") != NULL);
}

int main(void)
{
    struct tn_err err = TN_ERR_INIT;
    struct tn_ledger *ledger;

    if (mkdtemp(dir) == NULL)
        return 1;
    ledger = open_ledger();
    test_load(ledger);
    test_one_end(&ledger);
    test_full_disk(ledger);
    test_numbers(ledger);
    tn_ledger_close(ledger);
    test_version();
    CHECK(tn_fs_remove_tree(dir, &err) == 0);
    return tn_check_result();
}
