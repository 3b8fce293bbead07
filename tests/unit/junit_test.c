/* Reading JUnit XML: what tools write (tests/unit/junit: NAME.xml, and NAME.txt with what is in it, one test a line),
 * what suites claim of themselves, and what hostile or damaged documents come to. */
#include "core/lib/buf.h"
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/output/junit.h"
#include "tests/unit/check.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>

static void tell(void *arg, const struct tn_junit_test *test)
{
    static const char *const results[] = {"passed", "failed", "error", "skipped"};
    struct tn_buf *out = arg;

    tn_buf_addf(out, "%s%s | %s | %s | %s | %s | ", results[test->result], test->flaky ? " flaky" : "", test->suite,
                test->file, test->classname, test->name);
    tn_buf_addf(out, test->seconds < 0 ? "?" : "%g", test->seconds);
    tn_buf_adds(out, " | ");
    for (const char *at = test->message; *at != '\0'; at++)
        tn_buf_addf(out, *at == '\n' ? "\\n" : "%c", *at);
    tn_buf_adds(out, "\n");
}

/* One document; `error` is part of the error's text, NULL for none. */
static struct tn_junit_counts take_bytes(const char *text, size_t length, const char *error, struct tn_buf *told)
{
    struct tn_junit_counts counts = {0};
    struct tn_err err = TN_ERR_INIT;
    int failed = tn_junit_read(text, length, "a.xml", tell, told, &counts, &err);

    CHECK((failed != 0) == (error != NULL));
    if (error != NULL && strstr(err.text, error) == NULL)
        CHECK_STR(err.text, error);
    CHECK_INT(counts.damaged + counts.foreign, error != NULL);
    return counts;
}

static struct tn_junit_counts take(const char *text, const char *error)
{
    auto_buf struct tn_buf told = TN_BUF_INIT;

    return take_bytes(text, strlen(text), error, &told);
}

/* The document with one test has this line. */
static void check_test(const char *text, size_t length, const char *line)
{
    auto_buf struct tn_buf told = TN_BUF_INIT;

    take_bytes(text, length, NULL, &told);
    CHECK_STR(told.data, line);
}

/* ---- what tools write ---- */

static void check_sample(const char *name)
{
    auto_free char *path = tn_fs_path("%s/tests/unit/junit/%s.xml", TN_SOURCE_ROOT, name);
    auto_free char *wanted_path = tn_fs_path("%s/tests/unit/junit/%s.txt", TN_SOURCE_ROOT, name);
    auto_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
    auto_buf struct tn_buf told = TN_BUF_INIT;
    auto_buf struct tn_buf wanted = TN_BUF_INIT;
    struct tn_junit_counts counts = {0};
    struct tn_err err = TN_ERR_INIT;

    CHECK_INT(tn_junit_read_file(fd, name, tell, &told, &counts, &err), 0);
    tn_buf_addf(&told, "total %d, failed %d, errors %d, skipped %d, flaky %d\n", (int)counts.total, (int)counts.failed,
                (int)counts.errors, (int)counts.skipped, (int)counts.flaky);
    if (tn_fs_read(wanted_path, 1 << 20, &wanted, &err) != 0)
        CHECK_STR(err.text, "");
    CHECK_STR(told.data, wanted.data);
}

static void check_samples(void)
{
    DIR *dir = opendir(TN_SOURCE_ROOT "/tests/unit/junit");
    struct dirent *entry;
    unsigned samples = 0;

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        char *dot = strrchr(entry->d_name, '.');

        if (dot == NULL || strcmp(dot, ".xml") != 0)
            continue;
        *dot = '\0';
        check_sample(entry->d_name);
        samples++;
    }
    CHECK(samples >= 12);
    closedir(dir);
}

/* ---- counts ---- */

static void check_counts(void)
{
    struct tn_junit_counts c;

    c = take("<?xml version='1.0'?><testsuites tests='9'><testsuite tests='9'><testcase/><testcase><failure>x</failure>"
             "</testcase><testcase><error/><failure/></testcase><testcase><skipped/></testcase>"
             "<testcase><system-out><failure/></system-out></testcase></testsuite></testsuites>",
             NULL);
    CHECK_INT(c.total, 5);
    CHECK_INT(c.failed, 2);
    CHECK_INT(c.errors, 1);
    CHECK_INT(c.skipped, 1);
    c = take("<testsuites><testsuite tests='3' failures='1' errors='1' skipped='1'><testsuite tests='3'/></testsuite>"
             "<testsuite tests='2'/></testsuites>",
             NULL);
    CHECK_INT(c.total, 5);
    CHECK_INT(c.failed, 2);
    CHECK_INT(c.errors, 1);
    CHECK_INT(c.skipped, 1);
    CHECK_INT(take("<testsuite tests='-1' failures='99999999999999'/>", NULL).failed, 0);
    CHECK_INT(take("<testsuite/>", NULL).total, 0);
    c = take("<testsuite><testcase status='NotRun'/><testcase status='disabled'/><testcase result='Ignored'/>"
             "<testcase><disabled/></testcase><testcase status='notrun'><failure/></testcase></testsuite>",
             NULL);
    CHECK_INT(c.skipped, 4);
    CHECK_INT(c.failed, 1);
    c = take("<testsuite><testcase status='FAILED'/><testcase result='error'/><testcase status='run'/></testsuite>",
             NULL);
    CHECK_INT(c.failed, 2);
    CHECK_INT(c.errors, 1);
    CHECK_INT(take("<j:testsuites xmlns:j='x'><j:testcase><j:failure/></j:testcase></j:testsuites>", NULL).failed, 1);
    CHECK_INT(take("<report><testsuite><testcase/></testsuite></report>", NULL).total, 1);
}

/* ---- what is damaged, foreign or hostile ---- */

static void check_hostile(void)
{
    auto_buf struct tn_buf deep = TN_BUF_INIT;
    auto_buf struct tn_buf large = TN_BUF_INIT;
    auto_buf struct tn_buf told = TN_BUF_INIT;

    CHECK_INT(take("<a><testcase/><testcase>", "a.xml, line 1: no element found").total, 1);
    take("", "a.xml is empty");
    take(" \n\n", "a.xml is empty");
    take("no XML", "a.xml, line 1: ");
    CHECK_INT(take("<html/>", "a.xml holds no test results: its first element is <html>, not <testsuites>").foreign, 1);
    take("<?xml version='1.0' encoding='UTF-7'?><testsuite/>", "unknown encoding");
    take("<!DOCTYPE a [<!ENTITY x 'y'>]><a>&x;</a>", "line 1: it declares entities");
    take("<!DOCTYPE a [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><a>&x;</a>", "it declares entities");
    take("<!DOCTYPE a [<!ENTITY % x 'y'> %x;]><a/>", "it declares entities");
    take("<!DOCTYPE lolz [<!ENTITY a 'ha'><!ENTITY b '&a;&a;&a;&a;&a;&a;&a;&a;'>]><testsuite name='&b;'/>",
         "it declares entities");
    take("<!DOCTYPE testsuites SYSTEM 'http://127.0.0.1:1/junit.dtd'><testsuites/>", NULL);
    for (int i = 0; i < 300; i++)
        tn_buf_adds(&deep, "<testsuite>");
    take(deep.data, "nested too deeply");
    tn_buf_adds(&large, "<testsuite><testcase/><testcase name='");
    for (int i = 0; i < 90000; i++)
        tn_buf_adds(&large, "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
    CHECK_INT(take_bytes(large.data, large.len, "a tag is larger than 4 MiB", &told).total, 1);
}

/* A huge output costs nothing; of a long message its beginning is kept, in whole characters. */
static void check_bounds(void)
{
    auto_buf struct tn_buf text = TN_BUF_INIT;
    auto_buf struct tn_buf told = TN_BUF_INIT;

    tn_buf_adds(&text, "<testsuite><testcase name='a'><failure>");
    for (int i = 0; i < 5000; i++)
        tn_buf_adds(&text, "\xc3\xa4");
    tn_buf_adds(&text, "</failure><system-out><![CDATA[");
    for (int i = 0; i < 200000; i++)
        tn_buf_adds(&text, "<failure> a line of output that nobody reads &&&\n");
    tn_buf_adds(&text, "]]></system-out></testcase></testsuite>");
    CHECK_INT(take_bytes(text.data, text.len, NULL, &told).failed, 1);
    CHECK(told.len > 3900 && told.len < 4100);
    CHECK((unsigned char)told.data[told.len - 2] == 0xa4);
    tn_buf_reset(&text);
    tn_buf_reset(&told);
    tn_buf_adds(&text, "<testsuite><testcase name='a'><failure message='Failed'/><system-err>");
    for (int i = 0; i < 2000; i++)
        tn_buf_addf(&text, "line %d\n", i);
    tn_buf_adds(&text, "</system-err></testcase></testsuite>");
    take_bytes(text.data, text.len, NULL, &told);
    CHECK_STR(told.data, "failed |  |  |  | a | ? | line 1995\\nline 1996\\nline 1997\\nline 1998\\nline 1999\n");
}

/* ---- bytes ---- */

static void check_encodings(void)
{
    static const char wide[] = "\xff\xfe<\0t\0e\0s\0t\0c\0a\0s\0e\0 \0n\0a\0m\0e\0=\0'\0\xe4\0'\0/\0>\0";
    static const char controls[] = "\n \n<?xml version='1.0'?><testcase name='a\x1b[1m\x01'/>";

    check_test("\xef\xbb\xbf\r\n<?xml version='1.0'?><testcase name='\xc3\xa4'/>", 47,
               "passed |  |  |  | \xc3\xa4 | ? | \n");
    check_test(wide, sizeof(wide) - 1, "passed |  |  |  | \xc3\xa4 | ? | \n");
    check_test(controls, sizeof(controls) - 1, "passed |  |  |  | a?[1m? | ? | \n");
    check_test("<?xml version='1.0' encoding='ISO-8859-1'?><testcase name='\xe4'/>", 63,
               "passed |  |  |  | \xc3\xa4 | ? | \n");
    check_test("<?xml version='1.0' encoding='windows-1252'?><testcase name='\x80\xe4\x81'/>", 67,
               "passed |  |  |  | \xe2\x82\xac\xc3\xa4\xef\xbf\xbd | ? | \n");
    check_test("<?xml version='1.0' encoding='Shift_JIS'?><testcase name='\x83\x41'/>", 63,
               "passed |  |  |  | \xef\xbf\xbd"
               "A | ? | \n");
}

static void check_seconds(void)
{
    static const struct {
        const char *text;
        double seconds;
    } rows[] = {
        {"1.5", 1.5},
        {"0", 0},
        {"0.", 0},
        {".5", 0.5},
        {"1,234.5", 1234.5},
        {"1,234,567.5", 1234567.5},
        {"1.234,5", 1234.5},
        {"0,5", 0.5},
        {"0,123", 0.123},
        {"1,234,567", 1234567},
        {"1.234.567", 1234567},
        {"1.0E-4", 1e-4},
        {"2e1", 20},
        {" 1.5s\n", 1.5},
        {"1e9", -1},
        {"1e99999999", -1},
        {"", -1},
        {" ", -1},
        {"-1", -1},
        {"NaN", -1},
        {"inf", -1},
        {"1.5 seconds", -1},
        {"0x10", -1},
        {"1e", -1},
        {"..", -1},
        {"123456789012345678901234567890123456789012345678901234567890", -1},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        double seconds = tn_junit_seconds(rows[i].text);

        if (seconds < rows[i].seconds - 1e-9 || seconds > rows[i].seconds + 1e-9) {
            CHECK_STR(rows[i].text, "read rightly");
            fprintf(stderr, "   %g, want %g\n", seconds, rows[i].seconds);
        }
    }
}

int main(void)
{
    check_samples();
    check_counts();
    check_hostile();
    check_bounds();
    check_encodings();
    check_seconds();
    return tn_check_result();
}
