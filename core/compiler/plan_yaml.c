#include "core/compiler/compiler.h"

#include "core/compiler/builtin_steps.h"
#include "core/compiler/view.h"
#include "core/lib/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

/* First a JSON tree of the processed config is made of the plan, then libyaml writes it. The plan's depth is bounded by
 * its form, so the writer's recursion is, too. */

#define DEEPEST 16

static const cJSON *get(const cJSON *object, const char *name)
{
    return cJSON_GetObjectItemCaseSensitive(object, name);
}

static const char *text_of(const cJSON *object, const char *name)
{
    return cJSON_GetStringValue(get(object, name));
}

static void copy(const cJSON *from, const char *name, cJSON *to, const char *new_name)
{
    const cJSON *item = get(from, name);

    if (item != NULL)
        cJSON_AddItemToObject(to, new_name, cJSON_Duplicate(item, true));
}

static void copy_same(const cJSON *from, cJSON *to, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        copy(from, names[i], to, names[i]);
}

static void copy_env(const cJSON *from, cJSON *to)
{
    const cJSON *list = get(from, "environment");
    const cJSON *pair;
    cJSON *map;

    if (cJSON_GetArraySize(list) == 0)
        return;
    map = cJSON_AddObjectToObject(to, "environment");
    cJSON_ArrayForEach (pair, list) {
        cJSON_AddStringToObject(map, cJSON_GetStringValue(cJSON_GetArrayItem(pair, 0)),
                                cJSON_GetStringValue(cJSON_GetArrayItem(pair, 1)));
    }
}

static void add_seconds(const cJSON *from, cJSON *to, const char *name)
{
    const cJSON *seconds = get(from, name);
    char text[64];

    if (!cJSON_IsNumber(seconds))
        return;
    snprintf(text, sizeof(text), "%.10gs", seconds->valuedouble);
    cJSON_AddStringToObject(to, name, text);
}

static cJSON *make_step(const cJSON *step)
{
    static const char *const same[] = {"name",         "command",
                                       "shell",        "working_directory",
                                       "path",         "method",
                                       "key",          "keys",
                                       "paths",        "root",
                                       "at",           "version",
                                       "destination",  "docker_layer_caching",
                                       "fingerprints", "background"};
    const char *type = text_of(step, "type");
    bool has_when = strcmp(type, "run") == 0 || strcmp(type, "save_cache") == 0;
    const char *title = builtin_steps__title(type) != NULL ? builtin_steps__title(type) : text_of(step, "command");
    cJSON *object = cJSON_CreateObject();
    cJSON *body = cJSON_AddObjectToObject(object, type);

    copy_same(step, body, same, sizeof(same) / sizeof(same[0]));
    if (title != NULL && text_of(step, "name") != NULL && strcmp(text_of(step, "name"), title) == 0)
        cJSON_DeleteItemFromObjectCaseSensitive(body, "name");
    if (cJSON_IsFalse(get(body, "background")))
        cJSON_DeleteItemFromObjectCaseSensitive(body, "background");
    copy_env(step, body);
    if (get(step, "no_output_timeout") != NULL && get(step, "no_output_timeout")->valuedouble != 600)
        add_seconds(step, body, "no_output_timeout");
    copy_same(step, body, (const char *const[]){"max_auto_reruns", "prefer_same_region"}, 2);
    add_seconds(step, body, "auto_rerun_delay");
    if (has_when && strcmp(text_of(step, "when"), "on_success") != 0)
        copy(step, "when", body, "when");
    if (body->child != NULL)
        return object;
    cJSON_Delete(object);
    return cJSON_CreateString(type);
}

static cJSON *make_job(const cJSON *job)
{
    static const char *const same[] = {"docker", "resource_class", "shell", "working_directory"};
    cJSON *object = cJSON_CreateObject();
    const cJSON *step;
    cJSON *steps;

    copy_same(job, object, same, 4);
    if (get(job, "docker") == NULL && get(job, "machine") != NULL) {
        if (get(job, "machine")->child != NULL)
            copy(job, "machine", object, "machine");
        else
            cJSON_AddTrueToObject(object, "machine");
    }
    if (get(job, "parallelism") != NULL && get(job, "parallelism")->valuedouble > 1)
        copy(job, "parallelism", object, "parallelism");
    copy_env(job, object);
    steps = cJSON_AddArrayToObject(object, "steps");
    cJSON_ArrayForEach (step, get(job, "steps")) {
        cJSON_AddItemToArray(steps, make_step(step));
    }
    return object;
}

static cJSON *make_requires(const cJSON *job)
{
    cJSON *list = cJSON_CreateArray();
    const cJSON *requirement;

    cJSON_ArrayForEach (requirement, get(job, "requires")) {
        const cJSON *status = get(requirement, "status");
        const char *name = text_of(requirement, "job");
        cJSON *entry;

        if (cJSON_GetArraySize(status) == 1 && strcmp(status->child->valuestring, "success") == 0) {
            cJSON_AddItemToArray(list, cJSON_CreateString(name));
            continue;
        }
        entry = cJSON_CreateObject();
        cJSON_AddItemToObject(entry, name, cJSON_Duplicate(status, true));
        cJSON_AddItemToArray(list, entry);
    }
    return list;
}

/* Jobs of two workflows may share a name and differ: the later one's definition is then called WORKFLOW/NAME. */
static const char *put_definition(struct arena *arena, struct table *seen, cJSON *jobs, const cJSON *job,
                                  const char *workflow)
{
    cJSON *made = make_job(job);
    char *printed = cJSON_PrintUnformatted(made);
    const char *name = arena__printf(arena, "%s", text_of(job, "name"));
    const char *text = arena__printf(arena, "%s", printed != NULL ? printed : "");
    const char *other = table__get(seen, name);

    cJSON_free(printed);
    if (other != NULL && strcmp(other, text) != 0)
        name = arena__printf(arena, "%s/%s", workflow, name);
    if (table__get(seen, name) != NULL) {
        cJSON_Delete(made);
        return name;
    }
    table__put(arena, seen, name, (void *)(uintptr_t)text);
    cJSON_AddItemToObject(jobs, name, made);
    return name;
}

static cJSON *make_entry(const cJSON *job, const char *definition)
{
    const cJSON *contexts = get(job, "contexts");
    cJSON *body = cJSON_CreateObject();
    cJSON *entry;

    if (strcmp(definition, text_of(job, "name")) != 0)
        copy(job, "name", body, "name");
    if (strcmp(text_of(job, "type"), "build") != 0)
        copy(job, "type", body, "type");
    if (cJSON_GetArraySize(contexts) > 0)
        copy(job, "contexts", body, "context");
    if (cJSON_GetArraySize(get(job, "requires")) > 0)
        cJSON_AddItemToObject(body, "requires", make_requires(job));
    if (body->child == NULL) {
        cJSON_Delete(body);
        return cJSON_CreateString(definition);
    }
    entry = cJSON_CreateObject();
    cJSON_AddItemToObject(entry, definition, body);
    return entry;
}

static cJSON *make_config(const cJSON *plan, struct arena *arena)
{
    struct table seen = {0};
    cJSON *config = cJSON_CreateObject();
    cJSON *jobs;
    cJSON *workflows;
    const cJSON *workflow;
    const cJSON *job;

    cJSON_AddNumberToObject(config, "version", 2);
    jobs = cJSON_AddObjectToObject(config, "jobs");
    workflows = cJSON_AddObjectToObject(config, "workflows");
    cJSON_ArrayForEach (workflow, get(plan, "workflows")) {
        const char *name = text_of(workflow, "name");
        cJSON *list = cJSON_AddArrayToObject(cJSON_AddObjectToObject(workflows, name), "jobs");

        cJSON_ArrayForEach (job, get(workflow, "jobs")) {
            bool build = strcmp(text_of(job, "type"), "build") == 0;
            const char *definition = build ? put_definition(arena, &seen, jobs, job, name) : text_of(job, "name");

            cJSON_AddItemToArray(list, make_entry(job, definition));
        }
    }
    return config;
}

/* ---- writing ---- */

static int write_text(void *buf, unsigned char *bytes, size_t len)
{
    tn_buf_add(buf, bytes, len);
    return 1;
}

static bool emit_scalar(yaml_emitter_t *emitter, const char *text, bool string)
{
    yaml_scalar_style_t style = YAML_PLAIN_SCALAR_STYLE;
    yaml_event_t event;

    /* A text that would be read as something else is quoted; a text of several lines is a block where YAML can. */
    if (string && (view__spelled_type(text, true) != SCALAR_STRING || text[strspn(text, "0123456789.:-_+eE")] == '\0'))
        style = YAML_DOUBLE_QUOTED_SCALAR_STYLE;
    else if (string && strchr(text, '\n') != NULL)
        style = YAML_LITERAL_SCALAR_STYLE;
    return yaml_scalar_event_initialize(&event, NULL, NULL, (yaml_char_t *)(uintptr_t)text, (int)strlen(text), 1, 1,
                                        style) != 0 &&
           yaml_emitter_emit(emitter, &event) != 0;
}

static bool emit(yaml_emitter_t *emitter, const cJSON *item, int depth);

static bool emit_children(yaml_emitter_t *emitter, const cJSON *item, int depth)
{
    bool map = cJSON_IsObject(item);
    yaml_event_t event;
    const cJSON *child;
    int good = map ? yaml_mapping_start_event_initialize(&event, NULL, NULL, 1, YAML_BLOCK_MAPPING_STYLE)
                   : yaml_sequence_start_event_initialize(&event, NULL, NULL, 1, YAML_BLOCK_SEQUENCE_STYLE);

    if (!good || !yaml_emitter_emit(emitter, &event))
        return false;
    cJSON_ArrayForEach (child, item) {
        if ((map && !emit_scalar(emitter, child->string, true)) || !emit(emitter, child, depth + 1))
            return false;
    }
    good = map ? yaml_mapping_end_event_initialize(&event) : yaml_sequence_end_event_initialize(&event);
    return good && yaml_emitter_emit(emitter, &event);
}

static bool emit(yaml_emitter_t *emitter, const cJSON *item, int depth)
{
    char number[32];

    if (cJSON_IsString(item))
        return emit_scalar(emitter, item->valuestring, true);
    if (cJSON_IsBool(item))
        return emit_scalar(emitter, cJSON_IsTrue(item) ? "true" : "false", false);
    if (cJSON_IsNumber(item)) {
        snprintf(number, sizeof(number), "%.10g", item->valuedouble);
        return emit_scalar(emitter, number, false);
    }
    if ((cJSON_IsObject(item) || cJSON_IsArray(item)) && depth < DEEPEST)
        return emit_children(emitter, item, depth);
    return emit_scalar(emitter, "null", false);
}

static bool write_document(yaml_emitter_t *emitter, const cJSON *config)
{
    yaml_event_t event;

    return yaml_stream_start_event_initialize(&event, YAML_UTF8_ENCODING) && yaml_emitter_emit(emitter, &event) &&
           yaml_document_start_event_initialize(&event, NULL, NULL, NULL, 1) && yaml_emitter_emit(emitter, &event) &&
           emit(emitter, config, 0) && yaml_document_end_event_initialize(&event, 1) &&
           yaml_emitter_emit(emitter, &event) && yaml_stream_end_event_initialize(&event) &&
           yaml_emitter_emit(emitter, &event);
}

char *tn_plan_to_yaml(const cJSON *plan)
{
    auto_buf struct tn_buf out = TN_BUF_INIT;
    struct arena arena = {0};
    yaml_emitter_t emitter;
    cJSON *config;
    bool good;

    if (!cJSON_IsArray(get(plan, "workflows")))
        return NULL;
    config = make_config(plan, &arena);
    if (!yaml_emitter_initialize(&emitter))
        tn_fatal(3, "out of memory: the YAML writer");
    yaml_emitter_set_output(&emitter, write_text, &out);
    yaml_emitter_set_unicode(&emitter, 1);
    yaml_emitter_set_width(&emitter, -1);
    good = write_document(&emitter, config);
    yaml_emitter_delete(&emitter);
    cJSON_Delete(config);
    arena__free(&arena);
    return good ? tn_buf_steal(&out) : NULL;
}
