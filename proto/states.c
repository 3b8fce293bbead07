#include "proto/states.h"

#include <string.h>

static const struct {
    const char *name;
    bool terminal;
} states[] = {
#define ROW(name_, text, terminal_) [TN_TASK_##name_] = {text, terminal_},
    TN_TASK_STATES(ROW)
#undef ROW
};

#define BIT(name) (1u << TN_TASK_##name)
#define ENDS (BIT(FAILED) | BIT(CANCELED) | BIT(TIMED_OUT) | BIT(INFRASTRUCTURE_FAILURE))

static const unsigned followers[TN_TASK_STATE_COUNT] = {
    [TN_TASK_QUEUED] =
        BIT(LEASED) | BIT(FAILED) | BIT(CANCELED) | BIT(NOT_RUN) | BIT(INFRASTRUCTURE_FAILURE) | BIT(SUCCEEDED),
    [TN_TASK_LEASED] = BIT(PREPARING) | BIT(RUNNING) | BIT(SUCCEEDED) | ENDS | BIT(QUEUED),
    [TN_TASK_PREPARING] = BIT(RUNNING) | BIT(SUCCEEDED) | ENDS | BIT(QUEUED),
    [TN_TASK_RUNNING] = BIT(SUCCEEDED) | ENDS | BIT(QUEUED),
};

const char *tn_task_state_name(enum tn_task_state state)
{
    return (unsigned)state < TN_TASK_STATE_COUNT ? states[state].name : "?";
}

int tn_task_state_parse(const char *name)
{
    for (int i = 0; i < TN_TASK_STATE_COUNT; i++)
        if (name != NULL && strcmp(states[i].name, name) == 0)
            return i;
    return -1;
}

bool tn_task_state_terminal(enum tn_task_state state)
{
    return (unsigned)state < TN_TASK_STATE_COUNT && states[state].terminal;
}

bool tn_task_state_follows(enum tn_task_state from, enum tn_task_state to)
{
    return (unsigned)from < TN_TASK_STATE_COUNT && (followers[from] & 1u << to) != 0;
}
