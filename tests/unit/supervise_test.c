/* The supervision table: every path that tenond relies on, backoff, and the tally. */
#include "core/kernel/supervise.h"
#include "tests/unit/check.h"

static const struct tn_supervision fresh = {.ready_ms = 10000, .heartbeat_ms = 15000, .stop_ms = 5000};

static unsigned at(struct tn_supervision *sup, enum tn_sup_event event, uint64_t now)
{
    bool same;

    return tn_sup_step(sup, event, now, &same);
}

static bool ignored(struct tn_supervision *sup, enum tn_sup_event event)
{
    const struct tn_supervision before = *sup;
    bool same;
    unsigned actions = tn_sup_step(sup, event, 1, &same);

    return same && actions == 0 && memcmp(&before, sup, sizeof(before)) == 0;
}

static void check_timer(const struct tn_supervision *sup, unsigned ms, enum tn_sup_event event)
{
    CHECK_INT(sup->timer_ms, ms);
    if (ms != 0)
        CHECK_INT(sup->timer_event, event);
}

static void test_life(void)
{
    struct tn_supervision sup = fresh;

    CHECK_INT(at(&sup, TN_SUP_ON_START, 0), TN_SUP_DO_ADD);
    CHECK_STR(tn_sup_state_name(sup.state), "adding");
    check_timer(&sup, 0, TN_SUP_ON_START);
    CHECK_INT(at(&sup, TN_SUP_ON_ADDED, 0), TN_SUP_DO_SPAWN);
    check_timer(&sup, 10000, TN_SUP_ON_READY_LATE);
    CHECK(ignored(&sup, TN_SUP_ON_ADDED)); /* the bus came back and answers again */
    CHECK(ignored(&sup, TN_SUP_ON_HEARTBEAT));
    CHECK_INT(at(&sup, TN_SUP_ON_READY, 5), TN_SUP_DO_TELL_UP);
    check_timer(&sup, 15000, TN_SUP_ON_HEARTBEAT_LATE);
    CHECK_INT(at(&sup, TN_SUP_ON_HEARTBEAT, 3000), 0);
    check_timer(&sup, 15000, TN_SUP_ON_HEARTBEAT_LATE);
    CHECK_INT(at(&sup, TN_SUP_ON_READY, 3001), 0); /* sent twice: told once */
    CHECK_INT(at(&sup, TN_SUP_ON_STOP, 4000), TN_SUP_DO_TERM);
    check_timer(&sup, 5000, TN_SUP_ON_STOP_LATE);
    CHECK(ignored(&sup, TN_SUP_ON_STOP));
    CHECK_INT(at(&sup, TN_SUP_ON_STOP_LATE, 9000), TN_SUP_DO_KILL);
    CHECK_INT(at(&sup, TN_SUP_ON_EXITED, 9001), TN_SUP_DO_TELL_DOWN);
    CHECK_INT(sup.state, TN_SUP_STOPPED);
    check_timer(&sup, 0, TN_SUP_ON_START);
    CHECK_INT(sup.restarts, 0);
    CHECK(ignored(&sup, TN_SUP_ON_STOP));
}

static void test_deadlines(void)
{
    struct tn_supervision sup = fresh;

    at(&sup, TN_SUP_ON_START, 0);
    at(&sup, TN_SUP_ON_ADDED, 0);
    CHECK_INT(at(&sup, TN_SUP_ON_READY_LATE, 10000), TN_SUP_DO_KILL);
    CHECK_INT(sup.state, TN_SUP_STARTING);
    CHECK_INT(at(&sup, TN_SUP_ON_EXITED, 10001), TN_SUP_DO_TELL_DOWN);
    check_timer(&sup, 1, TN_SUP_ON_BACKOFF_OVER); /* the first time: at once */
    CHECK_INT(at(&sup, TN_SUP_ON_BACKOFF_OVER, 10002), TN_SUP_DO_ADD);
    at(&sup, TN_SUP_ON_ADDED, 10003);
    CHECK_INT(sup.restarts, 1);
    at(&sup, TN_SUP_ON_READY, 10004);
    CHECK_INT(at(&sup, TN_SUP_ON_HEARTBEAT_LATE, 30000), TN_SUP_DO_KILL);
    check_timer(&sup, 15000, TN_SUP_ON_HEARTBEAT_LATE); /* and again, should that not help */
}

/* One crash, and back to `starting`; returns the wait. */
static unsigned crash(struct tn_supervision *sup, uint64_t now)
{
    unsigned wait;

    at(sup, TN_SUP_ON_EXITED, now);
    if (sup->state != TN_SUP_BACKOFF)
        return 0;
    wait = sup->timer_ms - 1;
    at(sup, TN_SUP_ON_BACKOFF_OVER, now + wait);
    at(sup, TN_SUP_ON_ADDED, now + wait);
    return wait;
}

static void test_backoff_and_tally(void)
{
    static const unsigned waits[] = {0, 100, 200, 400, 800, 1600, 3200, 6400, 10000, 10000};
    struct tn_supervision sup = fresh;
    uint64_t now = 1000;

    at(&sup, TN_SUP_ON_START, now);
    at(&sup, TN_SUP_ON_ADDED, now);
    for (size_t i = 0; i < sizeof(waits) / sizeof(waits[0]); i++) {
        unsigned wait = crash(&sup, now);

        CHECK_INT(wait, waits[i]);
        now += wait;
    }
    CHECK_INT(sup.restarts, TN_CRASH_MAX);
    CHECK_INT(at(&sup, TN_SUP_ON_EXITED, now), TN_SUP_DO_TELL_FAILED);
    CHECK_INT(sup.state, TN_SUP_FAILED);
    check_timer(&sup, 0, TN_SUP_ON_START);
    CHECK(ignored(&sup, TN_SUP_ON_STOP));
    CHECK(ignored(&sup, TN_SUP_ON_BACKOFF_OVER));
    CHECK_INT(at(&sup, TN_SUP_ON_START, now), TN_SUP_DO_ADD);
}

/* Crashes that are old do not count, however many there were. */
static void test_old_crashes(void)
{
    struct tn_supervision sup = fresh;

    at(&sup, TN_SUP_ON_START, 0);
    at(&sup, TN_SUP_ON_ADDED, 0);
    for (unsigned i = 1; i <= 100; i++)
        CHECK_INT(crash(&sup, (uint64_t)i * TN_CRASH_WINDOW_MS), 0);
    CHECK_INT(sup.state, TN_SUP_STARTING);
    CHECK_INT(sup.restarts, 100);
}

static void test_hopeless(void)
{
    struct tn_supervision sup = fresh;

    at(&sup, TN_SUP_ON_START, 0);
    CHECK_INT(at(&sup, TN_SUP_ON_HOPELESS, 0), TN_SUP_DO_TELL_FAILED);
    CHECK_STR(tn_sup_state_name(sup.state), "failed");

    sup = fresh;
    at(&sup, TN_SUP_ON_START, 0);
    CHECK_INT(at(&sup, TN_SUP_ON_STOP, 0), 0); /* nothing runs yet */
    CHECK_INT(sup.state, TN_SUP_STOPPED);
    CHECK(ignored(&sup, TN_SUP_ON_ADDED)); /* the bus's answer comes too late */

    sup = fresh;
    at(&sup, TN_SUP_ON_START, 0);
    at(&sup, TN_SUP_ON_ADDED, 0);
    at(&sup, TN_SUP_ON_EXITED, 0);
    CHECK_INT(at(&sup, TN_SUP_ON_STOP, 0), 0);
    CHECK_INT(sup.state, TN_SUP_STOPPED);
    CHECK_STR(tn_sup_state_name((enum tn_sup_state)99), "?");
}

int main(void)
{
    test_life();
    test_deadlines();
    test_backoff_and_tally();
    test_old_crashes();
    test_hopeless();
    return tn_check_result();
}
