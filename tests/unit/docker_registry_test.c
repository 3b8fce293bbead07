/* What pulls are made of, without a registry: other names for images, whose credentials, what the engine's words mean,
 * AWS's signatures and answers, records of images. */
#include "core/lib/cleanup.h"
#include "core/lib/fs.h"
#include "core/lib/json.h"
#include "executors/docker/credentials.h"
#include "executors/docker/ecr.h"
#include "executors/docker/image_map.h"
#include "executors/docker/image_record.h"
#include "executors/docker/owner.h"
#include "executors/docker/pull_error.h"
#include "executors/docker/sigv4.h"
#include "tests/unit/check.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- docker.images ---- */

static struct tn_image_map *map;

static void expect_map(const char *text, int entry, const char *used)
{
    struct tn_image_ref ref;
    struct tn_err err = TN_ERR_INIT;
    char name[TN_IMAGE_REF_TEXT_MAX + 1];

    CHECK_INT(tn_image_map_apply(map, text, &ref, &err), entry);
    tn_image_ref_format(&ref, name, sizeof(name));
    CHECK_STR(entry >= 0 ? name : err.text, used);
}

static void test_map(void)
{
    auto_json cJSON *rules = cJSON_Parse(
        "[{\"image\":\"cimg/base:1\",\"use\":\"r.local/base\"},{\"image\":\"python:3\",\"use\":\"r.local/py:3\"},"
        "{\"prefix\":\"gcr.io/\",\"use\":\"r.local/gcr/\"},{\"pattern\":\"(?:(a)|b)/(.*):v(.*)\",\"use\":\"r.local/"
        "x$1/\\\\2:\\\\3\"},{\"pattern\":\"bad/(.*)\",\"use\":\"$$\\\\\\\\$9\"},{\"pattern\":\"(x+x+)+y/"
        ".*\",\"use\":\"z\"},"
        "{\"prefix\":\"docker.io/hub/\",\"use\":\"r.local/hub/\"},{\"image\":\"cimg/base:1\",\"use\":\"never\"}]");
    struct tn_err err = TN_ERR_INIT;

    map = tn_image_map_new(rules, &err);
    CHECK(map != NULL);
    expect_map("cimg/base:1", 1, "r.local/base:latest");
    expect_map("docker.io/cimg/base:1", 1, "r.local/base:latest");
    expect_map("docker.io/library/python:3", 2, "r.local/py:3");
    expect_map("cimg/base:2", 0, "docker.io/cimg/base:2");
    expect_map("gcr.io/p/x@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", 3,
               "r.local/gcr/p/x@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef");
    expect_map("a/b/c:v9", 4, "r.local/xa/b/c:9");
    expect_map("b/c:v9", 4, "r.local/x/c:9"); /* a group that took no part */
    expect_map(
        "bad/x", -1,
        "docker.images, entry 5, stands for image \"bad/x\": image \"$\\\": the repository is not words of a-z and "
        "0-9 joined by \".\", \"_\", \"__\", \"-\" or \"/\"; expected [registry[:port]/]repository[:tag][@digest]");
    expect_map("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx/z", -1,
               "docker.images, entry 6: the pattern \"(x+x+)+y/.*\" needs more than 100000 steps for "
               "\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx/z\"; write it without nested repeats");
    expect_map("hub/x", 7, "r.local/hub/x:latest");
    expect_map("Bad Name", -1,
               "image \"Bad Name\": a repository name has no upper-case letters; expected "
               "[registry[:port]/]repository[:tag][@digest]");
    tn_image_map_free(map);
}

static void refuse_map(const char *json, const char *text)
{
    auto_json cJSON *rules = cJSON_Parse(json);
    struct tn_err err = TN_ERR_INIT;

    CHECK(tn_image_map_new(rules, &err) == NULL);
    CHECK_INT(err.code, TN_ERR_CONFIG);
    CHECK_STR(err.text, text);
}

static void test_bad_map(void)
{
    refuse_map(
        "[{\"prefix\":\"a\",\"use\":\"b\"},{\"pattern\":\"a(b\",\"use\":\"c\"}]",
        "docker.images, entry 2: the pattern \"a(b\" is wrong at character 4: missing closing parenthesis; correct "
        "it in tenon.yaml");
    refuse_map("[{\"use\":\"b\"}]",
               "docker.images, entry 1: expected \"use\" and one of \"image\", \"prefix\" and \"pattern\"");
    refuse_map("[{\"image\":\"b\"}]",
               "docker.images, entry 1: expected \"use\" and one of \"image\", \"prefix\" and \"pattern\"");
    map = tn_image_map_new(NULL, NULL);
    expect_map("a", 0, "docker.io/library/a:latest");
    tn_image_map_free(map);
}

/* ---- credentials ---- */

static void expect_value(const char *value, const char *wanted)
{
    auto_json cJSON *lease = cJSON_Parse(
        "{\"project_environment\":[[\"P\",\"project\"],[\"C\",\"project\"]],\"context_environment\":[[\"C\","
        "\"first\"],[\"C\",\"second\"],[\"E\",\"\"]],\"environment\":[[\"CI\",\"true\"]]}");
    struct tn_err err = TN_ERR_INIT;
    char *found = tn_credentials_value(lease, "password", value, &err);

    CHECK_STR(found != NULL ? found : err.text, wanted);
    tn_credentials_wipe(found);
}

static void test_values(void)
{
    expect_value("plain", "plain");
    expect_value("", "");
    expect_value("$", "$");
    expect_value("$1", "$1");
    expect_value("pa$C", "pa$C"); /* a password with a dollar is no reference */
    expect_value("$C-x", "$C-x");
    expect_value("${C", "${C");
    expect_value("$C}", "$C}");
    expect_value("$C", "second");
    expect_value("${P}", "project");
    expect_value("$E",
                 "`password` is the variable E, which is empty in the job's contexts and in the project's variables; "
                 "define it there, or correct the name");
    expect_value("$CI",
                 "`password` is the variable CI, which is not defined in the job's contexts and in the project's "
                 "variables; define it there, or correct the name");
}

static char *folder;

static void expect_operator(const char *host, const char *content, int rc, const char *wanted)
{
    auto_free char *path = tn_fs_path("%s/password", folder);
    auto_free char *json = tn_fs_path("[{\"host\":\"r:5000\",\"username\":\"u\",\"password_file\":\"%s\"},{\"host\":"
                                      "\"https://index.docker.io/v1/\",\"username\":\"hub\",\"password_file\":\"%s\"}]",
                                      path, path);
    auto_json cJSON *registries = cJSON_Parse(json);
    struct tn_credentials found;
    struct tn_err err = TN_ERR_INIT;

    unlink(path);
    if (content != NULL)
        CHECK(tn_fs_write_atomic(path, content, strlen(content), 0600, NULL) == 0);
    CHECK_INT(tn_credentials_of_operator(registries, host, &found, &err), rc);
    CHECK_STR(rc > 0 ? found.password : rc < 0 ? strstr(err.text, ": ") + 2 : "", wanted);
    tn_credentials_clear(&found);
}

static void test_operator(void)
{
    auto_free char *path = tn_fs_path("%s/password", folder);
    auto_free char *empty = tn_fs_path("%s is empty; expected the password and nothing else", path);

    expect_operator("r:5000", "secret \r\n", 1, "secret ");
    expect_operator("docker.io", "x", 1, "x");
    expect_operator("r", "x", 0, "");
    expect_operator("r:5000", "\n", -1, empty);
}

/* ---- the engine's words ---- */

static void expect_fault(int status, const char *words, bool with, enum tn_pull_fault fault)
{
    CHECK_INT(tn_pull_fault_of(status, words, with), fault);
}

static void test_faults(void)
{
    expect_fault(500, "toomanyrequests: You have reached your pull rate limit.", false, TN_PULL_RATE_LIMIT);
    expect_fault(500, "received unexpected HTTP status: 503 Service Unavailable", false, TN_PULL_REGISTRY);
    expect_fault(500, "Head \"http://r/v2/x/manifests/1\": EOF", true, TN_PULL_REGISTRY);
    expect_fault(500, "Get \"https://r/v2/\": net/http: TLS handshake timeout", true, TN_PULL_REGISTRY);
    expect_fault(500, "Get \"http://r:1/v2/\": dial tcp 127.0.0.1:1: connect: connection refused", true,
                 TN_PULL_UNREACHABLE);
    expect_fault(500, "Get \"https://r/v2/\": dial tcp: lookup r on 1.1.1.1:53: no such host", true, TN_PULL_NO_HOST);
    expect_fault(500, "Head \"http://r/v2/x/manifests/1\": no basic auth credentials", false, TN_PULL_NONE_GIVEN);
    expect_fault(500, "unauthorized: authentication required", true, TN_PULL_CREDENTIALS);
    expect_fault(500, "unauthorized: authentication required", false, TN_PULL_NONE_GIVEN);
    expect_fault(404,
                 "pull access denied for x, repository does not exist or may require 'docker login': denied: requested "
                 "access to the resource is denied",
                 false, TN_PULL_NONE_GIVEN);
    expect_fault(404, "manifest for r/x:1 not found: manifest unknown: manifest unknown", true, TN_PULL_MISSING);
    expect_fault(404, "?", true, TN_PULL_MISSING);
    expect_fault(500, "Get \"https://r/v2/\": x509: certificate signed by unknown authority", true,
                 TN_PULL_CERTIFICATE);
    expect_fault(500, "Get \"https://r/v2/\": http: server gave HTTP response to HTTPS client", true,
                 TN_PULL_CERTIFICATE);
    expect_fault(200, "no matching manifest for linux/amd64 in the manifest list entries", true, TN_PULL_PLATFORM);
    expect_fault(200, "write /var/lib/docker/tmp/x: no space left on device", true, TN_PULL_DISK);
    /* Podman's, which come with a status of 200. */
    expect_fault(200,
                 "initializing source docker://r/x:1: reading manifest 1 in r/x: unauthorized: authentication required",
                 false, TN_PULL_NONE_GIVEN);
    expect_fault(200,
                 "initializing source docker://r/x:1: reading manifest 1 in r/x: manifest unknown: manifest unknown",
                 true, TN_PULL_MISSING);
    expect_fault(200,
                 "initializing source docker://r/x:1: pinging container registry r: Get \"https://r/v2/\": dial tcp: "
                 "lookup r on 1.1.1.1:53: no such host",
                 true, TN_PULL_NO_HOST);
    expect_fault(400, "invalid", true, TN_PULL_REFUSED);
    expect_fault(500, "?", true, TN_PULL_UNKNOWN);
    CHECK(tn_pull_fault_passes(TN_PULL_RATE_LIMIT) && tn_pull_fault_passes(TN_PULL_UNKNOWN));
    CHECK(!tn_pull_fault_passes(TN_PULL_NO_HOST) && !tn_pull_fault_passes(TN_PULL_DISK));
    CHECK(tn_pull_fault_is_infrastructure(TN_PULL_DISK) && !tn_pull_fault_is_infrastructure(TN_PULL_MISSING));
}

static void test_retry_after(void)
{
    CHECK_INT(tn_pull_retry_after_ms("toomanyrequests: slow down"), -1);
    CHECK_INT(tn_pull_retry_after_ms("toomanyrequests: retry-after: 1.5s, allowed: 44000/minute"), 1500);
    CHECK_INT(tn_pull_retry_after_ms("retry-after: 163.842\xc2\xb5s"), 0);
    CHECK_INT(tn_pull_retry_after_ms("Retry-After: 30"), 30000);
    CHECK_INT(tn_pull_retry_after_ms("retry-after: 2m3s"), 123000);
    CHECK_INT(tn_pull_retry_after_ms("retry-after: 999999999999999999999999h"), 600000);
    CHECK_INT(tn_pull_retry_after_ms("retry-after: soon"), -1);
    CHECK_INT(tn_pull_retry_after_ms("retry-after"), -1);
}

static void test_text(void)
{
    struct tn_image_ref ref;
    char text[1000];

    CHECK(tn_image_ref_parse("r.example/x:1", &ref, NULL) == 0);
    tn_pull_fault_text(TN_PULL_CREDENTIALS, &ref, "denied", "user \"u\" (`auth` in the config)", text, sizeof(text));
    CHECK_STR(text,
              "image r.example/x:1: registry r.example refuses user \"u\" (`auth` in the config): denied; check the "
              "name, the password and that this user may read the repository");
    tn_pull_fault_text(TN_PULL_RATE_LIMIT, &ref, "toomanyrequests", NULL, text, sizeof(text));
    CHECK_STR(text,
              "image r.example/x:1: registry r.example limits the rate of pulls: toomanyrequests; give credentials "
              "(`auth`, or docker.registries in tenon.yaml) or a mirror (docker.mirrors)");
    for (int fault = 0; fault <= TN_PULL_REFUSED; fault++) {
        tn_pull_fault_text((enum tn_pull_fault)fault, &ref, "WORDS", NULL, text, sizeof(text));
        CHECK(strstr(text, "image r.example/x:1: ") == text && strstr(text, ": WORDS") != NULL);
    }
}

/* ---- AWS ---- */

/* The published test suite: AKIDEXAMPLE, us-east-1, service "service", 2015-08-30 12:36:00. */
static void expect_signature(const char *method, const char *body, bool form, const char *signature)
{
    const struct tn_sigv4_header headers[] = {{"content-type", "application/x-www-form-urlencoded"},
                                              {"host", "example.amazonaws.com"},
                                              {"x-amz-date", "20150830T123600Z"}};
    const struct tn_sigv4 request = {.method = method,
                                     .path = "/",
                                     .headers = form ? headers : headers + 1,
                                     .n_headers = form ? 3 : 2,
                                     .body = body,
                                     .body_len = strlen(body),
                                     .region = "us-east-1",
                                     .service = "service",
                                     .key_id = "AKIDEXAMPLE",
                                     .secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
                                     .when = 1440938160};
    auto_free char *value = tn_sigv4_authorization(&request);
    auto_free char *wanted =
        tn_fs_path("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
                   "SignedHeaders=%shost;x-amz-date, Signature=%s",
                   form ? "content-type;" : "", signature);

    CHECK_STR(value, wanted);
}

static void test_signature(void)
{
    expect_signature("GET", "", false, "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31");
    expect_signature("POST", "", false, "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b");
    expect_signature("POST", "Param1=value1", true, "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a");
}

static void expect_host(const char *registry, const char *endpoint)
{
    struct tn_ecr_host host;

    CHECK(tn_ecr_host_parse(registry, &host) == (endpoint[0] != '\0'));
    CHECK_STR(host.endpoint, endpoint);
}

static void test_hosts(void)
{
    expect_host("123456789012.dkr.ecr.eu-central-1.amazonaws.com", "https://api.ecr.eu-central-1.amazonaws.com");
    expect_host("123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn", "https://api.ecr.cn-north-1.amazonaws.com.cn");
    expect_host("123456789012.dkr.ecr-fips.us-east-1.amazonaws.com", "https://ecr-fips.us-east-1.amazonaws.com");
    expect_host("12345678901.dkr.ecr.eu-central-1.amazonaws.com", "");
    expect_host("1234567890123.dkr.ecr.eu-central-1.amazonaws.com", "");
    expect_host("123456789012.dkr.ecr..amazonaws.com", "");
    expect_host("123456789012.dkr.ecr.eu-central-1.amazonaws.com.evil.example", "");
    expect_host("123456789012.dkr.ecr.eu/central.amazonaws.com", "");
    expect_host("docker.io", "");
    expect_host("", "");
}

static void expect_endpoint(const char *text, int port, const char *error)
{
    struct tn_err err = TN_ERR_INIT;
    uint16_t found = 0;

    CHECK_INT(tn_ecr_endpoint_check(text, &found, &err), port > 0 ? 0 : -1);
    CHECK_INT(found, port);
    CHECK_STR(err.text, error);
}

static void test_endpoints(void)
{
    expect_endpoint("https://vpce-1.ecr.eu.amazonaws.com", 443, "");
    expect_endpoint("https://h:8443/", 8443, "");
    expect_endpoint("http://127.0.0.1:99", 99, "");
    expect_endpoint(
        "http://h", 0,
        "docker.ecr_endpoint is \"http://h\": without TLS the token could be read on its way; expected https://");
    expect_endpoint("h:1", 0, "docker.ecr_endpoint is \"h:1\"; expected https://HOST, with or without a port");
    expect_endpoint("https://h:0", 0,
                    "docker.ecr_endpoint is \"https://h:0\"; expected nothing but a port (1 to 65535) behind the host");
    expect_endpoint("https://h/x", 0,
                    "docker.ecr_endpoint is \"https://h/x\"; expected nothing but a port (1 to 65535) behind the host");
}

static void expect_answer(int status, const char *body, const char *password, bool passes, const char *error)
{
    struct tn_credentials found;
    struct tn_err err = TN_ERR_INIT;
    bool may_pass;
    int rc = tn_ecr_answer("https://e", status, body, strlen(body), &found, &may_pass, &err);

    CHECK_INT(rc, password != NULL ? 0 : -1);
    CHECK_STR(rc == 0 ? found.password : err.text, rc == 0 ? password : error);
    CHECK_INT(may_pass, passes);
    tn_credentials_clear(&found);
}

static void test_answers(void)
{
    expect_answer(200, "{\"authorizationData\":[{\"authorizationToken\":\"QVdTOnA6dw==\"}]}", "p:w", false, "");
    expect_answer(200, "{\"authorizationData\":[{\"authorizationToken\":\"QVdT\"}]}", NULL, false,
                  "the token from https://e is not NAME:PASSWORD in base64");
    expect_answer(200, "{\"authorizationData\":[{\"authorizationToken\":\"****\"}]}", NULL, false,
                  "the token from https://e is not NAME:PASSWORD in base64");
    expect_answer(200, "{\"authorizationData\":[{\"authorizationToken\":\"QVdTOnA6dw=\"}]}", NULL, false,
                  "the token from https://e is not NAME:PASSWORD in base64");
    expect_answer(200, "{\"authorizationData\":[{\"authorizationToken\":\"QVdTOgBhYg==\"}]}", NULL, false,
                  "the token from https://e is not NAME:PASSWORD in base64");
    expect_answer(200, "<html>", NULL, false,
                  "what answers at https://e is not AWS: expected JSON with an authorizationToken; check "
                  "docker.ecr_endpoint");
    expect_answer(400, "{\"__type\":\"a.b#ThrottlingException\",\"message\":\"slow\"}", NULL, true,
                  "AWS at https://e failed: HTTP 400: ThrottlingException: slow");
    expect_answer(502, "", NULL, true, "AWS at https://e failed: HTTP 502: : ");
    expect_answer(
        403, "{\"__type\":\"UnrecognizedClientException\",\"message\":\"The token\\nis invalid\"}", NULL, false,
        "AWS at https://e refuses the keys of `aws_auth`: HTTP 403: UnrecognizedClientException: The token is "
        "invalid; check aws_access_key_id and aws_secret_access_key, and that they allow "
        "ecr:GetAuthorizationToken");
}

/* ---- records ---- */

static void count(const struct tn_image_record *record, void *arg)
{
    (*(int *)arg)++;
    CHECK_STR(record->id, "sha256:1");
}

static void test_records(void)
{
    struct tn_image_record record = {.name = "r/x:1", .id = "sha256:1", .pulled = 5, .checked = 6, .used = 7};
    struct tn_image_record found;
    struct tn_err err = TN_ERR_INIT;
    auto_free char *images = tn_fs_path("%s/images", folder);
    auto_free char *damaged = tn_fs_path("%s/%064d", images, 0);
    int records = 0;

    CHECK(!tn_image_record_get(images, "r/x:1", "sha256:1", &found));
    tn_image_record_each(images, count, &records);
    CHECK(tn_image_record_put(images, &record, &err) == 0);
    CHECK(tn_image_record_get(images, "r/x:1", "sha256:1", &found));
    CHECK(memcmp(&record, &found, sizeof(record)) == 0);
    CHECK(!tn_image_record_get(images, "r/x:1", "sha256:2", &found));
    CHECK(tn_fs_write_atomic(damaged, "{\"name\":", 8, 0600, &err) == 0);
    tn_image_record_each(images, count, &records);
    CHECK_INT(records, 1);
    CHECK(access(damaged, F_OK) != 0);
    tn_image_record_remove(images, "r/x:1", "sha256:1");
    CHECK(!tn_image_record_get(images, "r/x:1", "sha256:1", &found));
    CHECK(!tn_image_record_parse("[]", 2, &found));
    CHECK(!tn_image_record_parse("{\"name\":\"a\",\"id\":\"b\",\"pulled\":\"-1\"}", 36, &found));
}

/* ---- owners of containers ---- */

static void expect_life(const char *text, bool runs, enum tn_owner_life life)
{
    struct tn_owner ours = {.uid = 1000, .boot = "boot", .device = 5, .inode = 6, .run = "/run/t/ours"};
    struct tn_owner owner;

    CHECK(tn_owner_parse(text, &owner));
    CHECK_INT(tn_owner_life(&owner, &ours, runs), life);
}

static void test_owners(void)
{
    struct tn_owner owner;
    char text[TN_OWNER_TEXT_MAX];

    expect_life("1000 boot 5:6 /run/t/other", true, TN_OWNER_ASK);
    expect_life("1000 boot 5:6 /run/t/other", false, TN_OWNER_ASK);
    expect_life("1000 boot 5:6 /run/t/ours", true, TN_OWNER_LIVES);
    expect_life("1000 boot 5:7 /run/t/other", false, TN_OWNER_UNKNOWN); /* another mount namespace's */
    expect_life("1001 boot 5:6 /run/t/other", false, TN_OWNER_UNKNOWN);
    expect_life("1000 earlier 9:9 /run/t/other", false, TN_OWNER_DEAD);
    expect_life("1000 earlier 9:9 /run/t/other", true, TN_OWNER_UNKNOWN); /* another host's */
    CHECK(!tn_owner_parse("", &owner));
    CHECK(!tn_owner_parse("1000 boot 5:6", &owner));
    CHECK(!tn_owner_parse("1000 boot 5:6 relative", &owner));
    CHECK(!tn_owner_parse("1000 boot 5:6 /run more", &owner));
    CHECK(tn_owner_parse("0 b00t fe:2a /run/t/x1", &owner));
    tn_owner_format(&owner, text);
    CHECK_STR(text, "0 b00t fe:2a /run/t/x1");
    CHECK_STR(tn_owner_name(&owner), "x1");
}

int main(void)
{
    char place[] = "/tmp/docker-registry-test.XXXXXX";
    struct tn_err err = TN_ERR_INIT;

    folder = mkdtemp(place);
    CHECK(folder != NULL);
    test_map();
    test_bad_map();
    test_values();
    test_operator();
    test_faults();
    test_retry_after();
    test_text();
    test_signature();
    test_hosts();
    test_endpoints();
    test_answers();
    test_records();
    test_owners();
    CHECK(tn_fs_remove_tree(folder, &err) == 0);
    return tn_check_result();
}
