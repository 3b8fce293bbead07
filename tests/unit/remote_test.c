/* Addresses of repositories: every form that is taken, and what git must never be given. */
#include "core/lib/remote.h"
#include "tests/unit/check.h"

#include <stdbool.h>
#include <string.h>

static void check_good(const char *url, const char *scheme, const char *host, const char *place, const char *path)
{
    struct tn_remote remote;
    struct tn_err err = TN_ERR_INIT;

    CHECK(tn_remote_parse(url, &remote, &err) == 0);
    CHECK_STR(err.text, "");
    CHECK_STR(remote.scheme, scheme);
    CHECK_STR(remote.host, host);
    CHECK_STR(remote.place, place);
    CHECK(remote.path != NULL && strcmp(remote.path, path) == 0);
    CHECK(remote.has_port == (strlen(host) + 2 <= strlen(place) && place[strlen(place) - 1] != ']'));
}

static void check_wrong(const char *url)
{
    struct tn_remote remote;
    struct tn_err err = TN_ERR_INIT;
    char expected[600];

    snprintf(expected, sizeof(expected),
             "%.200s is not the address of a repository: expected https://HOST/PATH, http://HOST/PATH, "
             "ssh://[USER@]HOST[:PORT]/PATH, git://HOST/PATH or USER@HOST:PATH",
             url);
    CHECK(tn_remote_parse(url, &remote, &err) != 0);
    CHECK_INT(err.code, TN_ERR_USAGE);
    CHECK_STR(err.text, expected);
}

int main(void)
{
    static const char *const wrong[] = {"",
                                        "/a/path",
                                        "file:///a/path",
                                        "ext::sh -c id",
                                        "host:path",
                                        "https://host",
                                        "https://host/",
                                        "https:///path",
                                        "ftp://host/path",
                                        "ssh://-oProxyCommand=id/path",
                                        "ssh://git@-oProxyCommand=id/path",
                                        "-u@host:path",
                                        "git@host:-path",
                                        "git@host:",
                                        "@host:path",
                                        "https://host:port/path",
                                        "https://host:/path",
                                        "https://host:123456/path",
                                        "https://ho st/path",
                                        "https://host/pa\nth",
                                        "https://ho%st/path",
                                        "ssh://git@[::1/path",
                                        "ssh://git@[]/path",
                                        "git@host:22:path/../..:",
                                        "git@host::path"};
    char host[400];
    struct tn_remote remote;

    check_good("https://github.com/o/r", "https", "github.com", "github.com", "o/r");
    check_good("https://user@github.com/o/r.git", "https", "github.com", "github.com", "o/r.git");
    check_good("http://127.0.0.1:8080/o/r", "http", "127.0.0.1", "127.0.0.1:8080", "o/r");
    check_good("ssh://git@host:2222/~/r", "ssh", "host", "host:2222", "~/r");
    check_good("ssh://[::1]:22/r", "ssh", "::1", "[::1]:22", "r");
    check_good("ssh://git@[fe80::1]/r", "ssh", "fe80::1", "[fe80::1]", "r");
    check_good("git://host/r", "git", "host", "host", "r");
    check_good("git@github.com:o/r.git", "ssh", "github.com", "github.com", "o/r.git");
    for (size_t i = 0; i + 2 < sizeof(wrong) / sizeof(wrong[0]); i++)
        check_wrong(wrong[i]);
    memset(host, 'h', sizeof(host));
    memcpy(host, "https://", 8);
    memcpy(host + sizeof(host) - 3, "/p", 3);
    check_wrong(host);

    CHECK(tn_remote_parse("https://user:secret@host/p", &remote, NULL) == 0 && remote.has_password);
    CHECK(tn_remote_parse("https://user@host/p:q", &remote, NULL) == 0 && !remote.has_password);
    CHECK(tn_remote_parse("ssh://git@Host:22/p", &remote, NULL) == 0);
    CHECK(tn_remote_is_host(&remote, "host") && tn_remote_is_host(&remote, "HOST:22"));
    CHECK(!tn_remote_is_host(&remote, "host:23") && !tn_remote_is_host(&remote, "hos") &&
          !tn_remote_is_host(&remote, ""));
    return tn_check_result();
}
