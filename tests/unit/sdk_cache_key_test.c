/* Templates of cache keys. */
#include "executors/sdk/cache_key.h"
#include "tests/unit/check.h"

#include <stdlib.h>

static const char *value(void *arg, const char *name)
{
    if (strcmp(name, ".Branch") == 0)
        return "main";
    if (strcmp(name, ".Environment.V") == 0)
        return "7";
    if (strcmp(name, "arch") == 0)
        return "linux-amd64";
    return NULL;
}

static const char *checksum(void *arg, const char *path)
{
    return strcmp(path, "known.lock") == 0 ? "c3Vt" : NULL;
}

static const struct tn_cache_key_source source = {.value = value, .checksum = checksum};

static void expect(const char *template, const char *want)
{
    struct tn_err err = TN_ERR_INIT;
    char *key = NULL;

    CHECK_INT(tn_cache_key_render(template, &source, &key, &err), 1);
    CHECK_STR(key, want);
    free(key);
}

static void refused(const char *template, const char *want)
{
    struct tn_err err = TN_ERR_INIT;
    char *key = NULL;

    CHECK_INT(tn_cache_key_render(template, &source, &key, &err), -1);
    CHECK_STR(err.text, want);
}

int main(void)
{
    struct tn_err err = TN_ERR_INIT;
    char *key = NULL;
    char long_key[1000];

    expect("plain", "plain");
    expect("v1-{{ .Branch }}-{{.Environment.V}}", "v1-main-7");
    expect("{{ arch }}-{{ checksum \"known.lock\" }}-x", "linux-amd64-c3Vt-x");
    expect("{{checksum \"known.lock\"}}", "c3Vt");
    CHECK_INT(tn_cache_key_render("v1-{{ checksum \"other\" }}", &source, &key, &err), 0);
    refused("v1-{{ .Branch", "cache key \"v1-{{ .Branch\": {{ without }}");
    refused("{{ .Nothing }}",
            "cache key: {{ .Nothing }} is unknown; expected .Branch, .BuildNum, .Revision, .CheckoutKey, "
            ".Environment.NAME, checksum \"file\", epoch or arch");
    refused("{{ checksum known.lock }}", "cache key: {{ checksum known.lock }}: expected checksum \"file\"");
    memset(long_key, 'k', sizeof(long_key));
    long_key[901] = '\0';
    refused(long_key, "cache key of 901 characters, at most 900 are allowed");
    return tn_check_result();
}
