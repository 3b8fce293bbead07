/* tenon-scheduler: the queue and its ledger. See README.md. */
#include "core/lib/confine.h"
#include "core/lib/log.h"
#include "core/lib/secret.h"
#include "core/peer/service.h"
#include "core/scheduler/handlers.h"
#include "core/scheduler/lease_key.h"
#include "core/scheduler/profile.h"

#include <sys/stat.h>
#include <time.h>

enum { RETRY_MS = 1000 };

struct scheduler {
    struct tn_service service;
    struct tn_sched sched;
    struct event *round; /* owned; active once something happened: ends the round of messages */
    struct event *timer; /* owned */
    bool armed;
    bool stuck; /* the last commit failed */
};

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void set_timer(struct scheduler *scheduler, int64_t ms)
{
    struct timeval at = {(time_t)(ms / 1000), (suseconds_t)(ms % 1000 * 1000)};

    event_del(scheduler->timer);
    if (ms >= 0)
        event_add(scheduler->timer, &at);
}

/* Nothing leaves before what it says is on the disk. A failed commit keeps everything and is tried again. */
static void end_round(struct scheduler *scheduler)
{
    struct tn_err err = TN_ERR_INIT;

    tn_sched_turn(&scheduler->sched);
    if (tn_ledger_commit(scheduler->sched.ledger, &err) != 0) {
        if (err.code == TN_ERR_CONFLICT)
            tn_fatal(3, "%s", err.text);
        if (!scheduler->stuck)
            tn_error("%s; nothing is acknowledged until it works", err.text);
        scheduler->stuck = true;
        set_timer(scheduler, RETRY_MS);
        return;
    }
    if (scheduler->stuck)
        tn_info("the ledger can be written again");
    scheduler->stuck = false;
    tn_outbox_send(&scheduler->sched.outbox, scheduler->service.bus);
    tn_handle_committed(&scheduler->sched);
    set_timer(scheduler, tn_dispatch_due(&scheduler->sched));
}

/* The event that ends a round was made active by the round's first message. libevent runs it when the callback that
 * drains the socket returns: after everything that was there to be read, at most 128 messages. One commit serves them
 * all, and those that arrive meanwhile are the next round: the busier, the larger. */
static void on_round(evutil_socket_t fd, short what, void *arg)
{
    struct scheduler *scheduler = arg;

    scheduler->armed = false;
    if (!scheduler->stuck)
        end_round(scheduler);
}

static void wake(void *arg)
{
    struct scheduler *scheduler = arg;

    if (!scheduler->armed)
        event_active(scheduler->round, EV_TIMEOUT, 0);
    scheduler->armed = true;
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct scheduler *scheduler = arg;

    tn_dispatch_tick(&scheduler->sched);
    end_round(scheduler);
}

static void on_message(void *arg, struct tn_peer *peer, const struct tn_msg *msg)
{
    struct scheduler *scheduler = arg;

    tn_handle_message(&scheduler->sched, msg);
}

static void on_stop(void *arg)
{
    struct scheduler *scheduler = arg;

    end_round(scheduler);
    tn_service_stop(&scheduler->service);
}

static int start(struct scheduler *scheduler, char *confinement, struct tn_err *err)
{
    struct tn_service *service = &scheduler->service;
    const struct tn_confine confine = {
        .profile = &tn_profile_scheduler,
        .roots = {[TN_PROFILE_STATE] = service->state_dir, [TN_PROFILE_STORE] = service->store_dir}};
    struct tn_err unconfined = TN_ERR_INIT;
    struct tn_ledger *ledger;

    /* 1. the ledger, and what it knows of the time before; it makes its folders */
    umask(077);
    if ((ledger = tn_ledger_open(service->state_dir, service->store_dir, err)) == NULL)
        return -1;
    tn_sched_init(&scheduler->sched, ledger, service->installation, service->life, now_ms);
    if (tn_lease_key_load(service->state_dir, scheduler->sched.key, err) != 0)
        return -1;
    scheduler->sched.wake = wake;
    scheduler->sched.wake_arg = scheduler;
    scheduler->round = event_new(service->base, -1, 0, on_round, scheduler);
    scheduler->timer = event_new(service->base, -1, 0, on_timer, scheduler);
    if (scheduler->round == NULL || scheduler->timer == NULL)
        return tn_err_set(err, TN_ERR_SYSTEM, "out of memory for the loop's events");
    if (tn_handle_restart(&scheduler->sched, err) != 0)
        return -1;
    /* 2. files that it may touch; before the first socket, whose thread is bound too */
    if (tn_confine_files(&confine, confinement, TN_CONFINE_TEXT, &unconfined) != 0)
        tn_warn("%s", unconfined.text);
    /* 3. sockets */
    service->on_stop = on_stop;
    if (tn_service_open_bus(service, on_message, scheduler, err) != 0)
        return -1;
    scheduler->sched.bus = service->bus;
    /* 4. system calls that it may use */
    if (tn_confine_syscalls(&confine, confinement, TN_CONFINE_TEXT, &unconfined) != 0)
        tn_warn("%s", unconfined.text);
    return 0;
}

int main(void)
{
    static struct scheduler scheduler; /* its tables are too large for a stack */
    char confinement[TN_CONFINE_TEXT] = "";
    struct tn_err err = TN_ERR_INIT;
    int code;

    tn_secret_guard(); /* contexts and variables of all pipelines */
    tn_secret_wipe_all();
    if (tn_service_init(&scheduler.service, "scheduler", &err) != 0 || start(&scheduler, confinement, &err) != 0)
        tn_fatal(3, "cannot start: %s", err.text);
    /* 5. ready, dispatch */
    tn_service_ready(&scheduler.service, confinement);
    wake(&scheduler);
    code = tn_service_run(&scheduler.service);
    scheduler.sched.bus = NULL;
    tn_sched_close(&scheduler.sched);
    event_free(scheduler.round);
    event_free(scheduler.timer);
    tn_service_close(&scheduler.service);
    return code;
}
