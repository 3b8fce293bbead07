/* libFuzzer target: what an executor says to tenon-output on its data socket, in lines as wire.h has them: attempts,
 * streams, checkpoints, blobs, logs. A TASK_OPEN with "claims" gets them signed, as the scheduler would. Nothing may
 * come to lie outside of the two folders.
 *
 * decodes: core/output/task.c core/output/task_answer.c core/output/task_read.c core/output/attempt.c
 *          core/output/rights.c core/output/stream.c core/output/stream_end.c core/lib/grant.c
 * max_len: 6000 */
#include "core/lib/cleanup.h"
#include "core/lib/json.h"
#include "core/lib/log.h"
#include "core/output/task.h"
#include "tests/fuzz/folder.h"
#include "tests/fuzz/wire.h"

#include <dirent.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SELF = TN_ADDRESS(TN_ROLE_OUTPUT, 0), LIFE = 1, TURNS = 200 };

static const uint8_t key[TN_GRANT_KEY] = "a key of the test";

struct output {
    char *state;
    char *store;
    struct tn_layout layout;
    struct tn_room room;
    struct tn_logs logs;
    struct tn_tasks tasks;
};

static void on_changed(void *arg, const struct tn_log_file *log)
{
}

/* The body with its claims signed, or NULL. */
static char *with_grant(const struct tn_msg *msg)
{
    auto_json cJSON *body = tn_json_parse(msg->body, msg->header.length, "x", NULL);
    const cJSON *claims = tn_json_get(body, "claims");
    auto_free char *grant = claims != NULL ? tn_grant_sign(key, claims) : NULL;

    if (grant == NULL)
        return NULL;
    cJSON_DeleteItemFromObjectCaseSensitive(body, "grant");
    cJSON_AddStringToObject(body, "grant", grant);
    return tn_json_print(body);
}

static void on_message(void *arg, struct tn_peer *peer, const struct tn_msg *msg)
{
    struct output *output = arg;
    auto_free char *body = msg->header.kind == TN_MSG_TASK_OPEN ? with_grant(msg) : NULL;
    struct tn_msg changed = *msg;

    if (body != NULL) {
        changed.body = (const uint8_t *)body;
        changed.header.length = (uint32_t)strlen(body);
    }
    tn_task_message(&output->tasks, peer, &changed);
}

static void begin(struct output *output, struct event_base *base)
{
    output->state = tn_fs_path("%s/state", fuzz_folder());
    output->store = tn_fs_path("%s/store", fuzz_folder());
    tn_layout_init(&output->layout, output->state, output->store);
    tn_logs_init(&output->logs, base, on_changed, NULL);
    output->tasks.blobs = tn_blobs_new(&output->layout, NULL);
    output->tasks.works = tn_works_new(base, NULL);
    if (output->tasks.blobs == NULL || output->tasks.works == NULL)
        abort();
    output->tasks.attempts.layout = &output->layout;
    output->tasks.attempts.blobs = output->tasks.blobs;
    output->tasks.attempts.logs = &output->logs;
    output->tasks.attempts.room = &output->room;
    tn_task_init(&output->tasks);
    tn_task_key(&output->tasks, key);
}

static void end(struct output *output)
{
    tn_task_free_all(&output->tasks);
    tn_works_free(output->tasks.works);
    tn_logs_free(&output->logs);
    tn_blobs_free(output->tasks.blobs);
    if (tn_fs_remove_tree(output->state, NULL) != 0 || tn_fs_remove_tree(output->store, NULL) != 0)
        abort();
    free(output->state);
    free(output->store);
}

/* Nothing else than the two was made, and they are gone. */
static void check_folder(void)
{
    auto_dir DIR *dir = opendir(fuzz_folder());
    const struct dirent *entry;

    while (dir != NULL && (entry = readdir(dir)) != NULL)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct event_base *base = event_base_new();
    struct output output = {0};
    struct tn_peer_config config = {.base = base,
                                    .transport = &wire_transport,
                                    .url = "wire",
                                    .mode = TN_ENDPOINT_CONNECT,
                                    .channel = TN_CHANNEL_DATA,
                                    .self = SELF,
                                    .life = LIFE,
                                    .on_message = on_message,
                                    .arg = &output};
    struct tn_peer *peer = tn_peer_open(&config, NULL);

    setenv("TENON_LOG", "error", 0);
    tn_log_open("fuzz");
    if (peer == NULL)
        abort();
    begin(&output, base);
    wire_run(base, data, size, SELF, TN_CHANNEL_DATA);
    for (int turn = 0; turn < TURNS / 10; turn++) /* what threads have done */
        event_base_loop(base, EVLOOP_NONBLOCK);
    tn_task_forget_peer(&output.tasks, peer, TN_ADDRESS(TN_ROLE_EXECUTOR, 0));
    tn_peer_close(peer);
    end(&output);
    event_base_free(base);
    check_folder();
    return 0;
}
