/* What `git ls-remote --symref` says, and what of it is believed. */
#include "tests/unit/check.h"
#include "tools/repository.h"

#include <stdbool.h>

#define ONE "1111111111111111111111111111111111111111"
#define TWO "2222222222222222222222222222222222222222"

static void check_find(const char *text, const char *name, const char *revision)
{
    struct repository_refs refs = {text};
    char out[65] = "";

    CHECK(repository_refs_find(&refs, name, out) == (revision != NULL));
    CHECK_STR(out, revision != NULL ? revision : "");
}

static void check_head(const char *text, const char *branch)
{
    struct repository_refs refs = {text};
    char out[16] = "";

    CHECK(repository_refs_head(&refs, out, sizeof(out)) == (branch != NULL));
    CHECK_STR(out, branch != NULL ? branch : "");
}

int main(void)
{
    static const char answer[] =
        "Warning: a word of ssh\tHEAD\nref: refs/heads/main\tHEAD\n" ONE "\tHEAD\n" ONE "\trefs/heads/main\n" TWO
        "\trefs/tags/v1\n" ONE "\trefs/tags/v1^{}\n" TWO "\trefs/heads/mainline";

    check_find(answer, "HEAD", ONE);
    check_find(answer, "refs/heads/main", ONE);
    check_find(answer, "refs/heads/mainline", TWO);
    check_find(answer, "refs/tags/v1", ONE); /* the commit, not the tag's object */
    check_find(answer, "refs/heads/mai", NULL);
    check_find(answer, "main", NULL);
    check_find("", "HEAD", NULL);
    check_find("\n\n\t\n", "HEAD", NULL);
    check_find("111\tHEAD\n", "HEAD", NULL);
    check_find("zz11111111111111111111111111111111111111\tHEAD", "HEAD", NULL);
    check_find(ONE ONE ONE "\tHEAD", "HEAD", NULL);
    check_find(ONE " HEAD\n", "HEAD", NULL);
    check_find(ONE "111111111111111111111111\tHEAD", "HEAD", ONE "111111111111111111111111"); /* SHA-256 */

    check_head(answer, "main");
    check_head("ref: refs/heads/feature/x\tHEAD\n", "feature/x");
    check_head("ref: refs/heads/\tHEAD\n", NULL);
    check_head("ref: refs/heads/a-name-that-does-not-fit-into-it\tHEAD\n", NULL);
    check_head("ref: refs/heads/main\trefs/remotes/origin/HEAD\n", NULL);
    check_head(ONE "\tHEAD\n", NULL);
    check_head("", NULL);
    return tn_check_result();
}
