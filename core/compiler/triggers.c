#include "core/compiler/triggers.h"

#include "core/compiler/filters.h"
#include "core/compiler/view.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char *const months[] = {"JAN", "FEB", "MAR", "APR", "MAY", "JUN",
                                     "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"};
static const char *const days[] = {"SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"};

/* The five fields of a schedule, as crontab(5) has them. */
static const struct cron_field {
    const char *name;
    long min;
    long max;
    const char *const *names;
    size_t name_count;
} cron_fields[] = {
    {"minute", 0, 59, NULL, 0},   {"hour", 0, 23, NULL, 0},           {"day of the month", 1, 31, NULL, 0},
    {"month", 1, 12, months, 12}, {"day of the week", 0, 7, days, 7},
};

/* A number, or a name of this field. Moves `text` behind it. */
static bool cron_value(const struct cron_field *field, const char **text, long *out)
{
    char *end;

    for (size_t i = 0; i < field->name_count; i++) {
        if (strncasecmp(*text, field->names[i], 3) == 0) {
            *out = field->min + (long)i;
            *text += 3;
            return true;
        }
    }
    if (strspn(*text, "0123456789") == 0 || strspn(*text, "0123456789") > 2)
        return false;
    *out = strtol(*text, &end, 10);
    *text = end;
    return *out >= field->min && *out <= field->max;
}

/* "*", "5", "1-5", each with "/step" or not. Moves `text` behind it. */
static bool cron_range(const struct cron_field *field, const char **text)
{
    long first = field->min;
    long last = field->max;
    long step;
    char *end;

    if (**text == '*')
        (*text)++;
    else if (!cron_value(field, text, &first))
        return false; /* NOLINT(bugprone-branch-clone): one number after the other */
    else if (**text == '-' && ((*text)++, !cron_value(field, text, &last) || last < first))
        return false;
    if (**text != '/')
        return true;
    (*text)++;
    if (strspn(*text, "0123456789") == 0 || strspn(*text, "0123456789") > 2)
        return false;
    step = strtol(*text, &end, 10);
    *text = end;
    return step >= 1;
}

static bool cron_list(const struct cron_field *field, const char *text)
{
    while (cron_range(field, &text)) {
        if (*text == '\0')
            return true;
        if (*text++ != ',')
            return false;
    }
    return false;
}

static void check_cron(struct compiler *c, const struct view *cron)
{
    static const char blanks[] = " \t\n";
    char *rest;
    char *word;
    size_t count = 0;

    if (cron->kind == VIEW_UNKNOWN)
        return;
    if (cron->kind != VIEW_SCALAR || cron->type == SCALAR_NULL) {
        compiler__report(c, cron, &(struct report){.code = DIAG_WRONG_TYPE, .expected = "five fields: 0 3 * * MON-FRI"},
                         "`cron` of a schedule must be a text, but is %s", view__describe(c, cron));
        return;
    }
    rest = arena__text(c->arena, cron->text, cron->len);
    for (word = strtok_r(rest, blanks, &rest); word != NULL; word = strtok_r(NULL, blanks, &rest), count++) {
        if (count < 5 && !cron_list(&cron_fields[count], word)) {
            compiler__report(c, cron,
                             &(struct report){.code = DIAG_BAD_VALUE,
                                              .expected = "numbers, ranges a-b, lists a,b and steps */n, in UTC"},
                             "the %s of this schedule is `%.60s`, which is not allowed", cron_fields[count].name, word);
            return;
        }
    }
    if (count != 5)
        compiler__report(c, cron,
                         &(struct report){.code = DIAG_BAD_VALUE,
                                          .expected = "minute, hour, day of the month, month, day of the week"},
                         "a schedule has five fields, but this one has %zu", count);
}

static void check_schedule(struct compiler *c, const struct view *schedule)
{
    static const struct key_rule keys[] = {{"cron", KEY_OK}, {"filters", KEY_OK}};
    struct view cron;
    struct view filters;

    if (schedule->kind == VIEW_UNKNOWN || !view__check_keys(c, schedule, "a schedule", keys, 2))
        return;
    cron = view__get(c, schedule, "cron");
    filters = view__get(c, schedule, "filters");
    if (cron.kind == VIEW_NONE)
        compiler__report(c, schedule, &(struct report){.code = DIAG_MISSING_KEY}, "a schedule has no `cron`");
    else
        check_cron(c, &cron);
    filters__allow(c, &filters);
}

bool triggers__scheduled(struct compiler *c, const struct view *workflow)
{
    static const struct key_rule keys[] = {{"schedule", KEY_OK}};
    struct view triggers = view__get(c, workflow, "triggers");

    if (view__is_null(&triggers))
        return false;
    if (triggers.kind == VIEW_UNKNOWN)
        return true;
    if (triggers.kind != VIEW_SEQ) {
        compiler__report(c, &triggers, &(struct report){.code = DIAG_WRONG_TYPE, .expected = "a list of schedules"},
                         "`triggers` must be a list, but is %s", view__describe(c, &triggers));
        return true;
    }
    for (size_t i = 0; i < view__count(&triggers) && !c->stop; i++) {
        struct view item = view__item(c, &triggers, i);
        struct view schedule;

        if (item.kind == VIEW_UNKNOWN || !view__check_keys(c, &item, "a trigger", keys, 1))
            continue;
        schedule = view__get(c, &item, "schedule");
        if (schedule.kind == VIEW_NONE)
            compiler__report(c, &item, &(struct report){.code = DIAG_MISSING_KEY}, "a trigger has no `schedule`");
        else
            check_schedule(c, &schedule);
    }
    return true;
}
