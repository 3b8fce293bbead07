#include "core/compiler/diag.h"

#include "core/compiler/limits.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
    unsigned number;
    const char *severity;
} kinds[] = {
#define DIAG(number, name, severity, text) [DIAG_##name] = {number, severity},
#include "core/compiler/diagnostics.def"
#undef DIAG
};

/* The stable code of a kind, e.g. "T2005". */
static const char *code_text(struct arena *arena, enum diag_code code)
{
    return arena__printf(arena, "T%u", kinds[code].number);
}

static void add_place(cJSON *object, struct diags *diags, struct place at)
{
    if (at.line == 0)
        return;
    cJSON_AddNumberToObject(object, "line", at.line);
    cJSON_AddNumberToObject(object, "column", at.column);
    if (at.end_column > at.column)
        cJSON_AddNumberToObject(object, "end_column", at.end_column);
    cJSON_AddStringToObject(object, "source_line", source__line(diags->source, diags->arena, at.line));
}

static void append(struct diags *diags, const struct report *report, const char *message)
{
    cJSON *object = cJSON_CreateObject();

    cJSON_AddStringToObject(object, "severity", kinds[report->code].severity);
    cJSON_AddStringToObject(object, "code", code_text(diags->arena, report->code));
    cJSON_AddStringToObject(object, "file", diags->file);
    add_place(object, diags, report->at);
    cJSON_AddStringToObject(object, "message", message);
    if (report->expected != NULL)
        cJSON_AddStringToObject(object, "expected", report->expected);
    if (report->hint != NULL)
        cJSON_AddStringToObject(object, "hint", report->hint);
    if (report->note.line != 0) {
        cJSON *note = cJSON_AddObjectToObject(object, "note");

        add_place(note, diags, report->note);
        cJSON_AddStringToObject(note, "message", report->note_text != NULL ? report->note_text : "defined here");
    }
    cJSON_AddItemToArray(diags->list, object);
}

/* A fault in a shared definition is said at its first use only, however its uses word it. */
static bool first_time(struct diags *diags, const struct report *report, const char *message)
{
    const struct place *own = report->fault_in_note ? &report->note : &report->at;
    char *fault = arena__printf(diags->arena, "%d:%u:%u", (int)report->code, own->line, own->column);
    char *whole = arena__printf(diags->arena, "%s:%s", fault, message);
    const struct place *use = table__get(&diags->seen, fault);
    struct place *at;

    if (use != NULL && report->fault_in_note && (use->line != report->at.line || use->column != report->at.column))
        return false;
    if (table__get(&diags->seen, whole) != NULL)
        return false;
    at = arena__alloc(diags->arena, sizeof(*at));
    *at = report->at;
    if (use == NULL)
        table__put(diags->arena, &diags->seen, fault, at);
    table__put(diags->arena, &diags->seen, whole, at);
    return true;
}

void diag__add(struct diags *diags, const struct report *report, const char *fmt, ...)
{
    char message[1024];
    va_list ap;
    int len;

    va_start(ap, fmt);
    len = vsnprintf(message, sizeof(message), fmt, ap);
    va_end(ap);
    /* A message that was cut must not end within a character. */
    if (len >= (int)sizeof(message)) {
        size_t end = sizeof(message) - 1;

        while (end > 0 && ((unsigned char)message[end - 1] & 0xc0) == 0x80)
            end--;
        message[end > 0 ? end - 1 : 0] = '\0';
    }
    if (diags->count > LIMIT_DIAGNOSTICS || !first_time(diags, report, message))
        return;
    /* Warnings never use up the room of errors. */
    if (strcmp(kinds[report->code].severity, "error") == 0)
        diags->errors++;
    else if (diags->count >= LIMIT_DIAGNOSTICS / 2)
        return;
    if (diags->count++ == LIMIT_DIAGNOSTICS) {
        append(diags, &(struct report){.code = DIAG_TOO_MANY, .at = report->at},
               "there are more messages; correct these first");
        diags->errors++;
        return;
    }
    append(diags, report, message);
}

/* `last`: the code of the message that comes behind all others. */
static double place_of(const cJSON *diagnostic, const char *last)
{
    const cJSON *line = cJSON_GetObjectItemCaseSensitive(diagnostic, "line");
    const cJSON *column = cJSON_GetObjectItemCaseSensitive(diagnostic, "column");
    const char *code = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(diagnostic, "code"));

    if (code != NULL && strcmp(code, last) == 0)
        return 1e18;
    return line == NULL || column == NULL ? 0 : line->valuedouble * 1e8 + column->valuedouble;
}

/* By insertion, so that messages of one place stay in their order: there are at most LIMIT_DIAGNOSTICS + 1. */
void diag__sort(struct diags *diags)
{
    const char *last = code_text(diags->arena, DIAG_TOO_MANY);
    cJSON *sorted[LIMIT_DIAGNOSTICS + 1];
    size_t count = 0;
    cJSON *item;

    while ((item = cJSON_DetachItemFromArray(diags->list, 0)) != NULL) {
        size_t at = count++;

        while (at > 0 && place_of(sorted[at - 1], last) > place_of(item, last)) {
            sorted[at] = sorted[at - 1];
            at--;
        }
        sorted[at] = item;
    }
    for (size_t i = 0; i < count; i++)
        cJSON_AddItemToArray(diags->list, sorted[i]);
}
