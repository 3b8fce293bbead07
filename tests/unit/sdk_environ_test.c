/* The order of environment variables, and words of a shell's command line. */
#include "core/lib/argv.h"
#include "executors/sdk/environ.h"
#include "tests/unit/check.h"

static void test_environ(void)
{
    auto_environ struct tn_environ env = TN_ENVIRON_INIT;
    cJSON *members = cJSON_Parse("{\"B\":\"image\",\"N\":1,\"\":\"x\"}");
    cJSON *pairs =
        cJSON_Parse("[[\"A\",\"1\"],[\"B\",\"2\"],[\"A\",\"3\"],[\"\",\"x\"],[\"C=D\",\"x\"],[\"N\",4],\"junk\"]");

    tn_environ_set_members(&env, members);
    cJSON_Delete(members);
    CHECK_STR(tn_environ_get(&env, "B"), "image");
    CHECK_INT(env.count, 1);
    tn_environ_set(&env, "B", "weak");
    tn_environ_set_pairs(&env, pairs);
    cJSON_Delete(pairs);
    CHECK_INT(env.count, 2);
    CHECK_STR(tn_environ_get(&env, "A"), "3");
    CHECK_STR(tn_environ_get(&env, "B"), "2");
    CHECK(tn_environ_get(&env, "C") == NULL);
    CHECK_STR(env.entries[0], "B=2");
    CHECK(env.entries[env.count] == NULL);
    for (int i = 0; i < 300; i++) {
        char name[16];

        snprintf(name, sizeof(name), "V%d", i);
        tn_environ_set(&env, name, "x");
    }
    CHECK_INT(env.count, 302);
    CHECK_STR(tn_environ_get(&env, "V299"), "x");
}

static void expect_words(const char *line, const char *joined)
{
    char **words = tn_argv_split(line);
    char text[256] = "";

    for (size_t i = 0; words != NULL && words[i] != NULL; i++) {
        strncat(text, words[i], sizeof(text) - strlen(text) - 2);
        strncat(text, "|", 2);
    }
    CHECK_STR(text, joined);
    tn_argv_free(words);
}

int main(void)
{
    test_environ();
    expect_words("/bin/bash -eo pipefail", "/bin/bash|-eo|pipefail|");
    expect_words("  sh\t-c 'a b' \"c d\" e\\ f ''", "sh|-c|a b|c d|e f||");
    expect_words("a\"b'c\"'d\"e'", "ab'cd\"e|");
    expect_words("\"a\\x \\$b\"", "a\\x $b|"); /* within double quotes a backslash is mostly itself */
    CHECK(tn_argv_split("sh 'open") == NULL);
    CHECK(tn_argv_split("sh \\") == NULL);
    CHECK(tn_argv_split("   ") == NULL);
    return tn_check_result();
}
