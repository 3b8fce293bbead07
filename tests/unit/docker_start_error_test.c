/* What a refused start means: the engine's words on the left, ours on the right. */
#include "executors/docker/start_error.h"
#include "tests/unit/check.h"

#define RUNC                                                                                                           \
    "failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: "
#define ADVICE "; correct `entrypoint` or `command` of this docker entry"

static void known(const char *engine, const char *expected)
{
    char out[600];

    CHECK(tn_start_error_text(engine, "a:1", out, sizeof(out)));
    CHECK_STR(out, expected);
}

static void unknown(const char *engine)
{
    char out[600];

    CHECK(!tn_start_error_text(engine, "a:1", out, sizeof(out)));
    CHECK_STR(out, "");
}

static void output(const char *text, const char *expected)
{
    char out[500];

    CHECK(tn_start_error_of_output(text, strlen(text), out, sizeof(out)) == (expected[0] != '\0'));
    CHECK_STR(out, expected);
}

int main(void)
{
    known(RUNC "exec: \"/no/such\": stat /no/such: no such file or directory: unknown",
          "image a:1: its program \"/no/such\" is not in the image, or the interpreter that it names is not" ADVICE);
    known(RUNC "exec: \"nosuch\": executable file not found in $PATH: unknown",
          "image a:1: its program \"nosuch\" is in no folder of the image's PATH" ADVICE);
    known(RUNC "exec: \"/etc\": permission denied: unknown",
          "image a:1: its program \"/etc\" may not be executed (is it a folder, or has it no `x` permission?)" ADVICE);
    known("starting container process caused: exec: \"/x\": exec format error",
          "image a:1: its program \"/x\" cannot be executed: exec format error (is it made for another "
          "processor?)" ADVICE);
    known("unable to find user nosuch: no matching entries in passwd file",
          "image a:1: it has no user \"nosuch\"; correct `user` of this docker entry");
    known("unable to find group g: no matching entries in group file",
          "image a:1: it has no group \"g\"; correct `user` of this docker entry");
    known("400: No command specified",
          "image a:1: it names no program; give this docker entry an `entrypoint` or a `command`");
    /* The agent's own program is nothing that a config can correct. */
    unknown(RUNC "exec: \"/.tenon/bin/tenon-agent\": permission denied: unknown");
    unknown("exec: \"");
    unknown("exec: \"\": no such file or directory");
    unknown("port is already allocated");
    unknown("");
    output("exec /app/text: exec format error\n",
           "its program /app/text cannot be executed: exec format error (is it made for another processor?)" ADVICE);
    output("before\nexec /app/text: exec format error\n", "");
    output("exec : exec format error", "");
    output("exec", "");
    output("\n\n", "");
    output("", "");
    return tn_check_result();
}
