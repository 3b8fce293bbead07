#include "core/compiler/executor.h"

#include "core/compiler/params.h"
#include "core/compiler/view.h"

#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const struct key_rule executor_keys[] = {
    {"description", KEY_OK}, {"parameters", KEY_OK},        {"docker", KEY_OK},
    {"machine", KEY_OK},     {"macos", KEY_REFUSED},        {"resource_class", KEY_OK},
    {"shell", KEY_OK},       {"working_directory", KEY_OK}, {"environment", KEY_OK},
};
static const struct field machine_fields[] = {
    {.name = "enabled", .kind = FIELD_BOOL},
    {.name = "image", .kind = FIELD_TEXT},
    {.name = "docker_layer_caching", .kind = FIELD_BOOL},
    {.name = "resource_class", .kind = FIELD_OTHER},
    {.name = "shell", .kind = FIELD_OTHER},
};
static const struct field container_fields[] = {
    {.name = "image", .kind = FIELD_TEXT, .required = true},
    {.name = "name", .kind = FIELD_TEXT},
    {.name = "user", .kind = FIELD_TEXT},
    {.name = "entrypoint", .kind = FIELD_ARGV},
    {.name = "command", .kind = FIELD_ARGV},
    {.name = "environment", .kind = FIELD_OTHER},
    {.name = "auth", .kind = FIELD_OTHER},
    {.name = "aws_auth", .kind = FIELD_OTHER},
};
static const struct field auth_fields[] = {
    {.name = "username", .kind = FIELD_TEXT, .required = true},
    {.name = "password", .kind = FIELD_TEXT, .required = true},
};
static const struct field aws_key_fields[] = {
    {.name = "aws_access_key_id", .kind = FIELD_TEXT, .required = true},
    {.name = "aws_secret_access_key", .kind = FIELD_TEXT, .required = true},
};
static const struct field aws_role_fields[] = {
    {.name = "oidc_role_arn", .kind = FIELD_TEXT, .required = true},
};

/* What a job and its executor say together; VIEW_NONE where neither says anything. */
struct setup {
    struct view docker;
    struct view machine;
    struct view resource_class;
    struct view shell;
    struct view working_directory;
    bool macos; /* refused where it stands */
};

static void unknown_executor(struct compiler *c, const struct view *at)
{
    const char *hint = suggest__did_you_mean(c->diags, at->text, c->executors.names, c->executors.count);

    if (c->has_orbs && strchr(at->text, '/') != NULL)
        return; /* `orbs` itself was refused */
    if (hint == NULL && strchr(at->text, '/') != NULL)
        hint = "executors of orbs are not supported by this version of Tenon yet";
    compiler__report(
        c, at,
        &(struct report){.code = DIAG_UNKNOWN_EXECUTOR,
                         .expected =
                             c->executors.count > 0 ? compiler__list(c, c->executors.names, c->executors.count) : NULL,
                         .hint = hint != NULL || c->executors.count > 0 ? hint : "define it under `executors`"},
        "there is no executor named `%.100s`", at->text);
}

/* The body of the executor that `use` names, in the scope of this use. VIEW_UNKNOWN after a report. */
static struct view find_executor(struct compiler *c, const struct view *use)
{
    static const char *const other[] = {"name"};
    static const struct view nothing = {.kind = VIEW_NONE};
    struct bind_extra extra = {.other_keys = other, .other_count = 1};
    struct view unknown = {.kind = VIEW_UNKNOWN};
    struct view name = use->kind == VIEW_MAP ? view__get(c, use, "name") : *use;
    struct definition *executor;
    struct scope *scope;
    struct view body;

    if (name.kind == VIEW_UNKNOWN)
        return unknown;
    if (name.kind != VIEW_SCALAR || name.type == SCALAR_NULL) {
        compiler__report(c, name.kind == VIEW_NONE ? use : &name,
                         &(struct report){.code = DIAG_WRONG_TYPE, .expected = "a name, or a map with `name`"},
                         "`executor` names no executor");
        return unknown;
    }
    executor = table__get(&c->executors.index, name.text);
    if (executor == NULL) {
        unknown_executor(c, &name);
        return unknown;
    }
    executor->used = true;
    scope = params__bind(c, executor, &name, use->kind == VIEW_MAP ? use : &nothing, &c->top, &extra);
    body = view__of(c, executor->body.node, scope);
    if (!view__check_keys(c, &body, arena__printf(c->arena, "executor `%.100s`", executor->name), executor_keys,
                          COUNT(executor_keys)))
        return unknown;
    return body;
}

static struct view own_or_inherited(struct compiler *c, const struct view *own, const struct view *inherited,
                                    const char *key)
{
    struct view value = view__get(c, own, key);

    if (value.kind == VIEW_NONE && inherited->kind != VIEW_NONE)
        value = view__get(c, inherited, key);
    return value;
}

/* ---- docker ---- */

static void add_auth(struct compiler *c, const struct view *container, cJSON *out)
{
    struct view auth = view__get(c, container, "auth");
    struct view aws = view__get(c, container, "aws_auth");
    bool role = aws.kind == VIEW_MAP && yaml__find(aws.node, "oidc_role_arn") != NULL;

    if (auth.kind != VIEW_NONE && aws.kind != VIEW_NONE)
        compiler__report(c, &aws,
                         &(struct report){.code = DIAG_BAD_VALUE, .hint = "`aws_auth` is for registries of AWS only"},
                         "the container has both `auth` and `aws_auth`");
    if (auth.kind != VIEW_NONE)
        fields__read(c, &auth, "`auth`", auth_fields, COUNT(auth_fields), cJSON_AddObjectToObject(out, "auth"));
    if (aws.kind != VIEW_NONE)
        fields__read(c, &aws, "`aws_auth`", role ? aws_role_fields : aws_key_fields,
                     role ? COUNT(aws_role_fields) : COUNT(aws_key_fields), cJSON_AddObjectToObject(out, "aws_auth"));
}

/* A container's environment is an object: the engine wants no order, but cJSON keeps the config's. */
static void add_container_env(struct compiler *c, const struct view *container, cJSON *out)
{
    struct view value = view__get(c, container, "environment");
    struct env env = {.list = cJSON_CreateArray()};
    const cJSON *pair;
    cJSON *object;

    fields__add_env(c, &env, &value, "the container");
    if (cJSON_GetArraySize(env.list) > 0) {
        object = cJSON_AddObjectToObject(out, "environment");
        cJSON_ArrayForEach (pair, env.list) {
            cJSON_AddStringToObject(object, pair->child->valuestring, pair->child->next->valuestring);
        }
    }
    cJSON_Delete(env.list);
}

static void add_docker(struct compiler *c, const struct view *list, cJSON *out)
{
    cJSON *containers = cJSON_AddArrayToObject(out, "docker");

    if (list->kind == VIEW_UNKNOWN)
        return;
    if (list->kind != VIEW_SEQ || view__count(list) == 0) {
        compiler__report(c, list,
                         &(struct report){.code = DIAG_WRONG_TYPE,
                                          .expected = "a list of maps with `image`",
                                          .hint = "write `docker:` and below it `- image: NAME`"},
                         "`docker` must be a list that is not empty, but is %s", view__describe(c, list));
        return;
    }
    for (size_t i = 0; i < view__count(list) && !c->stop; i++) {
        struct view item = view__item(c, list, i);
        cJSON *container = cJSON_CreateObject();
        const char *image;

        cJSON_AddItemToArray(containers, container);
        if (!fields__read(c, &item, "a docker container", container_fields, COUNT(container_fields), container) ||
            item.kind != VIEW_MAP)
            continue;
        image = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(container, "image"));
        if (image != NULL && image[strspn(image, " ")] == '\0')
            compiler__report(c, &item, &(struct report){.code = DIAG_BAD_VALUE}, "the container's `image` is empty");
        add_container_env(c, &item, container);
        add_auth(c, &item, container);
    }
}

/* ---- machine ---- */

/* `machine: false` means nothing. */
static bool machine_is_off(struct compiler *c, const struct view *machine)
{
    bool flag = true;
    struct view enabled;

    if (machine->kind == VIEW_SCALAR)
        return view__parse_bool(machine->text, &flag) && !flag;
    enabled = view__get(c, machine, "enabled");
    return enabled.kind == VIEW_SCALAR && view__parse_bool(enabled.text, &flag) && !flag;
}

static const char *add_machine(struct compiler *c, const struct view *machine, cJSON *out)
{
    cJSON *object = cJSON_AddObjectToObject(out, "machine");
    bool flag;

    if (machine->kind == VIEW_SCALAR) {
        if (!view__parse_bool(machine->text, &flag))
            compiler__report(c, machine,
                             &(struct report){.code = DIAG_WRONG_TYPE, .expected = "true, or a map with `image`"},
                             "`machine` must be true or a map, but is %s", view__describe(c, machine));
        return NULL;
    }
    fields__read(c, machine, "`machine`", machine_fields, COUNT(machine_fields), object);
    cJSON_DeleteItemFromObjectCaseSensitive(object, "enabled");
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, "image"));
}

static bool starts_with(const char *text, const char *prefix)
{
    return text != NULL && strncmp(text, prefix, strlen(prefix)) == 0;
}

static const char *machine_kind(const char *image, const char *class)
{
    if (starts_with(class, "arm.") || starts_with(image, "arm-"))
        return "arm";
    if (starts_with(class, "windows.") || starts_with(image, "windows"))
        return "windows";
    return starts_with(class, "macos.") ? "macos" : "machine";
}

/* The class with its kind's prefix, as the operator's tables name it: `medium` of a Windows job is `windows.medium`. */
static const char *full_class(struct compiler *c, const char *kind, const char *class)
{
    const char *prefix = strcmp(kind, "arm") == 0 ? "arm." : strcmp(kind, "windows") == 0 ? "windows." : "";

    if (class == NULL)
        class = "medium";
    if (prefix[0] == '\0' || starts_with(class, prefix) || strchr(class, '/') != NULL)
        return class;
    return arena__printf(c->arena, "%s%s", prefix, class);
}

static const char *read_text(struct compiler *c, const struct view *value, const char *what)
{
    if (value->kind == VIEW_SCALAR && value->type != SCALAR_NULL && value->len > 0)
        return value->text;
    if (value->kind != VIEW_NONE)
        compiler__report(c, value, &(struct report){.code = DIAG_WRONG_TYPE, .expected = "a text"},
                         "`%s` must be a text, but is %s", what, view__describe(c, value));
    return NULL;
}

/* ---- all together ---- */

/* A shell is a command line; a list is joined to one. */
static void add_shell(struct compiler *c, const struct view *shell, cJSON *out)
{
    auto_buf struct tn_buf line = TN_BUF_INIT;
    const char *text;

    if (shell->kind == VIEW_NONE || shell->kind == VIEW_UNKNOWN)
        return;
    if (shell->kind != VIEW_SEQ) {
        text = read_text(c, shell, "shell");
        if (text != NULL)
            cJSON_AddStringToObject(out, "shell", text);
        return;
    }
    for (size_t i = 0; i < view__count(shell) && !c->stop; i++) {
        struct view item = view__item(c, shell, i);

        text = read_text(c, &item, "shell");
        if (text != NULL)
            tn_buf_addf(&line, "%s%s", line.len > 0 ? " " : "", text);
    }
    if (line.len > 0)
        cJSON_AddStringToObject(out, "shell", line.data);
}

static void no_executor(struct compiler *c, const struct definition *job)
{
    compiler__report(c, &job->key,
                     &(struct report){.code = DIAG_NO_EXECUTOR,
                                      .expected = "one of `docker`, `machine`, `executor`",
                                      .hint = "e.g. `machine: true`, or `docker:` and below it `- image: NAME`"},
                     "%s `%.100s` does not say where it runs", job->what, job->name);
}

static void add_kind(struct compiler *c, const struct definition *job, const struct setup *setup, const char *class,
                     cJSON *out)
{
    bool runner = class != NULL && strchr(class, '/') != NULL;
    const char *image = NULL;
    const char *kind = "docker";

    if (setup->docker.kind == VIEW_NONE && setup->machine.kind == VIEW_NONE && !runner) {
        if (setup->resource_class.kind != VIEW_UNKNOWN && !setup->macos)
            no_executor(c, job);
        return;
    }
    if (setup->docker.kind != VIEW_NONE) {
        add_docker(c, &setup->docker, out);
    } else {
        if (setup->machine.kind != VIEW_NONE && setup->machine.kind != VIEW_UNKNOWN)
            image = add_machine(c, &setup->machine, out);
        else
            cJSON_AddObjectToObject(out, "machine");
        kind = runner ? "machine" : machine_kind(image, class);
    }
    if (strcmp(kind, "macos") == 0)
        compiler__report(c, &setup->resource_class, &(struct report){.code = DIAG_UNSUPPORTED},
                         "macOS jobs are not supported by this version of Tenon yet");
    cJSON_AddStringToObject(out, "resource_class", full_class(c, kind, class));
    cJSON_AddStringToObject(out, "kind", kind);
    if (runner)
        cJSON_AddStringToObject(out, "runner", class);
}

static void check_two(struct compiler *c, const struct definition *job, const struct view *docker,
                      const struct view *machine)
{
    if (docker->kind == VIEW_NONE || machine->kind == VIEW_NONE || docker->kind == VIEW_UNKNOWN ||
        machine->kind == VIEW_UNKNOWN)
        return;
    compiler__report(c, &job->key,
                     &(struct report){.code = DIAG_TWO_EXECUTORS, .expected = "one of `docker`, `machine`"},
                     "%s `%.100s` has both `docker` and `machine`", job->what, job->name);
}

/* Either comes from the job itself, which then hides what the executor says about both. */
static void choose_place(struct compiler *c, const struct definition *job, const struct view *body,
                         const struct view *inherited, struct setup *setup)
{
    setup->docker = view__get(c, body, "docker");
    setup->machine = view__get(c, body, "machine");
    setup->macos = view__get(c, body, "macos").kind != VIEW_NONE ||
                   (inherited->kind != VIEW_NONE && view__get(c, inherited, "macos").kind != VIEW_NONE);
    if (setup->machine.kind != VIEW_NONE && machine_is_off(c, &setup->machine))
        setup->machine = (struct view){.kind = VIEW_NONE};
    check_two(c, job, &setup->docker, &setup->machine);
    if (setup->docker.kind != VIEW_NONE || setup->machine.kind != VIEW_NONE || inherited->kind == VIEW_NONE)
        return;
    setup->docker = view__get(c, inherited, "docker");
    setup->machine = view__get(c, inherited, "machine");
    if (setup->machine.kind != VIEW_NONE && machine_is_off(c, &setup->machine))
        setup->machine = (struct view){.kind = VIEW_NONE};
    check_two(c, inherited->scope != NULL && inherited->scope->definition != NULL ? inherited->scope->definition : job,
              &setup->docker, &setup->machine);
}

void executor__compile(struct compiler *c, const struct definition *job, const struct view *body, bool misspelt,
                       cJSON *out)
{
    struct view use = view__get(c, body, "executor");
    struct view inherited = {.kind = VIEW_NONE};
    struct view own_env = view__get(c, body, "environment");
    struct env env = {.list = cJSON_CreateArray()};
    struct setup setup;
    const char *text;

    if (use.kind != VIEW_NONE)
        inherited = c->v21 ? find_executor(c, &use) : (struct view){.kind = VIEW_UNKNOWN};
    choose_place(c, job, body, &inherited, &setup);
    setup.resource_class = own_or_inherited(c, body, &inherited, "resource_class");
    if (setup.resource_class.kind == VIEW_NONE && setup.machine.kind == VIEW_MAP)
        setup.resource_class = view__get(c, &setup.machine, "resource_class");
    setup.shell = own_or_inherited(c, body, &inherited, "shell");
    if (setup.shell.kind == VIEW_NONE && setup.machine.kind == VIEW_MAP)
        setup.shell = view__get(c, &setup.machine, "shell");
    setup.working_directory = own_or_inherited(c, body, &inherited, "working_directory");
    if (misspelt && setup.docker.kind == VIEW_NONE)
        setup.docker.kind = setup.machine.kind == VIEW_NONE ? VIEW_UNKNOWN : VIEW_NONE;
    add_kind(c, job, &setup, read_text(c, &setup.resource_class, "resource_class"), out);
    add_shell(c, &setup.shell, out);
    text = read_text(c, &setup.working_directory, "working_directory");
    if (text != NULL)
        cJSON_AddStringToObject(out, "working_directory", text);
    if (inherited.kind == VIEW_MAP) {
        struct view base = view__get(c, &inherited, "environment");

        fields__add_env(c, &env, &base, "the executor");
    }
    fields__add_env(c, &env, &own_env, arena__printf(c->arena, "%s `%.100s`", job->what, job->name));
    cJSON_AddItemToObject(out, "environment", env.list);
}

void executor__check(struct compiler *c, struct definition *executor)
{
    cJSON *dropped = cJSON_CreateObject();
    struct view body = executor->body;

    body.scope = params__bind_unknown(c, executor);
    c->unreached++;
    if (view__check_keys(c, &body, arena__printf(c->arena, "executor `%.100s`", executor->name), executor_keys,
                         COUNT(executor_keys)) &&
        yaml__find(body.node, "macos") == NULL)
        executor__compile(c, executor, &body, false, dropped);
    c->unreached--;
    cJSON_Delete(dropped);
}
