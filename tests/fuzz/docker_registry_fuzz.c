/* libFuzzer target: what registries, AWS, the store and other runs' labels may hold. Nothing crashes, and what is
 * believed keeps its bounds.
 *
 * decodes: executors/docker/ecr.c executors/docker/image_record.c executors/docker/owner.c
 *          executors/docker/pull_error.c
 * max_len: 8192 */
#include "executors/docker/ecr.h"
#include "executors/docker/image_record.h"
#include "executors/docker/owner.h"
#include "executors/docker/pull_error.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void answer(const char *text, size_t len)
{
    struct tn_credentials found;
    struct tn_err err = TN_ERR_INIT;
    bool passes;

    for (int status = 200; status <= 500; status += 300) {
        int rc = tn_ecr_answer("https://e", status, text, len, &found, &passes, &err);

        if (rc == 0 ? found.username[0] == '\0' || found.password[0] == '\0' : found.password != NULL)
            abort();
        tn_credentials_clear(&found);
    }
}

static void words(const char *text)
{
    char said[1000];
    struct tn_image_ref ref = {.registry = "r", .repository = "x", .tag = "1"};
    long wait = tn_pull_retry_after_ms(text);

    if (wait < -1 || wait > 600000)
        abort();
    tn_pull_fault_text(tn_pull_fault_of(500, text, true), &ref, text, NULL, said, sizeof(said));
    if (strncmp(said, "image r/x:1: ", 13) != 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tn_image_record record;
    struct tn_ecr_host host;
    struct tn_owner owner;
    struct tn_owner again;
    uint16_t port;
    char out[TN_OWNER_TEXT_MAX];
    char *text = malloc(size + 1);

    if (text == NULL)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    answer(text, size);
    words(text);
    if (tn_image_record_parse(text, size, &record) && (record.name[0] == '\0' || record.pulled <= 0))
        abort();
    if (tn_owner_parse(text, &owner)) {
        tn_owner_format(&owner, out);
        if (!tn_owner_parse(out, &again) || memcmp(&owner, &again, sizeof(owner)) != 0)
            abort();
    }
    if (tn_ecr_host_parse(text, &host) && strstr(host.endpoint, host.region) == NULL)
        abort();
    if (tn_ecr_endpoint_check(text, &port, NULL) == 0 && port == 0)
        abort();
    free(text);
    return 0;
}
