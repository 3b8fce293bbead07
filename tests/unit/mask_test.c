/* The masker: values across chunks, overlaps, lines of a value, exact bytes otherwise; random streams against a slow
 * but obvious reference, in random chunks, with the state exported and imported in between. */
#include "core/output/mask.h"
#include "core/output/mask_forms.h"
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

/* ---- against a slow but obvious reference ---- */

struct reference {
    const char *bytes;
    size_t length;
    char *covered; /* 1: first byte of an occurrence only, 2: inside one */
};

static void cover(struct reference *reference, size_t at, size_t end)
{
    if (reference->covered[at] == 0)
        reference->covered[at] = 1;
    memset(reference->covered + at + 1, 2, end - at - 1);
}

static int find_text(void *arg, const char *form, size_t size)
{
    struct reference *reference = arg;

    for (size_t at = 0; at + size <= reference->length; at++)
        if (memcmp(reference->bytes + at, form, size) == 0)
            cover(reference, at, at + size);
    return 0;
}

static int digit_at(const struct reference *reference, size_t at)
{
    return at < reference->length ? tn_mask_base64_digit((uint8_t)reference->bytes[at]) : -1;
}

/* The place behind the line's end at `at`, or `at` if there is none that base64 goes on over. */
static size_t skip_end(const struct reference *reference, size_t at)
{
    size_t digits = 0;

    while (digits < TN_MASK_BASE64_LINE && digits < at && digit_at(reference, at - 1 - digits) >= 0)
        digits++;
    if (digits < TN_MASK_BASE64_LINE || at >= reference->length)
        return at;
    if (reference->bytes[at] == '\n')
        return at + 1;
    return reference->bytes[at] == '\r' && at + 1 < reference->length && reference->bytes[at + 1] == '\n' ? at + 2 : at;
}

static void find_base64(struct reference *reference, const char *value, size_t size)
{
    for (unsigned before = 0; before < 3; before++) {
        uint8_t digits[400];
        bool open;
        size_t count = tn_mask_base64(value, size, before, digits, &open);

        for (size_t start = 0; start < reference->length; start++) {
            size_t at = start;
            size_t found = 0;

            while (found < count && digit_at(reference, at) == digits[found]) {
                found++;
                at++;
                if (found < count)
                    at = skip_end(reference, at);
            }
            if (found < count)
                continue;
            cover(reference, start, at);
            at = skip_end(reference, at);
            if (open && digit_at(reference, at) >= 0)
                cover(reference, start, at + 1);
        }
    }
}

/* Marks each byte of each occurrence; a run of bytes is one "****" as far as occurrences overlap. */
static char *masked_slowly(const char *const *values, size_t count, const char *bytes, size_t length,
                           size_t *out_length)
{
    struct reference reference = {bytes, length, calloc(length + 1, 1)};
    struct tn_buf out = TN_BUF_INIT;

    for (size_t v = 0; v < count; v++) {
        find_text(&reference, values[v], strlen(values[v]));
        tn_mask_forms(values[v], strlen(values[v]), find_text, &reference);
        find_base64(&reference, values[v], strlen(values[v]));
    }
    for (size_t at = 0; at < length; at++) {
        if (reference.covered[at] == 1)
            tn_buf_adds(&out, "****");
        else if (reference.covered[at] == 0)
            tn_buf_add(&out, bytes + at, 1);
    }
    free(reference.covered);
    *out_length = out.len;
    return tn_buf_steal(&out);
}

static void check_random(const char *const *values, size_t count, const char *bytes, size_t length, bool keep)
{
    size_t got_length;
    size_t want_length;
    char *got = masked(values, count, bytes, length, 0, keep, &got_length);
    char *want = masked_slowly(values, count, bytes, length, &want_length);

    CHECK(got_length == want_length && memcmp(got, want, want_length) == 0);
    free(got);
    free(want);
}

/* Few letters and values that overlap themselves and each other. */
static void test_random(void)
{
    static const char *const values[] = {"abab",    "ababab",   "bbaa", "aaaaaa",
                                         "cab\001", "abcabcab", "bcab", "a\\b\"c'd"};

    for (int round = 0; round < 3000; round++) {
        char bytes[200];
        size_t length = (size_t)random() % sizeof(bytes);

        for (size_t i = 0; i < length; i++)
            bytes[i] = "aaabbbc\001\\\"'"[random() % 11];
        check_random(values, (size_t)random() % 9, bytes, length, round % 2 == 0);
    }
}

/* Pieces of values and of their base64, whole and cut, among other text and the ends of lines. */
static void test_random_forms(void)
{
    static const char *const values[] = {
        "hunter22",         "s3cr",       "p\xc3\xa4ss word/+=?",
        "tokentokentoken1", "t\"k'n\\$x", "0123456789abcdefghijABCDEFGHIJ0123456789+/xyz"};
    static const char *const joints[] = {
        "", "\n", "\r\n", " ", "=", "aGVs", "AAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAA\n", "%2", "\r", "x", "\n\n"};
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

    for (int round = 0; round < 6000; round++) {
        struct tn_buf text = TN_BUF_INIT;
        size_t columns = (size_t)random() % 3 * 6 + 12;

        while (text.len < 150) {
            const char *value = values[random() % 6];
            size_t length = strlen(value);
            unsigned before = (unsigned)(random() % 3);
            uint8_t code[100];
            bool open;
            size_t count = tn_mask_base64(value, length, before, code, &open);
            size_t first = random() % 4 == 0 ? (size_t)random() % count : 0;
            size_t last = random() % 4 == 0 ? (size_t)random() % count : count;

            tn_buf_adds(&text, joints[random() % 12]);
            if (random() % 4 == 0) {
                tn_buf_add(&text, value + first % length, length - first % length);
                continue;
            }
            for (size_t i = first; i < last; i++) {
                char c = code[i] < 62 ? digits[code[i]] : "+-/_"[(code[i] - 62) * 2 + random() % 2];

                tn_buf_add(&text, &c, 1);
                if (i % columns == columns - 1 && random() % 2 == 0)
                    tn_buf_adds(&text, random() % 3 == 0 ? "\r\n" : "\n");
            }
        }
        check_random(values, 1 + (size_t)random() % 6, text.data, text.len, round % 2 == 0);
        tn_buf_free(&text);
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

/* The encoded text is what coreutils' base64, Python's urllib.parse and json, and bash print. */
static void check_encoded(void)
{
    static const char *const one[] = {"hunter22"};
    static const char *const odd[] = {"a/b c+d=e?\xc3\xa4"};
    static const char *const quoted[] = {"it's \"$5\" <b> a\\b"};
    static const char *const key[] = {
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789abcdefghijklmnopqr"};

    check(one, 1, "aHVudGVyMjI=", "****=");
    check(one, 1, "aHVudGVyMjIK", "****K");         /* echo hunter22 | base64 */
    check(one, 1, "eGh1bnRlcjIy", "eG****");        /* xhunter22 */
    check(one, 1, "dTpodW50ZXIyMg==", "dTp****=="); /* u:hunter22 */
    check(one, 1, "Basic dXNlcjpodW50ZXIyMg==", "Basic dXNlcjp****==");
    check(odd, 1, "a/b%20c%2Bd%3De%3F%C3%A4", "****"); /* quote() */
    check(odd, 1, "a%2Fb+c%2Bd%3De%3F%C3%A4", "****"); /* quote_plus() */
    check(odd, 1, "a%2fb%20c%2bd%3de%3f%c3%a4", "****");
    check(odd, 1, "?t=a%2Fb%20c%2Bd%3De%3F%C3%A4&x", "?t=****&x");
    check(odd, 1, "\"a\\/b c+d=e?\\u00e4\"", "\"****\"");
    check(odd, 1, "YS9iIGMrZD1lP8Ok YS9iIGMrZD1lP8Ok", "**** ****");
    check(odd, 1, "bmEvYiBjK2Q9ZT_DpG4 bmEvYiBjK2Q9ZT/DpG4", "bm****4 bm****4");
    check(quoted, 1, "\"it's \\\"$5\\\" <b> a\\\\b\"", "\"****\"");
    check(quoted, 1, "\"it's \\\"$5\\\" \\u003cb\\u003e a\\\\b\"", "\"****\"");
    check(quoted, 1, "'it'\\''s \"$5\" <b> a\\b'", "'****'");
    check(quoted, 1, "'it'\"'\"'s \"$5\" <b> a\\b'", "'****'");
    check(quoted, 1, "it\\'s\\ \\\"\\$5\\\"\\ \\<b\\>\\ a\\\\b", "****");
    check(quoted, 1, "X=\"it's \\\"\\$5\\\" <b> a\\\\b\"", "X=\"****\"");
    check(quoted, 1, "$'it\\'s \"$5\" <b> a\\\\b'", "$'****'");
    /* Two lines of base64, as it prints them: the mask covers the end of the first, too. */
    check(key, 1,
          "YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXpBQkNERUZHSElKS0xNTk9QUVJTVFVWV1hZWjAxMjM0\n"
          "NTY3ODlhYmNkZWZnaGlqa2xtbm9wcXIK\n",
          "****K\n");
    check(key, 1,
          "YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXpBQkNERUZHSElKS0xNTk9QUVJTVFVW\r\n"
          "V1hZWjAxMjM0NTY3ODlhYmNkZWZnaGlqa2xtbm9wcXIK\r\n",
          "****K\r\n");
}

int main(void)
{
    static const char *const one[] = {"hunter22"};
    static const char *const two[] = {"abcd", "cdefgh", "abcdXY"};
    static const char *const short_ones[] = {"abc", "true", "false", ""};
    static const char *const blank[] = {"    \n\t\t\t\t\n"};
    static const char *const lines[] = {"-----BEGIN KEY-----\r\nline-one\nab\nline-two\n"};
    size_t length;
    char *big;

    check(one, 1, "a hunter22 hunter2 hunter22", "a **** hunter2 ****");
    check(one, 1, "hunter22hunter22", "********");
    check(one, 1, "hunterhunter22", "hunter****");
    check(two, 3, "abcdefgh abcdXY abcd", "**** **** ****");
    check(short_ones, 4, "abc true false", "abc true false");
    check(lines, 1, "x\r\n-----BEGIN KEY-----\r\nline-one\r\nab\nline-two\n", "x\r\n****\r\n****\r\nab\n****\n");
    check(blank, 1, "x\n    \n\t\t\t\t\n", "x\n    \n\t\t\t\t\n");
    check_encoded();
    test_random();
    test_random_forms();
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
