#include "core/compiler/params.h"

#include "core/compiler/view.h"
#include "core/lib/buf.h"

#include <string.h>

static const char *const type_names[] = {
    [PARAM_STRING] = "string",
    [PARAM_BOOLEAN] = "boolean",
    [PARAM_INTEGER] = "integer",
    [PARAM_ENUM] = "enum",
    [PARAM_EXECUTOR] = "executor",
    [PARAM_STEPS] = "steps",
    [PARAM_ENV_VAR_NAME] = "env_var_name",
};

/* Names that a job in a workflow already uses. */
static const char *const reserved[] = {"name", "requires", "context", "type", "filters", "matrix"};

static const struct key_rule param_keys[] = {
    {"type", KEY_OK}, {"default", KEY_OK}, {"description", KEY_OK}, {"enum", KEY_OK}};

static bool valid_name(const char *name)
{
    size_t len = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-");

    return len > 0 && name[len] == '\0' && strchr("0123456789-", name[0]) == NULL;
}

static bool valid_env_name(const char *name)
{
    size_t len = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_");

    return len > 0 && name[len] == '\0' && strchr("0123456789", name[0]) == NULL;
}

static enum param_type read_type(struct compiler *c, const struct view *body, enum params_owner owner, const char *name)
{
    size_t count = owner == PARAMS_PIPELINE ? PARAM_ENUM + 1 : PARAM_UNKNOWN;
    struct view type = view__get(c, body, "type");

    if (type.kind == VIEW_NONE) {
        compiler__report(c, body,
                         &(struct report){.code = DIAG_MISSING_KEY, .expected = compiler__list(c, type_names, count)},
                         "parameter `%.100s` has no `type`", name);
        return PARAM_UNKNOWN;
    }
    for (size_t i = 0; type.kind == VIEW_SCALAR && i < count; i++)
        if (strcmp(type.text, type_names[i]) == 0)
            return (enum param_type)i;
    compiler__report(c, &type,
                     &(struct report){.code = DIAG_BAD_VALUE,
                                      .expected = compiler__list(c, type_names, count),
                                      .hint = type.kind == VIEW_SCALAR
                                                  ? suggest__did_you_mean(c->diags, type.text, type_names, count)
                                                  : NULL},
                     "the type of parameter `%.100s` cannot be %s", name, view__describe(c, &type));
    return PARAM_UNKNOWN;
}

static void read_enum(struct compiler *c, const struct view *body, struct param *param)
{
    struct view list = view__get(c, body, "enum");

    if (list.kind != VIEW_SEQ || view__count(&list) == 0) {
        compiler__report(c, list.kind == VIEW_NONE ? body : &list,
                         &(struct report){.code = list.kind == VIEW_NONE ? DIAG_MISSING_KEY : DIAG_WRONG_TYPE,
                                          .expected = "a list of the values allowed"},
                         "parameter `%.100s` of type enum needs `enum`, a list that is not empty", param->name);
        param->type = PARAM_UNKNOWN;
        return;
    }
    param->values = arena__alloc(c->arena, view__count(&list) * sizeof(*param->values));
    for (size_t i = 0; i < view__count(&list) && !c->stop; i++) {
        struct view item = view__item(c, &list, i);

        if (item.kind == VIEW_SCALAR)
            param->values[param->value_count++] = item.text;
        else
            compiler__report(c, &item, &(struct report){.code = DIAG_WRONG_TYPE, .expected = "a text"},
                             "a value of an enum must be a text, but is %s", view__describe(c, &item));
    }
}

static void check_name(struct compiler *c, const struct view *key, enum params_owner owner)
{
    if (!valid_name(key->text))
        compiler__report(c, key,
                         &(struct report){.code = DIAG_BAD_NAME,
                                          .expected = "letters, digits, `_` and `-`, beginning with a letter"},
                         "`%.100s` is not a parameter's name", key->text);
    for (size_t i = 0; owner == PARAMS_JOB && i < sizeof(reserved) / sizeof(reserved[0]); i++)
        if (strcmp(key->text, reserved[i]) == 0)
            compiler__report(c, key, &(struct report){.code = DIAG_RESERVED_NAME},
                             "a job's parameter cannot be named `%s`: a workflow uses that key itself", key->text);
}

static void declare_one(struct compiler *c, const struct view *key, const struct view *body, enum params_owner owner,
                        struct param *param)
{
    *param = (struct param){.name = key->text, .node = key->node, .type = PARAM_UNKNOWN};
    check_name(c, key, owner);
    if (!view__check_keys(c, body, arena__printf(c->arena, "parameter `%.100s`", key->text), param_keys,
                          sizeof(param_keys) / sizeof(param_keys[0])))
        return;
    param->type = read_type(c, body, owner, key->text);
    if (param->type == PARAM_ENUM)
        read_enum(c, body, param);
    param->fallback = view__get(c, body, "default");
    if (param->fallback.kind == VIEW_NONE && owner == PARAMS_PIPELINE)
        compiler__report(c, key, &(struct report){.code = DIAG_MISSING_KEY},
                         "pipeline parameter `%.100s` has no `default`", key->text);
    if (param->fallback.kind != VIEW_NONE) {
        struct arg checked = {0};

        params__convert(c, param, &param->fallback, &checked, "default of parameter");
        if (checked.unknown)
            param->fallback.kind = VIEW_UNKNOWN;
    }
}

void params__declare(struct compiler *c, const struct view *list, enum params_owner owner, struct params *out)
{
    if (view__is_null(list))
        return;
    if (list->kind != VIEW_MAP) {
        compiler__report(c, list, &(struct report){.code = DIAG_WRONG_TYPE, .expected = "a map of names"},
                         "`parameters` must be a map, but is %s", view__describe(c, list));
        return;
    }
    out->list = arena__alloc(c->arena, (view__count(list) + 1) * sizeof(*out->list));
    out->names = arena__alloc(c->arena, (view__count(list) + 1) * sizeof(*out->names));
    for (size_t i = 0; i < view__count(list) && !c->stop; i++) {
        struct view key;
        struct view body = view__pair(c, list, i, &key);

        declare_one(c, &key, &body, owner, &out->list[out->count]);
        out->names[out->count] = key.text;
        table__put(c->arena, &out->index, key.text, &out->list[out->count]);
        out->count++;
    }
}

static void wrong_type(struct compiler *c, const struct param *param, const struct view *value, const char *what,
                       const char *expected)
{
    compiler__report(c, value, &(struct report){.code = DIAG_ARGUMENT_TYPE, .expected = expected},
                     "%s `%.100s` must be of type %s, but is %s", what, param->name, type_names[param->type],
                     view__describe(c, value));
}

/* Text of the four scalar types. Returns what was expected if it does not fit, else NULL. */
static const char *convert_scalar(struct compiler *c, const struct param *param, const struct view *value,
                                  struct arg *arg)
{
    bool flag;
    long long number;

    arg->text = value->text;
    arg->len = value->len;
    arg->type = SCALAR_STRING;
    if (param->type == PARAM_BOOLEAN) {
        if (!view__parse_bool(value->text, &flag))
            return "true or false";
        arg->text = flag ? "true" : "false";
        arg->len = strlen(arg->text);
        arg->type = SCALAR_BOOL;
    } else if (param->type == PARAM_INTEGER) {
        if (!view__parse_int(value->text, &number))
            return "a whole number";
        arg->text = arena__printf(c->arena, "%lld", number);
        arg->len = strlen(arg->text);
        arg->type = SCALAR_INT;
    } else if (param->type == PARAM_ENV_VAR_NAME && !valid_env_name(value->text)) {
        return "the name of an environment variable";
    } else if (value->type == SCALAR_NULL) {
        arg->text = "";
        arg->len = 0;
    }
    return NULL;
}

static void convert_enum(struct compiler *c, const struct param *param, const struct view *value, struct arg *arg,
                         const char *what)
{
    for (size_t i = 0; i < param->value_count; i++)
        if (strcmp(param->values[i], value->text) == 0) {
            *arg = (struct arg){.given = value->node, .type = SCALAR_STRING, .text = value->text, .len = value->len};
            return;
        }
    compiler__report(
        c, value,
        &(struct report){.code = DIAG_ARGUMENT_TYPE,
                         .expected = compiler__list(c, param->values, param->value_count),
                         .hint = suggest__did_you_mean(c->diags, value->text, param->values, param->value_count)},
        "%s `%.100s` is %s, which is not one of its enum's values", what, param->name, view__describe(c, value));
}

void params__convert(struct compiler *c, const struct param *param, const struct view *value, struct arg *arg,
                     const char *what)
{
    const char *expected = NULL;
    const struct node *given = value->at != NULL ? value->at : value->node;

    *arg = (struct arg){.unknown = true, .given = given};
    if (value->kind == VIEW_UNKNOWN || value->kind == VIEW_NONE || param->type == PARAM_UNKNOWN)
        return;
    if (param->type == PARAM_STEPS) {
        if (value->kind != VIEW_SEQ && !view__is_null(value)) {
            wrong_type(c, param, value, what, "a list of steps");
            return;
        }
        *arg = (struct arg){.given = given, .view = *value, .text = ""};
        return;
    }
    if (param->type == PARAM_EXECUTOR && value->kind == VIEW_MAP) {
        *arg = (struct arg){.given = given, .view = *value, .text = ""};
        return;
    }
    if (value->kind != VIEW_SCALAR) {
        wrong_type(c, param, value, what, "a single value");
        return;
    }
    if (param->type == PARAM_ENUM) {
        convert_enum(c, param, value, arg, what);
        return;
    }
    if (param->type == PARAM_EXECUTOR && value->type == SCALAR_NULL)
        expected = "an executor's name";
    else
        expected = convert_scalar(c, param, value, arg);
    if (expected != NULL)
        wrong_type(c, param, value, what, expected);
    else
        arg->unknown = false;
}

static bool among(const char *name, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

/* Names the arguments that no parameter declares: one message at the first of them. */
static void check_unexpected(struct compiler *c, const struct definition *definition, const struct view *args,
                             const struct bind_extra *extra)
{
    auto_buf struct tn_buf names = TN_BUF_INIT;
    struct view first = {.kind = VIEW_NONE};

    for (size_t i = 0; i < view__count(args) && !c->stop; i++) {
        const struct pair *pair = &args->node->pairs[i];

        if (table__get(&definition->params.index, pair->key->text) != NULL ||
            (extra != NULL && among(pair->key->text, extra->other_keys, extra->other_count)))
            continue;
        if (first.kind == VIEW_NONE)
            first = (struct view){.kind = VIEW_SCALAR,
                                  .node = pair->key,
                                  .at = args->at != NULL ? args->at : pair->via,
                                  .text = pair->key->text};
        if (names.len < 400)
            tn_buf_addf(&names, "%s%.100s", names.len > 0 ? ", " : "", pair->key->text);
    }
    if (first.kind == VIEW_NONE)
        return;
    compiler__report(
        c, &first,
        &(struct report){
            .code = DIAG_UNEXPECTED_ARGUMENT,
            .note = definition->key.node->place,
            .note_text = arena__printf(c->arena, "the %s is defined here", definition->what),
            .expected = definition->params.count > 0
                            ? compiler__list(c, definition->params.names, definition->params.count)
                            : "no arguments",
            .hint = suggest__did_you_mean(c->diags, first.text, definition->params.names, definition->params.count)},
        "Unexpected argument(s): %s (in %s `%.100s`)", names.data, definition->what, definition->name);
}

static void report_missing(struct compiler *c, const struct definition *definition, const struct view *use,
                           const struct tn_buf *names)
{
    compiler__report(c, use,
                     &(struct report){.code = DIAG_MISSING_ARGUMENT,
                                      .note = definition->key.node->place,
                                      .note_text = arena__printf(c->arena, "the %s is defined here", definition->what)},
                     "Missing required argument(s): %s (in %s `%.100s`)", names->data, definition->what,
                     definition->name);
}

/* One parameter's argument: from the use, the matrix or the default. Returns false if there is none. */
static bool bind_one(struct compiler *c, const struct param *param, const struct view *args,
                     const struct bind_extra *extra, struct arg *arg)
{
    struct view value = view__get(c, args, param->name);
    const struct arg *from_matrix =
        extra != NULL && extra->matrix != NULL ? table__get(extra->matrix, param->name) : NULL;

    if (value.kind == VIEW_NONE && from_matrix != NULL) {
        struct view given = {.kind = from_matrix->unknown ? VIEW_UNKNOWN : VIEW_SCALAR,
                             .node = from_matrix->given,
                             .text = from_matrix->text,
                             .len = from_matrix->len,
                             .type = from_matrix->type};

        params__convert(c, param, from_matrix->view.kind != VIEW_NONE ? &from_matrix->view : &given, arg, "argument");
        return true;
    }
    if (value.kind != VIEW_NONE) {
        params__convert(c, param, &value, arg, "argument");
        return true;
    }
    if (param->fallback.kind == VIEW_NONE)
        return false;
    params__convert(c, param, &param->fallback, arg, "default of parameter");
    return true;
}

struct scope *params__bind(struct compiler *c, const struct definition *definition, const struct view *use,
                           const struct view *args, const struct scope *parent, const struct bind_extra *extra)
{
    auto_buf struct tn_buf missing = TN_BUF_INIT;
    struct scope *scope = arena__alloc(c->arena, sizeof(*scope));

    scope->definition = definition;
    scope->parent = parent;
    if (args->kind == VIEW_MAP)
        check_unexpected(c, definition, args, extra);
    for (size_t i = 0; i < definition->params.count && compiler__step(c, use); i++) {
        const struct param *param = &definition->params.list[i];
        struct arg *arg = arena__alloc(c->arena, sizeof(*arg));

        if (!bind_one(c, param, args, extra, arg)) {
            arg->unknown = true;
            if (missing.len < 400)
                tn_buf_addf(&missing, "%s%.100s", missing.len > 0 ? ", " : "", param->name);
        }
        table__put(c->arena, &scope->args, param->name, arg);
    }
    if (missing.len > 0)
        report_missing(c, definition, use, &missing);
    return scope;
}

struct scope *params__bind_unknown(struct compiler *c, const struct definition *definition)
{
    struct scope *scope = arena__alloc(c->arena, sizeof(*scope));

    scope->definition = definition;
    scope->parent = &c->top;
    scope->unknown = true;
    return scope;
}
