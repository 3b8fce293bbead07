/* The operator's other names for images (`docker.images` of tenon.yaml), for hosts without a way to the registries that
 * configs name. Pure.
 *
 * Each rule has one of `image` (the whole name), `prefix` (its begin; `use` takes its place) and `pattern` (PCRE2 for
 * the whole name; \1 to \9, or $1 to $9, in `use` are its groups, \\ and $$ the characters themselves). A rule is tried
 * on the name as the config has it, then on its full form (docker.io/library/alpine:latest). The first rule that fits
 * counts. */
#ifndef TN_EXECUTORS_DOCKER_IMAGE_MAP_H
#define TN_EXECUTORS_DOCKER_IMAGE_MAP_H

#include "executors/docker/image_ref.h"

#include <cjson/cJSON.h>

struct tn_image_map;

/* `rules` is the list of the settings, or NULL. Fails with TN_ERR_CONFIG on a pattern that is none, and names the entry
 * (counted from 1). */
struct tn_image_map *tn_image_map_new(const cJSON *rules, struct tn_err *err) TN_MUST_CHECK;
void tn_image_map_free(struct tn_image_map *map);

/* What stands for image `text`: `used` gets it. Returns the entry's number, 0 when none fits (`used` is then `text`
 * itself), or -1: `text` or what an entry makes of it is no image (TN_ERR_CONFIG), or a pattern needs more work than it
 * is allowed (TN_ERR_LIMIT). */
int tn_image_map_apply(const struct tn_image_map *map, const char *text, struct tn_image_ref *used,
                       struct tn_err *err) TN_MUST_CHECK;

#endif
