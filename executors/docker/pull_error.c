#include "executors/docker/pull_error.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { RETRY_AFTER_MAX_MS = 600 * 1000 };

/* First match wins, so what is special stands before what is general. */
static const struct {
    const char *fragment;
    enum tn_pull_fault fault;
} known[] = {
    {"toomanyrequests", TN_PULL_RATE_LIMIT},
    {"too many requests", TN_PULL_RATE_LIMIT},
    {"rate limit", TN_PULL_RATE_LIMIT},
    {"no space left on device", TN_PULL_DISK},
    {"no matching manifest for", TN_PULL_PLATFORM},
    {"no basic auth credentials", TN_PULL_NONE_GIVEN},
    {"unauthorized", TN_PULL_CREDENTIALS},
    {"authentication required", TN_PULL_CREDENTIALS},
    {"incorrect username or password", TN_PULL_CREDENTIALS},
    {"pull access denied", TN_PULL_CREDENTIALS},
    {"denied", TN_PULL_CREDENTIALS},
    {"manifest unknown", TN_PULL_MISSING},
    {"name unknown", TN_PULL_MISSING},
    {"no such host", TN_PULL_NO_HOST},
    {"x509:", TN_PULL_CERTIFICATE},
    {"server gave http response to https client", TN_PULL_CERTIFICATE},
    {"connection refused", TN_PULL_UNREACHABLE},
    {"no route to host", TN_PULL_UNREACHABLE},
    {"network is unreachable", TN_PULL_UNREACHABLE},
    {"server misbehaving", TN_PULL_UNREACHABLE},
    {"unexpected http status: 5", TN_PULL_REGISTRY},
    {"timeout", TN_PULL_REGISTRY},
    {"deadline exceeded", TN_PULL_REGISTRY},
    {"connection reset", TN_PULL_REGISTRY},
    {"eof", TN_PULL_REGISTRY},
    {"not found", TN_PULL_MISSING},
};

enum tn_pull_fault tn_pull_fault_of(int status, const char *words, bool with_credentials)
{
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (strcasestr(words, known[i].fragment) == NULL)
            continue;
        if (known[i].fault == TN_PULL_CREDENTIALS && !with_credentials)
            return TN_PULL_NONE_GIVEN;
        return known[i].fault;
    }
    if (status == 404)
        return TN_PULL_MISSING;
    return status >= 400 && status < 500 ? TN_PULL_REFUSED : TN_PULL_UNKNOWN;
}

bool tn_pull_fault_passes(enum tn_pull_fault fault)
{
    return fault <= TN_PULL_UNKNOWN;
}

bool tn_pull_fault_is_answer(enum tn_pull_fault fault)
{
    return fault == TN_PULL_CREDENTIALS || fault == TN_PULL_NONE_GIVEN || fault == TN_PULL_MISSING ||
           fault == TN_PULL_PLATFORM || fault == TN_PULL_REFUSED;
}

bool tn_pull_fault_is_infrastructure(enum tn_pull_fault fault)
{
    return fault <= TN_PULL_UNKNOWN || fault == TN_PULL_DISK;
}

/* "163.842µs", "2m30s", "1.5s", "30": Go's durations, or the header's seconds. */
static double duration_ms(const char *text)
{
    static const struct {
        const char *unit;
        double ms;
    } units[] = {{"ms", 1}, {"us", 1e-3}, {"\xc2\xb5s", 1e-3}, {"ns", 1e-6}, {"h", 3.6e6}, {"m", 6e4}, {"s", 1e3}};
    double sum = -1;

    while (*text >= '0' && *text <= '9') {
        char *end;
        double number = strtod(text, &end);
        size_t unit = 0;

        while (unit < sizeof(units) / sizeof(units[0]) && strncmp(end, units[unit].unit, strlen(units[unit].unit)) != 0)
            unit++;
        if (unit == sizeof(units) / sizeof(units[0]))
            return (sum < 0 ? 0 : sum) + number * 1e3;
        sum = (sum < 0 ? 0 : sum) + number * units[unit].ms;
        text = end + strlen(units[unit].unit);
    }
    return sum;
}

long tn_pull_retry_after_ms(const char *words)
{
    const char *at = strcasestr(words, "retry-after");
    double ms;

    if (at == NULL)
        return -1;
    at += strlen("retry-after");
    ms = duration_ms(at + strspn(at, ": \t"));
    return ms > RETRY_AFTER_MAX_MS ? RETRY_AFTER_MAX_MS : (long)ms;
}

static void describe(enum tn_pull_fault fault, const char *registry, const char *credentials, char *what, size_t size,
                     const char **advice)
{
    *advice = "";
    switch (fault) {
    case TN_PULL_RATE_LIMIT:
        snprintf(what, size, "registry %s limits the rate of pulls", registry);
        *advice = credentials == NULL ? "; give credentials (`auth`, or docker.registries in tenon.yaml) or a mirror "
                                        "(docker.mirrors)"
                                      : "; use a mirror (docker.mirrors in tenon.yaml)";
        break;
    case TN_PULL_REGISTRY:
        snprintf(what, size, "registry %s failed", registry);
        break;
    case TN_PULL_UNREACHABLE:
        snprintf(what, size, "the engine does not reach registry %s", registry);
        *advice = "; check that it runs and that the engine's host may connect to it";
        break;
    case TN_PULL_UNKNOWN:
    case TN_PULL_REFUSED:
        snprintf(what, size, "the engine cannot pull it from registry %s", registry);
        break;
    case TN_PULL_NO_HOST:
        snprintf(what, size, "the engine's host finds no registry %s", registry);
        *advice = "; check the image's name and the name service of the engine's host, map the image (docker.images in "
                  "tenon.yaml), or load it into the engine (docker load)";
        break;
    case TN_PULL_CREDENTIALS:
        snprintf(what, size, "registry %s refuses %s", registry, credentials != NULL ? credentials : "the credentials");
        *advice = "; check the name, the password and that this user may read the repository";
        break;
    case TN_PULL_NONE_GIVEN:
        snprintf(what, size, "registry %s wants credentials, or has no such repository", registry);
        *advice = "; check the name, and give `auth` in the config or docker.registries in tenon.yaml";
        break;
    case TN_PULL_MISSING:
        snprintf(what, size, "registry %s has no such image", registry);
        *advice = "; check the repository's name and its tag";
        break;
    case TN_PULL_CERTIFICATE:
        snprintf(what, size, "the engine does not trust registry %s", registry);
        *advice =
            "; give the engine its certificate authority (/etc/docker/certs.d), or list it in insecure-registries";
        break;
    case TN_PULL_PLATFORM:
        snprintf(what, size, "registry %s has the image, but not for this host's architecture", registry);
        break;
    case TN_PULL_DISK:
        snprintf(what, size, "the engine's disk is full");
        *advice = "; free space there (docker system df)";
        break;
    }
}

void tn_pull_fault_text(enum tn_pull_fault fault, const struct tn_image_ref *image, const char *words,
                        const char *credentials, char *text, size_t size)
{
    char name[TN_IMAGE_REF_TEXT_MAX + 1];
    char what[400];
    const char *advice;

    tn_image_ref_format(image, name, sizeof(name));
    describe(fault, image->registry, credentials, what, sizeof(what), &advice);
    snprintf(text, size, "image %.300s: %s: %.300s%s", name, what, words, advice);
}
