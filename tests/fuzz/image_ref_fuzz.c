/* libFuzzer target: image references. Whatever is accepted keeps its limits and means the same in its full form.
 *
 * decodes: executors/docker/image_ref.c
 * max_len: 2048 */
#include "executors/docker/image_ref.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tn_image_ref ref;
    struct tn_image_ref again;
    struct tn_err err = TN_ERR_INIT;
    char full[TN_IMAGE_REF_TEXT_MAX + 1];
    char name[TN_IMAGE_REF_NAME_MAX + 1];
    char *text = malloc(size + 1);

    if (text == NULL)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    if (tn_image_ref_parse(text, &ref, &err) == 0) {
        tn_image_ref_format(&ref, full, sizeof(full));
        if (tn_image_ref_parse(full, &again, &err) < 0 || memcmp(&ref, &again, sizeof(ref)) != 0)
            abort();
        if (tn_image_ref_pull_name(&ref, name, sizeof(name))[0] == '\0' ||
            strlen(name) != strlen(ref.registry) + 1 + strlen(ref.repository))
            abort();
        /* Nothing that could leave its place in a request's path. */
        if (strpbrk(full, " ?#%\\\r\n") != NULL || strstr(ref.repository, "..") != NULL ||
            strstr(ref.registry, "..") != NULL)
            abort();
    } else if (err.code != TN_ERR_CONFIG || strpbrk(err.text, "\r\n") != NULL) {
        abort();
    }
    free(text);
    return 0;
}
