#include "core/compiler/fields.h"

#include "core/compiler/limits.h"
#include "core/lib/units.h"

#include <string.h>

#define MOST_FIELDS 24

static bool wrong_type(struct compiler *c, const struct view *value, const char *what, const char *name,
                       const char *expected)
{
    compiler__report(c, value, &(struct report){.code = DIAG_WRONG_TYPE, .expected = expected},
                     "`%s` of %s must be %s, but is %s", name, what, expected, view__describe(c, value));
    return false;
}

static bool read_duration(struct compiler *c, const struct view *value, const char *what, const struct field *field,
                          cJSON *out)
{
    double seconds;

    if (value->kind != VIEW_SCALAR || !tn_units_duration(value->text, field->days, &seconds)) {
        compiler__report(c, value,
                         &(struct report){.code = DIAG_BAD_DURATION,
                                          .expected = field->days ? "a number with a unit: 30m, 12h, 15d"
                                                                  : "a number with a unit: 30s, 10m, 1.25h"},
                         "`%s` of %s is %s, which is not a duration", field->name, what, view__describe(c, value));
        return false;
    }
    if (field->max > 0 && seconds > (double)field->max) {
        compiler__report(c, value, &(struct report){.code = DIAG_BAD_DURATION},
                         "`%s` of %s is %s; the longest is %lld seconds", field->name, what, view__describe(c, value),
                         field->max);
        return false;
    }
    cJSON_AddNumberToObject(out, field->name, seconds);
    return true;
}

static bool read_size(struct compiler *c, const struct view *value, const char *what, const struct field *field,
                      cJSON *out)
{
    double bytes;

    if (value->kind != VIEW_SCALAR || !tn_units_size(value->text, &bytes))
        return wrong_type(c, value, what, field->name, "a size: 512MB, 10GB, 1.5TB");
    cJSON_AddNumberToObject(out, field->name, bytes);
    return true;
}

static bool read_choice(struct compiler *c, const struct view *value, const char *what, const struct field *field,
                        cJSON *out)
{
    size_t count = 0;

    while (field->choices[count] != NULL) {
        if (value->kind == VIEW_SCALAR && strcmp(field->choices[count], value->text) == 0) {
            cJSON_AddStringToObject(out, field->name, value->text);
            return true;
        }
        count++;
    }
    if (value->kind == VIEW_SCALAR && field->later != NULL && strcmp(field->later, value->text) == 0) {
        compiler__report(c, value, &(struct report){.code = DIAG_UNSUPPORTED},
                         "`%s: %s` of %s is not supported by this version of Tenon yet", field->name, value->text,
                         what);
        return false;
    }
    compiler__report(c, value,
                     &(struct report){.code = DIAG_BAD_VALUE,
                                      .expected = compiler__list(c, field->choices, count),
                                      .hint = value->kind == VIEW_SCALAR
                                                  ? suggest__did_you_mean(c->diags, value->text, field->choices, count)
                                                  : NULL},
                     "`%s` of %s is %s, which is not allowed", field->name, what, view__describe(c, value));
    return false;
}

static bool read_int(struct compiler *c, const struct view *value, const char *what, const struct field *field,
                     cJSON *out)
{
    const char *expected = arena__printf(c->arena, "a whole number from %lld to %lld", field->min, field->max);
    long long number;

    if (value->kind != VIEW_SCALAR || !view__parse_int(value->text, &number))
        return wrong_type(c, value, what, field->name, expected);
    if (number < field->min || number > field->max) {
        compiler__report(c, value, &(struct report){.code = DIAG_BAD_VALUE, .expected = expected},
                         "`%s` of %s cannot be %lld", field->name, what, number);
        return false;
    }
    cJSON_AddNumberToObject(out, field->name, (double)number);
    return true;
}

static bool read_text(struct compiler *c, const struct view *value, const char *what, const struct field *field,
                      cJSON *out)
{
    if (value->kind != VIEW_SCALAR || value->type == SCALAR_NULL)
        return wrong_type(c, value, what, field->name, "a text");
    cJSON_AddStringToObject(out, field->name, value->text);
    return true;
}

static bool read_texts(struct compiler *c, const struct view *value, const char *what, const struct field *field,
                       cJSON *out)
{
    cJSON *list;
    bool good = true;

    if (value->kind == VIEW_SCALAR && value->type != SCALAR_NULL) {
        cJSON_AddItemToArray(cJSON_AddArrayToObject(out, field->name), cJSON_CreateString(value->text));
        return true;
    }
    if (value->kind != VIEW_SEQ || view__count(value) == 0)
        return wrong_type(c, value, what, field->name, "a list of texts that is not empty");
    list = cJSON_AddArrayToObject(out, field->name);
    for (size_t i = 0; i < view__count(value) && !c->stop; i++) {
        struct view item = view__item(c, value, i);

        if (item.kind == VIEW_UNKNOWN)
            continue;
        if (item.kind != VIEW_SCALAR || item.type == SCALAR_NULL)
            good = wrong_type(c, &item, what, field->name, "a list of texts");
        else
            cJSON_AddItemToArray(list, cJSON_CreateString(item.text));
    }
    return good;
}

/* Splits at spaces as a shell does, with quotes and backslashes. Returns false if a quote is not closed. */
static bool split_words(const char *text, cJSON *list)
{
    auto_buf struct tn_buf word = TN_BUF_INIT;
    bool in_word = false;
    char quote = '\0';

    for (; *text != '\0'; text++) {
        if (quote == '\0' && strchr(" \t\n", *text) != NULL) {
            if (in_word)
                cJSON_AddItemToArray(list, cJSON_CreateString(word.data != NULL ? word.data : ""));
            tn_buf_reset(&word);
            in_word = false;
            continue;
        }
        in_word = true;
        if (quote == '\0' && (*text == '\'' || *text == '"'))
            quote = *text;
        else if (*text == quote)
            quote = '\0';
        else if (*text == '\\' && quote != '\'' && text[1] != '\0')
            tn_buf_add(&word, ++text, 1);
        else
            tn_buf_add(&word, text, 1);
    }
    if (in_word)
        cJSON_AddItemToArray(list, cJSON_CreateString(word.data != NULL ? word.data : ""));
    return quote == '\0';
}

static bool read_argv(struct compiler *c, const struct view *value, const char *what, const struct field *field,
                      cJSON *out)
{
    if (value->kind == VIEW_SEQ)
        return read_texts(c, value, what, field, out);
    if (value->kind != VIEW_SCALAR || value->type == SCALAR_NULL)
        return wrong_type(c, value, what, field->name, "a text or a list of texts");
    if (split_words(value->text, cJSON_AddArrayToObject(out, field->name)))
        return true;
    compiler__report(c, value, &(struct report){.code = DIAG_BAD_VALUE}, "`%s` of %s has a quote that is not closed",
                     field->name, what);
    return false;
}

static bool read_bool(struct compiler *c, const struct view *value, const char *what, const struct field *field,
                      cJSON *out)
{
    bool flag;

    if (value->kind != VIEW_SCALAR || !view__parse_bool(value->text, &flag))
        return wrong_type(c, value, what, field->name, "true or false");
    cJSON_AddBoolToObject(out, field->name, flag);
    return true;
}

static bool read_env(struct compiler *c, const struct view *value, const char *what, const struct field *field,
                     cJSON *out)
{
    struct env env = {.list = cJSON_CreateArray()};
    bool good = fields__add_env(c, &env, value, what);

    cJSON_AddItemToObject(out, field->name, env.list);
    return good;
}

bool fields__read_one(struct compiler *c, const struct view *value, const char *what, const struct field *field,
                      cJSON *out)
{
    if (value->kind == VIEW_UNKNOWN)
        return true;
    switch (field->kind) {
    case FIELD_TEXT:
        return read_text(c, value, what, field, out);
    case FIELD_BOOL:
        return read_bool(c, value, what, field, out);
    case FIELD_INT:
        return read_int(c, value, what, field, out);
    case FIELD_DURATION:
        return read_duration(c, value, what, field, out);
    case FIELD_SIZE:
        return read_size(c, value, what, field, out);
    case FIELD_CHOICE:
        return read_choice(c, value, what, field, out);
    case FIELD_TEXTS:
        return read_texts(c, value, what, field, out);
    case FIELD_ARGV:
        return read_argv(c, value, what, field, out);
    case FIELD_ENV:
        return read_env(c, value, what, field, out);
    case FIELD_OTHER:
    case FIELD_REFUSED:
        break;
    }
    return true;
}

bool fields__read(struct compiler *c, const struct view *map, const char *what, const struct field *fields,
                  size_t count, cJSON *out)
{
    struct key_rule rules[MOST_FIELDS] = {0};
    size_t faults = c->faults;
    bool good = true;
    bool misspelt;

    if (map->kind == VIEW_UNKNOWN)
        return true;
    for (size_t i = 0; i < count && i < MOST_FIELDS; i++)
        rules[i] = (struct key_rule){fields[i].name, fields[i].kind == FIELD_REFUSED ? KEY_REFUSED : KEY_OK};
    if (!view__check_keys(c, map, what, rules, count))
        return false;
    misspelt = c->faults > faults; /* then what is missing may be what is unknown */
    for (size_t i = 0; i < count && !c->stop; i++) {
        struct view value = view__get(c, map, fields[i].name);

        if (value.kind != VIEW_NONE) {
            good = fields__read_one(c, &value, what, &fields[i], out) && good;
        } else if (fields[i].fallback != NULL) {
            cJSON_AddStringToObject(out, fields[i].name, fields[i].fallback);
        } else if (fields[i].required) {
            good = false;
            if (misspelt)
                continue;
            compiler__report(c, map, &(struct report){.code = DIAG_MISSING_KEY}, "%s has no `%s`", what,
                             fields[i].name);
        }
    }
    return good;
}

/* ---- environments ---- */

static bool put_env(struct compiler *c, struct env *env, const struct view *at, const char *name, const char *value)
{
    cJSON *pair = table__get(&env->index, name);

    if (name[0] == '\0' || strchr(name, '=') != NULL) {
        compiler__report(c, at, &(struct report){.code = DIAG_BAD_NAME, .expected = "letters, digits and `_`"},
                         "`%.100s` is not the name of an environment variable", name);
        return false;
    }
    if (pair != NULL) {
        cJSON_ReplaceItemInArray(pair, 1, cJSON_CreateString(value));
        return true;
    }
    pair = cJSON_CreateArray();
    cJSON_AddItemToArray(pair, cJSON_CreateString(name));
    cJSON_AddItemToArray(pair, cJSON_CreateString(value));
    cJSON_AddItemToArray(env->list, pair);
    table__put(c->arena, &env->index, name, pair);
    return true;
}

static bool add_env_map(struct compiler *c, struct env *env, const struct view *map, const char *what)
{
    bool good = true;

    for (size_t i = 0; i < view__count(map) && !c->stop; i++) {
        struct view key;
        struct view value = view__pair(c, map, i, &key);
        struct view name = view__of(c, key.node, map->scope);

        if (value.kind == VIEW_UNKNOWN || name.kind == VIEW_UNKNOWN)
            continue;
        if (value.kind != VIEW_SCALAR) {
            compiler__report(c, &value, &(struct report){.code = DIAG_WRONG_TYPE, .expected = "a single value"},
                             "the environment variable `%.100s` of %s is %s", key.text, what,
                             view__describe(c, &value));
            good = false;
            continue;
        }
        good = put_env(c, env, &key, name.kind == VIEW_SCALAR ? name.text : key.text,
                       value.type == SCALAR_NULL ? "" : value.text) &&
               good;
    }
    return good;
}

static bool add_env_item(struct compiler *c, struct env *env, const struct view *item, const char *what)
{
    const char *equals = item->kind == VIEW_SCALAR ? strchr(item->text, '=') : NULL;

    if (item->kind == VIEW_UNKNOWN)
        return true;
    if (item->kind == VIEW_MAP)
        return add_env_map(c, env, item, what);
    if (equals != NULL)
        return put_env(c, env, item, arena__text(c->arena, item->text, (size_t)(equals - item->text)), equals + 1);
    return wrong_type(c, item, what, "environment", "a list of maps or of texts NAME=value");
}

bool fields__add_env(struct compiler *c, struct env *env, const struct view *value, const char *what)
{
    bool good = true;

    if (view__is_null(value) || value->kind == VIEW_UNKNOWN)
        return true;
    if (value->kind == VIEW_MAP)
        return add_env_map(c, env, value, what);
    if (value->kind != VIEW_SEQ)
        return wrong_type(c, value, what, "environment", "a map of names to values");
    for (size_t i = 0; i < view__count(value) && !c->stop; i++) {
        struct view item = view__item(c, value, i);

        good = add_env_item(c, env, &item, what) && good;
    }
    return good;
}
