/* Counts of JUnit XML: by test case, by what suites claim, and what hostile documents come to. */
#include "core/lib/buf.h"
#include "core/output/junit.h"
#include "tests/unit/check.h"

static struct tn_junit_counts count(const char *text, const char *error)
{
    struct tn_junit_counts counts = {0};
    struct tn_err err = TN_ERR_INIT;
    int failed = tn_junit_count(text, strlen(text), &counts, &err);

    CHECK((failed != 0) == (error != NULL));
    if (error != NULL)
        CHECK(strstr(err.text, error) != NULL);
    CHECK_INT(counts.damaged, error != NULL);
    return counts;
}

int main(void)
{
    struct tn_junit_counts c;
    struct tn_buf deep = TN_BUF_INIT;

    c = count(
        "<?xml version='1.0'?><testsuites tests='9'><testsuite tests='9'><testcase/><testcase><failure>x</failure>"
        "</testcase><testcase><error/><failure/></testcase><testcase><skipped/></testcase>"
        "<testcase><system-out><failure/></system-out></testcase></testsuite></testsuites>",
        NULL);
    CHECK_INT(c.total, 5);
    CHECK_INT(c.failed, 2);
    CHECK_INT(c.errors, 1);
    CHECK_INT(c.skipped, 1);
    c = count("<testsuites><testsuite tests='3' failures='1' errors='1' skipped='1'><testsuite tests='3'/></testsuite>"
              "<testsuite tests='2'/></testsuites>",
              NULL);
    CHECK_INT(c.total, 5);
    CHECK_INT(c.failed, 2);
    CHECK_INT(c.errors, 1);
    CHECK_INT(c.skipped, 1);
    CHECK_INT(count("<html/>", NULL).total, 0);
    CHECK_INT(count("<testsuite tests='-1' failures='99999999999999'/>", NULL).failed, 0);
    CHECK_INT(count("<a><testcase/><testcase>", "no element found").total, 1);
    count("", "no element found");
    count("<!DOCTYPE a [<!ENTITY x 'y'>]><a>&x;</a>", "line 1: it declares entities");
    count("<!DOCTYPE a [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><a>&x;</a>", "it declares entities");
    for (int i = 0; i < 300; i++)
        tn_buf_adds(&deep, "<a>");
    count(deep.data, "nested too deeply");
    tn_buf_free(&deep);
    return tn_check_result();
}
