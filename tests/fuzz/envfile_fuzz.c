/* libFuzzer target: files of NAME=VALUE lines (--context NAME=FILE, --env-file).
 *
 * decodes: tools/envfile.c
 * max_len: 8192 */
#include "tools/envfile.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pairs pairs = {NULL, 0};
    struct pairs again = {NULL, 0};
    struct tn_err err = TN_ERR_INIT;
    char *text = malloc(size + 1);
    cJSON *json;

    if (text == NULL)
        return 0;
    if (size > 0)
        memcpy(text, data, size);
    text[size] = '\0';
    if (env_file(&pairs, "f", text, size, &err) != 0 && (err.code != TN_ERR_USAGE || strncmp(err.text, "f:", 2) != 0))
        abort();
    for (size_t i = 0; i < pairs.count; i++)
        if (pairs.items[i].name[0] == '\0' || strchr(pairs.items[i].name, '=') != NULL)
            abort();
    json = pairs_json(&pairs);
    tn_err_clear(&err);
    if (env_assignment(&again, "--env", text, &err) != 0 && err.code != TN_ERR_USAGE)
        abort();
    cJSON_Delete(json);
    pairs_free(&pairs);
    pairs_free(&again);
    free(text);
    return 0;
}
