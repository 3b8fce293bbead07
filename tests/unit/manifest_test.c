/* Manifests: what is taken, and the exact error for each thing that is wrong; lists of strings for execve. */
#include "core/kernel/manifest.h"
#include "core/kernel/operator.h"
#include "core/kernel/strings.h"
#include "core/lib/buf.h"
#include "core/lib/cleanup.h"
#include "core/lib/json.h"
#include "tests/unit/check.h"

#include <stdlib.h>

#define MANIFEST(programs) "{\"name\":\"a\",\"program\":\"p\",\"kinds\":[\"k\"],\"programs\":" programs "}"

static void check_error(const char *text, const char *want)
{
    struct tn_err err = TN_ERR_INIT;

    CHECK(tn_manifest_parse(text, strlen(text), "/x", "/x/manifest.json", &err) == NULL);
    CHECK_STR(err.text, want);
}

static void test_manifest(void)
{
    const char *text = "{\"name\":\"machine\",\"program\":\"tenon-executor-machine\",\"kinds\":[\"machine\"],"
                       "\"environment\":[\"DOCKER_HOST\"],\"programs\":{\"agent\":{\"program\":\"../agent/a\","
                       "\"peer_option\":\"-p\"},"
                       "\"qemu\":{\"program\":\"/usr/bin/qemu\"}}}";
    struct tn_err err = TN_ERR_INIT;
    struct tn_manifest *manifest = tn_manifest_parse(text, strlen(text), "/x", "/x/manifest.json", &err);

    CHECK_STR(err.text, "");
    CHECK_STR(manifest->name, "machine");
    CHECK_STR(manifest->program, "/x/tenon-executor-machine");
    CHECK_STR(manifest->environment[0], "DOCKER_HOST");
    CHECK_STR(tn_manifest_program(manifest, "agent")->path, "/x/../agent/a");
    CHECK_STR(tn_manifest_program(manifest, "agent")->peer_option, "-p");
    CHECK(tn_manifest_program(manifest, "agent")->hide_option == NULL);
    CHECK_STR(tn_manifest_program(manifest, "qemu")->path, "/usr/bin/qemu");
    CHECK(tn_manifest_program(manifest, "sh") == NULL);
    tn_manifest_free(manifest);
    tn_manifest_free(NULL);
}

static void test_errors(void)
{
    check_error("[]", "/x/manifest.json: expected a JSON object in 2 bytes of body");
    check_error("{\"name\":\"a\",\"nmae\":1}",
                "/x/manifest.json: \"nmae\" is unknown: expected name, program, kinds, environment, files, network, "
                "programs");
    check_error("{\"name\":\"A b\"}",
                "/x/manifest.json: \"name\": expected 1 to 32 lower-case letters, digits and \"-\"");
    check_error("{\"name\":\"a\"}", "/x/manifest.json: \"program\": expected a path relative to the manifest's folder");
    check_error("{\"name\":\"a\",\"program\":\"p\"}",
                "/x/manifest.json: \"kinds\": expected a list of one to 64 names");
    check_error("{\"name\":\"a\",\"program\":\"p\",\"kinds\":[1]}",
                "/x/manifest.json: \"kinds\": expected names of lower-case letters, digits and \"-\"");
    check_error("{\"name\":\"a\",\"program\":\"p\",\"kinds\":[\"k\"],\"environment\":[\"A=B\"]}",
                "/x/manifest.json: \"environment\": expected names of variables");
    check_error("{\"name\":\"a\",\"program\":\"p\",\"kinds\":[\"k\"],\"files\":[\"x\"]}",
                "/x/manifest.json: \"files\": expected absolute paths, unix:// before that of a socket");
    check_error("{\"name\":\"a\",\"program\":\"p\",\"kinds\":[\"k\"],\"network\":true}",
                "/x/manifest.json: \"network\": expected a text: why it needs the host's network");
    static const char programs[] =
        "/x/manifest.json: \"programs\": expected {\"name\": {\"program\": \"path\"}}, besides "
        "\"hide_option\", \"peer_option\", \"settings\" and with it \"user_option\"";

    check_error(MANIFEST("{\"x\":\"y\"}"), programs);
    check_error(MANIFEST("{\"x\":[\"y\"]}"), programs);
    check_error(MANIFEST("{\"x\":{\"program\":\"y\",\"user\":\"root\"}}"), programs);
    check_error(MANIFEST("{\"x\":{\"program\":\"y\",\"user_option\":\"-u\"}}"), programs);
}

/* The command of a program under given settings, its words with blanks between, or the error. */
static void check_command(const struct tn_manifest_program *program, const char *settings, const char *want)
{
    auto_json cJSON *json = cJSON_Parse(settings);
    auto_json cJSON *arguments = cJSON_Parse("[\"serve\", \"--dir\"]");
    auto_buf struct tn_buf text = TN_BUF_INIT;
    struct tn_err err = TN_ERR_INIT;
    char **command = tn_operator_command(json, program, arguments, &err);

    for (char **word = command; word != NULL && *word != NULL; word++)
        tn_buf_addf(&text, "%s%s", word == command ? "" : " ", *word);
    CHECK_STR(command != NULL ? text.data : err.text, want);
    tn_strings_free(command);
}

/* What is told before anybody asks for the program. */
static void check_check(const struct tn_manifest_program *program, const char *settings, uid_t self, const char *want)
{
    auto_json cJSON *json = cJSON_Parse(settings);
    struct tn_err err = TN_ERR_INIT;

    CHECK_INT(tn_operator_check(json, program, self, &err), want[0] != '\0' ? -1 : 0);
    CHECK_STR(err.text, want);
}

static void test_operator(void)
{
    char name[] = "agent";
    char path[] = "/x/agent";
    char section[] = "machine";
    char option[] = "--user";
    const struct tn_manifest_program program = {name, path, section, option};
    const struct tn_manifest_program without_user = {name, path, section, NULL};
    const struct tn_manifest_program without_settings = {name, path, NULL, NULL};

    setenv("PATH", "/nonexistent:/bin", 1);
    check_command(&program, "{}", "/x/agent serve --dir");
    check_command(&program, "{\"machine\":{\"run_as\":\"\",\"command_prefix\":[]}}", "/x/agent serve --dir");
    check_command(&program, "{\"machine\":{\"run_as\":\"ci\",\"command_prefix\":[\"sh\",\"-c\",\"exec \"]}}",
                  "/bin/sh -c exec  /x/agent serve --dir --user ci");
    check_command(&without_settings, "{\"machine\":{\"run_as\":\"ci\"}}", "/x/agent serve --dir");
    check_command(&without_user, "{\"machine\":{\"run_as\":\"ci\"}}",
                  "machine.run_as: the program agent cannot run as another user");
    check_command(&program, "{\"machine\":{\"command_prefix\":[\"no-such-program\"]}}",
                  "machine.command_prefix: no program \"no-such-program\" in the PATH /nonexistent:/bin");
    check_command(&program, "{\"machine\":{\"command_prefix\":[\"/etc/passwd\"]}}",
                  "machine.command_prefix: cannot run /etc/passwd: Permission denied");
    check_command(&program, "{\"machine\":{\"command_prefix\":[\"/tmp\"]}}",
                  "machine.command_prefix: cannot run /tmp: Permission denied");
    check_check(&program, "{\"machine\":{\"run_as\":\"ci\"}}", 0, "");
    check_check(&program, "{\"machine\":{\"run_as\":\"ci\"}}", 7,
                "machine.run_as: only root can run jobs as user \"ci\": Tenon was started by user 7");
    check_check(&program, "{\"machine\":{\"run_as\":\"\"}}", 7, "");
    check_check(&without_settings, "{\"machine\":{\"run_as\":\"ci\"}}", 7, "");
    check_check(&program, "{\"machine\":{\"command_prefix\":[\"/tmp\"]}}", 0,
                "machine.command_prefix: cannot run /tmp: Permission denied");
}

static void test_strings(void)
{
    auto_json cJSON *arguments = cJSON_Parse("[\"a\", \"\"]");
    auto_json cJSON *wrong = cJSON_Parse("[\"a\", 1]");
    auto_json cJSON *pairs = cJSON_Parse("[[\"A\", \"1\"], [\"AB\", \"2\"], [\"A\", \"3=4\"]]");
    auto_json cJSON *bad_pairs = cJSON_Parse("[[\"A=\", \"1\"]]");
    char **list = tn_strings_arguments("first", arguments);

    CHECK(list != NULL && list[3] == NULL);
    CHECK_STR(list[0], "first");
    CHECK_STR(list[1], "a");
    CHECK_STR(list[2], "");
    tn_strings_free(list);
    list = tn_strings_environment(pairs);
    CHECK(list != NULL && list[2] == NULL);
    CHECK_STR(list[0], "A=3=4"); /* the last one wins */
    CHECK_STR(list[1], "AB=2");
    tn_strings_free(list);
    list = tn_strings_environment(NULL);
    CHECK(list != NULL && list[0] == NULL);
    tn_strings_free(list);
    CHECK(tn_strings_arguments("x", wrong) == NULL);
    CHECK(tn_strings_environment(bad_pairs) == NULL);
    CHECK(tn_strings_environment(arguments) == NULL);
    tn_strings_free(NULL);
}

int main(void)
{
    test_manifest();
    test_errors();
    test_operator();
    test_strings();
    return tn_check_result();
}
