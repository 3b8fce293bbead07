#include "executors/docker/images.h"

#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/json.h"
#include "core/lib/log.h"
#include "executors/docker/ecr.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    USED_GRAIN_S = 60, /* a record is not rewritten for less: it costs two syncs of the disk */
    HTTPS_PORT = 443,
    DNS_PORT = 53, /* long answers of name servers come over TCP */
};

void tn_docker_images_open(struct tn_docker_images *images, const cJSON *settings, const char *store)
{
    uint16_t port = HTTPS_PORT;
    struct tn_err err = TN_ERR_INIT;

    memset(images, 0, sizeof(*images));
    images->map = tn_image_map_new(tn_json_get(settings, "images"), &err);
    if (images->map == NULL)
        snprintf(images->error, sizeof(images->error), "%.500s", err.text);
    images->mirrors = tn_json_get(settings, "mirrors");
    images->registries = tn_json_get(settings, "registries");
    images->ecr_endpoint = tn_json_string(settings, "ecr_endpoint", "");
    if (images->ecr_endpoint[0] != '\0' && tn_ecr_endpoint_check(images->ecr_endpoint, &port, &err) != 0)
        snprintf(images->error, sizeof(images->error), "%.500s", err.text);
    images->ports[0] = port;
    images->ports[1] = DNS_PORT;
    images->attempts = tn_json_int(settings, "pull_attempts", 5);
    images->refresh_after_s = (int64_t)tn_json_u64(settings, "refresh_after", 0);
    images->store = tn_fs_path("%s/images", store);
    if (tn_fs_make_dirs(images->store, 0700, &err) != 0) /* Landlock can only allow what is there */
        tn_warn("%s: which images were pulled is not remembered", err.text);
}

void tn_docker_images_close(struct tn_docker_images *images)
{
    tn_image_map_free(images->map);
    free(images->store);
    free(images->folder);
    memset(images, 0, sizeof(*images));
}

size_t tn_docker_images_paths(const struct tn_docker_images *images, struct tn_confine_path *paths, size_t room)
{
    const cJSON *entry;
    size_t count = 0;

    if (room > 0)
        paths[count++] = (struct tn_confine_path){TN_ECR_CA, false};
    cJSON_ArrayForEach (entry, images->registries) {
        const char *path = tn_json_string(entry, "password_file", "");

        if (path[0] != '\0' && count < room)
            paths[count++] = (struct tn_confine_path){path, false};
    }
    return count;
}

void tn_docker_images_engine(struct tn_docker_images *images, const char *engine_id)
{
    auto_free char *name = tn_fs_safe_name(engine_id);

    free(images->folder);
    images->folder = engine_id[0] != '\0' ? tn_fs_path("%s/%s", images->store, name) : NULL;
}

void tn_docker_images_used(struct tn_docker_images *images, const char *name, const char *id, bool pulled, bool checked)
{
    struct tn_image_record record = {0};
    int64_t now = (int64_t)time(NULL);
    struct tn_err err = TN_ERR_INIT;
    bool known = images->folder != NULL && tn_image_record_get(images->folder, name, id, &record);

    if (images->folder == NULL || (!known && !pulled))
        return;
    if (known && !pulled && !checked && now >= record.used && now - record.used < USED_GRAIN_S)
        return;
    if (!known) {
        snprintf(record.name, sizeof(record.name), "%s", name);
        snprintf(record.id, sizeof(record.id), "%s", id);
        record.pulled = now;
    }
    record.used = now;
    if (pulled || checked)
        record.checked = now;
    if (tn_image_record_put(images->folder, &record, &err) != 0)
        tn_warn("image %s: %s", name, err.text);
}
