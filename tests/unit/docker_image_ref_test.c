/* Image references: what is accepted, what its full form is, and what is refused with which words. */
#include "executors/docker/image_ref.h"
#include "tests/unit/check.h"

#define HEX64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static const struct {
    const char *text;
    const char *registry;
    const char *repository;
    const char *tag;
    const char *digest;
} valid[] = {
    {"alpine", "docker.io", "library/alpine", "latest", ""},
    {"alpine:3.19", "docker.io", "library/alpine", "3.19", ""},
    {"cimg/base:2025.05-20.04", "docker.io", "cimg/base", "2025.05-20.04", ""},
    {"docker:25.0-git", "docker.io", "library/docker", "25.0-git", ""},
    {"docker.io/alpine", "docker.io", "library/alpine", "latest", ""},
    {"index.docker.io/library/alpine", "docker.io", "library/alpine", "latest", ""},
    {"registry.example.com/a/b/c:x", "registry.example.com", "a/b/c", "x", ""},
    {"localhost/a", "localhost", "a", "latest", ""},
    {"localhost:5000/a:T_1.x-y", "localhost:5000", "a", "T_1.x-y", ""},
    {"Registry/a", "Registry", "a", "latest", ""},
    {"10.0.0.1:5000/x/y@sha256:" HEX64, "10.0.0.1:5000", "x/y", "", "sha256:" HEX64},
    {"a@sha512:" HEX64 HEX64, "docker.io", "library/a", "", "sha512:" HEX64 HEX64},
    {"a:t@sha256:" HEX64, "docker.io", "library/a", "t", "sha256:" HEX64},
    {"a__b/c-d---e/f.g_h", "docker.io", "a__b/c-d---e/f.g_h", "latest", ""},
    {"localhosts/a", "docker.io", "localhosts/a", "latest", ""},
    {"me/" HEX64, "docker.io", "me/" HEX64, "latest", ""},
};

static const struct {
    const char *text;
    const char *what;
} invalid[] = {
    {"", "it is empty"},
    {":x", "the repository is not words"},
    {"a:", "the tag after"},
    {"a:-x", "the tag after"},
    {"a:x:y", "the tag after"},
    {"a b", "the repository is not words"},
    {"Alpine", "no upper-case letters"},
    {"x/Alpine", "no upper-case letters"},
    {"a//b", "the repository is not words"},
    {"/a", "the repository is not words"},
    {"a/", "the repository is not words"},
    {"a..b", "the repository is not words"},
    {"a___b", "the repository is not words"},
    {"-a", "the repository is not words"},
    {"a-", "the repository is not words"},
    {"../../containers/json", "the part before the first \"/\" is no registry"},
    {"a/../b", "the repository is not words"},
    {"a?x=1", "the repository is not words"},
    {"a@", "the digest after"},
    {"a@sha256:12", "the digest after"},
    {"a@md5:" HEX64, "the digest after"},
    {"a@sha256:" HEX64 "@sha256:" HEX64, "the digest after"},
    {HEX64, "64 hexadecimal digits are an image's id"},
    {"host:123456/a", "is no registry"},
    {"host:/a", "is no registry"},
    {"-x.y/a", "is no registry"},
    {"x.-y/a", "is no registry"},
    {"x./a", "is no registry"},
};

static void test_valid(void)
{
    for (size_t i = 0; i < sizeof(valid) / sizeof(valid[0]); i++) {
        struct tn_image_ref ref;
        struct tn_image_ref again;
        struct tn_err err = TN_ERR_INIT;
        char full[TN_IMAGE_REF_TEXT_MAX + 1];

        CHECK(tn_image_ref_parse(valid[i].text, &ref, &err) == 0);
        CHECK_STR(err.text, "");
        CHECK_STR(ref.registry, valid[i].registry);
        CHECK_STR(ref.repository, valid[i].repository);
        CHECK_STR(ref.tag, valid[i].tag);
        CHECK_STR(ref.digest, valid[i].digest);
        tn_image_ref_format(&ref, full, sizeof(full));
        CHECK(tn_image_ref_parse(full, &again, &err) == 0);
        CHECK(memcmp(&ref, &again, sizeof(ref)) == 0);
    }
}

static void test_invalid(void)
{
    for (size_t i = 0; i < sizeof(invalid) / sizeof(invalid[0]); i++) {
        struct tn_image_ref ref;
        struct tn_err err = TN_ERR_INIT;

        if (tn_image_ref_parse(invalid[i].text, &ref, &err) == 0)
            fprintf(stderr, "accepted: %s\n", invalid[i].text);
        CHECK_INT(err.code, TN_ERR_CONFIG);
        if (strstr(err.text, invalid[i].what) == NULL)
            fprintf(stderr, "%s: %s\n", invalid[i].text, err.text);
        CHECK(strstr(err.text, invalid[i].what) != NULL);
    }
}

static void test_limits(void)
{
    struct tn_image_ref ref;
    struct tn_err err = TN_ERR_INIT;
    char text[1024];

    /* 255 bytes for "docker.io/" and the repository: 245 for the latter. */
    memset(text, 'a', sizeof(text));
    memcpy(text, "x/", 2);
    text[245] = '\0';
    CHECK(tn_image_ref_parse(text, &ref, &err) == 0);
    text[245] = 'a';
    text[246] = '\0';
    CHECK(tn_image_ref_parse(text, &ref, &err) < 0);
    CHECK(strstr(err.text, "the name is longer than 255 bytes") != NULL);
    text[246] = 'a';
    text[900] = '\0';
    CHECK(tn_image_ref_parse(text, &ref, &err) < 0);
    CHECK(strstr(err.text, "it is too long") != NULL);

    memset(text, 't', sizeof(text));
    memcpy(text, "a:", 2);
    text[2 + 128] = '\0';
    CHECK(tn_image_ref_parse(text, &ref, &err) == 0);
    text[2 + 128] = 't';
    text[2 + 129] = '\0';
    CHECK(tn_image_ref_parse(text, &ref, &err) < 0);
}

static void test_exact_text_and_pull(void)
{
    struct tn_image_ref ref;
    struct tn_err err = TN_ERR_INIT;
    char name[TN_IMAGE_REF_NAME_MAX + 1];

    CHECK(tn_image_ref_parse("My\nImage", &ref, &err) < 0);
    CHECK_STR(err.text, "image \"My?Image\": a repository name has no upper-case letters; expected "
                        "[registry[:port]/]repository[:tag][@digest]");
    err = (struct tn_err)TN_ERR_INIT;
    CHECK(tn_image_ref_parse("alpine:3@sha256:" HEX64, &ref, &err) == 0);
    CHECK_STR(tn_image_ref_pull_name(&ref, name, sizeof(name)), "sha256:" HEX64);
    CHECK_STR(name, "docker.io/library/alpine");
    CHECK_STR(tn_image_ref_auth_address(&ref), "https://index.docker.io/v1/");
    CHECK(tn_image_ref_parse("r.example:5000/x:1", &ref, &err) == 0);
    CHECK_STR(tn_image_ref_pull_name(&ref, name, sizeof(name)), "1");
    CHECK_STR(name, "r.example:5000/x");
    CHECK_STR(tn_image_ref_auth_address(&ref), "r.example:5000");
}

int main(void)
{
    test_valid();
    test_invalid();
    test_limits();
    test_exact_text_and_pull();
    return tn_check_result();
}
