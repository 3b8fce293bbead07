/* Manifests: what is taken, and the exact error for each thing that is wrong; lists of strings for execve. */
#include "core/kernel/manifest.h"
#include "core/kernel/strings.h"
#include "core/lib/json.h"
#include "tests/unit/check.h"

static void check_error(const char *text, const char *want)
{
    struct tn_err err = TN_ERR_INIT;

    CHECK(tn_manifest_parse(text, strlen(text), "/x", "/x/manifest.json", &err) == NULL);
    CHECK_STR(err.text, want);
}

static void test_manifest(void)
{
    const char *text = "{\"name\":\"machine\",\"program\":\"tenon-executor-machine\",\"kinds\":[\"machine\"],"
                       "\"environment\":[\"DOCKER_HOST\"],\"programs\":{\"agent\":{\"program\":\"../agent/a\"},"
                       "\"qemu\":{\"program\":\"/usr/bin/qemu\"}}}";
    struct tn_err err = TN_ERR_INIT;
    struct tn_manifest *manifest = tn_manifest_parse(text, strlen(text), "/x", "/x/manifest.json", &err);

    CHECK_STR(err.text, "");
    CHECK_STR(manifest->name, "machine");
    CHECK_STR(manifest->program, "/x/tenon-executor-machine");
    CHECK_STR(manifest->environment[0], "DOCKER_HOST");
    CHECK_STR(tn_manifest_program_path(manifest, "agent"), "/x/../agent/a");
    CHECK_STR(tn_manifest_program_path(manifest, "qemu"), "/usr/bin/qemu");
    CHECK(tn_manifest_program_path(manifest, "sh") == NULL);
    tn_manifest_free(manifest);
    tn_manifest_free(NULL);
}

static void test_errors(void)
{
    check_error("[]", "/x/manifest.json: expected a JSON object in 2 bytes of body");
    check_error("{\"name\":\"a\",\"nmae\":1}",
                "/x/manifest.json: \"nmae\" is unknown: expected name, program, kinds, environment, programs");
    check_error("{\"name\":\"A b\"}",
                "/x/manifest.json: \"name\": expected 1 to 32 lower-case letters, digits and \"-\"");
    check_error("{\"name\":\"a\"}", "/x/manifest.json: \"program\": expected a path relative to the manifest's folder");
    check_error("{\"name\":\"a\",\"program\":\"p\"}",
                "/x/manifest.json: \"kinds\": expected a list of at least one name");
    check_error("{\"name\":\"a\",\"program\":\"p\",\"kinds\":[1]}",
                "/x/manifest.json: \"kinds\": expected names of lower-case letters, digits and \"-\"");
    check_error("{\"name\":\"a\",\"program\":\"p\",\"kinds\":[\"k\"],\"environment\":[\"A=B\"]}",
                "/x/manifest.json: \"environment\": expected names of variables");
    check_error("{\"name\":\"a\",\"program\":\"p\",\"kinds\":[\"k\"],\"programs\":{\"x\":\"y\"}}",
                "/x/manifest.json: \"programs\": expected {\"name\": {\"program\": \"path\"}}");
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
    test_strings();
    return tn_check_result();
}
