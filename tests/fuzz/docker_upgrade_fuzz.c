/* libFuzzer target: the head of the answer to an attach. The first byte chooses how the rest is torn; torn and whole
 * must end alike, and what belongs to the stream must begin at the same byte.
 *
 * decodes: executors/docker/upgrade.c
 * max_len: 16384 */
#include "executors/docker/upgrade.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct outcome {
    enum tn_upgrade_state state;
    enum tn_err_code code;
    int status;
    size_t used;
    char words[400];
};

static void run(const char *bytes, size_t len, size_t piece, struct outcome *out)
{
    struct tn_upgrade upgrade = {0};
    struct tn_err err = TN_ERR_INIT;

    memset(out, 0, sizeof(*out));
    for (size_t at = 0; at < len && err.code == TN_OK && upgrade.state != TN_UPGRADE_OPEN; at += piece) {
        size_t used = 0;

        if (tn_upgrade_feed(&upgrade, bytes + at, len - at < piece ? len - at : piece, &used, &err) == 0)
            out->used += used;
        if (upgrade.bytes.len > TN_UPGRADE_HEAD_MAX)
            abort();
    }
    out->state = upgrade.state;
    out->code = err.code;
    out->status = upgrade.status;
    tn_upgrade_refusal(&upgrade, out->words, sizeof(out->words));
    tn_upgrade_free(&upgrade);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct outcome whole;
    struct outcome torn;

    if (size < 1)
        return 0;
    run((const char *)data + 1, size - 1, size, &whole);
    run((const char *)data + 1, size - 1, 1u + data[0], &torn);
    if (whole.state != torn.state || whole.code != torn.code || strcmp(whole.words, torn.words) != 0)
        abort();
    if (whole.code == TN_OK && whole.used != torn.used)
        abort();
    return 0;
}
