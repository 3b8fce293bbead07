/* The masker: values across chunks, overlaps, lines of a value, exact bytes otherwise; random streams against a slow
 * but obvious reference, in random chunks, with the state exported and imported in between. */
#include "core/output/mask.h"
#include "tests/unit/check.h"

#include <stdlib.h>

static char *masked(const char *const *values, size_t count, const char *bytes, size_t length, size_t chunk, bool keep,
                    size_t *out_length)
{
    struct tn_mask *mask = tn_mask_new(values, count, NULL);
    struct tn_mask_state state = {0};
    struct tn_buf out = TN_BUF_INIT;

    for (size_t at = 0; at < length;) {
        size_t part = chunk != 0 ? chunk : 1 + (size_t)random() % 9;

        part = part < length - at ? part : length - at;
        tn_mask_feed(mask, &state, bytes + at, part, &out);
        at += part;
        if (keep) {
            struct tn_buf text = TN_BUF_INIT;

            tn_mask_state_export(&state, &text);
            tn_buf_add(&text, "", 0);
            CHECK(tn_mask_state_import(mask, &state, text.data, NULL) == 0);
            tn_buf_free(&text);
        }
    }
    tn_mask_finish(&state, &out);
    tn_mask_state_free(&state);
    tn_mask_free(mask);
    *out_length = out.len;
    return tn_buf_steal(&out);
}

static void check(const char *const *values, size_t count, const char *bytes, const char *want)
{
    for (size_t chunk = 1; chunk <= strlen(bytes); chunk++) {
        size_t length;
        char *got = masked(values, count, bytes, strlen(bytes), chunk, chunk % 2 == 0, &length);

        CHECK_STR(got, want);
        free(got);
    }
}

/* Marks each byte of each occurrence; a run of bytes is one "****" as far as occurrences overlap. */
static char *reference(const char *const *values, size_t count, const char *bytes, size_t length, size_t *out_length)
{
    char *covered = calloc(length + 1, 1); /* 1: first byte of an occurrence only, 2: inside one */
    struct tn_buf out = TN_BUF_INIT;

    for (size_t v = 0; v < count; v++) {
        size_t size = strlen(values[v]);

        for (size_t at = 0; at + size <= length; at++) {
            if (memcmp(bytes + at, values[v], size) != 0)
                continue;
            if (covered[at] == 0)
                covered[at] = 1;
            memset(covered + at + 1, 2, size - 1);
        }
    }
    for (size_t at = 0; at < length; at++) {
        if (covered[at] == 1)
            tn_buf_adds(&out, "****");
        else if (covered[at] == 0)
            tn_buf_add(&out, bytes + at, 1);
    }
    free(covered);
    *out_length = out.len;
    return tn_buf_steal(&out);
}

static void test_random(void)
{
    static const char *const values[] = {"abab", "ababab", "bbaa", "aaaaaa", "cab\001", "abcabcab", "bcab"};

    for (int round = 0; round < 3000; round++) {
        char bytes[200];
        size_t length = (size_t)random() % sizeof(bytes);
        size_t count = (size_t)random() % 8;
        size_t got_length;
        size_t want_length;
        char *got;
        char *want;

        for (size_t i = 0; i < length; i++)
            bytes[i] = "aaabbbc\001"[random() % 8];
        got = masked(values, count, bytes, length, 0, round % 2 == 0, &got_length);
        want = reference(values, count, bytes, length, &want_length);
        CHECK(got_length == want_length && memcmp(got, want, want_length) == 0);
        free(got);
        free(want);
    }
}

static void test_bytes_pass_at_once(void)
{
    static const char *const values[] = {"secret"};
    struct tn_mask *mask = tn_mask_new(values, 1, NULL);
    struct tn_mask_state state = {0};
    struct tn_buf out = TN_BUF_INIT;

    tn_mask_feed(mask, &state, "prompt> ", 8, &out);
    CHECK_STR(out.data, "prompt> ");
    tn_mask_feed(mask, &state, "use", 3, &out);
    CHECK_STR(out.data, "prompt> u");
    tn_mask_feed(mask, &state, "\0x", 2, &out);
    CHECK(out.len == 13 && memcmp(out.data, "prompt> use\0x", 13) == 0);
    tn_mask_feed(mask, &state, "secre", 5, &out);
    tn_mask_finish(&state, &out);
    CHECK(out.len == 18 && memcmp(out.data + 13, "secre", 5) == 0);
    CHECK(tn_mask_state_import(mask, &state, "7", NULL) != 0);
    CHECK(tn_mask_state_import(mask, &state, "73 5,2,0", NULL) != 0);
    tn_buf_free(&out);
    tn_mask_state_free(&state);
    tn_mask_free(mask);
}

/* Quadratic work would take minutes here. */
static void test_linear(void)
{
    size_t size = 50000;
    char *value = malloc(size + 1);
    char *bytes = malloc(4000000);
    const char *const values[] = {value, "aaaaaaaaaaaab"};
    size_t length;

    memset(value, 'a', size);
    value[size] = '\0';
    memset(bytes, 'a', 4000000);
    free(masked(values, 2, bytes, 4000000, 65536, false, &length));
    CHECK_INT(length, 4);
    free(value);
    free(bytes);
}

int main(void)
{
    static const char *const one[] = {"hunter22"};
    static const char *const two[] = {"abcd", "cdefgh", "abcdXY"};
    static const char *const short_ones[] = {"abc", "true", "false", ""};
    static const char *const lines[] = {"-----BEGIN KEY-----\r\nline-one\nab\nline-two\n"};
    size_t length;
    char *big;

    check(one, 1, "a hunter22 hunter2 hunter22", "a **** hunter2 ****");
    check(one, 1, "hunter22hunter22", "********");
    check(one, 1, "hunterhunter22", "hunter****");
    check(two, 3, "abcdefgh abcdXY abcd", "**** **** ****");
    check(short_ones, 4, "abc true false", "abc true false");
    check(lines, 1, "x\r\n-----BEGIN KEY-----\r\nline-one\r\nab\nline-two\n", "x\r\n****\r\n****\r\nab\n****\n");
    test_random();
    test_bytes_pass_at_once();
    test_linear();
    big = malloc(TN_MASK_BYTES_MAX + 2);
    memset(big, 'x', TN_MASK_BYTES_MAX + 1);
    big[TN_MASK_BYTES_MAX + 1] = '\0';
    struct tn_err err = TN_ERR_INIT;
    const char *const too_long[] = {big};
    CHECK(tn_mask_new(too_long, 1, &err) == NULL && err.code == TN_ERR_LIMIT);
    free(big);
    free(masked(one, 0, "", 0, 1, false, &length));
    CHECK_INT(length, 0);
    return tn_check_result();
}
