#include "core/lib/settings.h"

#include "core/compiler/settings.h"
#include "core/lib/json.h"
#include "tests/unit/check.h"

#include <stdlib.h>
#include <string.h>

static const char *at(const cJSON *object, const char *path)
{
    static char text[256];
    char part[64];

    for (const char *rest = path; object != NULL && *rest != '\0'; rest += *rest == '.') {
        size_t length = strcspn(rest, ".");

        snprintf(part, sizeof(part), "%.*s", (int)length, rest);
        object = cJSON_GetObjectItemCaseSensitive(object, part);
        rest += length;
    }
    if (object == NULL)
        return "(missing)";
    if (!cJSON_PrintPreallocated((cJSON *)(uintptr_t)object, text, sizeof(text), false))
        return "(long)";
    return text;
}

/* Every default can be read, every section has a receiver. */
static void test_defaults(void)
{
    auto_json cJSON *all = cJSON_CreateObject();

    tn_settings_fill(all, ~0u);
    CHECK_STR(at(all, "store.keep.caches"), "1296000");
    CHECK_STR(at(all, "store.reserve"), "1000000000");
    CHECK_STR(at(all, "docker.pull_attempts"), "5");
    CHECK_STR(at(all, "docker.tls.ca"), "\"\"");
    CHECK_STR(at(all, "docker.images"), "[]");
    CHECK_STR(at(all, "machine.limits"), "\"auto\"");
    CHECK_STR(at(all, "jobs.max_run_time"), "18000");
    for (size_t i = 0; i < tn_settings_count; i++) {
        const struct tn_setting *setting = &tn_settings[i];

        CHECK(setting->receivers != 0);
        CHECK(setting->doc != NULL && setting->doc[0] != '\0');
        if (strstr(setting->path, "[]") == NULL)
            CHECK(strcmp(at(all, setting->path), "(missing)") != 0 && strcmp(at(all, setting->path), "null") != 0);
    }
}

static void test_receivers(void)
{
    auto_json cJSON *all = cJSON_Parse("{\"docker\":{\"mirrors\":[\"m\"],\"tls\":{\"ca\":\"/ca\"}},"
                                       "\"machine\":{\"run_as\":\"ci\"},\"store\":{\"log_limit\":7,\"reserve\":8}}");
    auto_json cJSON *docker = tn_settings_select(all, tn_settings_receiver("executor-docker"));
    auto_json cJSON *output = tn_settings_select(all, tn_settings_receiver("output"));
    auto_json cJSON *kernel = tn_settings_select(all, tn_settings_receiver("tenond"));

    CHECK_STR(at(docker, ""), "{\"docker\":{\"tls\":{\"ca\":\"/ca\"},\"mirrors\":[\"m\"]},\"store\":{\"reserve\":8}}");
    CHECK_STR(at(output, ""), "{\"store\":{\"reserve\":8,\"log_limit\":7}}");
    CHECK_STR(at(kernel, ""), "{\"machine\":{\"run_as\":\"ci\"}}");
    CHECK_INT(tn_settings_receiver("compiler"), 0);
    tn_settings_fill(output, tn_settings_receiver("output"));
    CHECK_STR(at(output, "store.log_limit"), "7");
    CHECK_STR(at(output, "docker"), "(missing)");
}

static void check_good(const char *text, const char *path, const char *expected)
{
    auto_json cJSON *result = tn_settings_compile(text, strlen(text), "tenon.yaml", "/home/u");

    CHECK_STR(at(result, "diagnostics"), "[]");
    CHECK_STR(at(tn_json_get(result, "settings"), path), expected);
}

static void test_good(void)
{
    check_good("", "", "{}");
    check_good("# nothing: yet\n  # at all\r\n", "", "{}");
    check_good("docker:\n", "docker", "{}");
    check_good("docker: {tls: {ca: ~/ca.pem}}", "docker.tls.ca", "\"/home/u/ca.pem\"");
    check_good("docker: {mirrors: a}", "docker.mirrors", "[\"a\"]");
    check_good("docker: {images: [{prefix: a/, use: b/}]}", "docker.images", "[{\"prefix\":\"a/\",\"use\":\"b/\"}]");
    check_good("store: {keep: {logs: 12h}, project_quota: 1GB}", "store",
               "{\"keep\":{\"logs\":43200},\"project_quota\":1000000000}");
    check_good("store: {keep: {logs: &d 12h, caches: *d}}", "store.keep.caches", "43200");
}

static void check_bad(const char *text, const char *code, int line, int column, const char *message)
{
    auto_json cJSON *result = tn_settings_compile(text, strlen(text), "tenon.yaml", NULL);
    const cJSON *first = cJSON_GetArrayItem(tn_json_get(result, "diagnostics"), 0);

    CHECK(cJSON_IsNull(cJSON_GetObjectItemCaseSensitive(result, "settings")));
    CHECK_STR(tn_json_string(first, "code", ""), code);
    CHECK_INT(tn_json_number(first, "line", 0), line);
    CHECK_INT(tn_json_number(first, "column", 0), column);
    CHECK_STR(tn_json_string(first, "message", ""), message);
}

static void test_bad(void)
{
    check_bad("[]", "T2008", 1, 1, "the settings must be a map, but is a list");
    check_bad("dokcer: {}", "T2005", 1, 1, "unknown key `dokcer` in the settings");
    check_bad("docker:\n  images: {}\n", "T2008", 2, 11, "`docker.images` must be a list of maps, but is a map");
    check_bad("docker: {images: [{image: a, prefix: b, use: c}]}", "T2009", 1, 19,
              "an entry of `docker.images` needs exactly one of 3 keys, but has 2");
    check_bad("docker: {images: [{pattern: \"a(\", use: c}]}", "T2015", 1, 29,
              "`a(` is not a regular expression: missing closing parenthesis, at its character 3");
    check_bad("docker: {images: [{image: a}]}", "T2009", 1, 19, "an entry of `docker.images` has no `use`");
    check_bad("docker: {tls: {ca: ca.pem}}", "T2010", 1, 20,
              "`ca` of `docker.tls` is `ca.pem`, which is no absolute path");
    check_bad("docker: {tls: {ca: ~/ca.pem}}", "T2010", 1, 20,
              "`ca` of `docker.tls` is `~/ca.pem`, which is no absolute path");
    check_bad("docker: {shared_folders: maybe}", "T2010", 1, 26,
              "`shared_folders` of `docker` is `maybe`, which is not allowed");
    check_bad("docker: {pull_attempts: 0}", "T2010", 1, 25, "`pull_attempts` of `docker` cannot be 0");
    check_bad("store: {reserve: 1G}", "T2008", 1, 18,
              "`reserve` of `store` must be a size: 512MB, 10GB, 1.5TB, but is `1G`");
    check_bad("store: {keep: {logs: 2w}}", "T2011", 1, 22, "`logs` of `store.keep` is `2w`, which is not a duration");
    check_bad("jobs: {max_run_time: 0s}", "T2011", 1, 22, "`max_run_time` of `jobs` is `0s`, which is not a duration");
    check_bad("jobs: {max_run_time: 366d}", "T2011", 1, 22,
              "`max_run_time` of `jobs` is `366d`, which is not a duration");
    check_bad("x: &d {logs: 1d}", "T2005", 1, 1, "unknown key `x` in the settings");
    check_bad("store: [\n", "T1001", 2, 1, "did not find expected node content");
}

int main(void)
{
    test_defaults();
    test_receivers();
    test_good();
    test_bad();
    return tn_check_result();
}
