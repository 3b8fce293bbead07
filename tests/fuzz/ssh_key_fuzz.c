/* SSH key files: whatever an operator names as one.
 *
 * decodes: executors/sdk/ssh_key.c
 * max_len: 8192 */
#include "executors/sdk/ssh_key.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tn_ssh_key key;
    struct tn_err err = TN_ERR_INIT;

    if (tn_ssh_key_read((const char *)data, size, &key, &err) != 0 && err.code == TN_OK)
        __builtin_trap();
    tn_ssh_key_free(&key);
    return 0;
}
