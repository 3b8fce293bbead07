/* libFuzzer target: secrets, and what a job prints. The input up to the first empty line are the values, a line each;
 * then come the bytes. Torn and whole must give the same; no value passes as it is; and a state that was put away and
 * taken up goes on as if it had not been.
 *
 * decodes: core/output/mask.c core/output/mask_filter.c core/output/mask_forms.c core/output/mask_trie.c
 * max_len: 4096 */
#include "core/output/mask.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { VALUES_MAX = 8, TAKEN_UP = 7 /* every so many pieces */ };

static void run(const struct tn_mask *mask, const char *bytes, size_t size, size_t piece, struct tn_buf *out)
{
    struct tn_mask_state state = {0};
    struct tn_buf put_away = TN_BUF_INIT;
    size_t pieces = 0;

    for (size_t at = 0; at < size; at += piece) {
        tn_mask_feed(mask, &state, bytes + at, size - at < piece ? size - at : piece, out);
        if (++pieces % TAKEN_UP != 0)
            continue;
        tn_buf_reset(&put_away);
        tn_mask_state_export(&state, &put_away);
        tn_mask_state_free(&state);
        state = (struct tn_mask_state){0};
        if (tn_mask_state_import(mask, &state, put_away.data != NULL ? put_away.data : "", NULL) != 0)
            abort();
    }
    tn_mask_finish(&state, out);
    tn_mask_state_free(&state);
    tn_buf_free(&put_away);
}

/* The state's text is read from a record on the disk. */
static void import(const struct tn_mask *mask, const char *text)
{
    struct tn_mask_state state = {0};
    struct tn_buf out = TN_BUF_INIT;

    if (tn_mask_state_import(mask, &state, text, NULL) == 0) {
        tn_mask_feed(mask, &state, text, strlen(text), &out);
        tn_mask_finish(&state, &out);
    }
    tn_mask_state_free(&state);
    tn_buf_free(&out);
}

static size_t take_values(char *text, const char **values, char **rest)
{
    size_t count = 0;
    char *line;

    *rest = text;
    while (count < VALUES_MAX && (line = strsep(rest, "\n")) != NULL && line[0] != '\0' && *rest != NULL)
        values[count++] = line;
    return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tn_buf whole = TN_BUF_INIT;
    struct tn_buf torn = TN_BUF_INIT;
    char *text = malloc(size + 1);
    const char *values[VALUES_MAX];
    struct tn_mask *mask;
    char *rest;
    size_t count;
    size_t length;

    if (text == NULL)
        return 0;
    if (size > 0)
        memcpy(text, data, size);
    text[size] = '\0';
    count = take_values(text, values, &rest);
    length = rest != NULL ? size - (size_t)(rest - text) : 0;
    mask = tn_mask_new(values, count, NULL);
    if (mask != NULL && !tn_mask_is_empty(mask)) {
        run(mask, rest, length, SIZE_MAX / 2, &whole);
        run(mask, rest, length, size % 5 + 1, &torn);
        if (whole.len != torn.len || (whole.len > 0 && memcmp(whole.data, torn.data, whole.len) != 0))
            abort();
        if (length > 0)
            import(mask, rest);
    }
    tn_mask_free(mask);
    tn_buf_free(&whole);
    tn_buf_free(&torn);
    free(text);
    return 0;
}
