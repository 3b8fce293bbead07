/* libFuzzer target: what jobs print, on its way to somebody's terminal: no control character may pass, and what is kept
 * of colours is nothing but colours. The first byte chooses what is kept.
 *
 * decodes: tools/text.c
 * max_len: 4096 */
#include "tools/text.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct tn_buf *out, unsigned keep)
{
    for (size_t i = 0; i < out->len; i++) {
        unsigned char c = (unsigned char)out->data[i];

        if (c == '\33' && (keep & TEXT_COLOUR) != 0) {
            size_t length = strspn(out->data + i + 1, "[0123456789;:");

            if (out->data[i + 1] != '[' || out->data[i + 1 + length] != 'm')
                abort();
        } else if (c < ' ' && !(c == '\t' && (keep & TEXT_TABS) != 0)) {
            abort();
        } else if (c == 0x7f || (c == 0xc2 && i + 1 < out->len && (unsigned char)out->data[i + 1] < 0xa0)) {
            abort(); /* DEL, and the C1 controls */
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tn_buf out = TN_BUF_INIT;
    struct tn_buf cut = TN_BUF_INIT;
    unsigned keep;
    unsigned columns;

    if (size == 0)
        return 0;
    keep = data[0] % 4;
    columns = data[0] / 4;
    text_clean((const char *)data + 1, size - 1, keep, &out);
    check(&out, keep);
    if (text_overwritten((const char *)data + 1, size - 1) > size - 1 || text_incomplete(data + 1, size - 1) > 3)
        abort();
    tn_buf_reset(&out);
    text_clean((const char *)data + 1, size - 1, 0, &out); /* what is cut has no colours */
    check(&out, 0);
    if (out.len > 0 && text_cut(out.data, columns, data[0] % 2 == 0, &cut) > columns)
        abort();
    check(&cut, 0);
    tn_buf_reset(&out);
    text_utf8(data + 1, size - 1, &out);
    tn_buf_reset(&cut);
    if (out.len > 0)
        text_name(out.data, &cut);
    tn_buf_free(&out);
    tn_buf_free(&cut);
    return 0;
}
