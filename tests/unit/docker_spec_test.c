/* The bodies of container create, and what is read from the plan and from the engine's answers to make them. */
#include "executors/docker/container_spec.h"
#include "tests/unit/check.h"

#include <stdlib.h>

static void check_json(cJSON *object, const char *expected)
{
    char *text = cJSON_PrintUnformatted(object);

    CHECK_STR(text, expected);
    cJSON_free(text);
    cJSON_Delete(object);
}

static void parse(const char *json, struct tn_container_image *image)
{
    struct tn_err err = TN_ERR_INIT;
    cJSON *entry = cJSON_Parse(json);

    CHECK(tn_container_image_parse(entry, image, &err) == 0);
    CHECK_STR(err.text, "");
    cJSON_Delete(entry);
}

static void refuse(const char *json, const char *text)
{
    struct tn_container_image image;
    struct tn_err err = TN_ERR_INIT;
    cJSON *entry = cJSON_Parse(json);

    CHECK(tn_container_image_parse(entry, &image, &err) < 0);
    CHECK_INT(err.code, TN_ERR_CONFIG);
    CHECK_STR(err.text, text);
    tn_container_image_free(&image);
    cJSON_Delete(entry);
}

static const struct tn_container_host bridged = {
    .cpus = 2, .cpu_limit = true, .memory_limit = true, .swap_limit = true, .pids_limit = true, .bridge = true};
static const struct tn_container_host bare = {.cpus = 64};

static const struct tn_container_class small = {.name = "small", .cpus = 1, .memory_mib = 2048, .pids = 8192};
static const struct tn_container_class large = {.name = "large", .cpus = 4, .memory_mib = 8192, .pids = 16384};

static struct tn_container_task task_of(const struct tn_container_class *class, const struct tn_container_host *host)
{
    return (struct tn_container_task){
        .installation = "inst-1",
        .task = "job/7:0",
        .attempt = 3,
        .resource_class = class,
        .host = host,
        .agent_folder = "/opt/agent",
        .socket_folder = "/run/t/7/sock",
    };
}

static void test_primary(void)
{
    static const char *const args[] = {"--spool", "4096", NULL};
    struct tn_container_task task = task_of(&large, &bridged);
    struct tn_container_image images[3];

    task.agent_args = args;
    parse("{\"image\":\"cimg/"
          "base:2025.05-20.04\",\"user\":\"circleci\",\"environment\":{\"A\":\"x=y\",\"N\":12,\"B\":true},"
          "\"entrypoint\":\"sleep 5\"}",
          &images[0]);
    parse("{\"image\":\"postgres:16\",\"name\":\"db\"}", &images[1]);
    parse("{\"image\":\"postgres:16\",\"name\":\"db\"}", &images[2]);
    check_json(
        tn_container_primary_new(&task, images, 3),
        "{\"Image\":\"docker.io/cimg/base:2025.05-20.04\",\"User\":\"circleci\","
        "\"Env\":[\"A=x=y\",\"N=12\",\"B=true\"],"
        "\"Labels\":{\"com.tenon.installation\":\"inst-1\",\"com.tenon.task\":\"job/7:0\","
        "\"com.tenon.attempt\":\"3\",\"com.tenon.role\":\"primary\"},"
        "\"HostConfig\":{\"Init\":false,\"AutoRemove\":false,\"NanoCpus\":2000000000,\"Memory\":8589934592,"
        "\"MemorySwap\":8589934592,\"PidsLimit\":16384,"
        "\"Mounts\":[{\"Type\":\"bind\",\"Source\":\"/opt/agent\",\"Target\":\"/.tenon/bin\",\"ReadOnly\":true},"
        "{\"Type\":\"bind\",\"Source\":\"/run/t/7/sock\",\"Target\":\"/.tenon/run\",\"ReadOnly\":false}],"
        "\"Tmpfs\":{\"/mnt/ramdisk\":\"rw,exec,nosuid,nodev,mode=1777,size=2147483648\"},"
        "\"NetworkMode\":\"bridge\",\"ExtraHosts\":[\"db:127.0.0.1\"],\"LogConfig\":{\"Type\":\"none\"}},"
        "\"Entrypoint\":[\"/.tenon/bin/tenon-agent\",\"serve\",\"--listen\",\"/.tenon/run/agent.sock\",\"--spool\","
        "\"4096\"],\"Cmd\":[],\"Healthcheck\":{\"Test\":[\"NONE\"]}}");
    /* A host that can limit nothing and has no bridge. */
    task = task_of(&small, &bare);
    check_json(tn_container_primary_new(&task, &images[1], 1),
               "{\"Image\":\"docker.io/library/postgres:16\","
               "\"Labels\":{\"com.tenon.installation\":\"inst-1\",\"com.tenon.task\":\"job/7:0\","
               "\"com.tenon.attempt\":\"3\",\"com.tenon.role\":\"primary\"},"
               "\"HostConfig\":{\"Init\":false,\"AutoRemove\":false,"
               "\"Mounts\":[{\"Type\":\"bind\",\"Source\":\"/opt/agent\",\"Target\":\"/.tenon/bin\",\"ReadOnly\":true},"
               "{\"Type\":\"bind\",\"Source\":\"/run/t/7/sock\",\"Target\":\"/.tenon/run\",\"ReadOnly\":false}],"
               "\"Tmpfs\":{\"/mnt/ramdisk\":\"rw,exec,nosuid,nodev,mode=1777,size=536870912\"},"
               "\"NetworkMode\":\"none\",\"ExtraHosts\":[\"db:127.0.0.1\"],\"LogConfig\":{\"Type\":\"none\"}},"
               "\"Entrypoint\":[\"/.tenon/bin/tenon-agent\",\"serve\",\"--listen\",\"/.tenon/run/agent.sock\"],"
               "\"Cmd\":[],\"Healthcheck\":{\"Test\":[\"NONE\"]}}");
    for (int i = 0; i < 3; i++)
        tn_container_image_free(&images[i]);
}

/* A kept program is found again in the container's label; the operator's wishes. */
static void test_kept_and_sealed(void)
{
    struct tn_container_task task = task_of(&small, &bridged);
    struct tn_container_image image;
    cJSON *program = cJSON_Parse("[\"/entry\",\"a \\\"b\\\"\"]");
    cJSON *inspected = cJSON_CreateObject();
    cJSON *body;
    cJSON *config;

    parse("{\"image\":\"a\"}", &image);
    task.program = program;
    task.ramdisk = 4096;
    task.read_only = true;
    body = tn_container_primary_new(&task, &image, 1);
    config = cJSON_GetObjectItemCaseSensitive(body, "HostConfig");
    CHECK(cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(config, "ReadonlyRootfs")));
    check_json(cJSON_Duplicate(cJSON_GetObjectItemCaseSensitive(config, "Tmpfs"), true),
               "{\"/mnt/ramdisk\":\"rw,exec,nosuid,nodev,mode=1777,size=4096\","
               "\"/tmp\":\"rw,exec,nosuid,nodev,mode=1777\"}");
    cJSON_AddItemToObject(inspected, "Config", body);
    check_json(tn_container_kept_parse(inspected), "[\"/entry\",\"a \\\"b\\\"\"]");
    cJSON_DeleteItemFromObject(body, "Labels");
    CHECK(tn_container_kept_parse(inspected) == NULL);
    /* A service has neither. */
    check_json(tn_container_service_new(&task, &image, "p"),
               "{\"Image\":\"docker.io/library/a:latest\","
               "\"Labels\":{\"com.tenon.installation\":\"inst-1\",\"com.tenon.task\":\"job/7:0\","
               "\"com.tenon.attempt\":\"3\",\"com.tenon.role\":\"service\"},"
               "\"HostConfig\":{\"Init\":false,\"AutoRemove\":false,\"NanoCpus\":1000000000,\"Memory\":2147483648,"
               "\"MemorySwap\":2147483648,\"PidsLimit\":8192,"
               "\"LogConfig\":{\"Type\":\"json-file\",\"Config\":{\"max-size\":\"64m\",\"max-file\":\"2\"}},"
               "\"NetworkMode\":\"container:p\"}}");
    cJSON_Delete(inspected);
    cJSON_Delete(program);
    tn_container_image_free(&image);
}

static void test_service(void)
{
    struct tn_container_task task = task_of(&small, &bridged);
    struct tn_container_image image;
    char name[TN_CONTAINER_NAME_MAX + 1];

    parse(
        "{\"image\":\"mysql\",\"command\":\"mysqld --sql 'a b'\",\"entrypoint\":[\"/e\"],\"user\":\"7\",\"name\":null}",
        &image);
    check_json(tn_container_service_new(&task, &image, "abc"),
               "{\"Image\":\"docker.io/library/mysql:latest\",\"User\":\"7\","
               "\"Labels\":{\"com.tenon.installation\":\"inst-1\",\"com.tenon.task\":\"job/7:0\","
               "\"com.tenon.attempt\":\"3\",\"com.tenon.role\":\"service\"},"
               "\"HostConfig\":{\"Init\":false,\"AutoRemove\":false,\"NanoCpus\":1000000000,\"Memory\":2147483648,"
               "\"MemorySwap\":2147483648,\"PidsLimit\":8192,"
               "\"LogConfig\":{\"Type\":\"json-file\",\"Config\":{\"max-size\":\"64m\",\"max-file\":\"2\"}},"
               "\"NetworkMode\":\"container:abc\"},"
               "\"Entrypoint\":[\"/e\"],\"Cmd\":[\"mysqld\",\"--sql\",\"a b\"]}");
    /* What keeps the metadata addresses away takes the image, and nothing else of the entry. */
    check_json(
        tn_container_metadata_new(&task, &image, "abc"),
        "{\"Image\":\"docker.io/library/mysql:latest\","
        "\"Labels\":{\"com.tenon.installation\":\"inst-1\",\"com.tenon.task\":\"job/7:0\","
        "\"com.tenon.attempt\":\"3\",\"com.tenon.role\":\"metadata\"},"
        "\"HostConfig\":{\"Init\":false,\"AutoRemove\":false,\"NanoCpus\":1000000000,\"Memory\":2147483648,"
        "\"MemorySwap\":2147483648,\"PidsLimit\":8192,\"NetworkMode\":\"container:abc\","
        "\"CapDrop\":[\"ALL\"],\"CapAdd\":[\"NET_ADMIN\"],"
        "\"Mounts\":[{\"Type\":\"bind\",\"Source\":\"/opt/agent\",\"Target\":\"/.tenon/bin\",\"ReadOnly\":true}],"
        "\"LogConfig\":{\"Type\":\"none\"}},"
        "\"Entrypoint\":[\"/.tenon/bin/tenon-agent\",\"deny-metadata\"],\"Cmd\":[],\"User\":\"0:0\"}");
    tn_container_name(&task, 1, name, sizeof(name));
    CHECK_STR(name, "tenon-inst-1-job-7-0-3-1");
    tn_container_image_free(&image);
}

static void test_refusals(void)
{
    refuse("{}", "a docker image without the text \"image\"; expected its name there");
    refuse("{\"image\":\"a\",\"aws_auth\":{}}",
           "docker image \"a\": \"aws_auth\" is not what it must be; expected a map with the texts "
           "\"aws_access_key_id\" and \"aws_secret_access_key\", or with \"oidc_role_arn\", given once");
    refuse(
        "{\"image\":\"a\",\"auth\":{\"username\":\"u\",\"password\":\"p\"},\"aws_auth\":{\"oidc_role_arn\":\"r\"}}",
        "docker image \"a\": \"aws_auth\" is not what it must be; expected either \"auth\" or \"aws_auth\", not both");
    refuse("{\"image\":\"a\",\"ports\":1}",
           "docker image \"a\": \"ports\" is not supported; expected image, name, user, entrypoint, command, "
           "environment, auth or aws_auth");
    refuse("{\"image\":\"a\",\"name\":\"a b\"}", "docker image \"a\": \"name\" is not what it must be; expected a host "
                                                 "name: at most 253 letters, digits, \"-\", \"_\" and \".\"");
    refuse("{\"image\":\"a\",\"user\":\"x\",\"user\":\"y\"}",
           "docker image \"a\": \"user\" is not what it must be; expected a text, given once");
    refuse("{\"image\":\"a\",\"command\":\"x 'y\"}",
           "docker image \"a\": \"command\" is not what it must be; expected a text in which every quote is closed");
    refuse("{\"image\":\"a\",\"command\":[1]}",
           "docker image \"a\": \"command\" is not what it must be; expected a text or a list of texts");
    refuse("{\"image\":\"a\",\"environment\":{\"A=B\":1}}",
           "docker image \"a\": \"environment\" is not what it must be; expected names that are not empty and hold no "
           "\"=\"");
    refuse("{\"image\":\"a\",\"environment\":{\"A\":1,\"B\":[]}}",
           "docker image \"a\": \"environment\" is not what it must be; expected values that are texts, numbers or "
           "booleans");
    refuse("{\"image\":\"a\",\"auth\":{\"username\":\"u\"}}",
           "docker image \"a\": \"auth\" is not what it must be; expected a map with the texts \"username\" and "
           "\"password\", given once");
}

static void test_words(void)
{
    check_json(tn_container_words_new(""), "[]");
    check_json(tn_container_words_new("  a\tb\n"), "[\"a\",\"b\"]");
    check_json(tn_container_words_new("a'b c'\"d \\\" \\x\"\\ e ''"), "[\"ab cd \\\" \\\\x e\",\"\"]");
    CHECK(tn_container_words_new("a \"b") == NULL);
    CHECK(tn_container_words_new("a\\") == NULL);
}

static void test_host(void)
{
    struct tn_err err = TN_ERR_INIT;
    struct tn_container_host host;
    cJSON *info = cJSON_Parse("{\"OSType\":\"linux\",\"NCPU\":4,\"CpuCfsPeriod\":true,\"CpuCfsQuota\":true,"
                              "\"MemoryLimit\":true,\"PidsLimit\":true,\"Architecture\":\"aarch64\"}");
    cJSON *networks = cJSON_Parse("[{\"Name\":\"none\"},{\"Name\":\"bridge\"}]");

    CHECK(tn_container_host_parse(info, networks, &host, &err) == 0);
    CHECK(host.cpus == 4 && host.cpu_limit && host.memory_limit && !host.swap_limit && host.pids_limit && host.bridge);
    CHECK_STR(host.arch, "aarch64");
    CHECK(tn_container_host_parse(info, NULL, &host, &err) == 0);
    CHECK(!host.bridge && !host.remapped);
    CHECK(cJSON_AddItemToArray(cJSON_AddArrayToObject(info, "SecurityOptions"), cJSON_CreateString("name=userns")));
    CHECK(tn_container_host_parse(info, NULL, &host, &err) == 0);
    CHECK(host.remapped && !host.own_network);
    CHECK(tn_container_host_parse(networks, NULL, &host, &err) < 0);
    cJSON_Delete(info);
    cJSON_Delete(networks);
}

static void check_kept(const char *entry, const char *inspected, const char *expected)
{
    struct tn_container_image image;
    cJSON *json = cJSON_Parse(inspected);
    cJSON *argv;

    parse(entry, &image);
    argv = tn_container_kept_argv(&image, json);
    if (expected == NULL)
        CHECK(argv == NULL);
    else
        check_json(argv, expected);
    tn_container_image_free(&image);
    cJSON_Delete(json);
}

static void test_kept_program(void)
{
    static const char plain[] = "{\"Config\":{\"Entrypoint\":[\"/e\"],\"Cmd\":[\"c\"],\"Labels\":null}}";
    static const char label[] = "{\"Config\":{\"Entrypoint\":null,\"Cmd\":[\"c\"],"
                                "\"Labels\":{\"com.circleci.preserve-entrypoint\":\"true\"}}}";

    check_kept("{\"image\":\"a\"}", plain, NULL);
    check_kept("{\"image\":\"a\"}", label, "[\"c\"]");
    check_kept("{\"image\":\"a\",\"command\":\"x\"}", plain, "[\"/e\",\"x\"]");
    check_kept("{\"image\":\"a\",\"entrypoint\":\"y z\"}", plain, "[\"y\",\"z\"]");
    check_kept("{\"image\":\"a\",\"entrypoint\":[]}", plain, NULL);
}

static void test_state(void)
{
    struct tn_container_state state;
    struct tn_err err = TN_ERR_INIT;
    cJSON *json = cJSON_Parse("{\"State\":{\"Status\":\"exited\",\"Running\":false,\"OOMKilled\":true,\"ExitCode\":137,"
                              "\"Error\":\"a\\nb\"}}");

    CHECK(tn_container_state_parse(json, &state, &err) == 0);
    CHECK_STR(state.status, "exited");
    CHECK_STR(state.error, "a b");
    CHECK(!state.running && state.oom_killed && state.exit_code == 137);
    CHECK(tn_container_state_parse(NULL, &state, &err) < 0);
    CHECK_INT(err.code, TN_ERR_PROTOCOL);
    cJSON_Delete(json);
}

static void check_finished(const char *text, long long expected)
{
    struct tn_container_state state;
    struct tn_err err = TN_ERR_INIT;
    cJSON *json = cJSON_Parse("{\"State\":{\"ExitCode\":0}}");

    cJSON_AddStringToObject(cJSON_GetObjectItem(json, "State"), "FinishedAt", text);
    CHECK(tn_container_state_parse(json, &state, &err) == 0);
    CHECK_INT(state.finished, expected);
    cJSON_Delete(json);
}

static void test_finished(void)
{
    check_finished("2026-01-02T03:04:05.678901234Z", 1767323045);
    check_finished("2026-01-02T03:04:05Z", 1767323045);
    check_finished("2026-01-02T05:34:05.1+02:30", 1767323045);
    check_finished("2026-01-01T22:04:05-05:00", 1767323045);
    check_finished("0001-01-01T00:00:00Z", 0);
    check_finished("", 0);
    check_finished("yesterday", 0);
    check_finished("2026-01-02T03:04:05", 0);
}

int main(void)
{
    test_primary();
    test_service();
    test_kept_and_sealed();
    test_refusals();
    test_words();
    test_host();
    test_kept_program();
    test_state();
    test_finished();
    return tn_check_result();
}
