/* Foreign text on its way to a terminal or into JSON: nothing of it may steer the terminal or break the JSON. */
#include "core/lib/cleanup.h"
#include "tests/unit/check.h"
#include "tools/text.h"

#include <locale.h>
#include <stdlib.h>

#define BAD "\xef\xbf\xbd"

static void check_utf8(const char *bytes, size_t length, const char *expected)
{
    auto_buf struct tn_buf out = TN_BUF_INIT;

    text_utf8(bytes, length, &out);
    tn_buf_adds(&out, "");
    CHECK_STR(out.data, expected);
}

static void test_utf8(void)
{
    check_utf8("", 0, "");
    check_utf8("plain \xc3\xa4 \xe2\x82\xac \xf0\x9f\x98\x80", 17, "plain \xc3\xa4 \xe2\x82\xac \xf0\x9f\x98\x80");
    check_utf8("a\0b", 3, "a" BAD "b");
    check_utf8("\xff", 1, BAD);
    check_utf8("\xc0\xaf", 2, BAD BAD);                 /* overlong */
    check_utf8("\xe0\x80\xaf", 3, BAD BAD BAD);         /* overlong */
    check_utf8("\xed\xa0\x80", 3, BAD BAD BAD);         /* a surrogate */
    check_utf8("\xf4\x90\x80\x80", 4, BAD BAD BAD BAD); /* over U+10FFFF */
    check_utf8("x\xe2\x82", 3, "x" BAD BAD);            /* cut off */
    check_utf8("\xe2\x82x", 3, BAD BAD "x");
}

static void test_incomplete(void)
{
    CHECK_INT(text_incomplete("", 0), 0);
    CHECK_INT(text_incomplete("abc", 3), 0);
    CHECK_INT(text_incomplete("a\xc3", 2), 1);
    CHECK_INT(text_incomplete("a\xe2\x82", 3), 2);
    CHECK_INT(text_incomplete("\xe2\x82\xac", 3), 0);
    CHECK_INT(text_incomplete("\xf0\x9f\x98", 3), 3);
    CHECK_INT(text_incomplete("\x82\x82\x82\x82", 4), 0); /* will never be one */
    CHECK_INT(text_incomplete("\xff", 1), 0);
}

static void check_clean(const char *line, bool colour, const char *expected)
{
    auto_buf struct tn_buf out = TN_BUF_INIT;
    size_t length = strlen(line);
    char *exact = malloc(length + 1); /* so that a read behind the end shows */

    memcpy(exact, line, length);
    text_clean(exact, length, colour, &out);
    CHECK_STR(out.data, expected);
    free(exact);
}

static void test_clean(void)
{
    check_clean("", false, "");
    check_clean("text\r\n", false, "text");
    check_clean("10%\r20%\r100%", false, "100%");
    check_clean("a\tb", false, "a       b");
    check_clean("12345678\tb", false, "12345678        b");
    check_clean("bell\a back\b", false, "bell back");
    check_clean("\033[31mred\033[0m", false, "red");
    check_clean("\033[31mred", true, "\033[31mred\033[0m");
    check_clean("\033[2J\033[1;1Hcleared", true, "cleared");
    check_clean("\033]0;title\aafter", true, "after");
    check_clean("\033]8;;http://x\033\\link", true, "link");
    check_clean("\033]52;c;never ended", true, "");
    check_clean("\033", true, "");
    check_clean("\033[", true, "");
    check_clean("\033[>4;2mkeys\033[?25l\033[1 m", true, "keys"); /* no colours, though they end alike */
    check_clean("\033[38;5;1m\033[4:3mx", true, "\033[38;5;1m\033[4:3mx\033[0m");
    check_clean("\033Pq#0\033\\\033_G\033\\\033^x\033\\after", true, "after");
    check_clean("a\rb\r\r\n", true, "b");
    check_clean("\033(0line", true, "line");
    check_clean("\xc2\x9b"
                "31m",
                false, BAD "31m"); /* CSI as one character */
    check_clean("\x7f\xff", false, BAD BAD);
}

static void test_keep(void)
{
    auto_buf struct tn_buf out = TN_BUF_INIT;

    text_clean("a\tb\033[1mc", 9, TEXT_TABS, &out);
    CHECK_STR(out.data, "a\tbc");
    CHECK_INT(text_overwritten("10%\r20%\r30", 10), 8);
    CHECK_INT(text_overwritten("10%\r20%\r", 8), 4); /* "\n" may follow */
    CHECK_INT(text_overwritten("plain", 5), 0);
    CHECK_INT(text_overwritten("", 0), 0);
}

static void check_cut(const char *text, unsigned columns, bool unicode, const char *expected, unsigned used)
{
    auto_buf struct tn_buf out = TN_BUF_INIT;

    CHECK_INT(text_cut(text, columns, unicode, &out), used);
    tn_buf_adds(&out, "");
    CHECK_STR(out.data, expected);
}

static void test_cut(void)
{
    check_cut("abc", 3, true, "abc", 3);
    check_cut("abcd", 3, true, "ab\xe2\x80\xa6", 3);
    check_cut("abcd", 3, false, "ab.", 3);
    check_cut("abcd", 1, false, ".", 1);
    check_cut("abcd", 0, false, "", 0);
    check_cut("", 3, true, "", 0);
    CHECK_INT(text_columns("abc\ndef"), 3);
    CHECK_INT(text_columns("\033[31mabc\033[0m"), 3);
    CHECK_INT(text_columns(""), 0);
    if (setlocale(LC_CTYPE, "C.UTF-8") != NULL) {
        check_cut("\xe4\xb8\xad\xe6\x96\x87", 4, true, "\xe4\xb8\xad\xe6\x96\x87", 4); /* wide */
        check_cut("\xe4\xb8\xad\xe6\x96\x87", 3, true, "\xe4\xb8\xad\xe2\x80\xa6", 3);
        CHECK_INT(text_columns("e\xcc\x81"), 1); /* combining */
    }
}

static void test_name(void)
{
    auto_buf struct tn_buf out = TN_BUF_INIT;
    char name[301];

    text_name("one\ntwo", &out);
    CHECK_STR(out.data, "one ...");
    tn_buf_reset(&out);
    memset(name, 'n', 300);
    name[300] = '\0';
    memcpy(name + 199, "\xc3\xa4", 2); /* across the cut */
    text_name(name, &out);
    CHECK_INT(strlen(out.data), 199 + 4);
}

static void test_duration(void)
{
    char out[24];

    CHECK_STR(text_duration(0, out), "0.0s");
    CHECK_STR(text_duration(9999, out), "9.9s");
    CHECK_STR(text_duration(10000, out), "10s");
    CHECK_STR(text_duration(65000, out), "1m05s");
    CHECK_STR(text_duration(3720000, out), "1h02m");
    CHECK(strlen(text_duration(UINT64_MAX, out)) < sizeof(out));
}

int main(void)
{
    test_utf8();
    test_incomplete();
    test_clean();
    test_keep();
    test_cut();
    test_name();
    test_duration();
    return tn_check_result();
}
