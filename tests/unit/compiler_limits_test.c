/* Hostile and odd texts: each limit has its own message, and each comes quickly. */
#include "core/compiler/compiler.h"
#include "tests/unit/check.h"

#include <stdlib.h>
#include <time.h>

#define HEAD "version: 2.1\n"

/* The code of the first error, "none" without one. Fails if the compile takes long. */
static const char *first_code(const char *text, size_t len, int *line, int *column)
{
    static char code[16];
    clock_t start = clock();
    cJSON *result = tn_compile(text, len, NULL);
    const cJSON *item;

    snprintf(code, sizeof(code), "none");
    *line = *column = 0;
    cJSON_ArrayForEach (item, cJSON_GetObjectItemCaseSensitive(result, "diagnostics")) {
        if (strcmp(cJSON_GetObjectItemCaseSensitive(item, "severity")->valuestring, "error") != 0)
            continue;
        snprintf(code, sizeof(code), "%s", cJSON_GetObjectItemCaseSensitive(item, "code")->valuestring);
        *line = cJSON_GetObjectItemCaseSensitive(item, "line")->valueint;
        *column = cJSON_GetObjectItemCaseSensitive(item, "column")->valueint;
        break;
    }
    /* Sanitizers are slow; without them all of these stay below half a second. */
    CHECK((double)(clock() - start) / CLOCKS_PER_SEC < 20);
    cJSON_Delete(result);
    return code;
}

#define CHECK_CODE(text, len, wanted, at_line, at_column)                                                              \
    do {                                                                                                               \
        int line_;                                                                                                     \
        int column_;                                                                                                   \
        CHECK_STR(first_code(text, len, &line_, &column_), wanted);                                                    \
        CHECK_INT(line_, at_line);                                                                                     \
        CHECK_INT(column_, at_column);                                                                                 \
    } while (0)

#define CHECK_TEXT(text, wanted, at_line, at_column) CHECK_CODE(text, sizeof(text) - 1, wanted, at_line, at_column)

static void check_bytes(void)
{
    CHECK_TEXT("", "T1008", 1, 1);
    CHECK_TEXT("# only a comment\n", "T1008", 1, 1);
    CHECK_TEXT("%\xff", "T1003", 1, 2);
    CHECK_TEXT("\xff\xfe"
               "a\0",
               "T1003", 1, 1);
    CHECK_TEXT("a\0b\0", "T1003", 1, 1);
    CHECK_TEXT("a: b\nc: \xc3\xa4\0d", "T1004", 2, 5);
    CHECK_TEXT("a: \xc0\x80", "T1003", 1, 4);
    CHECK_TEXT("a: \xed\xa0\x80", "T1003", 1, 4);
    CHECK_TEXT("a: \x1b[31m", "T1004", 1, 4);
    CHECK_TEXT("a: \"\\0\"\nversion: 2.1\njobs: {build: {machine: true, steps: [checkout]}}\n", "T1004", 1, 4);
    CHECK_TEXT("a: |", "T2001", 1, 1);
    CHECK_TEXT("just a text", "T2008", 1, 1);
    CHECK_TEXT("version: 2.1\n---\nversion: 2.1\n", "T1008", 2, 1);
    CHECK_TEXT("\xef\xbb\xbf"
               "version: 3\n",
               "T2002", 1, 10);
    CHECK_TEXT("\xc3\xa4\xc3\xb6: [1\r\nversion: x\r\n", "T1001", 1, 5);
}

static void repeat(struct tn_buf *out, const char *text, size_t times)
{
    for (size_t i = 0; i < times; i++)
        tn_buf_adds(out, text);
}

static void check_sizes(void)
{
    auto_buf struct tn_buf text = TN_BUF_INIT;

    repeat(&text, "0123456789abcdef", 4 * 1024 * 1024 / 16 + 1);
    CHECK_CODE(text.data, text.len, "T1002", 1, 1);
    tn_buf_reset(&text);
    repeat(&text, "[", 100000);
    CHECK_CODE(text.data, text.len, "T1005", 1, 65);
    tn_buf_reset(&text);
    repeat(&text, "- x\n", 200001);
    CHECK_CODE(text.data, text.len, "T1006", 200000, 3);
    tn_buf_reset(&text);
    for (int i = 0; i < 10001; i++)
        tn_buf_addf(&text, "- &a%d x\n", i);
    CHECK_CODE(text.data, text.len, "T1007", 10001, 3);
}

/* Ten lists of ten aliases each, one in the other: a billion values if somebody copied them. */
static void check_laughs(void)
{
    auto_buf struct tn_buf text = TN_BUF_INIT;

    tn_buf_adds(&text, HEAD "a0: &a0 [run: x]\n");
    for (int i = 1; i < 10; i++)
        tn_buf_addf(&text,
                    "a%d: &a%d [steps: *a%d, steps: *a%d, steps: *a%d, steps: *a%d, steps: *a%d, steps: *a%d, "
                    "steps: *a%d, steps: *a%d]\n",
                    i, i, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1);
    tn_buf_adds(&text, "jobs: {build: {machine: true, steps: *a9}}\n");
    CHECK_CODE(text.data, text.len, "T1015", 12, 38);
}

/* Maps that merge their predecessor twice grow by one key each: a hundred million pairs if merging were not counted. */
static void check_merges(void)
{
    auto_buf struct tn_buf text = TN_BUF_INIT;
    int line;
    int column;

    tn_buf_adds(&text, HEAD "m0: &m0 {k: v}\n");
    for (int i = 1; i < 9000; i++)
        tn_buf_addf(&text, "m%d: &m%d {<<: *m%d, k%d: v}\n", i, i, i - 1, i);
    CHECK_STR(first_code(text.data, text.len, &line, &column), "T1015");
}

/* A parameter that is doubled by each command it passes through. */
static void check_doubling(void)
{
    auto_buf struct tn_buf text = TN_BUF_INIT;
    int line;
    int column;

    tn_buf_adds(&text, HEAD "commands:\n  c0: {parameters: {p: {type: string}}, steps: [run: << parameters.p >>]}\n");
    for (int i = 1; i < 60; i++)
        tn_buf_addf(
            &text,
            "  c%d: {parameters: {p: {type: string}}, steps: [c%d: {p: << parameters.p >><< parameters.p >>}]}\n", i,
            i - 1);
    tn_buf_adds(&text, "jobs: {build: {machine: true, steps: [c59: {p: xxxxxxxx}]}}\n");
    CHECK_STR(first_code(text.data, text.len, &line, &column), "T1015");
}

/* Depth that aliases and commands make, not brackets. */
static void check_depth(void)
{
    auto_buf struct tn_buf text = TN_BUF_INIT;
    int line;
    int column;

    tn_buf_adds(&text, HEAD "n0: &n0 {not: true}\n");
    for (int i = 1; i < 9000; i++)
        tn_buf_addf(&text, "n%d: &n%d {not: *n%d}\n", i, i, i - 1);
    tn_buf_adds(&text, "jobs: {build: {machine: true, steps: [when: {condition: *n8999, steps: [checkout]}]}}\n");
    CHECK_STR(first_code(text.data, text.len, &line, &column), "T1016");
    tn_buf_reset(&text);
    tn_buf_adds(&text, HEAD "commands:\n  c0: {steps: [checkout]}\n");
    for (int i = 1; i < 1000; i++)
        tn_buf_addf(&text, "  c%d: {steps: [c%d]}\n", i, i - 1);
    tn_buf_adds(&text, "jobs: {build: {machine: true, steps: [c999]}}\n");
    CHECK_STR(first_code(text.data, text.len, &line, &column), "T1016");
}

static void check_jobs(void)
{
    auto_buf struct tn_buf text = TN_BUF_INIT;

    tn_buf_adds(&text, HEAD "jobs: {j: {machine: true, steps: [checkout]}}\nworkflows: {w: {jobs:\n [");
    repeat(&text, "j,\n", 20001);
    tn_buf_adds(&text, "]}}\n");
    CHECK_CODE(text.data, text.len, "T1015", 20004, 1);
}

static void check_faults(void)
{
    auto_buf struct tn_buf text = TN_BUF_INIT;
    cJSON *result;

    /* Many faults: a bounded number of messages, the last of which says so. */
    tn_buf_adds(&text, HEAD "jobs:\n  build:\n    machine: true\n    steps:\n");
    repeat(&text, "    - unknwon\n", 50000);
    result = tn_compile(text.data, text.len, NULL);
    CHECK_INT(cJSON_GetArraySize(cJSON_GetObjectItem(result, "diagnostics")), 101);
    CHECK(cJSON_IsNull(cJSON_GetObjectItem(result, "plan")));
    cJSON_Delete(result);
    /* A pattern that takes exponential time elsewhere. */
    tn_buf_reset(&text);
    tn_buf_adds(
        &text,
        HEAD "jobs: {build: {machine: true, steps: [when: {condition: {matches: {pattern: '(a+)+(b+)+(c|a+)+d', "
             "value: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaad}}, steps: [checkout]}]}}\n");
    CHECK_CODE(text.data, text.len, "T2016", 2, 77);
}

/* What the terminal gets holds no control character of the config's. */
static void check_render(void)
{
    auto_buf struct tn_buf out = TN_BUF_INIT;
    static const char text[] = HEAD "jobs:\n  b\xc3\xbc"
                                    "ild: {machine: true, steps: [\"\\e[31mch\xc3\xa4"
                                    "ckout\"]}\nworkflows: {w: {jobs: [b\xc3\xbc"
                                    "ild]}}\n";
    cJSON *result = tn_compile(text, sizeof(text) - 1, NULL);

    tn_diagnostics_render(cJSON_GetObjectItem(result, "diagnostics"), &out, false);
    CHECK(strchr(out.data, '\033') == NULL);
    CHECK(strstr(out.data, "config.yml:3:34: error T4003: Cannot find a definition for command named ?[31mch") != NULL);
    cJSON_Delete(result);
}

int main(void)
{
    check_bytes();
    check_sizes();
    check_laughs();
    check_merges();
    check_doubling();
    check_depth();
    check_jobs();
    check_faults();
    check_render();
    return tn_check_result();
}
