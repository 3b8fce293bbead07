/* libFuzzer target: tenon.yaml, up to what the services make of it: each gets its part, and the Docker executor's names
 * for images are applied to one.
 *
 * decodes: core/compiler/settings.c core/lib/settings.c core/lib/units.c executors/docker/image_map.c
 * max_len: 8192 */
#include "core/compiler/compiler.h"
#include "core/compiler/settings.h"
#include "core/lib/json.h"
#include "core/lib/settings.h"
#include "executors/docker/image_map.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void map_images(const cJSON *settings)
{
    static const char *const names[] = {"cimg/base:2024.01", "alpine", "registry.example:5000/a/b@sha256:"};
    struct tn_err err = TN_ERR_INIT;
    struct tn_image_map *map = tn_image_map_new(tn_json_get(tn_json_get(settings, "docker"), "images"), &err);
    struct tn_image_ref used;

    if (map == NULL && err.text[0] == '\0')
        abort();
    for (size_t i = 0; map != NULL && i < sizeof(names) / sizeof(names[0]); i++) {
        tn_err_clear(&err);
        if (tn_image_map_apply(map, names[i], &used, &err) < 0 && err.text[0] == '\0')
            abort();
    }
    tn_image_map_free(map);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const roles[] = {"executor-docker", "executor-machine", "output", "scheduler", "tenond"};
    cJSON *result = tn_settings_compile((const char *)data, size, "tenon.yaml", "/home/somebody");
    const cJSON *settings = tn_json_get(result, "settings");
    const cJSON *diagnostics = tn_json_get(result, "diagnostics");
    struct tn_buf out = TN_BUF_INIT;

    if (settings == NULL && cJSON_GetArraySize(diagnostics) == 0)
        abort();
    tn_diagnostics_render(diagnostics, &out, false);
    for (size_t i = 0; settings != NULL && i < sizeof(roles) / sizeof(roles[0]); i++) {
        unsigned receiver = tn_settings_receiver(roles[i]);
        cJSON *part = tn_settings_select(settings, receiver);

        tn_settings_fill(part, receiver);
        if (i == 0)
            map_images(part);
        if (i > 1 && cJSON_HasObjectItem(part, "docker") &&
            tn_json_get(tn_json_get(part, "docker"), "registries") != NULL)
            abort(); /* nobody else gets the credentials */
        cJSON_Delete(part);
    }
    tn_buf_free(&out);
    cJSON_Delete(result);
    return 0;
}
