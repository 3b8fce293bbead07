/* NAME=VALUE from the command line and from files: every form, and every error with its place. */
#include "tests/unit/check.h"
#include "tools/envfile.h"

static const char *value(const struct pairs *pairs, const char *name)
{
    const char *found = NULL;

    for (size_t i = 0; i < pairs->count; i++)
        if (strcmp(pairs->items[i].name, name) == 0)
            found = pairs->items[i].value;
    return found;
}

static void check_file(const char *text, const char *name, const char *expected)
{
    struct pairs pairs = {NULL, 0};
    struct tn_err err = TN_ERR_INIT;

    CHECK_INT(env_file(&pairs, "f", text, strlen(text), &err), 0);
    CHECK_STR(err.text, "");
    CHECK_STR(value(&pairs, name), expected);
    pairs_free(&pairs);
}

static void check_wrong(const char *text, const char *expected)
{
    struct pairs pairs = {NULL, 0};
    struct tn_err err = TN_ERR_INIT;

    CHECK_INT(env_file(&pairs, "dir/f.env", text, strlen(text), &err), -1);
    CHECK_INT(err.code, TN_ERR_USAGE);
    CHECK_STR(err.text, expected);
    pairs_free(&pairs);
}

static void files(void)
{
    check_file("A=1\nB=2\n", "A", "1");
    check_file("A=1\nB=2", "B", "2");
    check_file("A=1\nA=2\n", "A", "2");
    check_file("A=\n", "A", "");
    check_file("A=", "A", "");
    check_file("# comment\n\n  export A=1 2\t# behind\n", "A", "1 2");
    check_file("export\tA=1\r\n", "A", "1");
    check_file("exported=1\n", "exported", "1");
    check_file("A=a#b\n", "A", "a#b");
    check_file("A=x=y\n", "A", "x=y");
    check_file("A='a $b \\n # c' # d\n", "A", "a $b \\n # c");
    check_file("A='one\ntwo'\nB=3\n", "A", "one\ntwo");
    check_file("A=\"one\ntwo\\nthree\"\nB=3\n", "A", "one\ntwo\nthree");
    check_file("A=\"one\ntwo\"\nB=3\n", "B", "3");
    check_file("A=\"q\\\"q \\$x \\\\ \\d\"\n", "A", "q\"q $x \\ \\d");
    check_file("A=\"joined \\\nline\"\n", "A", "joined line");
    check_file("\xef\xbb\xbf"
               "A=1\n",
               "A", "1");
    check_file("_a9=\xc3\xa4\n", "_a9", "\xc3\xa4");
}

static void wrong_files(void)
{
    check_wrong("A=1\n2B=1\n",
                "dir/f.env:2: expected NAME=VALUE with a name of letters, digits and \"_\", no digit first");
    check_wrong("A\n", "dir/f.env:1: expected \"=\" right behind the variable's name");
    check_wrong("A =1\n", "dir/f.env:1: expected \"=\" right behind the variable's name");
    check_wrong("\n\nA=\"x\ny\n", "dir/f.env:3: the double quote that begins the value has no end");
    check_wrong("A='x\n", "dir/f.env:1: the single quote that begins the value has no end");
    check_wrong("A=\"x\ny\" z\n", "dir/f.env:2: there is text behind the closing quote; quote the whole value");
    check_wrong("A=\"x\ny\"\n-\n",
                "dir/f.env:3: expected NAME=VALUE with a name of letters, digits and \"_\", no digit first");
}

static void assignments(void)
{
    struct pairs pairs = {NULL, 0};
    struct tn_err err = TN_ERR_INIT;
    cJSON *json;

    CHECK_INT(env_assignment(&pairs, "--env", "A=b=c", &err), 0);
    CHECK_INT(env_assignment(&pairs, "--env", "A=", &err), 0);
    CHECK_INT(env_assignment(&pairs, "--env", "B=x", &err), 0);
    CHECK_STR(pairs.items[0].value, "b=c");
    CHECK_STR(value(&pairs, "A"), "");
    json = pairs_json(&pairs);
    CHECK_INT(cJSON_GetArraySize(json), 2);
    CHECK_STR(cJSON_GetObjectItemCaseSensitive(json, "A")->valuestring, "");
    cJSON_Delete(json);
    CHECK_INT(env_assignment(&pairs, "--env", "NOVALUE", &err), -1);
    CHECK_STR(err.text, "--env NOVALUE: there is no \"=\"; expected NAME=VALUE");
    CHECK_INT(env_assignment(&pairs, "--env", "a-b=secret", &err), -1);
    CHECK_STR(err.text, "--env: \"a-b\" is no name of a variable; expected letters, digits and \"_\", no digit first");
    CHECK_INT(env_assignment(&pairs, "--env", "=x", &err), -1);
    CHECK_INT(env_assignment(&pairs, "--env", "1a=x", &err), -1);
    CHECK_INT(pairs.count, 3);
    pairs_free(&pairs);
}

int main(void)
{
    files();
    wrong_files();
    assignments();
    return tn_check_result();
}
