#include "tools/envfile.h"

#include "core/lib/buf.h"
#include "core/lib/fs.h"
#include "core/lib/log.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

void pairs_add(struct pairs *pairs, const char *name, size_t name_length, const char *value)
{
    struct pair *items = reallocarray(pairs->items, pairs->count + 1, sizeof(*items));

    if (items == NULL)
        tn_fatal(3, "out of memory: %zu variables", pairs->count);
    pairs->items = items;
    items[pairs->count].name = tn_fs_path("%.*s", (int)name_length, name);
    items[pairs->count].value = tn_fs_path("%s", value);
    pairs->count++;
}

void pairs_free(struct pairs *pairs)
{
    for (size_t i = 0; i < pairs->count; i++) {
        free(pairs->items[i].name);
        free(pairs->items[i].value);
    }
    free(pairs->items);
    memset(pairs, 0, sizeof(*pairs));
}

cJSON *pairs_json(const struct pairs *pairs)
{
    cJSON *object = cJSON_CreateObject();

    for (size_t i = 0; i < pairs->count; i++) {
        cJSON_DeleteItemFromObjectCaseSensitive(object, pairs->items[i].name);
        cJSON_AddStringToObject(object, pairs->items[i].name, pairs->items[i].value);
    }
    return object;
}

static bool name_character(char c, bool first)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_' || (!first && c >= '0' && c <= '9');
}

/* Bytes of the name at the start of `text`; 0 if none is there. */
static size_t name_length(const char *text, const char *end)
{
    const char *p = text;

    while (p < end && name_character(*p, p == text))
        p++;
    return (size_t)(p - text);
}

int env_assignment(struct pairs *pairs, const char *option, const char *text, struct tn_err *err)
{
    const char *equals = strchr(text, '=');
    size_t length = name_length(text, text + strlen(text));

    if (equals == NULL)
        return tn_err_set(err, TN_ERR_USAGE, "%s %s: there is no \"=\"; expected NAME=VALUE", option, text);
    if (length == 0 || text + length != equals)
        return tn_err_set(err, TN_ERR_USAGE,
                          "%s: \"%.*s\" is no name of a variable; expected letters, digits and \"_\", no digit first",
                          option, (int)(equals - text), text);
    pairs_add(pairs, text, length, equals + 1);
    return 0;
}

struct reader {
    const char *file;
    const char *at;
    const char *end;
    unsigned line;
};

static bool blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static void skip_blanks(struct reader *reader)
{
    while (reader->at < reader->end && blank(*reader->at))
        reader->at++;
}

static void skip_line(struct reader *reader)
{
    while (reader->at < reader->end && *reader->at != '\n')
        reader->at++;
}

static int wrong(const struct reader *reader, unsigned line, struct tn_err *err, const char *text)
{
    return tn_err_set(err, TN_ERR_USAGE, "%s:%u: %s", reader->file, line, text);
}

static void take_escape(struct reader *reader, struct tn_buf *value)
{
    char c = *reader->at;

    if (c == 'n')
        tn_buf_add(value, "\n", 1);
    else if (c == '\\' || c == '"' || c == '$' || c == '`')
        tn_buf_add(value, &c, 1);
    else if (c != '\n') /* an escaped end of line joins the lines */
        tn_buf_add(value, (const char[]){'\\', c}, 2);
    if (c == '\n')
        reader->line++;
    reader->at++;
}

static int quoted(struct reader *reader, struct tn_buf *value, struct tn_err *err)
{
    char quote = *reader->at++;
    unsigned begin = reader->line;

    while (reader->at < reader->end && *reader->at != quote) {
        if (*reader->at == '\\' && quote == '"' && reader->at + 1 < reader->end) {
            reader->at++;
            take_escape(reader, value);
            continue;
        }
        if (*reader->at == '\n')
            reader->line++;
        tn_buf_add(value, reader->at++, 1);
    }
    if (reader->at == reader->end)
        return wrong(reader, begin, err,
                     quote == '"' ? "the double quote that begins the value has no end"
                                  : "the single quote that begins the value has no end");
    reader->at++;
    skip_blanks(reader);
    if (reader->at < reader->end && *reader->at != '\n' && *reader->at != '#')
        return wrong(reader, reader->line, err, "there is text behind the closing quote; quote the whole value");
    return 0;
}

static void unquoted(struct reader *reader, struct tn_buf *value)
{
    const char *begin = reader->at;
    const char *end;

    while (reader->at < reader->end && *reader->at != '\n' &&
           !(*reader->at == '#' && reader->at > begin && blank(reader->at[-1])))
        reader->at++;
    for (end = reader->at; end > begin && blank(end[-1]);)
        end--;
    tn_buf_add(value, begin, (size_t)(end - begin));
}

static int assignment(struct reader *reader, struct pairs *pairs, struct tn_err *err)
{
    auto_buf struct tn_buf value = TN_BUF_INIT;
    const char *name;
    size_t length;

    if (reader->end - reader->at > 7 && memcmp(reader->at, "export", 6) == 0 && blank(reader->at[6])) {
        reader->at += 7;
        skip_blanks(reader);
    }
    name = reader->at;
    length = name_length(name, reader->end);
    if (length == 0)
        return wrong(reader, reader->line, err,
                     "expected NAME=VALUE with a name of letters, digits and \"_\", no digit first");
    reader->at += length;
    if (reader->at == reader->end || *reader->at != '=')
        return wrong(reader, reader->line, err, "expected \"=\" right behind the variable's name");
    reader->at++;
    tn_buf_adds(&value, "");
    if (reader->at < reader->end && (*reader->at == '"' || *reader->at == '\'')) {
        if (quoted(reader, &value, err) != 0)
            return -1;
    } else {
        unquoted(reader, &value);
    }
    pairs_add(pairs, name, length, value.data != NULL ? value.data : "");
    return 0;
}

int env_file(struct pairs *pairs, const char *file, const char *text, size_t length, struct tn_err *err)
{
    struct reader reader = {file, text, text + length, 1};

    if (length >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
        reader.at += 3;
    if (memchr(text, '\0', length) != NULL)
        return tn_err_set(err, TN_ERR_USAGE, "%s: there is a NUL byte in it; expected text with NAME=VALUE lines",
                          file);
    while (reader.at < reader.end) {
        skip_blanks(&reader);
        if (reader.at < reader.end && *reader.at != '\n' && *reader.at != '#' && assignment(&reader, pairs, err) != 0)
            return -1;
        skip_line(&reader);
        if (reader.at < reader.end) {
            reader.at++;
            reader.line++;
        }
    }
    return 0;
}
