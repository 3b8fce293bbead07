/* The states of an attempt: names, ends, and which follows which. */
#include "proto/states.h"
#include "tests/unit/check.h"

int main(void)
{
    unsigned terminal = 0;

    for (int from = 0; from < TN_TASK_STATE_COUNT; from++) {
        enum tn_task_state state = (enum tn_task_state)from;

        CHECK_INT(tn_task_state_parse(tn_task_state_name(state)), from);
        CHECK(!tn_task_state_follows(state, state));
        terminal += tn_task_state_terminal(state) ? 1 : 0;
        for (int to = 0; to < TN_TASK_STATE_COUNT; to++)
            if (tn_task_state_terminal(state))
                CHECK(!tn_task_state_follows(state, (enum tn_task_state)to));
    }
    CHECK_INT(terminal, 6);
    CHECK(tn_task_state_follows(TN_TASK_QUEUED, TN_TASK_LEASED));
    CHECK(tn_task_state_follows(TN_TASK_LEASED, TN_TASK_PREPARING));
    CHECK(tn_task_state_follows(TN_TASK_PREPARING, TN_TASK_RUNNING));
    CHECK(tn_task_state_follows(TN_TASK_RUNNING, TN_TASK_SUCCEEDED));
    CHECK(tn_task_state_follows(TN_TASK_RUNNING, TN_TASK_QUEUED)); /* a new attempt */
    CHECK(!tn_task_state_follows(TN_TASK_RUNNING, TN_TASK_PREPARING));
    CHECK(!tn_task_state_follows(TN_TASK_RUNNING, TN_TASK_NOT_RUN));
    CHECK(!tn_task_state_follows(TN_TASK_QUEUED, TN_TASK_RUNNING));
    CHECK(!tn_task_state_follows((enum tn_task_state)99, TN_TASK_QUEUED));
    CHECK_INT(tn_task_state_parse("Running"), -1);
    CHECK_INT(tn_task_state_parse(NULL), -1);
    CHECK_STR(tn_task_state_name((enum tn_task_state)99), "?");
    return tn_check_result();
}
