/* The live tree and the cleaning of foreign text: what fits, what is left out first, nothing that moves a cursor. */
#include "tests/unit/check.h"
#include "tools/text.h"
#include "tools/tree.h"

#include <locale.h>
#include <stdlib.h>

static const char *clean(const char *text, bool colour)
{
    static struct tn_buf out;

    tn_buf_reset(&out);
    text_clean(text, strlen(text), colour, &out);
    return out.data;
}

static void texts(void)
{
    struct tn_buf out = TN_BUF_INIT;
    char duration[24];

    CHECK_STR(clean("plain", false), "plain");
    CHECK_STR(clean("\033[31mred\033[0m", false), "red");
    CHECK_STR(clean("\033[31mred", true), "\033[31mred\033[0m");
    CHECK_STR(clean("\033[2J\033[1;1Hx\033]0;title\ay\033(Bz", true), "xyz");
    CHECK_STR(clean("10%\r20%\r30%\r\n", false), "30%");
    CHECK_STR(clean("a\tb", false), "a       b");
    CHECK_STR(clean("a\x01\x08"
                    "b\x7f",
                    false),
              "ab\xef\xbf\xbd");
    CHECK_STR(clean("a\xff"
                    "b\xc2\x9b"
                    "c",
                    false),
              "a\xef\xbf\xbd"
              "b\xef\xbf\xbd"
              "c");
    CHECK_STR(clean("\033", false), "");
    CHECK_STR(clean("\033[", false), "");
    text_utf8("a\0\xc3\xa4\xc3", 5, &out);
    CHECK_STR(out.data, "a\xef\xbf\xbd\xc3\xa4\xef\xbf\xbd");
    CHECK_INT(text_incomplete("a\xc3", 2), 1);
    CHECK_INT(text_incomplete("a\xc3\xa4", 3), 0);
    CHECK_INT(text_incomplete("\xf0\x9f\x98", 3), 3);
    CHECK_INT(text_incomplete("\x80\x80\x80\x80", 4), 0);
    CHECK_INT(text_incomplete("", 0), 0);
    tn_buf_reset(&out);
    CHECK_INT(text_cut("abcdef", 6, false, &out), 6);
    CHECK_INT(text_cut("abcdef", 4, false, &out), 4);
    CHECK_STR(out.data, "abcdefabc.");
    CHECK_INT(text_cut("abc", 0, false, &out), 0);
    CHECK_INT(text_columns("\033[31m\xc3\xa4"
                           "b\033[0m\nnext"),
              2);
    CHECK_INT(text_columns(""), 0);
    tn_buf_reset(&out);
    text_name("first\nsecond", &out);
    CHECK_STR(out.data, "first ...");
    tn_buf_free(&out);
    CHECK_STR(text_duration(0, duration), "0.0s");
    CHECK_STR(text_duration(9960, duration), "9.9s");
    CHECK_STR(text_duration(12345, duration), "12s");
    CHECK_STR(text_duration(65000, duration), "1m05s");
    CHECK_STR(text_duration(3720000, duration), "1h02m");
}

static size_t tail(void *arg, const struct model_task *task, const struct model_step *step,
                   const char *lines[TREE_TAIL_MAX])
{
    lines[0] = "output \033[31mred";
    return 1;
}

static void fill(struct model *model, unsigned done_jobs)
{
    struct tn_buf text = TN_BUF_INIT;
    struct tn_err err = TN_ERR_INIT;
    cJSON *json;

    tn_buf_adds(&text, "{\"pipeline\":{\"id\":\"p\",\"state\":\"running\"},\"sequence\":1,\"workflows\":[{\"id\":\"w\","
                       "\"name\":\"main\",\"state\":\"running\",\"jobs\":[");
    for (unsigned i = 0; i < done_jobs; i++)
        tn_buf_addf(&text, "{\"id\":\"d%u\",\"name\":\"done%u\",\"state\":\"succeeded\",\"started\":1,\"ended\":2001},",
                    i, i);
    tn_buf_adds(
        &text,
        "{\"id\":\"r\",\"name\":\"work\",\"state\":\"running\",\"started\":1000,\"tasks\":[{\"id\":\"1\",\"index\":0,"
        "\"total\":1,\"state\":\"running\",\"attempt\":1,\"steps\":[{\"step\":0,\"name\":\"checkout\",\"state\":"
        "\"succeeded\",\"started\":1000,\"ended\":1500},{\"step\":1,\"name\":\"make\\nall\",\"state\":\"running\","
        "\"started\":2000}]}]},"
        "{\"id\":\"q\",\"name\":\"later\",\"state\":\"queued\",\"reason\":\"waits for work\",\"tasks\":[]}]}]}");
    json = cJSON_Parse(text.data);
    CHECK(json != NULL);
    model_init(model, "p", NULL);
    CHECK_INT(model_snapshot(model, json, &err), 0);
    cJSON_Delete(json);
    tn_buf_free(&text);
}

static void whole_tree(void)
{
    struct model model;
    struct tn_buf out = TN_BUF_INIT;
    struct tree_options options = {.width = 60, .height = 20, .now = 13000, .tail = tail};

    fill(&model, 1);
    CHECK_INT(tree_render(&model, &options, &out), 7);
    CHECK_STR(out.data, "* main\n"
                        "  + done0  2.0s\n"
                        "  * work  12s\n"
                        "    + checkout  0.5s\n"
                        "    * make ...  11s\n"
                        "      | output red\n"
                        "  . later  waits for work\n");
    tn_buf_reset(&out);
    options.width = 12;
    tree_render(&model, &options, &out);
    CHECK(strstr(out.data, "  * work  1.\n") != NULL);
    for (const char *line = out.data; *line != '\0'; line += strcspn(line, "\n") + 1)
        CHECK(strcspn(line, "\n") <= 12);
    tn_buf_reset(&out);
    options.height = 0;
    CHECK_INT(tree_render(&model, &options, &out), 0);
    options.height = 5;
    for (options.width = 1; options.width < 12; options.width++) {
        tn_buf_reset(&out);
        CHECK(tree_render(&model, &options, &out) <= 5);
        for (const char *line = out.data; *line != '\0'; line += strcspn(line, "\n") + 1)
            CHECK(strcspn(line, "\n") <= options.width);
    }
    model_free(&model);
    tn_buf_free(&out);
}

static void small_terminal(void)
{
    struct model model;
    struct tn_buf out = TN_BUF_INIT;
    struct tree_options options = {.width = 60, .height = 5, .now = 13000, .tail = tail};

    fill(&model, 100);
    CHECK_INT(tree_render(&model, &options, &out), 5);
    CHECK_STR(out.data, "* main\n"
                        "  * work  12s\n"
                        "    * make ...  11s\n"
                        "  . later  waits for work\n"
                        "  (102 more lines)\n");
    tn_buf_reset(&out);
    options.height = 1;
    CHECK_INT(tree_render(&model, &options, &out), 1);
    CHECK_STR(out.data, "  (106 more lines)\n");
    model_free(&model);
    tn_buf_free(&out);
}

int main(void)
{
    setlocale(LC_CTYPE, "C.UTF-8");
    texts();
    whole_tree();
    small_terminal();
    return tn_check_result();
}
