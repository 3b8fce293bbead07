#include "core/compiler/compiler.h"

#include <string.h>

#define WIDTH 160 /* characters of a line that are shown around the place */

struct style {
    const char *error;
    const char *warning;
    const char *place;
    const char *note;
    const char *off;
};

static const struct style plain = {"", "", "", "", ""};
static const struct style coloured = {"\033[1;31m", "\033[1;33m", "\033[1m", "\033[36m", "\033[0m"};

static const char *text_of(const cJSON *object, const char *name)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name));

    return text != NULL ? text : "";
}

static size_t number_of(const cJSON *object, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);

    return cJSON_IsNumber(item) && item->valuedouble >= 0 && item->valuedouble < 1e9 ? (size_t)item->valuedouble : 0;
}

static size_t char_size(const char *text)
{
    size_t size = 1;

    while (((unsigned char)text[size] & 0xc0) == 0x80)
        size++;
    return size;
}

/* C1 controls are two bytes in UTF-8, 0xc2 and 0x80..0x9f. */
static bool control(const char *text)
{
    return (unsigned char)text[0] < 0x20 || text[0] == 0x7f ||
           (text[0] == '\xc2' && (unsigned char)text[1] >= 0x80 && (unsigned char)text[1] < 0xa0);
}

/* A text of somebody else, for a terminal: line ends become spaces, control characters `?`. */
static void put_safe(struct tn_buf *out, const char *text)
{
    while (*text != '\0') {
        size_t size = char_size(text);

        if (control(text))
            tn_buf_adds(out, strchr("\t\r\n", *text) != NULL ? " " : "?");
        else
            tn_buf_add(out, text, size);
        text += size;
    }
}

/* Puts up to WIDTH characters of `line`, from character `from` on; returns how many. */
static size_t put_window(struct tn_buf *out, const char *line, size_t from)
{
    auto_buf struct tn_buf part = TN_BUF_INIT;
    size_t shown = 0;

    for (size_t at = 1; *line != '\0' && shown < WIDTH; at++) {
        size_t size = char_size(line);

        if (at == from && from > 1)
            tn_buf_adds(&part, "…");
        else if (at >= from)
            tn_buf_add(&part, line, size);
        shown += at >= from;
        line += size;
    }
    put_safe(out, part.data != NULL ? part.data : "");
    return shown;
}

static size_t length(const char *line)
{
    size_t count = 0;

    for (; *line != '\0'; line += char_size(line))
        count++;
    return count;
}

/* The line, cut to what is near the column, and a caret line below it. Of a very long line the message holds only the
 * begin: then there is no caret. */
static void put_line(struct tn_buf *out, const cJSON *object, const struct style *style, const char *mark_colour)
{
    const char *line = text_of(object, "source_line");
    size_t column = number_of(object, "column");
    size_t end = number_of(object, "end_column");
    size_t marks = end > column ? end - column : 1;
    bool beyond = column > length(line) + 1;
    size_t from = column > WIDTH / 2 && !beyond ? column - WIDTH / 2 : 1;
    size_t shown;

    tn_buf_addf(out, "%5zu | ", number_of(object, "line"));
    shown = put_window(out, line, from);
    tn_buf_adds(out, "\n");
    if (beyond)
        return;
    tn_buf_addf(out, "      | %*s%s", (int)(column - from), "", mark_colour);
    if (from + shown > column && marks > from + shown - column)
        marks = from + shown - column;
    for (size_t i = 0; i < marks && i < WIDTH; i++)
        tn_buf_adds(out, "^");
    tn_buf_addf(out, "%s\n", style->off);
}

static void put_extra(struct tn_buf *out, const char *label, const char *text)
{
    if (text[0] == '\0')
        return;
    tn_buf_addf(out, "      = %s: ", label);
    put_safe(out, text);
    tn_buf_adds(out, "\n");
}

static void put_one(struct tn_buf *out, const cJSON *diagnostic, const struct style *style)
{
    const cJSON *note = cJSON_GetObjectItemCaseSensitive(diagnostic, "note");
    const char *severity = text_of(diagnostic, "severity");
    const char *colour = strcmp(severity, "error") == 0 ? style->error : style->warning;

    tn_buf_adds(out, style->place);
    put_safe(out, text_of(diagnostic, "file"));
    tn_buf_addf(out, ":%zu:%zu:%s %s%s %s:%s ", number_of(diagnostic, "line"), number_of(diagnostic, "column"),
                style->off, colour, severity, text_of(diagnostic, "code"), style->off);
    put_safe(out, text_of(diagnostic, "message"));
    tn_buf_adds(out, "\n");
    put_line(out, diagnostic, style, colour);
    put_extra(out, "expected", text_of(diagnostic, "expected"));
    put_extra(out, "hint", text_of(diagnostic, "hint"));
    if (note == NULL)
        return;
    tn_buf_addf(out, "      %s= note:%s line %zu: ", style->note, style->off, number_of(note, "line"));
    put_safe(out, text_of(note, "message"));
    tn_buf_adds(out, "\n");
    put_line(out, note, style, style->note);
}

void tn_diagnostics_render(const cJSON *diagnostics, struct tn_buf *out, bool colour)
{
    const cJSON *diagnostic;

    cJSON_ArrayForEach (diagnostic, diagnostics) {
        put_one(out, diagnostic, colour ? &coloured : &plain);
    }
}
