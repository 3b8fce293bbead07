#include "core/compiler/pipeline.h"

#include "core/compiler/params.h"
#include "core/compiler/view.h"

#include <stdio.h>
#include <string.h>

/* The values that a server's pipelines have, with the type of those that are not text. */
static const struct {
    const char *name;
    enum scalar_type type;
    const char *missing;
} values[] = {
    {"id", SCALAR_STRING, ""},
    {"number", SCALAR_INT, "0"},
    {"definition.id", SCALAR_STRING, ""},
    {"project.git_url", SCALAR_STRING, ""},
    {"project.type", SCALAR_STRING, ""},
    {"project.slug", SCALAR_STRING, ""},
    {"integration_source", SCALAR_STRING, ""},
    {"git.tag", SCALAR_STRING, ""},
    {"git.branch", SCALAR_STRING, ""},
    {"git.branch.is_default", SCALAR_BOOL, "false"},
    {"git.revision", SCALAR_STRING, ""},
    {"git.commit.url", SCALAR_STRING, ""},
    {"git.base_revision", SCALAR_STRING, ""},
    {"trigger.received_at", SCALAR_STRING, ""},
    {"trigger_source", SCALAR_STRING, ""},
    {"schedule.name", SCALAR_STRING, ""},
    {"schedule.id", SCALAR_STRING, ""},
};

#define VALUE_COUNT (sizeof(values) / sizeof(values[0]))

/* A JSON value as an argument's text; NULL for lists, objects and null. */
static const char *json_text(struct compiler *c, const cJSON *item, enum scalar_type *type)
{
    if (cJSON_IsString(item)) {
        *type = SCALAR_STRING;
        return arena__text(c->arena, item->valuestring, strlen(item->valuestring));
    }
    if (cJSON_IsBool(item)) {
        *type = SCALAR_BOOL;
        return cJSON_IsTrue(item) ? "true" : "false";
    }
    if (cJSON_IsNumber(item)) {
        *type = SCALAR_INT;
        return arena__printf(c->arena, "%.17g", item->valuedouble);
    }
    return NULL;
}

const char *pipeline__option(struct compiler *c, const char *name)
{
    enum scalar_type type;
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(c->options->pipeline_values, name);
    const char *text = item != NULL ? json_text(c, item, &type) : NULL;

    return text != NULL && text[0] != '\0' ? text : NULL;
}

bool pipeline__is_value(const char *name)
{
    for (size_t i = 0; i < VALUE_COUNT; i++)
        if (strcmp(values[i].name, name) == 0)
            return true;
    return false;
}

const struct arg *pipeline__value(struct compiler *c, const struct view *view, const char *name)
{
    const char *names[VALUE_COUNT];

    for (size_t i = 0; i < VALUE_COUNT; i++) {
        const cJSON *item;
        struct arg *arg;

        names[i] = values[i].name;
        if (strcmp(values[i].name, name) != 0)
            continue;
        arg = arena__alloc(c->arena, sizeof(*arg));
        item = cJSON_GetObjectItemCaseSensitive(c->options->pipeline_values, name);
        arg->text = item != NULL ? json_text(c, item, &arg->type) : NULL;
        if (arg->text == NULL)
            arg->text = values[i].missing;
        arg->type = values[i].type;
        arg->len = strlen(arg->text);
        return arg;
    }
    compiler__report(c, view,
                     &(struct report){.code = DIAG_UNKNOWN_PIPELINE_VALUE,
                                      .expected = compiler__list(c, names, VALUE_COUNT),
                                      .hint = suggest__did_you_mean(c->diags, name, names, VALUE_COUNT)},
                     "there is no pipeline value `pipeline.%.100s`", name);
    return NULL;
}

/* A value from outside becomes an argument; what does not fit is reported at the declaration. */
static void bind_option(struct compiler *c, const struct param *param, const cJSON *item, struct arg *arg)
{
    struct view at = {.kind = VIEW_SCALAR, .node = param->node};
    struct view value = {.kind = VIEW_SCALAR, .node = param->node};

    value.text = json_text(c, item, &value.type);
    arg->unknown = true;
    if (value.text == NULL) {
        compiler__report(c, &at, &(struct report){.code = DIAG_ARGUMENT_TYPE},
                         "the value given for pipeline parameter `%.100s` is neither text, boolean nor number",
                         param->name);
        return;
    }
    value.len = strlen(value.text);
    params__convert(c, param, &value, arg, "pipeline parameter");
}

void pipeline__declare(struct compiler *c)
{
    struct view list = view__get(c, &c->root, "parameters");
    const cJSON *item;

    params__declare(c, &list, PARAMS_PIPELINE, &c->pipeline_params);
    for (size_t i = 0; i < c->pipeline_params.count; i++) {
        const struct param *param = &c->pipeline_params.list[i];
        struct arg *arg = arena__alloc(c->arena, sizeof(*arg));

        item = cJSON_GetObjectItemCaseSensitive(c->options->parameters, param->name);
        if (item != NULL)
            bind_option(c, param, item, arg);
        else if (param->fallback.kind == VIEW_NONE)
            arg->unknown = true; /* the missing default is reported with the declaration */
        else
            params__convert(c, param, &param->fallback, arg, "default of pipeline parameter");
        table__put(c->arena, &c->pipeline_args, param->name, arg);
    }
    cJSON_ArrayForEach (item, c->options->parameters) {
        struct view at = list.kind != VIEW_NONE ? list : c->root;

        if (item->string != NULL && table__get(&c->pipeline_params.index, item->string) == NULL)
            compiler__report(c, &at,
                             &(struct report){.code = DIAG_UNEXPECTED_ARGUMENT,
                                              .hint = "the config declares no such pipeline parameter under "
                                                      "`parameters`"},
                             "Unexpected argument(s): %.100s", item->string);
    }
}
