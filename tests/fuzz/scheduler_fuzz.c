/* libFuzzer target: messages to the scheduler, in lines as wire.h has them: from clients, from executors, from the
 * compiler, with any bodies. After each the ledger must take what was made of it, and at the end it must be possible to
 * go on from the ledger.
 *
 * decodes: core/scheduler/handlers.c core/scheduler/attempts.c core/scheduler/dispatch.c core/scheduler/sched.c
 *          core/scheduler/task_env.c core/scheduler/events.c core/scheduler/outbox.c core/scheduler/ledger_load.c
 * max_len: 6000 */
#include "core/lib/cleanup.h"
#include "core/lib/log.h"
#include "core/scheduler/handlers.h"
#include "core/scheduler/ledger.h"
#include "tests/fuzz/folder.h"
#include "tests/fuzz/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SELF = TN_ADDRESS(TN_ROLE_SCHEDULER, 0), LIFE = 1 };

static struct tn_sched sched;
static int64_t clock_ms;

static int64_t now(void)
{
    return clock_ms += 700;
}

/* As the end of a round in main.c. */
static void end_round(void)
{
    tn_dispatch_tick(&sched);
    tn_sched_turn(&sched);
    if (tn_ledger_commit(sched.ledger, NULL) != 0)
        abort();
    if (sched.bus != NULL)
        tn_outbox_send(&sched.outbox, sched.bus);
    tn_handle_committed(&sched);
}

static void on_message(void *arg, struct tn_peer *peer, const struct tn_msg *msg)
{
    tn_handle_message(&sched, msg);
    end_round();
}

static void wake(void *arg)
{
}

static void begin(const char *folder)
{
    struct tn_ledger *ledger = tn_ledger_open(folder, folder, NULL);

    if (ledger == NULL)
        abort();
    tn_sched_init(&sched, ledger, "i", LIFE, now);
    sched.wake = wake;
    if (tn_handle_restart(&sched, NULL) != 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    auto_free char *folder = tn_fs_path("%s/ledger", fuzz_folder());
    struct event_base *base = event_base_new();
    struct tn_peer_config config = {.base = base,
                                    .transport = &wire_transport,
                                    .url = "wire",
                                    .mode = TN_ENDPOINT_CONNECT,
                                    .channel = TN_CHANNEL_BUS,
                                    .self = SELF,
                                    .life = LIFE,
                                    .on_message = on_message};

    setenv("TENON_LOG", "error", 0);
    tn_log_open("fuzz");
    clock_ms = 1700000000000;
    if (tn_fs_make_dirs(folder, 0700, NULL) != 0)
        abort();
    begin(folder);
    sched.bus = tn_peer_open(&config, NULL);
    if (sched.bus == NULL)
        abort();
    wire_run(base, data, size, SELF, TN_CHANNEL_BUS);
    end_round();
    tn_peer_close(sched.bus);
    sched.bus = NULL;
    tn_sched_close(&sched);
    begin(folder); /* after a crash */
    end_round();
    tn_sched_close(&sched);
    event_base_free(base);
    if (tn_fs_remove_tree(folder, NULL) != 0)
        abort();
    return 0;
}
