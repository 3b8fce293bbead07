/* What an attempt remembers over a crash: saved and loaded again, and what a malformed checkpoint becomes. */
#include "core/lib/cleanup.h"
#include "core/lib/json.h"
#include "executors/sdk/companion.h"
#include "executors/sdk/internal.h"
#include "executors/sdk/progress.h"
#include "tests/unit/check.h"

#include <stdlib.h>

static void add_report(struct tn_task *task, enum tn_msg_kind kind, const char *body)
{
    struct tn_report *report = calloc(1, sizeof(*report));

    report->kind = kind;
    report->body = strdup(body);
    STAILQ_INSERT_TAIL(&task->reports, report, next);
}

static void begin(struct tn_task *task)
{
    memset(task, 0, sizeof(*task));
    STAILQ_INIT(&task->reports);
}

static void end(struct tn_task *task)
{
    struct tn_report *report;

    while ((report = STAILQ_FIRST(&task->reports)) != NULL) {
        STAILQ_REMOVE_HEAD(&task->reports, next);
        free(report->body);
        free(report);
    }
    cJSON_Delete(task->tests);
    task->tests = NULL;
}

static void test_round_trip(void)
{
    struct tn_task task;
    struct tn_task again;
    auto_json cJSON *saved = NULL;
    auto_json cJSON *resaved = NULL;
    auto_free char *text = NULL;
    auto_free char *retext = NULL;

    begin(&task);
    begin(&again);
    task.step_open = true;
    task.step_started_ms = 1700000000123;
    task.progress = (struct tn_progress){.step = 4,
                                         .tries = 2,
                                         .begun = true,
                                         .failed = true,
                                         .timed_out = true,
                                         .limit_at = 1700000000456,
                                         .ended = TN_TASK_TIMED_OUT,
                                         .reason = "a \"reason\"\n",
                                         .background = {2, 3},
                                         .backgrounds = 2,
                                         .artifacts = "/some/where"};
    task.tests = cJSON_Parse("{\"total\":5,\"failed\":1,\"failures\":[{\"name\":\"a\"}]}");
    add_report(&task, TN_MSG_STEP_STATE, "{\"step\":3}");
    add_report(&task, TN_MSG_TASK_STATE, "{\"state\":\"running\"}");
    saved = tn_progress_save(&task);
    text = cJSON_PrintUnformatted(saved);
    memset(&again.progress, 0xff, sizeof(again.progress)); /* nothing of what was there is left */
    tn_progress_load(&again, saved);

    CHECK_INT(again.progress.step, 4);
    CHECK_INT(again.progress.tries, 2);
    CHECK(again.step_open && again.progress.begun && again.progress.failed && again.progress.timed_out);
    CHECK(!again.progress.halted && !again.progress.canceled && !again.progress.final);
    CHECK_INT(again.progress.ended, TN_TASK_TIMED_OUT);
    CHECK(again.progress.limit_at == 1700000000456);
    CHECK_INT(again.step_started_ms, 1700000000123);
    CHECK_STR(again.progress.reason, "a \"reason\"\n");
    CHECK_STR(again.progress.artifacts, "/some/where");
    CHECK_INT(again.progress.backgrounds, 2);
    CHECK(again.progress.background[0] == 2 && again.progress.background[1] == 3);
    CHECK(cJSON_Compare(again.tests, task.tests, true));
    CHECK_INT(STAILQ_FIRST(&again.reports)->kind, TN_MSG_STEP_STATE);
    CHECK_STR(STAILQ_FIRST(&again.reports)->body, "{\"step\":3}");
    resaved = tn_progress_save(&again);
    retext = cJSON_PrintUnformatted(resaved);
    CHECK_STR(retext, text);
    end(&task);
    end(&again);
}

/* Not begun, not ended: what a checkpoint without state means, and one with every member of the wrong kind. */
static void test_malformed(void)
{
    static const char *const states[] = {
        "{}",
        "[]",
        "7",
        ("{\"step\":\"four\",\"open\":1,\"begun\":\"yes\",\"ended\":7,\"reason\":[],\"background\":{\"a\":\"b\"},"
         "\"tests\":[\"1\",null],\"reports\":[1,{\"kind\":54},{\"body\":\"x\"},{\"kind\":52,\"body\":\"a lease\"}]}"),
        "{\"ended\":\"no such state\"}",
    };
    auto_free char *text = NULL;
    auto_json cJSON *many = cJSON_CreateObject();
    cJSON *list = cJSON_AddArrayToObject(many, "background");
    struct tn_task task;

    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
        auto_json cJSON *state = cJSON_Parse(states[i]);

        begin(&task);
        tn_progress_load(&task, state);
        CHECK_INT(task.progress.step, 0);
        CHECK(!task.step_open && !task.progress.begun && !task.progress.failed);
        CHECK_INT(task.progress.ended, -1);
        CHECK_INT(task.progress.backgrounds, 0);
        CHECK(task.tests == NULL);
        CHECK_STR(task.progress.reason, "");
        CHECK(STAILQ_EMPTY(&task.reports));
        end(&task);
    }
    begin(&task);
    tn_progress_load(&task, NULL);
    CHECK_INT(task.progress.ended, -1);

    for (int i = 0; i < 100; i++)
        cJSON_AddItemToArray(list, cJSON_CreateNumber(i));
    text = malloc(2000);
    memset(text, 'x', 1999);
    text[1999] = '\0';
    cJSON_AddStringToObject(many, "reason", text);
    tn_progress_load(&task, many);
    CHECK_INT(task.progress.backgrounds, 64);
    CHECK_INT(strlen(task.progress.reason), sizeof(task.progress.reason) - 1);
}

static void check_path(struct tn_task *task, const char *path, const char *expected)
{
    auto_free char *got = tn_runner_path(task, path);

    CHECK_STR(got, expected);
}

static void check_working_directory(const char *definition, const char *root, const char *home, const char *expected)
{
    auto_json cJSON *parsed = cJSON_Parse(definition);
    struct tn_task task = {
        .definition = parsed, .root = (char *)root, .home = (char *)home, .facts = (char *)"home=/h"};
    auto_free char *got = tn_runner_working_directory(&task);

    CHECK_STR(got, expected);
}

static void test_paths(void)
{
    auto_json cJSON *definition = cJSON_Parse("{\"working_directory\":\"/srv/app\"}");
    struct tn_task task = {.definition = definition,
                           .cwd = (char *)"/box/srv/app",
                           .root = (char *)"/box",
                           .facts = (char *)"user=u\nhome=/home/u\npath=/bin"};
    char text[32];

    check_path(&task, ".", "/box/srv/app");
    check_path(&task, "sub", "/box/srv/app/sub");
    check_path(&task, "./sub", "/box/srv/app/sub");
    check_path(&task, "~", "/home/u");
    check_path(&task, "~/x", "/home/u/x");
    check_path(&task, "~other", "/box/srv/app/~other");
    check_path(&task, "/srv/app/x", "/box/srv/app/x");
    check_path(&task, "/srv/apple", "/srv/apple");
    check_path(&task, "/etc", "/etc");
    check_working_directory("{}", "", NULL, "/h/project");
    check_working_directory("{}", "", "/own", "/own/project");
    check_working_directory("{\"working_directory\":\"relative\"}", "", NULL, "/h/relative");
    check_working_directory("{\"working_directory\":\"/srv\"}", "/box", NULL, "/box/srv");
    CHECK_STR(tn_runner_fact(&task, "home", text, sizeof(text)), "/home/u");
    CHECK_STR(tn_runner_fact(&task, "path", text, sizeof(text)), "/bin");
    CHECK_STR(tn_runner_fact(&task, "hom", text, sizeof(text)), "");
    CHECK_STR(tn_runner_fact(&task, "home", text, 4), "/ho");
}

/* Every try of a step has channel numbers of its own, and none is that of the step's command. */
static void test_channels(void)
{
    struct tn_task task = {.progress = {.step = 3}};
    uint32_t first = tn_runner_channel(&task);

    CHECK_INT(first >> 16, 3);
    CHECK((first & 0xffff) > 1);
    CHECK(tn_runner_channel(&task) == first + 1);
    task.progress.tries = 1;
    task.channels = 0;
    CHECK(tn_runner_channel(&task) > first + 100);
    CHECK(tn_runner_stream(3) == 3u << 16);
}

/* What runs beside the steps: its cursor comes back; entries that are none are left out, a repeated one counts once. */
static void test_companions(void)
{
    static const char kept[] = "[{\"index\":0,\"name\":\"Container a\",\"cursor\":\"\",\"started\":5,\"over\":true},"
                               "{\"index\":63,\"name\":\"Container b "
                               "(c)\",\"cursor\":\"2026-11-21T13:14:05Z#1\",\"started\":6,\"over\":false}]";
    auto_json cJSON *json = cJSON_CreateObject();
    auto_json cJSON *saved = cJSON_CreateObject();
    auto_json cJSON *wanted = cJSON_Parse(kept);
    cJSON *list = cJSON_Parse(kept);
    struct tn_task task;

    begin(&task);
    tn_companions_save(&task, saved);
    CHECK(tn_json_get(saved, "companions") == NULL);
    cJSON_AddItemToArray(list, cJSON_Parse("{\"index\":63,\"name\":\"again\",\"over\":true}"));
    cJSON_AddItemToArray(list, cJSON_Parse("{\"index\":64,\"name\":\"too many\"}"));
    cJSON_AddItemToArray(list, cJSON_Parse("{\"index\":-1}"));
    cJSON_AddItemToArray(list, cJSON_Parse("{\"name\":\"none\"}"));
    cJSON_AddItemToArray(list, cJSON_Parse("7"));
    cJSON_AddItemToObject(json, "companions", list);
    tn_companions_load(&task, json);
    tn_companions_save(&task, saved);
    CHECK(cJSON_Compare(tn_json_get(saved, "companions"), wanted, true));
    CHECK(tn_companions_open(&task));
    CHECK(tn_companion_of_step(&task, 0) == NULL && tn_companion_of_step(&task, 2) == NULL);
    CHECK_STR(tn_companion_of_step(&task, 64)->name, "Container b (c)");
    CHECK(tn_task_companion_over(&task, 0) && tn_task_companion_over(&task, 1) && !tn_task_companion_over(&task, 63));
    tn_companions_free(&task);
    CHECK(!tn_companions_open(&task));
}

int main(void)
{
    test_companions();
    test_round_trip();
    test_malformed();
    test_paths();
    test_channels();
    return tn_check_result();
}
