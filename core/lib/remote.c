#include "core/lib/remote.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

static const char forms[] = "https://HOST/PATH, http://HOST/PATH, ssh://[USER@]HOST[:PORT]/PATH, git://HOST/PATH or "
                            "USER@HOST:PATH";

static int wrong(const char *url, struct tn_err *err)
{
    return tn_err_set(err, TN_ERR_USAGE, "%.200s is not the address of a repository: expected %s", url, forms);
}

static bool is_host(const char *at, size_t length)
{
    if (length == 0 || length >= sizeof(((struct tn_remote *)0)->host) || *at == '-')
        return false;
    for (size_t i = 0; i < length; i++)
        if (!isalnum((unsigned char)at[i]) && strchr(".-_:", at[i]) == NULL)
            return false;
    return true;
}

static bool is_port(const char *at, size_t length)
{
    return length > 0 && length <= 5 && strspn(at, "0123456789") >= length;
}

/* "host", "host:port", "[address]", "[address]:port" */
static bool take_place(const char *at, size_t length, bool with_port, struct tn_remote *remote)
{
    const char *end = at + length;
    const char *host = at;
    size_t host_length = strcspn(at, ":/");
    const char *rest;

    if (length > 0 && *at == '[') {
        const char *close = memchr(at, ']', length);

        if (close == NULL)
            return false;
        host = at + 1;
        host_length = (size_t)(close - host);
        rest = close + 1;
    } else {
        if (host_length > length)
            host_length = length;
        rest = host + host_length;
        if (memchr(host, ':', host_length) != NULL)
            return false;
    }
    if (!is_host(host, host_length) || length >= sizeof(remote->place))
        return false;
    if (rest < end && (!with_port || *rest != ':' || !is_port(rest + 1, (size_t)(end - rest - 1))))
        return false;
    remote->has_port = rest < end;
    snprintf(remote->host, sizeof(remote->host), "%.*s", (int)host_length, host);
    snprintf(remote->place, sizeof(remote->place), "%.*s", (int)length, at);
    return true;
}

int tn_remote_parse(const char *url, struct tn_remote *remote, struct tn_err *err)
{
    static const char *const schemes[] = {"https", "http", "ssh", "git"};
    const char *begin = strstr(url, "://");
    const char *end;
    const char *at;

    memset(remote, 0, sizeof(*remote));
    for (const char *c = url; *c != '\0'; c++)
        if ((unsigned char)*c <= ' ' || *c == 0x7f)
            return wrong(url, err);
    if (begin != NULL) {
        for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++)
            if (strlen(schemes[i]) == (size_t)(begin - url) && strncmp(url, schemes[i], (size_t)(begin - url)) == 0)
                snprintf(remote->scheme, sizeof(remote->scheme), "%s", schemes[i]);
        begin += 3;
        end = strchrnul(begin, '/');
    } else {
        snprintf(remote->scheme, sizeof(remote->scheme), "ssh");
        begin = url;
        end = strchrnul(begin, ':');
        if (memchr(begin, '@', (size_t)(end - begin)) == NULL)
            return wrong(url, err);
    }
    at = memrchr(begin, '@', (size_t)(end - begin));
    if (at != NULL) {
        remote->has_password = memchr(begin, ':', (size_t)(at - begin)) != NULL;
        if (at == begin || *begin == '-')
            return wrong(url, err);
        begin = at + 1;
    }
    if (remote->scheme[0] == '\0' || *end == '\0' || end[1] == '\0' || end[1] == '-' || end[1] == ':' ||
        !take_place(begin, (size_t)(end - begin), strstr(url, "://") != NULL, remote))
        return wrong(url, err);
    remote->path = end + 1;
    return 0;
}

bool tn_remote_is_host(const struct tn_remote *remote, const char *host)
{
    return strcasecmp(host, remote->host) == 0 || strcasecmp(host, remote->place) == 0;
}
