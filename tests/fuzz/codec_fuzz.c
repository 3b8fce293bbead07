/* Fuzz target of the header and chunk decoders: whatever is accepted must encode to the same bytes again.
 *
 * decodes: proto/codec.c
 * max_len: 2048 */
#include "proto/codec.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t again[TN_HEADER_SIZE];
    struct tn_header header;
    struct tn_chunk chunk;
    struct tn_err err = TN_ERR_INIT;
    char name[32];

    if (tn_header_decode(data, size, &header, &err) == 0) {
        tn_header_encode(&header, again);
        if (memcmp(again, data, sizeof(again)) != 0 || header.length != size - TN_HEADER_SIZE)
            abort();
        for (int channel = TN_CHANNEL_BUS; channel <= TN_CHANNEL_EVENT; channel++)
            if (tn_header_permit(&header, (enum tn_msg_channel)channel, &err) != 0 && err.text[0] == '\0')
                abort();
        tn_address_name(header.source, name, sizeof(name));
    } else if (err.text[0] == '\0') {
        abort();
    }
    if (tn_chunk_decode(data, size, &chunk, &err) == 0) {
        tn_chunk_encode(&chunk, again);
        if (memcmp(again, data, TN_CHUNK_SIZE) != 0)
            abort();
    }
    return 0;
}
