#include "core/compiler/settings.h"

#include "core/compiler/definitions.h"
#include "core/compiler/fields.h"
#include "core/compiler/regex.h"
#include "core/compiler/view.h"
#include "core/lib/json.h"
#include "core/lib/settings.h"

#include <string.h>

enum { MOST_KEYS = 32, PATH_BYTES = 128 };

/* What may stand in the map at `path` ("docker.", "docker.images[]."): the next part of every row that begins so. */
struct keys {
    const char *names[MOST_KEYS];
    size_t count;
};

struct reader {
    struct compiler *c;
    const char *home;
};

static bool read_map(struct reader *reader, const struct view *map, const char *path, cJSON *out);

static void collect_keys(struct compiler *c, const char *path, struct keys *keys)
{
    size_t length = strlen(path);

    for (size_t i = 0; i < tn_settings_count; i++) {
        const char *rest = tn_settings[i].path + length;
        size_t known = 0;
        const char *name;

        if (strncmp(tn_settings[i].path, path, length) != 0)
            continue;
        name = arena__text(c->arena, rest, strcspn(rest, ".["));
        while (known < keys->count && strcmp(keys->names[known], name) != 0)
            known++;
        if (known == keys->count && keys->count < MOST_KEYS)
            keys->names[keys->count++] = name;
    }
}

static const struct tn_setting *find_row(const char *path)
{
    for (size_t i = 0; i < tn_settings_count; i++)
        if (strcmp(tn_settings[i].path, path) == 0)
            return &tn_settings[i];
    return NULL;
}

/* "`docker.tls`", "an entry of `docker.images`", "tenon.yaml": how messages name the map at `path`. */
static const char *describe(struct compiler *c, const char *path)
{
    size_t length = strlen(path);

    if (length == 0)
        return "the settings";
    if (length > 3 && strcmp(path + length - 3, "[].") == 0)
        return arena__printf(c->arena, "an entry of `%.*s`", (int)(length - 3), path);
    return arena__printf(c->arena, "`%.*s`", (int)(length - 1), path);
}

static bool read_path(struct reader *reader, const struct view *value, const char *what, const char *name, cJSON *out)
{
    struct compiler *c = reader->c;
    struct field field = {.name = name, .kind = FIELD_TEXT};
    const char *text;

    if (value->kind == VIEW_SCALAR && value->len > 0 && value->text[0] != '/' &&
        (strncmp(value->text, "~/", 2) != 0 || reader->home == NULL)) {
        compiler__report(
            c, value,
            &(struct report){.code = DIAG_BAD_VALUE, .expected = "an absolute path, or one that begins with ~/"},
            "`%s` of %s is %s, which is no absolute path", name, what, view__describe(c, value));
        return false;
    }
    if (!fields__read_one(c, value, what, &field, out))
        return false;
    text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(out, name));
    if (text != NULL && text[0] == '~')
        cJSON_ReplaceItemInObjectCaseSensitive(
            out, name, cJSON_CreateString(arena__printf(c->arena, "%s%s", reader->home, text + 1)));
    return true;
}

static bool read_list(struct reader *reader, const struct view *value, const char *path, const char *name, cJSON *out)
{
    struct compiler *c = reader->c;
    const char *inner = arena__printf(c->arena, "%s%s[].", path, name);
    cJSON *list = cJSON_AddArrayToObject(out, name);
    bool good = true;

    if (value->kind == VIEW_UNKNOWN)
        return true;
    if (value->kind != VIEW_SEQ) {
        compiler__report(c, value, &(struct report){.code = DIAG_WRONG_TYPE, .expected = "a list of maps"},
                         "`%s%s` must be a list of maps, but is %s", path, name, view__describe(c, value));
        return false;
    }
    for (size_t i = 0; i < view__count(value) && !c->stop; i++) {
        struct view item = view__item(c, value, i);
        cJSON *entry = cJSON_CreateObject();

        cJSON_AddItemToArray(list, entry);
        good = read_map(reader, &item, inner, entry) && good;
    }
    return good;
}

/* A list of which each text is one of those that the row names; one text is a list of one. */
static bool read_choices(struct reader *reader, const struct tn_setting *row, const struct view *value,
                         const char *what, const char *name, cJSON *out)
{
    struct compiler *c = reader->c;
    struct field field = {.name = name, .kind = FIELD_TEXTS};
    bool good = true;

    if (!fields__read_one(c, value, what, &field, out))
        return false;
    field.kind = FIELD_CHOICE;
    field.choices = row->choices;
    for (size_t i = 0; i < (value->kind == VIEW_SEQ ? view__count(value) : 1) && !c->stop; i++) {
        struct view item = value->kind == VIEW_SEQ ? view__item(c, value, i) : *value;
        auto_json cJSON *one = cJSON_CreateObject();

        good = fields__read_one(c, &item, what, &field, one) && good;
    }
    return good;
}

static bool read_setting(struct reader *reader, const struct tn_setting *row, const struct view *value,
                         const char *what, const char *name, cJSON *out)
{
    struct field field = {.name = name, .days = true, .choices = row->choices, .min = row->min, .max = row->max};

    switch (row->kind) {
    case TN_SETTING_PATH:
        return read_path(reader, value, what, name, out);
    case TN_SETTING_PATTERN:
        if (value->kind == VIEW_SCALAR &&
            regex__matches(reader->c, value, value->text, value->len, NULL) == REGEX_FAILED)
            return false;
        field.kind = FIELD_TEXT;
        break;
    case TN_SETTING_TEXT:
        field.kind = FIELD_TEXT;
        break;
    case TN_SETTING_CHOICE:
        field.kind = FIELD_CHOICE;
        break;
    case TN_SETTING_INT:
        field.kind = FIELD_INT;
        break;
    case TN_SETTING_DURATION:
        field.kind = FIELD_DURATION;
        break;
    case TN_SETTING_SIZE:
        field.kind = FIELD_SIZE;
        break;
    case TN_SETTING_TEXTS:
        if (row->choices != NULL)
            return read_choices(reader, row, value, what, name, out);
        field.kind = FIELD_TEXTS;
        break;
    case TN_SETTING_LIST:
        field.kind = FIELD_TEXTS;
        break;
    }
    return fields__read_one(reader->c, value, what, &field, out);
}

/* What is there as it should be: of the alternatives one, of what is required all. */
static bool check_presence(struct reader *reader, const struct view *map, const char *path, const struct keys *keys)
{
    struct compiler *c = reader->c;
    const char *alternatives[MOST_KEYS];
    size_t count = 0;
    size_t present = 0;
    bool good = true;

    for (size_t i = 0; i < keys->count; i++) {
        const struct tn_setting *row = find_row(arena__printf(c->arena, "%s%s", path, keys->names[i]));
        struct view value = view__get(c, map, keys->names[i]);

        if (row != NULL && row->required && value.kind == VIEW_NONE) {
            compiler__report(c, map, &(struct report){.code = DIAG_MISSING_KEY}, "%s has no `%s`", describe(c, path),
                             keys->names[i]);
            good = false;
        }
        if (row != NULL && row->alternative) {
            alternatives[count++] = keys->names[i];
            present += value.kind != VIEW_NONE;
        }
    }
    if (count == 0 || present == 1)
        return good;
    compiler__report(c, map,
                     &(struct report){.code = DIAG_MISSING_KEY, .expected = compiler__list(c, alternatives, count)},
                     "%s needs exactly one of %zu keys, but has %zu", describe(c, path), count, present);
    return false;
}

static bool read_map(struct reader *reader, const struct view *map, const char *path, cJSON *out)
{
    struct compiler *c = reader->c;
    const char *what = describe(c, path);
    struct key_rule rules[MOST_KEYS];
    struct keys keys = {.count = 0};
    size_t faults = c->faults;
    bool good = true;

    if (map->kind == VIEW_UNKNOWN || view__is_null(map))
        return true;
    collect_keys(c, path, &keys);
    for (size_t i = 0; i < keys.count; i++)
        rules[i] = (struct key_rule){keys.names[i], KEY_OK};
    if (!view__check_keys(c, map, what, rules, keys.count))
        return false;
    for (size_t i = 0; i < keys.count && !c->stop; i++) {
        const char *name = keys.names[i];
        struct view value = view__get(c, map, name);
        const struct tn_setting *row = find_row(arena__printf(c->arena, "%s%s", path, name));

        if (value.kind == VIEW_NONE)
            continue;
        if (row != NULL)
            good = read_setting(reader, row, &value, what, name, out) && good;
        else if (find_row(arena__printf(c->arena, "%s%s[]", path, name)) != NULL)
            good = read_list(reader, &value, path, name, out) && good;
        else
            good = read_map(reader, &value, arena__printf(c->arena, "%s%s.", path, name),
                            cJSON_AddObjectToObject(out, name)) &&
                   good;
    }
    return (c->faults > faults || check_presence(reader, map, path, &keys)) && good;
}

/* A file in which all is commented out is one in which nothing is said. */
static bool says_nothing(const char *text, size_t len)
{
    bool comment = false;

    for (size_t i = 0; i < len; i++) {
        if (text[i] == '#')
            comment = true;
        else if (text[i] == '\n')
            comment = false;
        else if (!comment && strchr(" \t\r", text[i]) == NULL)
            return false;
    }
    return true;
}

cJSON *tn_settings_compile(const char *text, size_t len, const char *file, const char *home)
{
    static const struct tn_compile_options none = {0};
    struct arena arena = {0};
    struct source source = {.text = ""};
    struct diags diags = {.arena = &arena, .source = &source, .file = file, .list = cJSON_CreateArray()};
    struct compiler c = {.options = &none, .arena = &arena, .diags = &diags};
    struct reader reader = {.c = &c, .home = home};
    struct yaml_tree tree;
    cJSON *result = cJSON_CreateObject();
    cJSON *settings = cJSON_CreateObject();

    if (!says_nothing(text, len) && source__scan(&source, &arena, &diags, text, len)) {
        yaml__compose(&tree, &source, &diags);
        if (tree.root != NULL) {
            c.root = view__of(&c, tree.root, &c.top);
            definitions__report_duplicates(&c, &tree);
            read_map(&reader, &c.root, "", settings);
        }
    }
    diag__sort(&diags);
    if (diags.errors > 0) {
        cJSON_Delete(settings);
        settings = cJSON_CreateNull();
    }
    cJSON_AddItemToObject(result, "settings", settings);
    cJSON_AddItemToObject(result, "diagnostics", diags.list);
    arena__free(&arena);
    return result;
}
