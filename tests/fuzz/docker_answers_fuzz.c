/* libFuzzer target: what the Docker executor reads of parsed answers and of a job's list of images. The first byte
 * chooses.
 *
 * decodes: executors/docker/container_spec.c executors/docker/container_image.c executors/docker/pull_progress.c
 *          executors/docker/start_error.c executors/docker/address.c executors/docker/registry_auth.c
 * max_len: 8192 */
#include "core/lib/json.h"
#include "executors/docker/address.h"
#include "executors/docker/container_spec.h"
#include "executors/docker/pull_progress.h"
#include "executors/docker/registry_auth.h"
#include "executors/docker/start_error.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct tn_container_class medium = {"medium", 2, 4096, 8192};

static void make_bodies(const struct tn_container_image *image, const struct tn_container_host *host,
                        const cJSON *program)
{
    struct tn_container_task task = {.installation = "i",
                                     .task = "1",
                                     .attempt = 1,
                                     .resource_class = &medium,
                                     .host = host,
                                     .agent_folder = "/a",
                                     .socket_folder = "/s",
                                     .program = program};
    cJSON *primary = tn_container_primary_new(&task, image, 1);
    cJSON *service = tn_container_service_new(&task, image, "id");

    if (primary == NULL || service == NULL)
        abort();
    cJSON_Delete(primary);
    cJSON_Delete(service);
}

static void read_container(const cJSON *json)
{
    struct tn_container_state state;
    struct tn_err err = TN_ERR_INIT;
    auto_json cJSON *kept = tn_container_kept_parse(json);

    if (tn_container_state_parse(json, &state, &err) != 0 ? err.text[0] == '\0'
                                                          : strpbrk(state.error, "\r\n\33") != NULL)
        abort();
    if (kept != NULL && !cJSON_IsArray(kept))
        abort();
}

static void read_image(const cJSON *json)
{
    struct tn_container_host host = {.cpus = 2};
    struct tn_container_image image;
    struct tn_err err = TN_ERR_INIT;

    if (tn_container_host_parse(json, tn_json_get(json, "networks"), &host, &err) == 0 && host.cpus < 1)
        abort();
    tn_err_clear(&err);
    if (tn_container_image_parse(json, &image, &err) == 0) {
        auto_json cJSON *argv = tn_container_kept_argv(&image, tn_json_get(json, "inspected"));

        if ((image.username == NULL) != (image.password == NULL) ||
            (image.aws_key_id == NULL) != (image.aws_secret == NULL))
            abort();
        if (image.username != NULL)
            free(tn_registry_auth_new(&image.ref, image.username, image.password));
        make_bodies(&image, &host, argv);
    } else if (err.text[0] == '\0') {
        abort();
    }
    tn_container_image_free(&image);
}

static void read_progress(const char *text, size_t size)
{
    static struct tn_pull_progress progress;
    char line[TN_PULL_TEXT_MAX];
    char *copy = strndup(text, size);
    char *rest = copy;
    const char *id;

    memset(&progress, 0, sizeof(progress));
    while ((id = strsep(&rest, "|")) != NULL) {
        const char *status = strsep(&rest, "|");
        const char *current = strsep(&rest, "|");
        struct tn_docker_progress one = {.current = current != NULL ? strtoll(current, NULL, 10) : -1, .total = -1};

        snprintf(one.id, sizeof(one.id), "%s", id);
        snprintf(one.status, sizeof(one.status), "%s", status != NULL ? status : "");
        one.total = one.current >= 0 && one.current < INT64_MAX / 2 ? one.current * 2 : -1;
        tn_pull_progress_add(&progress, &one);
        tn_pull_progress_text(&progress, 1 + (uint64_t)size, line, sizeof(line));
    }
    free(copy);
}

static void read_texts(const char *text, size_t size)
{
    struct tn_engine_address address;
    struct tn_err err = TN_ERR_INIT;
    char out[500];

    if (tn_engine_address_parse(&address, text, "DOCKER_HOST", &err) != 0) {
        if (err.code != TN_ERR_USAGE)
            abort();
    } else if ((address.socket[0] == '\0') == (address.host[0] == '\0') || address.port < 0 || address.port > 65535) {
        abort();
    }
    if (tn_start_error_text(text, "r/x:1", out, sizeof(out)) != (out[0] != '\0'))
        abort();
    if (tn_start_error_of_output(text, strlen(text), out, sizeof(out)) != (out[0] != '\0'))
        abort();
    cJSON_Delete(tn_container_words_new(text));
    read_progress(text, size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    auto_json cJSON *json = NULL;
    char *text;

    if (size == 0)
        return 0;
    text = strndup((const char *)data + 1, size - 1);
    if (data[0] % 4 == 0) {
        read_texts(text, strlen(text));
    } else if ((json = tn_json_parse(text, strlen(text), "x", NULL)) != NULL) {
        if (data[0] % 4 == 1)
            read_container(json);
        else
            read_image(json);
    }
    free(text);
    return 0;
}
