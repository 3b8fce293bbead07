/* The address of a git repository, taken apart: https, http, ssh and git URLs, and user@host:path. Pure. */
#ifndef TN_REMOTE_H
#define TN_REMOTE_H

#include "core/lib/err.h"

#include <stdbool.h>

struct tn_remote {
    char scheme[8];  /* "https", "http", "ssh" or "git"; of user@host:path "ssh" */
    char host[254];  /* of an IPv6 address without the brackets */
    char place[264]; /* host, and ":port" if the URL has one: "[::1]:2222" */
    bool has_port;
    bool has_password;
    const char *path; /* borrowed from the URL, without the slash that separates it; never empty */
};

/* TN_ERR_USAGE names the forms that are taken. What git would read as an option or as a command of its own (a leading
 * "-", "ext::…"), blanks and control characters are refused. */
int tn_remote_parse(const char *url, struct tn_remote *remote, struct tn_err *err) TN_MUST_CHECK;

/* Whether an entry of the settings is for this remote: its host is "host" or "host:port". */
bool tn_remote_is_host(const struct tn_remote *remote, const char *host);

#endif
