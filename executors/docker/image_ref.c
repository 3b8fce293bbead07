#include "executors/docker/image_ref.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static const char lower_digits[] = "abcdefghijklmnopqrstuvwxyz0123456789";
static const char upper[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
static const char hex_digits[] = "0123456789abcdef";

static bool is_in(char c, const char *set)
{
    return c != '\0' && strchr(set, c) != NULL;
}

static bool is_alnum(char c)
{
    return is_in(c, lower_digits) || is_in(c, upper);
}

/* What every refusal looks like; at most 300 bytes of a stranger's text, control characters replaced. */
static int refuse(struct tn_err *err, const char *text, const char *what)
{
    char shown[301];
    size_t i;

    for (i = 0; i < sizeof(shown) - 1 && text[i] != '\0'; i++)
        shown[i] = (unsigned char)text[i] < 0x20 || text[i] == 0x7f ? '?' : text[i];
    shown[i] = '\0';
    return tn_err_set(err, TN_ERR_CONFIG, "image \"%s\": %s; expected [registry[:port]/]repository[:tag][@digest]",
                      shown, what);
}

/* The length of one path component: words of lower-case letters and digits, joined by ".", "_", "__" or dashes.
 * Zero when there is none at `text`. */
static size_t component_len(const char *text, size_t max)
{
    size_t len = 0;

    while (len < max && is_in(text[len], lower_digits)) {
        size_t gap;

        while (len < max && is_in(text[len], lower_digits))
            len++;
        gap = len;
        if (gap < max && text[gap] == '-')
            while (gap < max && text[gap] == '-')
                gap++;
        else if (gap + 1 < max && text[gap] == '_' && text[gap + 1] == '_')
            gap += 2;
        else if (gap < max && (text[gap] == '.' || text[gap] == '_'))
            gap++;
        if (gap == len || gap >= max || !is_in(text[gap], lower_digits))
            break;
        len = gap;
    }
    return len;
}

static bool is_repository(const char *text)
{
    for (;;) {
        const char *slash = strchr(text, '/');
        size_t len = slash != NULL ? (size_t)(slash - text) : strlen(text);

        if (len == 0 || component_len(text, len) != len)
            return false;
        if (slash == NULL)
            return true;
        text = slash + 1;
    }
}

/* host[:port]: names of letters, digits and inner dashes, joined by dots; the port one to five digits. */
static bool is_registry(const char *text)
{
    const char *colon = strchr(text, ':');
    size_t host = colon != NULL ? (size_t)(colon - text) : strlen(text);
    bool at_start = true;

    if (colon != NULL) {
        size_t digits = strspn(colon + 1, "0123456789");

        if (digits < 1 || digits > 5 || colon[1 + digits] != '\0')
            return false;
    }
    for (size_t i = 0; i < host; i++) {
        bool last = i + 1 == host || text[i + 1] == '.';

        if (text[i] == '.' && !at_start) {
            at_start = true;
            continue;
        }
        if (!is_alnum(text[i]) && (text[i] != '-' || at_start || last))
            return false;
        at_start = false;
    }
    return host > 0 && !at_start;
}

static bool is_tag(const char *text)
{
    if (!is_alnum(text[0]) && text[0] != '_')
        return false;
    for (size_t i = 1; text[i] != '\0'; i++)
        if (!is_alnum(text[i]) && !is_in(text[i], "_.-"))
            return false;
    return true;
}

static bool is_digest(const char *text)
{
    size_t want;

    if (strncmp(text, "sha256:", 7) == 0)
        want = 64;
    else if (strncmp(text, "sha512:", 7) == 0)
        want = 128;
    else
        return false;
    return strlen(text + 7) == want && strspn(text + 7, hex_digits) == want;
}

/* Splits the name at its first slash when what stands before can only be a registry, else sets Docker's defaults. */
static int set_name(char *name, struct tn_image_ref *ref, const char *text, struct tn_err *err)
{
    const char *registry = "docker.io";
    const char *path = name;
    const char *prefix = "";
    char *slash = strchr(name, '/');

    if (slash != NULL) {
        size_t first = (size_t)(slash - name);

        if (memchr(name, '.', first) != NULL || memchr(name, ':', first) != NULL || strcspn(name, upper) < first ||
            (first == 9 && memcmp(name, "localhost", 9) == 0)) {
            *slash = '\0';
            registry = name;
            path = slash + 1;
        }
    }
    if (!is_registry(registry))
        return refuse(err, text, "the part before the first \"/\" is no registry (host name and optional port)");
    if (strcmp(registry, "index.docker.io") == 0)
        registry = "docker.io";
    if (strcmp(registry, "docker.io") == 0 && strchr(path, '/') == NULL)
        prefix = "library/";
    if (!is_repository(path))
        return refuse(err, text,
                      strcspn(path, upper) != strlen(path)
                          ? "a repository name has no upper-case letters"
                          : "the repository is not words of a-z and 0-9 joined by \".\", \"_\", \"__\", \"-\" "
                            "or \"/\"");
    if (path == name && strlen(path) == 64 && strspn(path, hex_digits) == 64)
        return refuse(err, text, "64 hexadecimal digits are an image's id, not a name");
    if (strlen(registry) + 1 + strlen(prefix) + strlen(path) > TN_IMAGE_REF_NAME_MAX)
        return refuse(err, text, "the name is longer than 255 bytes");
    /* Both fit, by the check above. */
    memcpy(ref->registry, registry, strlen(registry) + 1);
    memcpy(ref->repository, prefix, strlen(prefix));
    memcpy(ref->repository + strlen(prefix), path, strlen(path) + 1);
    return 0;
}

int tn_image_ref_parse(const char *text, struct tn_image_ref *ref, struct tn_err *err)
{
    char name[TN_IMAGE_REF_TEXT_MAX + 1];
    char *digest;
    char *tag;

    memset(ref, 0, sizeof(*ref));
    if (text[0] == '\0')
        return refuse(err, text, "it is empty");
    if (strlen(text) >= sizeof(name))
        return refuse(err, text, "it is too long");
    memcpy(name, text, strlen(text) + 1);

    digest = strchr(name, '@');
    if (digest != NULL) {
        *digest++ = '\0';
        if (!is_digest(digest))
            return refuse(err, text,
                          "the digest after \"@\" is not sha256: with 64 or sha512: with 128 lower-case "
                          "hexadecimal digits");
        snprintf(ref->digest, sizeof(ref->digest), "%s", digest);
    }
    /* A colon before the last slash belongs to the registry's port. */
    tag = strrchr(name, '/') != NULL ? strchr(strrchr(name, '/'), ':') : strchr(name, ':');
    if (tag != NULL) {
        *tag++ = '\0';
        if (strlen(tag) > TN_IMAGE_REF_TAG_MAX || !is_tag(tag))
            return refuse(err, text,
                          "the tag after \":\" is not 1 to 128 letters, digits, \"_\", \".\" or \"-\" that "
                          "start with a letter, digit or \"_\"");
        snprintf(ref->tag, sizeof(ref->tag), "%s", tag);
    } else if (digest == NULL) {
        snprintf(ref->tag, sizeof(ref->tag), "latest");
    }
    return set_name(name, ref, text, err);
}

void tn_image_ref_format(const struct tn_image_ref *ref, char *text, size_t size)
{
    snprintf(text, size, "%s/%s%s%s%s%s", ref->registry, ref->repository, ref->tag[0] != '\0' ? ":" : "", ref->tag,
             ref->digest[0] != '\0' ? "@" : "", ref->digest);
}

const char *tn_image_ref_pull_name(const struct tn_image_ref *ref, char *from_image, size_t size)
{
    snprintf(from_image, size, "%s/%s", ref->registry, ref->repository);
    return ref->digest[0] != '\0' ? ref->digest : ref->tag;
}

const char *tn_image_ref_auth_address(const struct tn_image_ref *ref)
{
    return strcmp(ref->registry, "docker.io") == 0 ? "https://index.docker.io/v1/" : ref->registry;
}
