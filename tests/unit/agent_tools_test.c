/* The pure parts behind the name `circleci`: patterns, substitution, splitting; and the agent's small containers. */
#include "executors/agent/glob.h"
#include "executors/agent/ring.h"
#include "executors/agent/seen.h"
#include "executors/agent/split.h"
#include "executors/agent/subst.h"
#include "tests/unit/check.h"

#include <stdlib.h>

static void test_match(void)
{
    static const struct {
        const char *pattern;
        const char *path;
        bool matches;
    } cases[] = {
        {"*.c", "a.c", true},
        {"*.c", "x/a.c", false},
        {"**/*.c", "a.c", true},
        {"**/*.c", "x/y/a.c", true},
        {"a/**/b", "a/b", true},
        {"a/**/b", "a/x/y/b", true},
        {"a/**/b", "ab", false},
        {"a/**", "a/x/y", true},
        {"t/**_test.rb", "t/x/a_test.rb", true},
        {"?", "/", false},
        {"a?c", "abc", true},
        {"[a-c]x", "bx", true},
        {"[a-c]x", "dx", false},
        {"[!a-c]x", "dx", true},
        {"[^a]x", "ax", false},
        {"[]]", "]", true},
        {"[a", "[a", true},
        {"[!a]", "/", false},
        {"\\*", "*", true},
        {"\\*", "a", false},
        {"*", ".hidden", true},
        {"", "", true},
        {"*", "", true},
        {"a*b*c", "aXbYbZc", true},
        {"[\\]]", "]", true},
        {"**/foo", "barfoo", false},
        {"x**y", "xa/by", true},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        if (tn_glob_match(cases[i].pattern, cases[i].path) != cases[i].matches)
            CHECK_STR(cases[i].pattern, cases[i].path);
    /* Ends although a naive match would take for ever. */
    CHECK(!tn_glob_match("**a**a**a**a**a**a**a**a**b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"));
}

static void glob_of_match(void)
{
    static const char *const cases[][2] = {
        {"a/*.txt", "a/*.txt"}, {"**/x**", "*/x*"}, {"{a,b}", "\\{a,b}"}, {"\\{a", "\\{a"}, {"[{]x}", "[\\{]x}"},
        {"[!a]", "[\\!a]"},     {"[^a]!", "[^a]!"}, {"end\\", "end\\"},   {"\\**", "\\**"}, {"", ""}};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char *pattern = tn_glob_of_match(cases[i][0]);

        CHECK_STR(pattern, cases[i][1]);
        free(pattern);
    }
}

static void check_expand(const char *pattern, const char *expected)
{
    struct tn_words words = {NULL, 0, 0};
    auto_buf struct tn_buf text = TN_BUF_INIT;

    CHECK_INT(tn_glob_expand(pattern, &words, NULL), 0);
    for (size_t i = 0; i < words.count; i++)
        tn_buf_addf(&text, "%s%s", i > 0 ? " " : "", words.all[i]);
    CHECK_STR(text.data, expected);
    tn_words_free(&words);
}

static void test_expand(void)
{
    struct tn_words words = {NULL, 0, 0};
    struct tn_err err = TN_ERR_INIT;

    check_expand("a", "a");
    check_expand("a{b,c}d", "abd acd");
    check_expand("{a,b{c,d}}{,x}", "a ax bc bcx bd bdx");
    check_expand("{a", "{a");
    check_expand("a}b,c", "a}b,c");
    check_expand("\\{a,b}", "\\{a,b}");
    check_expand("{a}", "a");
    CHECK_INT(tn_glob_expand("{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}", &words, &err), -1);
    CHECK_STR(err.text, "the braces of the pattern stand for more than 4096 patterns");
    tn_words_free(&words);
}

static void check_subst(const char *text, const char *expected)
{
    auto_buf struct tn_buf out = TN_BUF_INIT;

    CHECK_INT(tn_subst(text, strlen(text), &out, NULL), 0);
    tn_buf_add(&out, "", 0);
    CHECK_STR(out.data, expected);
}

static void test_subst(void)
{
    auto_buf struct tn_buf out = TN_BUF_INIT;
    struct tn_err err = TN_ERR_INIT;

    setenv("A", "value", 1);
    setenv("EMPTY", "", 1);
    unsetenv("NONE");
    check_subst("$A-${A}.$NONE|", "value-value.|");
    check_subst("${NONE:-d}${NONE-d}${EMPTY:-e}${EMPTY-e}${NONE:=f}${NONE=f}", "ddeff");
    check_subst("${A:+x}${A+x}${EMPTY:+y}${EMPTY+z}${NONE+n}", "xxz");
    check_subst("${#A}${#NONE}", "50");
    check_subst("${NONE:-<$A ${NONE:-deep}>}", "<value deep>");
    check_subst("$$A $${A} $$ $1 $ 5$", "$A ${A} $$ $1 $ 5$");
    check_subst("no dollar, {braces}", "no dollar, {braces}");
    CHECK_INT(tn_subst("x ${A", 5, &out, &err), -1);
    CHECK_STR(err.text, "closing brace expected: ${A");
    CHECK_INT(tn_subst("${A/b/c}", 8, &out, &err), -1);
    CHECK_STR(err.text, "bad substitution ${A/b/c}: expected one of :- - := = :+ + behind the name");
    CHECK_INT(tn_subst("${}", 3, &out, &err), -1);
}

static double weight_of(const char *timings, const char *cwd, const char *name, enum tn_timing_type type)
{
    struct tn_split_item item = {name, 0, 0, tn_split_key(name, cwd)};
    struct tn_buf text = TN_BUF_INIT;
    size_t known;

    tn_buf_adds(&text, timings);
    known = tn_split_timings(text.data, cwd, &type, &item, 1);
    CHECK_INT(known, item.weight >= 0);
    tn_buf_free(&text);
    return item.weight;
}

/* The weight of "a.c" by its file, in thousandths. */
static int thousandths(const char *timings)
{
    double weight = weight_of(timings, "", "a.c", TN_TIMING_FILE);

    return (int)(weight * 1000 + (weight < 0 ? -0.5 : 0.5));
}

static void test_timings(void)
{
    static const char members[] = "\n{\"files\":[{\"tests\":[]},[]],\"tests\" : [ "
                                  "{\"message\":null,\"x\":{\"a\":[1,\"]}\\\"\",true]},\"name\":\"t\",\"file\":\"a.c\""
                                  ",\"run_time\":0.5 "
                                  "},{\"run_time\":1e-3,\"file\":\"./"
                                  "a.c\"}\n,{\"run_time\":2,\"file\":null},{\"file\":\"a.c\"}],\"exceptions\":[]}";

    CHECK_INT(thousandths(members), 501);
    CHECK_INT(thousandths("{\"tests\":[{\"file\":\"\\u0061\\u002ec\",\"run_time\":1.25E1}]}"), 12500);
    CHECK_INT(thousandths("{\"tests\":[{\"file\":\"a.c\",\"run_time\":1},{\"file\":\"a.c\",\"run_time\":"), 1000);
    CHECK(weight_of("{\"tests\":[{\"name\":\"\\u00e4 \\ud83d\\ude00 \\n\\\"\\\\\\/\",\"run_time\":1}]}", "",
                    "\xc3\xa4 \xf0\x9f\x98\x80 \n\"\\/", TN_TIMING_TEST) > 0.9);
    CHECK(weight_of("{\"tests\":[{\"file\":\"/p/x/a.c\",\"run_time\":1}]}", "/p", "./x/a.c", TN_TIMING_FILE) > 0.9);
    CHECK(weight_of("{\"tests\":[{\"file\":\"x/a.c\",\"run_time\":1}]}", "/p", "/p/x/a.c", TN_TIMING_FILE) > 0.9);
    CHECK(weight_of("{\"tests\":[{\"file\":\"x/a.c\",\"run_time\":1}]}", "/p", "/px/a.c", TN_TIMING_FILE) < 0);
}

static void test_bad_timings(void)
{
    static const char *const texts[] = {
        "",
        "{",
        "[]",
        "null",
        "{\"tests\":",
        "{\"tests\":[",
        "{\"tests\":{}}",
        "{\"tests\":[1,{\"file\":\"a.c\",\"run_time\":1}]}",
        "{\"x\":\"",
        "{\"x\":\"\\",
        "{\"x\":\"\\u12",
        "{\"x\":[[[[",
        "{\"x\":]}",
        "{\"tests\":[{\"file\":\"a.c\",\"run_time\":-1}]}",
        "{\"tests\":[{\"file\":\"a.c\",\"run_time\":\"1\"}]}",
        "{\"tests\":[{\"file\":\"a.c\",\"run_time\":1e12}]}",
        "{\"tests\":[{\"file\":\"a.c\\u0000\",\"run_time\":1}]}",
        "{\"tests\":[{\"file\" \"a.c\",\"run_time\":1}]}",
    };

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        if (thousandths(texts[i]) != -1000)
            CHECK_STR(texts[i], "without effect");
}

static void test_split(void)
{
    struct tn_split_item items[] = {
        {"a", 1, -1, "a"}, {"b", 9, -1, "b"}, {"c", 5, -1, "c"}, {"d", 5, -1, "d"}, {"e", 2, -1, "e"}};
    char timings[] =
        "{\"tests\":[{\"run_time\":1.5,\"file\":\"x/"
        "a.c\",\"classname\":\"A\",\"name\":\"one\"},{\"run_time\":2,\"file\":"
        "\"x/b.c\",\"classname\":\"B\",\"name\":\"two\"},{\"run_time\":0.5,\"file\":\"x/a.c\",\"classname\":\"A\"}]}";
    char again[sizeof(timings)];
    struct tn_split_item files[] = {{"x/a.c", 0, 0, "x/a.c"}, {"x/b.c", 0, 0, "x/b.c"}, {"x/c.c", 0, 0, "x/c.c"}};
    struct tn_split_item classes[] = {{"A", 0, 0, "A"}, {"B", 0, 0, "B"}};
    enum tn_timing_type type = TN_TIMING_AUTO;
    struct tn_words names = {NULL, 0, 0};

    memcpy(again, timings, sizeof(timings));
    tn_split_even(items, 5, 2); /* 9+2 and 5+5+1 */
    CHECK(items[1].task == 0 && items[2].task == 1 && items[3].task == 1 && items[4].task == 0 && items[0].task == 1);
    CHECK_INT(tn_split_timings(timings, "", &type, files, 3), 2);
    CHECK(type == TN_TIMING_FILE && files[0].weight > 1.99 && files[0].weight < 2.01 && files[2].weight < 0);
    type = TN_TIMING_AUTO;
    CHECK_INT(tn_split_timings(again, "", &type, classes, 2), 2);
    CHECK(type == TN_TIMING_CLASS && classes[1].weight > 1.99);
    tn_split_names("a b\nc d\r\n\n e", false, &names);
    CHECK_INT(names.count, 3);
    CHECK_STR(names.all[1], "c d");
    tn_words_free(&names);
    tn_split_names(" a  b\tc\n", false, &names);
    CHECK_INT(names.count, 3);
    tn_words_free(&names);
    tn_split_names("", false, &names);
    CHECK_INT(names.count, 0);
    tn_split_names("a b\n \nc\td \n", true, &names);
    CHECK_INT(names.count, 4);
    CHECK_STR(names.all[3], "d");
    tn_words_free(&names);
}

static void test_seen(void)
{
    static struct tn_seen seen;
    static bool known[2000];

    srand(3);
    for (int i = 0; i < 20000; i++) {
        uint32_t number = (uint32_t)rand() % 900;

        CHECK_INT(tn_seen_has(&seen, number), known[number]);
        CHECK(tn_seen_add(&seen, number));
        known[number] = true;
    }
    CHECK_INT(seen.count, 1);
    for (uint32_t i = 0; i < TN_SEEN_RANGES - 1; i++)
        CHECK(tn_seen_add(&seen, 2000 + 2 * i));
    CHECK(!tn_seen_add(&seen, UINT32_MAX) && !tn_seen_has(&seen, UINT32_MAX));
    CHECK(tn_seen_add(&seen, 2001) && tn_seen_add(&seen, UINT32_MAX) && tn_seen_has(&seen, UINT32_MAX));
}

static void test_ring(void)
{
    struct tn_ring ring;
    struct iovec pieces[2];

    CHECK_INT(tn_ring_open(&ring, 4096, NULL), 0);
    ring.base = ring.head = 4096 * 3 + 4000;
    tn_ring_put(&ring, "0123456789", 10);
    ring.head = ring.base + 90;
    tn_ring_put(&ring, "abcdefghij", 10);
    CHECK_INT(tn_ring_pieces(&ring, ring.base + 90, 10, pieces), 2);
    CHECK(pieces[0].iov_len == 6 && memcmp(pieces[0].iov_base, "abcdef", 6) == 0 &&
          memcmp(pieces[1].iov_base, "ghij", 4) == 0);
    CHECK_INT(tn_ring_room(&ring), 4096 - 100);
    tn_ring_close(&ring);
}

int main(void)
{
    glob_of_match();
    test_match();
    test_expand();
    test_subst();
    test_split();
    test_timings();
    test_bad_timings();
    test_seen();
    test_ring();
    return tn_check_result();
}
