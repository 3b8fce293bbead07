/* How fast the masker is, in MB for a second of the processor's time, on lines like a build's, on base64 and on random
 * bytes: `meson test --benchmark mask`, or run it: mask_bench [MEGABYTES]. One row a set of values, one column a text.
 */
#include "core/output/mask.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { CHUNK = 256 * 1024, TEXTS = 3 };

struct set {
    const char *name;
    unsigned count;
    size_t length; /* of each value */
};

static uint32_t next_random(void) /* xorshift64* */
{
    static uint64_t state = 1;

    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return (uint32_t)(state * 0x2545f4914f6cdd1du >> 32);
}

static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static void fill_lines(char *text, size_t size)
{
    static const char *const words[] = {"compiling",
                                        "src/core/output/",
                                        "mask.c",
                                        "[ 42%]",
                                        "Linking C object",
                                        "warning:",
                                        "npm http fetch GET 200",
                                        "https://registry.example.org/",
                                        "0x7ffd",
                                        "-O2 -g",
                                        "test_case",
                                        "ok",
                                        "(12 ms)",
                                        "INFO",
                                        "2026-11-21T13:11:14Z",
                                        "done."};
    size_t at = 0;

    while (at < size) {
        char line[512];
        int length =
            snprintf(line, sizeof(line), "%s %s %s %u %s\n", words[next_random() % 16], words[next_random() % 16],
                     words[next_random() % 16], next_random(), words[next_random() % 16]);
        size_t part = (size_t)length < size - at ? (size_t)length : size - at;

        memcpy(text + at, line, part);
        at += part;
    }
}

static void fill_base64(char *text, size_t size)
{
    for (size_t i = 0; i < size; i++)
        text[i] = i % 77 == 76 ? '\n' : letters[next_random() % 64];
}

static void fill_bytes(char *text, size_t size)
{
    for (size_t i = 0; i < size; i++)
        text[i] = (char)next_random();
}

static double seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static double measure(const struct tn_mask *mask, const char *text, size_t size)
{
    struct tn_mask_state state = {0};
    struct tn_buf out = TN_BUF_INIT;
    double begin = seconds();
    double end;

    for (size_t at = 0; at < size; at += CHUNK) {
        tn_buf_reset(&out);
        tn_mask_feed(mask, &state, text + at, size - at < CHUNK ? size - at : CHUNK, &out);
    }
    end = seconds();
    tn_buf_free(&out);
    tn_mask_state_free(&state);
    return (double)size / (end - begin) / 1e6;
}

static struct tn_mask *make(const struct set *set)
{
    const char **values = calloc(set->count, sizeof(*values));
    char *bytes = malloc(set->count * (set->length + 1));
    struct tn_err err = TN_ERR_INIT;
    struct tn_mask *mask;

    if (values == NULL || bytes == NULL)
        abort();
    for (unsigned i = 0; i < set->count; i++) {
        char *value = bytes + i * (set->length + 1);

        for (size_t at = 0; at < set->length; at++)
            value[at] = letters[next_random() % 64];
        value[set->length] = '\0';
        values[i] = value;
    }
    mask = tn_mask_new(values, set->count, &err);
    if (mask == NULL)
        fprintf(stderr, "%s\n", err.text);
    free(bytes);
    free(values);
    return mask;
}

int main(int argc, char **argv)
{
    static const struct set sets[] = {{"one of 20 bytes", 1, 20}, {"10 of 20", 10, 20},      {"10 of 8", 10, 8},
                                      {"10 of 4", 10, 4},         {"100 of 16", 100, 16},    {"1000 of 40", 1000, 40},
                                      {"a key of 1600", 1, 1600}, {"25000 of 40", 25000, 40}};
    static void (*const fill[TEXTS])(char *, size_t) = {fill_lines, fill_base64, fill_bytes};
    size_t size = (size_t)(argc > 1 ? atoi(argv[1]) : 64) * 1000000;
    char *texts[TEXTS];

    for (unsigned i = 0; i < TEXTS; i++) {
        texts[i] = malloc(size);
        if (texts[i] == NULL)
            return 1;
        fill[i](texts[i], size);
    }
    printf("%-18s %8s %8s %8s %10s\n", "values", "lines", "base64", "random", "built in");
    for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]); i++) {
        double begin = seconds();
        struct tn_mask *mask = make(&sets[i]);
        double built = seconds() - begin;

        if (mask == NULL)
            return 1;
        printf("%-18s", sets[i].name);
        for (unsigned t = 0; t < TEXTS; t++)
            printf(" %8.0f", measure(mask, texts[t], size));
        printf(" %7.1f ms\n", built * 1000);
        tn_mask_free(mask);
    }
    for (unsigned i = 0; i < TEXTS; i++)
        free(texts[i]);
    return 0;
}
