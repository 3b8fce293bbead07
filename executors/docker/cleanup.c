#include "executors/docker/cleanup.h"

#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/json.h"
#include "core/lib/log.h"
#include "core/lib/units.h"
#include "executors/docker/driver.h"
#include "executors/docker/environment.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    LOOK_S = 5,
    PASS_MS = 30 * 1000,       /* at least between two passes */
    IDLE_PASS_MS = 600 * 1000, /* with nothing to remove, for containers of others' */
    ASK_MS = 30000,
    REMOVE_MS = 120000, /* a large image takes its time */
    HOST_MS = 10000,
    IMAGES_MAX = 4096,
};

static const uint16_t kernel = TN_ADDRESS(TN_ROLE_KERNEL, 0);

struct tn_cleanup_image {
    struct tn_image_record record;
    bool by_id; /* its name means another image now */
    double size;
};

static void next_image(struct tn_docker_cleanup *cleanup);

/* ---- the disk ---- */

double tn_cleanup_percent(double size, double available)
{
    return size > 0 ? 100.0 * (size - available) / size : 0;
}

static void on_disk(void *arg, const struct tn_msg *reply);

/* tenond tells, since the engine's data folder is not to be seen from here. */
static void ask_disk(struct tn_docker_cleanup *cleanup)
{
    auto_json cJSON *body = cJSON_CreateObject();
    auto_free char *text = NULL;

    if (cleanup->asking) { /* before what has happened meanwhile */
        cleanup->ask_again = true;
        return;
    }
    if (cleanup->data_root == NULL) {
        on_disk(cleanup, NULL);
        return;
    }
    cleanup->asking = true;
    cJSON_AddStringToObject(body, "disk", cleanup->data_root);
    text = tn_json_print(body);
    tn_peer_request(tn_executor_service(cleanup->docker->executor)->bus, TN_MSG_HOST_ASK, kernel, 0, 0, text,
                    strlen(text), HOST_MS, on_disk, cleanup);
}

/* Is there more on the disk than is wished? */
static bool is_over(const struct tn_docker_cleanup *cleanup)
{
    return cleanup->measured &&
           (tn_cleanup_percent(cleanup->disk_size, cleanup->disk_available) > cleanup->above_percent ||
            cleanup->disk_available < cleanup->reserve);
}

/* A little more than the reserve must be free before jobs begin again, or each would stop the next. */
static void admit(struct tn_docker_cleanup *cleanup)
{
    bool was_full = cleanup->full[0] != '\0';
    double available = cleanup->disk_available;
    char room[32];
    char reserve[32];
    char text[sizeof(cleanup->full)] = "";

    if (cleanup->measured && available < cleanup->reserve * (was_full ? 1.05 : 1))
        snprintf(
            text, sizeof(text),
            "the Docker Engine's disk (%.150s) has %s free, and %s are kept free (store.reserve): free space there "
            "(docker system df)",
            cleanup->data_root, tn_units_size_text((uint64_t)available, room, sizeof(room)),
            tn_units_size_text((uint64_t)cleanup->reserve, reserve, sizeof(reserve)));
    if (was_full && text[0] != '\0')
        return;
    snprintf(cleanup->full, sizeof(cleanup->full), "%s", text);
    if (was_full != (text[0] != '\0')) {
        tn_info("%s", was_full ? "the Docker Engine's disk has room again" : text);
        tn_docker_announce(cleanup->docker);
    }
}

static void take_disk(struct tn_docker_cleanup *cleanup, const struct tn_msg *reply)
{
    auto_json cJSON *json = reply != NULL ? tn_json_parse(reply->body, reply->header.length, "HOST_IS", NULL) : NULL;
    const cJSON *disk = tn_json_get(json, "disk");
    double size = (double)tn_json_u64(disk, "size", 0);
    double unused = (double)tn_json_u64(disk, "free", 0);

    if (disk == NULL && cleanup->measured)
        tn_debug("the disk of the engine's data folder %.200s cannot be measured", cleanup->data_root);
    cleanup->measured = disk != NULL;
    cleanup->disk_available = (double)tn_json_u64(disk, "available", 0);
    /* What only root may still use counts as used, as df has it. */
    cleanup->disk_size = size - (unused - cleanup->disk_available);
}

static void on_disk(void *arg, const struct tn_msg *reply)
{
    struct tn_docker_cleanup *cleanup = arg;
    void (*known)(struct tn_docker *) = cleanup->on_known;
    void (*then)(struct tn_docker_cleanup *) = cleanup->then;

    cleanup->asking = false;
    if (cleanup->ask_again) {
        cleanup->ask_again = false;
        ask_disk(cleanup);
        return;
    }
    take_disk(cleanup, reply);
    cleanup->on_known = NULL;
    cleanup->then = NULL;
    admit(cleanup);
    if (known != NULL) {
        known(cleanup->docker);
        event_active(cleanup->timer, EV_TIMEOUT, 0); /* the first pass */
    }
    if (then != NULL)
        then(cleanup);
}

/* ---- images ---- */

static void end_pass(struct tn_docker_cleanup *cleanup)
{
    uint64_t wait = cleanup->n_removed > 0 ? PASS_MS : IDLE_PASS_MS;
    char freed[32];

    if (cleanup->n_removed > 0)
        tn_info("removed %zu images that no job had used for %.0f s: %s", cleanup->n_removed, cleanup->unused_for_s,
                tn_units_size_text((uint64_t)cleanup->freed, freed, sizeof(freed)));
    free(cleanup->images);
    cleanup->images = NULL;
    cleanup->n_images = 0;
    /* A new job may have ended and left an image behind: soon enough when the disk is over its mark. */
    cleanup->next_pass_ms = tn_docker_now_ms() + (is_over(cleanup) ? PASS_MS : wait);
    cleanup->passing = false;
}

static void on_image_removed(int status, const cJSON *json, const struct tn_err *err, void *arg)
{
    struct tn_docker_cleanup *cleanup = arg;
    const struct tn_cleanup_image *image = &cleanup->images[cleanup->at];
    char size[32];

    cleanup->call = NULL;
    if (err == NULL || err->code == TN_ERR_NOT_FOUND)
        tn_image_record_remove(cleanup->docker->images.folder, image->record.name, image->record.id);
    if (err == NULL) {
        cleanup->n_removed++;
        cleanup->freed += image->size;
        tn_info("removed image %s (%.19s, %s): no job used it for %lld s", image->record.name, image->record.id,
                tn_units_size_text((uint64_t)image->size, size, sizeof(size)),
                (long long)time(NULL) - (long long)image->record.used);
    } else if (err->code != TN_ERR_NOT_FOUND) {
        tn_debug("image %s stays: %s", image->record.name, err->text); /* a container has it */
    }
    cleanup->at++;
    cleanup->then = next_image;
    ask_disk(cleanup);
}

static void remove_image(struct tn_docker_cleanup *cleanup, const struct tn_cleanup_image *image)
{
    struct tn_engine *engine = cleanup->docker->engine;
    struct tn_engine_then then = TN_ENGINE_THEN(REMOVE_MS, on_image_removed, cleanup);
    struct tn_image_ref ref;

    if (image->by_id || tn_image_ref_parse(image->record.name, &ref, NULL) != 0)
        cleanup->call = tn_engine_image_remove_id(engine, image->record.id, then);
    else
        cleanup->call = tn_engine_image_remove(engine, &ref, then);
}

static void forget_image(struct tn_docker_cleanup *cleanup)
{
    const struct tn_image_record *record = &cleanup->images[cleanup->at].record;

    tn_image_record_remove(cleanup->docker->images.folder, record->name, record->id);
    cleanup->at++;
    next_image(cleanup);
}

/* Of this id: still there? Does its name still mean it? If not, and it has another name, somebody else gave it that. */
static void on_image_looked_at(int status, const cJSON *json, const struct tn_err *err, void *arg)
{
    struct tn_docker_cleanup *cleanup = arg;
    struct tn_cleanup_image *image = &cleanup->images[cleanup->at];
    struct tn_image_ref wanted;
    const cJSON *tag;
    bool named = false;

    cleanup->call = NULL;
    if (err != NULL && err->code == TN_ERR_NOT_FOUND) {
        forget_image(cleanup);
        return;
    }
    if (err != NULL || tn_image_ref_parse(image->record.name, &wanted, NULL) != 0) {
        end_pass(cleanup);
        return;
    }
    image->size = tn_json_number(json, "Size", 0);
    cJSON_ArrayForEach (tag, tn_json_get(json, wanted.digest[0] != '\0' ? "RepoDigests" : "RepoTags")) {
        struct tn_image_ref ref;

        named =
            named || (cJSON_IsString(tag) && tn_image_ref_parse(tag->valuestring, &ref, NULL) == 0 &&
                      strcmp(ref.registry, wanted.registry) == 0 && strcmp(ref.repository, wanted.repository) == 0 &&
                      strcmp(wanted.digest[0] != '\0' ? ref.digest : ref.tag,
                             wanted.digest[0] != '\0' ? wanted.digest : wanted.tag) == 0);
    }
    image->by_id = !named;
    if (!named && cJSON_GetArraySize(tn_json_get(json, "RepoTags")) > 0)
        forget_image(cleanup);
    else
        remove_image(cleanup, image);
}

static void next_image(struct tn_docker_cleanup *cleanup)
{
    if (cleanup->at == cleanup->n_images || !is_over(cleanup))
        end_pass(cleanup);
    else
        cleanup->call = tn_engine_image_inspect_id(cleanup->docker->engine, cleanup->images[cleanup->at].record.id,
                                                   TN_ENGINE_THEN(ASK_MS, on_image_looked_at, cleanup));
}

/* A job of ours is about to make a container of it. */
static bool is_wanted(const struct tn_docker *docker, const char *name)
{
    const struct tn_docker_env *env;
    char wanted[TN_IMAGE_REF_TEXT_MAX + 1];

    TAILQ_FOREACH (env, &docker->envs, next) {
        for (size_t i = 0; env->phase == TN_DOCKER_ACQUIRING && i < env->n_images; i++) {
            tn_image_ref_format(&env->images[i].ref, wanted, sizeof(wanted));
            if (strcmp(wanted, name) == 0)
                return true;
        }
    }
    return false;
}

static void collect_image(const struct tn_image_record *record, void *arg)
{
    struct tn_docker_cleanup *cleanup = arg;
    struct tn_cleanup_image *more;

    if (cleanup->n_images == IMAGES_MAX || (double)(time(NULL) - record->used) < cleanup->unused_for_s ||
        is_wanted(cleanup->docker, record->name))
        return;
    more = realloc(cleanup->images, (cleanup->n_images + 1) * sizeof(*more));
    if (more == NULL)
        return;
    cleanup->images = more;
    cleanup->images[cleanup->n_images++] = (struct tn_cleanup_image){.record = *record};
}

static int by_use(const void *a, const void *b)
{
    const struct tn_cleanup_image *first = a;
    const struct tn_cleanup_image *second = b;

    return (first->record.used > second->record.used) - (first->record.used < second->record.used);
}

/* Podman leaves out the name of the hash in some answers. */
static const char *bare_id(const char *id)
{
    return strncmp(id, "sha256:", 7) == 0 ? id + 7 : id;
}

static bool is_used(const cJSON *containers, const char *id)
{
    const cJSON *container;

    cJSON_ArrayForEach (container, containers)
        if (strcmp(bare_id(tn_json_string(container, "ImageID", "")), bare_id(id)) == 0)
            return true;
    return false;
}

static void begin_images(struct tn_docker_cleanup *cleanup, const cJSON *containers)
{
    size_t kept = 0;

    if (cleanup->docker->images.folder != NULL && is_over(cleanup))
        tn_image_record_each(cleanup->docker->images.folder, collect_image, cleanup);
    for (size_t i = 0; i < cleanup->n_images; i++)
        if (!is_used(containers, cleanup->images[i].record.id))
            cleanup->images[kept++] = cleanup->images[i];
    cleanup->n_images = kept;
    if (kept > 0)
        qsort(cleanup->images, kept, sizeof(*cleanup->images), by_use);
    next_image(cleanup);
}

/* ---- containers of runs that were killed ---- */

static enum tn_owner_life life_of(const struct tn_docker_cleanup *cleanup, const cJSON *container,
                                  struct tn_owner *owner)
{
    const char *text = tn_json_string(tn_json_get(container, "Labels"), TN_LABEL_OWNER, "");
    bool runs = strcmp(tn_json_string(container, "State", "running"), "running") == 0;

    if (!cleanup->is_owner || !tn_owner_parse(text, owner))
        return TN_OWNER_UNKNOWN;
    /* Where several hosts share an engine, another boot may be another host's. */
    if (cleanup->docker->remote && strcmp(owner->boot, cleanup->ours.boot) != 0)
        return TN_OWNER_UNKNOWN;
    return tn_owner_life(owner, &cleanup->ours, runs);
}

static bool has_text(const cJSON *list, const char *text)
{
    const cJSON *item;

    cJSON_ArrayForEach (item, list)
        if (cJSON_IsString(item) && strcmp(item->valuestring, text) == 0)
            return true;
    return false;
}

static void on_orphan_removed(int status, const cJSON *json, const struct tn_err *err, void *arg)
{
    if (err != NULL)
        tn_warn("a container of a run that was killed stays: %s", err->text);
}

/* `gone` are the runs that tenond says are over. */
static void remove_orphans(struct tn_docker_cleanup *cleanup, const cJSON *gone)
{
    const cJSON *container;

    cJSON_ArrayForEach (container, cleanup->containers) {
        const char *id = tn_json_string(container, "Id", "");
        struct tn_owner owner;
        enum tn_owner_life life = life_of(cleanup, container, &owner);

        if (id[0] == '\0' ||
            (life != TN_OWNER_DEAD && (life != TN_OWNER_ASK || !has_text(gone, tn_owner_name(&owner)))))
            continue;
        tn_info("removes container %.12s of a run that was killed", id);
        (void)tn_engine_remove(cleanup->docker->engine, id, TN_ENGINE_THEN(REMOVE_MS, on_orphan_removed, NULL));
    }
}

static void on_runs(void *arg, const struct tn_msg *reply)
{
    struct tn_docker_cleanup *cleanup = arg;
    auto_json cJSON *json = reply != NULL ? tn_json_parse(reply->body, reply->header.length, "HOST_IS", NULL) : NULL;

    if (cleanup->docker->usable) /* else the next pass finds them again */
        remove_orphans(cleanup, tn_json_get(json, "gone"));
    begin_images(cleanup, cleanup->containers);
}

/* Runs beside ours that have containers. */
static cJSON *runs_of(const struct tn_docker_cleanup *cleanup)
{
    cJSON *runs = cJSON_CreateArray();
    const cJSON *container;

    cJSON_ArrayForEach (container, cleanup->containers) {
        struct tn_owner owner;

        if (life_of(cleanup, container, &owner) == TN_OWNER_ASK && !has_text(runs, tn_owner_name(&owner)) &&
            cJSON_GetArraySize(runs) < TN_CLEANUP_RUNS_MAX)
            cJSON_AddItemToArray(runs, cJSON_CreateString(tn_owner_name(&owner)));
    }
    return runs;
}

static void on_containers(int status, const cJSON *json, const struct tn_err *err, void *arg)
{
    struct tn_docker_cleanup *cleanup = arg;
    auto_json cJSON *body = NULL;
    auto_free char *text = NULL;
    cJSON *runs;

    cleanup->call = NULL;
    cleanup->n_removed = cleanup->at = cleanup->n_images = 0;
    cleanup->freed = 0;
    if (err != NULL) {
        end_pass(cleanup);
        return;
    }
    cJSON_Delete(cleanup->containers);
    cleanup->containers = cJSON_Duplicate(json, true);
    runs = runs_of(cleanup);
    if (cJSON_GetArraySize(runs) == 0) {
        cJSON_Delete(runs);
        on_runs(cleanup, NULL);
        return;
    }
    body = cJSON_CreateObject();
    cJSON_AddItemToObject(body, "runs", runs);
    text = tn_json_print(body);
    tn_peer_request(tn_executor_service(cleanup->docker->executor)->bus, TN_MSG_HOST_ASK, kernel, 0, 0, text,
                    strlen(text), HOST_MS, on_runs, cleanup);
}

/* ---- when ---- */

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct tn_docker_cleanup *cleanup = arg;
    bool due = !cleanup->begun || tn_docker_now_ms() >= cleanup->next_pass_ms;

    if (cleanup->on_known != NULL) /* it will be called with the answer that is on its way */
        return;
    if (!cleanup->asking)
        ask_disk(cleanup);
    if (cleanup->docker->usable && !cleanup->passing && due) {
        cleanup->begun = cleanup->passing = true;
        cleanup->call =
            tn_engine_list(cleanup->docker->engine, NULL, 0, TN_ENGINE_THEN(ASK_MS, on_containers, cleanup));
    }
}

void tn_docker_cleanup_open(struct tn_docker_cleanup *cleanup, struct tn_docker *docker, const cJSON *settings)
{
    const struct tn_service *service = tn_executor_service(docker->executor);
    const cJSON *wishes = tn_json_get(tn_json_get(settings, "docker"), "cleanup");

    memset(cleanup, 0, sizeof(*cleanup));
    cleanup->docker = docker;
    cleanup->above_percent = tn_json_number(wishes, "images_above", 80);
    cleanup->unused_for_s = tn_json_number(wishes, "images_unused_for", 3600);
    cleanup->reserve = tn_json_number(tn_json_get(settings, "store"), "reserve", 1e9);
    cleanup->is_owner = service->owner != NULL && tn_owner_parse(service->owner, &cleanup->ours);
}

void tn_docker_cleanup_info(struct tn_docker_cleanup *cleanup, const cJSON *info)
{
    free(cleanup->said_root);
    cleanup->said_root = tn_fs_path("%s", tn_json_string(info, "DockerRootDir", ""));
}

void tn_docker_cleanup_engine(struct tn_docker_cleanup *cleanup, void (*known)(struct tn_docker *docker))
{
    struct tn_service *service = tn_executor_service(cleanup->docker->executor);
    const char *root = cleanup->said_root != NULL ? cleanup->said_root : "";
    struct timeval every = {LOOK_S, 0};

    free(cleanup->data_root);
    cleanup->data_root = !cleanup->docker->remote && root[0] == '/' ? strdup(root) : NULL;
    cleanup->on_known = known;
    if (cleanup->timer == NULL) {
        cleanup->timer = event_new(service->base, -1, EV_PERSIST, on_timer, cleanup);
        if (cleanup->timer == NULL || event_add(cleanup->timer, &every) != 0)
            tn_fatal(3, "out of memory: a timer");
    }
    ask_disk(cleanup);
}

void tn_docker_cleanup_close(struct tn_docker_cleanup *cleanup)
{
    if (cleanup->call != NULL)
        tn_engine_cancel(cleanup->call);
    if (cleanup->timer != NULL)
        event_free(cleanup->timer);
    cJSON_Delete(cleanup->containers);
    free(cleanup->images);
    free(cleanup->said_root);
    free(cleanup->data_root);
    memset(cleanup, 0, sizeof(*cleanup));
}

const char *tn_docker_cleanup_owner(const struct tn_docker_cleanup *cleanup, char text[TN_OWNER_TEXT_MAX])
{
    if (!cleanup->is_owner || !tn_executor_service(cleanup->docker->executor)->is_private)
        return NULL;
    tn_owner_format(&cleanup->ours, text);
    return text;
}
