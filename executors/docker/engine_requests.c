#include "core/lib/log.h"
#include "executors/docker/engine_internal.h"

#include <string.h>

/* Appends `text` percent-encoded; `keep` are characters that stay besides letters, digits and "-_.~". */
static void add_encoded(struct tn_buf *path, const char *text, const char *keep)
{
    for (; *text != '\0'; text++) {
        if ((*text >= 'a' && *text <= 'z') || (*text >= 'A' && *text <= 'Z') || (*text >= '0' && *text <= '9') ||
            strchr("-_.~", *text) != NULL || strchr(keep, *text) != NULL)
            tn_buf_add(path, text, 1);
        else
            tn_buf_addf(path, "%%%02X", (unsigned char)*text);
    }
}

/* A request whose path is `before`, the encoded `name`, and `after`. */
static struct tn_engine_call *new_named(struct tn_engine *engine, const char *method, const char *before,
                                        const char *name, const char *after, struct tn_engine_then then)
{
    struct tn_engine_call *call = tn_engine__new_call(engine, method, then);

    tn_buf_adds(&call->path, before);
    add_encoded(&call->path, name, "");
    tn_buf_adds(&call->path, after);
    return call;
}

/* The same for an image; the engine's routes take its slashes as they are. */
static struct tn_engine_call *new_for_image(struct tn_engine *engine, const char *method,
                                            const struct tn_image_ref *image, const char *after,
                                            struct tn_engine_then then)
{
    struct tn_engine_call *call = tn_engine__new_call(engine, method, then);
    char name[TN_IMAGE_REF_TEXT_MAX + 1];

    call->ref = *image;
    tn_image_ref_format(image, name, sizeof(name));
    tn_buf_adds(&call->path, "/images/");
    add_encoded(&call->path, name, "/:@");
    tn_buf_adds(&call->path, after);
    return call;
}

static struct tn_engine_call *get(struct tn_engine *engine, const char *path, bool unversioned,
                                  struct tn_engine_then then)
{
    struct tn_engine_call *call = tn_engine__new_call(engine, "GET", then);

    tn_buf_adds(&call->path, path);
    call->unversioned = unversioned;
    return tn_engine__submit(call);
}

struct tn_engine_call *tn_engine_ping(struct tn_engine *engine, struct tn_engine_then then)
{
    return get(engine, "/_ping", true, then);
}

struct tn_engine_call *tn_engine_events_of(struct tn_engine *engine, const char *container, int64_t until,
                                           struct tn_engine_then then)
{
    struct tn_engine_call *call = tn_engine__new_call(engine, "GET", then);
    auto_buf struct tn_buf filters = TN_BUF_INIT;

    tn_buf_addf(&filters, "{\"container\":[\"%s\"]}", container);
    tn_buf_addf(&call->path, "/events?since=1&until=%lld&filters=", (long long)until);
    add_encoded(&call->path, filters.data, "");
    call->anew = true;
    return tn_engine__submit(call);
}

struct tn_engine_call *tn_engine_version(struct tn_engine *engine, struct tn_engine_then then)
{
    return get(engine, "/version", true, then);
}

struct tn_engine_call *tn_engine_info(struct tn_engine *engine, struct tn_engine_then then)
{
    return get(engine, "/info", false, then);
}

struct tn_engine_call *tn_engine_networks(struct tn_engine *engine, struct tn_engine_then then)
{
    return get(engine, "/networks", false, then);
}

/* ---- images ---- */

struct tn_engine_call *tn_engine_image_inspect(struct tn_engine *engine, const struct tn_image_ref *image,
                                               struct tn_engine_then then)
{
    return tn_engine__submit(new_for_image(engine, "GET", image, "/json", then));
}

struct tn_engine_call *tn_engine_image_remove(struct tn_engine *engine, const struct tn_image_ref *image,
                                              struct tn_engine_then then)
{
    return tn_engine__submit(new_for_image(engine, "DELETE", image, "", then));
}

struct tn_engine_call *tn_engine_image_inspect_id(struct tn_engine *engine, const char *id, struct tn_engine_then then)
{
    return tn_engine__submit(new_named(engine, "GET", "/images/", id, "/json", then));
}

struct tn_engine_call *tn_engine_image_remove_id(struct tn_engine *engine, const char *id, struct tn_engine_then then)
{
    return tn_engine__submit(new_named(engine, "DELETE", "/images/", id, "", then));
}

struct tn_engine_call *tn_engine_image_pull(struct tn_engine *engine, const struct tn_image_ref *image,
                                            const char *auth, tn_docker_on_progress *on_progress,
                                            struct tn_engine_then then)
{
    char name[TN_IMAGE_REF_NAME_MAX + 1];
    const char *tag = tn_image_ref_pull_name(image, name, sizeof(name));
    struct tn_engine_call *call = new_named(engine, "POST", "/images/create?fromImage=", name, "&tag=", then);

    add_encoded(&call->path, tag, "");
    call->ref = *image;
    call->kind = ANSWER_LINES;
    call->on_progress = on_progress;
    if (auth != NULL) {
        struct tn_buf header = TN_BUF_INIT;

        tn_buf_addf(&header, "X-Registry-Auth: %s", auth);
        call->header = tn_buf_steal(&header);
    }
    return tn_engine__submit(call);
}

struct tn_engine_call *tn_engine_image_import(struct tn_engine *engine, const struct tn_image_ref *image,
                                              const void *tar, size_t len, struct tn_engine_then then)
{
    char name[TN_IMAGE_REF_NAME_MAX + 1];
    const char *tag = tn_image_ref_pull_name(image, name, sizeof(name));
    struct tn_engine_call *call = new_named(engine, "POST", "/images/create?fromSrc=-&repo=", name, "&tag=", then);

    add_encoded(&call->path, tag, "");
    call->kind = ANSWER_LINES;
    call->content_type = "application/x-tar";
    tn_buf_add(&call->body, tar, len);
    return tn_engine__submit(call);
}

/* ---- containers ---- */

static void set_body(struct tn_engine_call *call, const cJSON *body)
{
    char *json = cJSON_PrintUnformatted(body);

    if (json == NULL)
        tn_fatal(3, "out of memory: a request to the Docker Engine");
    tn_buf_adds(&call->body, json);
    cJSON_free(json);
    call->content_type = "application/json";
}

struct tn_engine_call *tn_engine_create(struct tn_engine *engine, const char *name, const cJSON *body,
                                        struct tn_engine_then then)
{
    struct tn_engine_call *call = new_named(engine, "POST", "/containers/create?name=", name, "", then);

    set_body(call, body);
    return tn_engine__submit(call);
}

struct tn_engine_call *tn_engine_put_archive(struct tn_engine *engine, const char *id, const void *tar, size_t len,
                                             struct tn_engine_then then)
{
    struct tn_engine_call *call = new_named(engine, "PUT", "/containers/", id, "/archive?path=/", then);

    call->content_type = "application/x-tar";
    tn_buf_add(&call->body, tar, len);
    return tn_engine__submit(call);
}

/* ---- does the engine see a folder of this host? ---- */

struct tn_engine_call *tn_engine_ask_folder(struct tn_engine *engine, const char *path, struct tn_engine_then then)
{
    struct tn_engine_call *call = tn_engine__new_call(engine, "POST", then);
    cJSON *body = cJSON_CreateObject();
    cJSON *item = cJSON_CreateObject();

    call->libpod = engine->podman;
    if (engine->podman) {
        tn_buf_adds(&call->path, "/containers/create");
        cJSON_AddStringToObject(body, "rootfs", "/");
        cJSON_AddItemToArray(cJSON_AddArrayToObject(body, "command"), cJSON_CreateString("none"));
        cJSON_AddStringToObject(item, "path", path);
        cJSON_AddItemToArray(cJSON_AddArrayToObject(body, "devices"), item);
    } else {
        tn_buf_adds(&call->path, "/containers/create?name=tenon-probe");
        cJSON_AddStringToObject(body, "Image", "tenon.invalid/none:none");
        cJSON_AddStringToObject(item, "Type", "bind");
        cJSON_AddStringToObject(item, "Source", path);
        cJSON_AddStringToObject(item, "Target", "/probe");
        cJSON_AddItemToArray(cJSON_AddArrayToObject(cJSON_AddObjectToObject(body, "HostConfig"), "Mounts"), item);
    }
    set_body(call, body);
    cJSON_Delete(body);
    return tn_engine__submit(call);
}

int tn_engine_folder_seen(int status, const struct tn_err *err)
{
    if (err == NULL || status == 0)
        return -1;
    if (strstr(err->text, "o such image") != NULL || strstr(err->text, "no devices found in") != NULL)
        return 1;
    if (strstr(err->text, "bind source path does not exist") != NULL ||
        strstr(err->text, "o such file or directory") != NULL || strstr(err->text, "doesn't exist") != NULL ||
        strstr(err->text, "ermission denied") != NULL)
        return 0;
    return -1;
}

struct tn_engine_call *tn_engine_start(struct tn_engine *engine, const char *id, struct tn_engine_then then)
{
    return tn_engine__submit(new_named(engine, "POST", "/containers/", id, "/start", then));
}

struct tn_engine_call *tn_engine_inspect(struct tn_engine *engine, const char *id, struct tn_engine_then then)
{
    return tn_engine__submit(new_named(engine, "GET", "/containers/", id, "/json", then));
}

struct tn_engine_call *tn_engine_wait(struct tn_engine *engine, const char *id, struct tn_engine_then then)
{
    return tn_engine__submit(new_named(engine, "POST", "/containers/", id, "/wait?condition=not-running", then));
}

struct tn_engine_call *tn_engine_kill(struct tn_engine *engine, const char *id, const char *signal,
                                      struct tn_engine_then then)
{
    struct tn_engine_call *call = new_named(engine, "POST", "/containers/", id, "/kill?signal=", then);

    add_encoded(&call->path, signal, "");
    return tn_engine__submit(call);
}

struct tn_engine_call *tn_engine_stop(struct tn_engine *engine, const char *id, unsigned grace_s,
                                      struct tn_engine_then then)
{
    struct tn_engine_call *call = new_named(engine, "POST", "/containers/", id, "/stop", then);

    tn_buf_addf(&call->path, "?t=%u", grace_s);
    return tn_engine__submit(call);
}

struct tn_engine_call *tn_engine_remove(struct tn_engine *engine, const char *id, struct tn_engine_then then)
{
    struct tn_engine_call *call = new_named(engine, "DELETE", "/containers/", id, "?force=1&v=1", then);

    call->gone_is_fine = true;
    return tn_engine__submit(call);
}

struct tn_engine_call *tn_engine_list(struct tn_engine *engine, const char *const *labels, size_t n_labels,
                                      struct tn_engine_then then)
{
    struct tn_engine_call *call = tn_engine__new_call(engine, "GET", then);
    cJSON *filters = cJSON_CreateObject();
    cJSON *array = cJSON_AddArrayToObject(filters, "label");
    char *json;

    for (size_t i = 0; i < n_labels; i++)
        cJSON_AddItemToArray(array, cJSON_CreateString(labels[i]));
    json = cJSON_PrintUnformatted(filters);
    cJSON_Delete(filters);
    if (json == NULL)
        tn_fatal(3, "out of memory: the filters of a list of containers");
    tn_buf_adds(&call->path, "/containers/json?all=1&filters=");
    add_encoded(&call->path, json, "");
    cJSON_free(json);
    return tn_engine__submit(call);
}

struct tn_engine_call *tn_engine_logs(struct tn_engine *engine, const char *id, const struct tn_engine_logs *logs,
                                      struct tn_engine_then then)
{
    struct tn_engine_call *call = new_named(engine, "GET", "/containers/", id, "/logs?stdout=1&stderr=1", then);

    if (logs->follow)
        tn_buf_adds(&call->path, "&follow=1");
    if (logs->tail != 0)
        tn_buf_addf(&call->path, "&tail=%u", logs->tail);
    if (logs->since != NULL)
        tn_buf_addf(&call->path, "&since=%s", logs->since);
    if (logs->times)
        tn_buf_adds(&call->path, "&timestamps=1");
    call->on_entry = logs->on_entry;
    if (logs->on_entry != NULL)
        call->demux.on_frame = tn_engine__pass_entry;
    call->kind = ANSWER_FRAMES;
    call->on_bytes = logs->on_bytes;
    call->max_bytes = logs->max_bytes;
    return tn_engine__submit(call);
}
