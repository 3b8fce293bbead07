/* What the pulls of this executor share: the operator's settings about images, and the records of what was pulled. */
#ifndef TN_EXECUTORS_DOCKER_IMAGES_H
#define TN_EXECUTORS_DOCKER_IMAGES_H

#include "core/lib/confine.h"
#include "executors/docker/image_map.h"
#include "executors/docker/image_record.h"

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdint.h>

#define TN_DOCKER_MIRRORS_MAX 8

struct tn_docker_images {
    struct tn_image_map *map; /* owned; NULL: `error` */
    char error[512];          /* why no image can be named, or "" */
    const cJSON *mirrors;     /* all borrowed from the settings; may be NULL */
    const cJSON *registries;
    const char *ecr_endpoint; /* "" for AWS's own */
    int attempts;
    int64_t refresh_after_s;
    uint16_t ports[3]; /* that ECR is reached by, and 0; profile's connect_ports */
    char *store;       /* owned; STORE/images: a folder for each engine */
    char *folder;      /* owned; of this engine's records; NULL while its id is unknown */
    /* A registry that did not answer just now is not asked for newer images again for a while. */
    char quiet_registry[256];
    uint64_t quiet_until_ms;
};

/* `settings` is the section `docker` (borrowed as long as `images` is used), `store` the folder that runs share. */
void tn_docker_images_open(struct tn_docker_images *images, const cJSON *settings, const char *store);
void tn_docker_images_close(struct tn_docker_images *images);

/* Files that must be usable behind Landlock: the operator's passwords, the certificates by which AWS is known. Adds at most `room`; returns how many. */
size_t tn_docker_images_paths(const struct tn_docker_images *images, struct tn_confine_path *paths, size_t room);

/* The engine's id, from its info: its records are used from now on. */
void tn_docker_images_engine(struct tn_docker_images *images, const char *engine_id);

/* A job begins with the image of this name and id. `pulled`: it came just now, `checked`: its registry was asked. An
 * image without a record gets one only if it was pulled. A failure is logged: the image then counts as somebody else's.
 */
void tn_docker_images_used(struct tn_docker_images *images, const char *name, const char *id, bool pulled,
                           bool checked);

#endif
