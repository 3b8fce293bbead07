#include "core/compiler/builtin_steps.h"

#include "core/compiler/fields.h"

#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const char *const when_choices[] = {"on_success", "always", "on_fail", NULL};
static const char *const method_choices[] = {"blobless", "full", NULL};

static const struct field run_fields[] = {
    {.name = "name", .kind = FIELD_TEXT},
    {.name = "command", .kind = FIELD_TEXT},
    {.name = "shell", .kind = FIELD_TEXT},
    {.name = "environment", .kind = FIELD_ENV},
    {.name = "background", .kind = FIELD_BOOL},
    {.name = "working_directory", .kind = FIELD_TEXT},
    {.name = "no_output_timeout", .kind = FIELD_DURATION},
    {.name = "when", .kind = FIELD_CHOICE, .choices = when_choices},
    {.name = "max_auto_reruns", .kind = FIELD_INT, .min = 1, .max = 5},
    {.name = "auto_rerun_delay", .kind = FIELD_DURATION, .max = 600},
};
static const struct field checkout_fields[] = {
    {.name = "name", .kind = FIELD_TEXT},
    {.name = "path", .kind = FIELD_TEXT},
    {.name = "method", .kind = FIELD_CHOICE, .choices = method_choices, .later = "shallow"},
    {.name = "depth", .kind = FIELD_REFUSED},
};
static const struct field save_cache_fields[] = {
    {.name = "name", .kind = FIELD_TEXT},
    {.name = "key", .kind = FIELD_TEXT, .required = true},
    {.name = "paths", .kind = FIELD_TEXTS, .required = true},
    {.name = "when", .kind = FIELD_CHOICE, .choices = when_choices},
};
static const struct field restore_cache_fields[] = {
    {.name = "name", .kind = FIELD_TEXT},
    {.name = "key", .kind = FIELD_TEXT},
    {.name = "keys", .kind = FIELD_TEXTS},
};
static const struct field persist_fields[] = {
    {.name = "name", .kind = FIELD_TEXT},
    {.name = "root", .kind = FIELD_TEXT, .required = true},
    {.name = "paths", .kind = FIELD_TEXTS, .required = true},
};
static const struct field attach_fields[] = {
    {.name = "name", .kind = FIELD_TEXT},
    {.name = "at", .kind = FIELD_TEXT, .required = true},
};
static const struct field artifact_fields[] = {
    {.name = "name", .kind = FIELD_TEXT},
    {.name = "path", .kind = FIELD_TEXT, .required = true},
    {.name = "destination", .kind = FIELD_TEXT},
};
static const struct field result_fields[] = {
    {.name = "name", .kind = FIELD_TEXT},
    {.name = "path", .kind = FIELD_TEXT, .required = true},
};
static const struct field docker_fields[] = {
    {.name = "name", .kind = FIELD_TEXT},
    {.name = "docker_layer_caching", .kind = FIELD_BOOL},
    {.name = "prefer_same_region", .kind = FIELD_BOOL},
    {.name = "version", .kind = FIELD_TEXT},
    {.name = "reusable", .kind = FIELD_BOOL}, /* of old; has no effect */
};
static const struct field ssh_fields[] = {
    {.name = "name", .kind = FIELD_TEXT},
    {.name = "fingerprints", .kind = FIELD_TEXTS},
};

struct builtin_step {
    const char *name;
    const struct field *fields;
    size_t field_count;
    const char *title; /* the step's name if it has none; NULL: its command */
    const char *when;
    bool bare; /* may stand without a map */
    bool (*finish)(struct compiler *c, const struct view *item, cJSON *step);
};

static bool finish_run(struct compiler *c, const struct view *item, cJSON *step);
static bool finish_save_cache(struct compiler *c, const struct view *item, cJSON *step);
static bool finish_restore_cache(struct compiler *c, const struct view *item, cJSON *step);
static bool finish_docker(struct compiler *c, const struct view *item, cJSON *step);

static const struct builtin_step builtins[] = {
    {"run", run_fields, COUNT(run_fields), NULL, "on_success", false, finish_run},
    {"deploy", run_fields, COUNT(run_fields), NULL, "on_success", false, finish_run},
    {"checkout", checkout_fields, COUNT(checkout_fields), "Checkout code", "on_success", true, NULL},
    {"save_cache", save_cache_fields, COUNT(save_cache_fields), "Saving cache", "on_success", false, finish_save_cache},
    {"restore_cache", restore_cache_fields, COUNT(restore_cache_fields), "Restoring cache", "on_success", false,
     finish_restore_cache},
    {"persist_to_workspace", persist_fields, COUNT(persist_fields), "Persisting to workspace", "on_success", false,
     NULL},
    {"attach_workspace", attach_fields, COUNT(attach_fields), "Attaching workspace", "on_success", false, NULL},
    {"store_artifacts", artifact_fields, COUNT(artifact_fields), "Uploading artifacts", "always", false, NULL},
    {"store_test_results", result_fields, COUNT(result_fields), "Uploading test results", "always", false, NULL},
    {"setup_remote_docker", docker_fields, COUNT(docker_fields), "Setup a remote Docker engine", "on_success", true,
     finish_docker},
    {"add_ssh_keys", ssh_fields, COUNT(ssh_fields), "Installing additional ssh keys", "on_success", true, NULL},
};

const struct builtin_step *builtin_steps__find(const char *name)
{
    for (size_t i = 0; i < COUNT(builtins); i++)
        if (strcmp(builtins[i].name, name) == 0)
            return &builtins[i];
    return NULL;
}

const char *builtin_steps__title(const char *name)
{
    const struct builtin_step *step = builtin_steps__find(name);

    return step != NULL ? step->title : NULL;
}

size_t builtin_steps__names(const char **names, size_t size)
{
    size_t count = 0;

    while (count < COUNT(builtins) && count < size) {
        names[count] = builtins[count].name;
        count++;
    }
    return count;
}

static const char *text_of(const cJSON *step, const char *name)
{
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(step, name));
}

static bool blank(const char *text)
{
    return text[strspn(text, " \t\r\n")] == '\0';
}

/* `deploy` is an old name of `run`. */
static bool is_run(const struct builtin_step *step)
{
    return strcmp(step->name, "run") == 0 || strcmp(step->name, "deploy") == 0;
}

/* A step is run again only in the foreground, and a delay needs something that it delays. */
static bool check_reruns(struct compiler *c, const struct view *item, const cJSON *step)
{
    struct view delay;

    if (item->kind != VIEW_MAP)
        return true;
    delay = view__get(c, item, "auto_rerun_delay");
    if (delay.kind == VIEW_SCALAR && strchr(delay.text, 'h') != NULL) {
        compiler__report(c, &delay,
                         &(struct report){.code = DIAG_BAD_DURATION, .expected = "seconds or minutes: 10s, 2m"},
                         "`auto_rerun_delay` of the run step is in hours");
        return false;
    }
    if (delay.kind != VIEW_NONE && view__get(c, item, "max_auto_reruns").kind == VIEW_NONE) {
        compiler__report(c, &delay, &(struct report){.code = DIAG_MISSING_KEY, .hint = "add `max_auto_reruns: 1`"},
                         "`auto_rerun_delay` of the run step delays nothing without `max_auto_reruns`");
        return false;
    }
    if (cJSON_HasObjectItem(step, "max_auto_reruns") && cJSON_IsTrue(cJSON_GetObjectItem(step, "background"))) {
        struct view reruns = view__get(c, item, "max_auto_reruns");

        compiler__report(c, &reruns, &(struct report){.code = DIAG_BAD_VALUE},
                         "a run step in the background cannot have `max_auto_reruns`");
        return false;
    }
    return true;
}

static bool finish_run(struct compiler *c, const struct view *item, cJSON *step)
{
    const char *command = text_of(step, "command");

    if (command != NULL && blank(command)) {
        compiler__report(c, item,
                         &(struct report){.code = DIAG_EMPTY_COMMAND, .hint = "write what to run under `command`"},
                         "the run step's command is empty");
        return false;
    }
    if (!check_reruns(c, item, step))
        return false;
    if (!cJSON_HasObjectItem(step, "environment"))
        cJSON_AddArrayToObject(step, "environment");
    if (!cJSON_HasObjectItem(step, "background"))
        cJSON_AddFalseToObject(step, "background");
    if (!cJSON_HasObjectItem(step, "no_output_timeout"))
        cJSON_AddNumberToObject(step, "no_output_timeout", 600);
    if (command != NULL && text_of(step, "name") == NULL)
        cJSON_AddStringToObject(step, "name", command);
    return true;
}

static bool finish_save_cache(struct compiler *c, const struct view *item, cJSON *step)
{
    const char *key = text_of(step, "key");

    if (key == NULL || !blank(key))
        return true;
    compiler__report(c, item, &(struct report){.code = DIAG_CACHE_KEY}, "the save_cache step's `key` is empty");
    return false;
}

/* `key` comes first, then `keys` in order. */
static bool finish_restore_cache(struct compiler *c, const struct view *item, cJSON *step)
{
    cJSON *key = cJSON_DetachItemFromObjectCaseSensitive(step, "key");
    cJSON *keys = cJSON_GetObjectItemCaseSensitive(step, "keys");

    if (key == NULL && keys == NULL) {
        /* A key that is there has no value while parameters have none. */
        if (view__get(c, item, "key").kind == VIEW_UNKNOWN || view__get(c, item, "keys").kind == VIEW_UNKNOWN)
            return false;
        compiler__report(c, item,
                         &(struct report){.code = DIAG_CACHE_KEY, .hint = "add `key: NAME` or `keys:` with a list"},
                         "the restore_cache step has neither `key` nor `keys`");
        return false;
    }
    if (keys == NULL)
        keys = cJSON_AddArrayToObject(step, "keys");
    if (key != NULL) {
        cJSON_free(key->string);
        key->string = NULL;
        cJSON_InsertItemInArray(keys, 0, key);
    }
    return true;
}

static bool finish_docker(struct compiler *c, const struct view *item, cJSON *step)
{
    if (!cJSON_HasObjectItem(step, "docker_layer_caching"))
        cJSON_AddFalseToObject(step, "docker_layer_caching");
    return true;
}

/* Reads what stands under the step's name. Returns false if the step cannot be planned. */
static bool read_value(struct compiler *c, const struct builtin_step *step, const struct view *item,
                       const struct view *value, cJSON *out)
{
    const char *what = arena__printf(c->arena, "the %s step", step->name);

    if (value->kind == VIEW_UNKNOWN)
        return false;
    if (is_run(step) && value->kind == VIEW_SCALAR && value->type != SCALAR_NULL) {
        cJSON_AddStringToObject(out, "command", value->text);
        return true;
    }
    if (view__is_null(value)) {
        if (step->bare)
            return true;
        compiler__report(c, item,
                         &(struct report){.code = is_run(step) ? DIAG_EMPTY_COMMAND : DIAG_MISSING_KEY,
                                          .hint = "check the indentation: its keys stand deeper than its name"},
                         "%s is empty", what);
        return false;
    }
    if (is_run(step) && value->kind == VIEW_MAP && yaml__find(value->node, "command") == NULL) {
        size_t faults = c->faults;

        fields__read(c, value, what, step->fields, step->field_count, out);
        if (c->faults == faults)
            compiler__report(c, item, &(struct report){.code = DIAG_MISSING_KEY}, "%s has no `command`", what);
        return false;
    }
    return fields__read(c, value, what, step->fields, step->field_count, out);
}

void builtin_steps__add(struct compiler *c, const struct builtin_step *step, const struct view *item,
                        const struct view *value, cJSON *out)
{
    cJSON *object = cJSON_CreateObject();

    if (strcmp(step->name, "deploy") == 0)
        compiler__report(c, item, &(struct report){.code = DIAG_DEPRECATED, .hint = "write `run` instead"},
                         "the step `deploy` is deprecated; it does what `run` does, in every parallel task");
    cJSON_AddStringToObject(object, "type", is_run(step) ? "run" : step->name);
    if (!read_value(c, step, item, value, object) ||
        (step->finish != NULL && !step->finish(c, value->kind == VIEW_NONE ? item : value, object))) {
        cJSON_Delete(object);
        return;
    }
    if (text_of(object, "name") == NULL && step->title != NULL)
        cJSON_AddStringToObject(object, "name", step->title);
    if (text_of(object, "when") == NULL)
        cJSON_AddStringToObject(object, "when", step->when);
    cJSON_AddNumberToObject(object, "line", item->node->place.line);
    cJSON_AddItemToArray(out, object);
}
